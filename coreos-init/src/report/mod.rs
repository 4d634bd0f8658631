//! What was found, done and left undone: `report.json`, and the same for a person.
//!
//! The initrd writes it when the root is provisioned, `coreos-init finish` completes it when
//! the service manager has done its part. There is no content of a file and no password in it,
//! nor a hash of either.

mod stages; // how long each part of the boot took
mod summary; // the report for a person

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use cloud_config::{Bundle, Finding, Severity, Span, VariableUse};
use serde::{Deserialize, Serialize};

pub use stages::{Stage, Stages};

use crate::apply::{Applied, Item, Outcome};
use crate::extension::merged::{self, Merged};
use crate::net::facts;
use crate::plan::Plan;
use crate::source::{self, Found, Looked, SourceName};
use crate::verbs::JobReport;

/// Where the report is, in the initrd and in the running system alike.
pub const REPORT: &str = "/run/coreos-init/report.json";
/// Where the initrd leaves what the service manager is to be asked for.
pub const JOBS: &str = "/run/coreos-init/jobs.json";

/// Where the initrd leaves what the machine is configured by, for root alone.
pub const FOUND: &str = "/run/coreos-init/configuration.json";

/// How a machine was configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What it came to; see [`Report::conclude`].
    pub status: Status,
    /// The configuration that was used.
    pub configuration: Option<Configuration>,
    /// Every source that was looked at, in order.
    pub sources: Vec<Source>,
    /// The names of its texts: user-data may have several parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// What is wrong with the configuration, by place.
    pub findings: Vec<Note>,
    /// What kept all or part of it from being done, one line each.
    pub failures: Vec<String>,
    /// What the operator should know.
    pub notes: Vec<String>,
    /// What was done, in order.
    pub items: Vec<Item>,
    /// What the variables stand for, and how that is known.
    pub variables: Vec<Variable>,
    /// What the service manager was asked for.
    pub jobs: Vec<JobReport>,
    /// What became of the extensions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Merged>,
    /// The stages of the boot.
    pub stages: Vec<Stage>,
    /// The most memory that provisioning used.
    pub peak_memory_kib: Option<u64>,
}

/// What provisioning came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// No source has a configuration for this machine.
    #[default]
    Unconfigured,
    /// The machine is as the configuration asks.
    Provisioned,
    /// It is not, or not in all.
    Degraded,
}

/// The configuration that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The kind of source it is from.
    pub source: SourceName,
    /// Where exactly.
    pub place: String,
    /// What its findings call it.
    pub name: String,
}

/// A source that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The kind.
    pub source: SourceName,
    /// Where.
    pub place: String,
    /// What was there.
    pub outcome: Sight,
    /// How long the look took.
    pub elapsed_ms: u64,
}

/// What was at a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// User-data.
    Found,
    /// Meta-data without user-data.
    MetaData,
    /// Nothing of the kind.
    Absent,
    /// The source, but no configuration in it.
    Empty,
    /// The source, but it could not be read.
    Failed(String),
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whether it refuses the configuration.
    pub error: bool,
    /// The text it is in, of [`Report::texts`].
    #[serde(skip_serializing_if = "is_first", default)]
    pub part: u32,
    /// The line it is at, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// The line itself, and carets to stand under it; not where a secret may be in it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excerpt: Option<(String, String)>,
}

/// What a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name, without the dollar sign.
    pub name: String,
    /// The address.
    pub value: String,
    /// How it is known.
    pub origin: String,
}

/// Why there is no report to read, or none could be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// There is none.
    #[error("there is no {REPORT}: this system was not started by coreos-init")]
    Missing,
    /// It is there.
    #[error("cannot read {path}")]
    Read { path: String, source: std::io::Error },
    /// It is not what it should be.
    #[error("{path} is damaged")]
    Damaged { path: String, source: serde_json::Error },
    /// It is not there.
    #[error(transparent)]
    Write(#[from] host::durable::WriteError),
}

impl Report {
    /// Begins a report with what was looked at and what was found.
    pub fn begin(found: Option<&Found>, looked: &[Looked]) -> Report {
        Report {
            configuration: found.map(|found| Configuration {
                source: found.source,
                place: found.place.clone(),
                name: found.name.clone(),
            }),
            sources: looked.iter().map(Source::from).collect(),
            notes: found.map(|found| found.notes.clone()).unwrap_or_default(),
            ..Report::default()
        }
    }

