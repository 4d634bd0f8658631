//! Why a command failed.

use std::io;
use std::path::PathBuf;

use crate::api::ClientError;
use crate::place::SnapshotError;
use crate::unit::NameError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The daemon said no, or nothing.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Not a unit's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nobody has such a file.
    #[error(
        "unit {name} is not known to the cluster, and there is no file {path}: give a unit file, \
         or submit one first"
    )]
    NoUnit {
        /// The unit.
        name: String,
        /// Where its file would be.
        path: String,
    },
    /// A unit file has mistakes: a line for each.
    #[error("{}", .0.join("\nerror: "))]
    Findings(Vec<String>),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The document of `plan --snapshot` makes no sense.
    #[error("{path}: {source}")]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// Something that fleet had and this fleetctl has not.
    #[error("{what} cannot be used any more; {instead}")]
    Gone {
        /// The flag.
        what: String,
        /// What to do.
        instead: String,
    },
    /// A helper program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Whatever has no data worth keeping.
    #[error("{0}")]
    Other(String),
}

/// [`CtlError::Other`], for a message.
pub(super) fn other(message: impl Into<String>) -> CtlError {
    CtlError::Other(message.into())
}
