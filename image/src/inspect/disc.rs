//! A config disc: its label, its files, and whether a machine would accept
//! what they say.

use std::fmt;
use std::fs::File;

use disk::disc::{self, DiscError};
use disk::window::Window;
use serde::Serialize;

use super::Cause;
use crate::config_iso::{Complaint, Label, Part, Sources, check};
use crate::progress::Size;

/// The largest file that is read: more than any machine accepts.
const LIMIT: u64 = 16 << 20;

/// A disc with a machine's configuration.
#[derive(Debug, Serialize)]
pub struct ConfigDisc {
    /// Its volume label.
    pub label: String,
    /// Its files with their sizes.
    pub files: Vec<ListedFile>,
    /// Whether a machine would be provisioned from it; none if there is no
    /// configuration where one is looked for.
    pub accepted: Option<bool>,
    /// What is wrong or doubtful, each in one line with its place.
    pub findings: Vec<Told>,
}

/// A file on a disc.
#[derive(Debug, Serialize)]
pub struct ListedFile {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A finding, told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// One line: file, place and what is wrong.
    pub line: String,
    /// The same with the text it is about.
    #[serde(skip)]
    rendered: String,
}

/// Reads a disc; none if the file is no volume of a known format.
pub(super) fn read(file: &File) -> Result<Option<ConfigDisc>, Cause> {
    let size = file.metadata()?.len();
    let mut disc = match disc::open(Window::new(file, 0..size)) {
        Ok(disc) => disc,
        Err(DiscError::Unknown) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let listed = disc.list()?;
    // A disc that is cut off still lists what it no longer has.
    for (path, size) in &listed {
        if *size <= LIMIT {
            disc.read(path, LIMIT)?;
        }
    }
    let mut get = |path: &str| disc.read(path, LIMIT);
    let layouts = [
        (Label::Config2, "openstack/latest/user_data", "openstack/latest/meta_data.json"),
        (Label::Cidata, "user-data", "meta-data"),
    ];
    let (mut accepted, mut findings) = (None, Vec::new());
    for (label, user_path, meta_path) in layouts {
        let Some(user_data) = get(user_path)? else { continue };
        let (meta_data, network_config) = (get(meta_path)?, get("network-config")?);
        let complaints = check(
            label,
            &Sources {
                user_data: &user_data,
                meta_data: meta_data.as_deref(),
                network_config: network_config.as_deref(),
            },
        );
        accepted = Some(!complaints.iter().any(Complaint::is_error));
        findings =
            complaints.iter().map(|complaint| tell(complaint, user_path, meta_path)).collect();
        break;
    }
    let files = listed.into_iter().map(|(path, size)| ListedFile { path, size }).collect();
    Ok(Some(ConfigDisc { label: disc.label().to_owned(), files, accepted, findings }))
}

fn tell(complaint: &Complaint, user_path: &str, meta_path: &str) -> Told {
    let Complaint { part, finding, text } = complaint;
    let source = match part {
        Part::UserData => user_path,
        Part::MetaData => meta_path,
        Part::NetworkConfig => "network-config",
    };
    let severity = if complaint.is_error() { "error" } else { "warning" };
    let line = finding.line(source);
    let rendered = if text.is_empty() { line.clone() } else { finding.render(source, text) };
    Told { severity, line, rendered }
}

impl fmt::Display for ConfigDisc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "config disc, label {}", self.label)?;
        for ListedFile { path, size } in &self.files {
            write!(formatter, "\n  {:>10}  {path}", Size(*size).to_string())?;
        }
        let verdict = match self.accepted {
            None => "no configuration where a machine looks for one",
            Some(true) => "a machine accepts the configuration",
            Some(false) => "a machine refuses the configuration",
        };
        write!(formatter, "\n{verdict}")?;
        for told in &self.findings {
            write!(formatter, "\n{}", told.rendered)?;
        }
        Ok(())
    }
}