    /// Adds findings that were made in these texts; they stay sorted by place.
    pub fn add_findings(&mut self, findings: &[Finding], texts: &Bundle) {
        let new = findings.iter().map(|finding| Note::new(finding, texts));
        let new: Vec<Note> = new.filter(|note| !self.findings.contains(note)).collect();
        self.findings.extend(new);
        self.findings.sort_by_key(|note| (note.part, note.line, note.column));
    }

    /// Takes the names of the configuration's texts.
    pub fn set_names(&mut self, names: Vec<String>) {
        self.texts = names;
    }

    /// What messages call a text of the configuration.
    pub fn name_of(&self, part: u32) -> &str {
        let named = usize::try_from(part).ok().and_then(|part| self.texts.get(part));
        let used = self.configuration.as_ref().map(|used| &used.name);
        named.or(used).map_or("user-data", String::as_str)
    }

    /// Notes for each item which variables stand in the entry that it comes from.
    pub fn add_uses(&mut self, plan: &Plan, uses: &[VariableUse]) {
        let entries: BTreeMap<&str, Span> = plan
            .actions
            .iter()
            .filter_map(|action| Some((action.path.as_str(), action.origin.entry?)))
            .collect();
        for item in &mut self.items {
            let Some(entry) = entries.get(item.path.as_str()) else { continue };
            let inside = uses.iter().filter(|used| entry.contains(used.span));
            let names: BTreeSet<&str> = inside.map(|used| used.variable.name()).collect();
            item.variables = names.into_iter().map(str::to_string).collect();
        }
    }

    /// Adds what the variables stand for.
    pub fn add_variables(&mut self, values: &facts::Values) {
        self.variables.extend(values.map.iter().map(|(variable, value)| Variable {
            name: variable.name().to_string(),
            value: value.clone(),
            origin: values.origin.get(variable).cloned().unwrap_or_default(),
        }));
    }

    /// Adds what was done.
    pub fn add_applied(&mut self, applied: Applied) {
        self.items.extend(applied.items);
        self.notes.extend(applied.notes);
    }

    /// Draws the conclusion from all that is in the report.
    pub fn conclude(&mut self) {
        let failed = !self.failures.is_empty()
            || self.findings.iter().any(|note| note.error)
            || self.items.iter().any(|item| matches!(item.outcome, Outcome::Failed(_)))
            || self.jobs.iter().any(|job| job.outcome.is_failure())
            || self.extensions.iter().any(|one| matches!(one.outcome, merged::Outcome::Failed(_)));
        self.status = match (failed, &self.configuration) {
            (true, _) => Status::Degraded,
            (false, Some(_)) => Status::Provisioned,
            (false, None) => Status::Unconfigured,
        };
    }

    /// Reads a report.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(path: &Path) -> Result<Report, Error> {
        let shown = path.display().to_string();
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| Error::Damaged { path: shown, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::Missing),
            Err(source) => Err(Error::Read { path: shown, source }),
        }
    }

    /// Writes the report, old or new at any moment.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(host::durable::write(path, self.text().as_bytes(), 0o600)?)
    }

    /// The report as it is stored.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("structs with string keys");
        text.push('\n');
        text
    }
}

impl From<&Looked> for Source {
    fn from(looked: &Looked) -> Source {
        Source {
            source: looked.source,
            place: looked.place.clone(),
            outcome: match &looked.outcome {
                source::Outcome::Found => Sight::Found,
                source::Outcome::MetaData => Sight::MetaData,
                source::Outcome::Absent => Sight::Absent,
                source::Outcome::Empty => Sight::Empty,
                source::Outcome::Failed(reason) => Sight::Failed(reason.clone()),
            },
            elapsed_ms: milliseconds(looked.elapsed),
        }
    }
}

impl Note {
    fn new(finding: &Finding, texts: &Bundle) -> Note {
        Note {
            error: finding.severity == Severity::Error,
            part: finding.span.part,
            line: finding.span.start.line,
            column: finding.span.start.column,
            message: finding.message.clone(),
            hint: finding.hint.clone(),
            excerpt: finding.excerpt(texts.text_of(finding)),
        }
    }
}

/// Whether a part need not be told.
#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
pub(crate) fn is_first(part: &u32) -> bool {
    *part == 0
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The most memory a process used, from its `/proc/PID/status`.
pub fn peak_memory_kib(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
