//! `fleetctl`: what people type.
//!
//! Each command is a function from a client and its arguments to lines on the standard output; a
//! mistake is one line on the standard error and exit code 1.

mod change;
mod list;
mod look;

use std::fmt;
use std::io::Write;

use crate::api::{Client, ClientError};

pub use change::{Change, change, destroy, submit};
pub use list::{list_machines, list_unit_files, list_units};
pub use look::{cat, plan, plan_snapshot, why};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure(host::error::chain(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure(error.to_string())
    }
}

/// What a command works with.
pub struct Context<'a> {
    /// The daemon.
    pub client: &'a Client,
    /// The standard output.
    pub out: &'a mut dyn Write,
    /// The standard error.
    pub errors: &'a mut dyn Write,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("client", self.client).finish_non_exhaustive()
    }
}

/// The first eight characters of a machine id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Writes rows in columns, each as wide as its widest cell and one tab stop of blanks more.
pub(crate) fn table(out: &mut dyn Write, rows: &[Vec<String>]) -> std::io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}\t"));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
