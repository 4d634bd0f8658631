//! The report for a person: what it came to first, then why, then what.

use std::fmt::Write;

use super::{Report, Sight, Source, Status};
use crate::apply::Outcome;
use crate::extension::merged::Outcome as Merge;
use crate::verbs::JobOutcome;

/// How wide the left column is.
const COLUMN: usize = 14;

/// The colours of a terminal, or none.
#[derive(Debug, Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn doubtful(self, text: &str) -> String {
        self.with("33", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("31", text)
    }
}

impl Report {
    /// The report for a person, several lines.
    pub fn summary(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let mut out = Rows::default();
        let status = match self.status {
            Status::Provisioned => paint.good("provisioned"),
            Status::Degraded => paint.bad("degraded"),
            Status::Unconfigured => paint.doubtful("unconfigured"),
        };
        out.row("status", &status);
        match &self.configuration {
            Some(used) => out.row("configuration", &format!("{}, {}", used.source, used.place)),
            None => out.row("configuration", "none found"),
        }
        for source in &self.sources {
            out.row("looked at", &sight(source, paint));
        }
        for note in self.findings.iter().filter(|note| note.error) {
            out.row("failed", &paint.bad(&self.place_of(note)));
            out.excerpt(note);
        }
        for line in self.other_trouble() {
            out.row("failed", &paint.bad(&line));
        }
        for note in self.findings.iter().filter(|note| !note.error) {
            out.row("warning", &paint.doubtful(&self.place_of(note)));
            out.excerpt(note);
        }
        for note in &self.notes {
            out.row("note", note);
        }
        for variable in &self.variables {
            let (name, value) = (&variable.name, &variable.value);
            out.row("address", &format!("{name} = {value} ({})", variable.origin));
        }
        out.row("files", &self.counts());
        for job in self.jobs.iter().filter(|job| !job.outcome.is_failure()) {
            let (verb, unit) = (job.verb, &job.unit);
            let outcome = match &job.outcome {
                JobOutcome::UnderWay => paint.doubtful("still under way"),
                JobOutcome::Skipped => paint.doubtful("skipped by its conditions"),
                _ => paint.good("done"),
            };
            out.row("units", &format!("{verb} {unit}: {outcome}"));
        }
        for one in &self.extensions {
            let outcome = match &one.outcome {
                Merge::Verified => paint.good("merged, every block checked by its root hash"),
                Merge::Unverified => paint.good("merged"),
                Merge::Failed(_) => continue,
            };
            out.row("extensions", &format!("{}: {outcome}", one.name));
        }
        for stage in &self.stages {
            let (name, start, duration) = (&stage.name, stage.start_ms, stage.duration_ms);
            out.row("stages", &format!("{name:<24} {duration:>6} ms, from {start} ms"));
        }
        if let Some(memory) = self.peak_memory_kib {
            out.row("memory", &format!("{memory} KiB at most"));
        }
        out.text
    }

    /// What keeps the machine from being as configured, one line each: what the console says.
    pub fn trouble(&self) -> Vec<String> {
        let findings = self.findings.iter().filter(|note| note.error);
        findings.map(|note| self.place_of(note)).chain(self.other_trouble()).collect()
    }

    /// What is none of the configuration's mistakes.
    fn other_trouble(&self) -> Vec<String> {
        let mut lines = self.failures.clone();
        for item in &self.items {
            if let Outcome::Failed(reason) = &item.outcome {
                lines.push(format!("{} ({}): {reason}", item.path, item.section));
            }
        }
        for job in &self.jobs {
            if let JobOutcome::Failed(reason) = &job.outcome {
                let (verb, unit) = (job.verb, &job.unit);
                lines.push(format!("{verb} {unit}: {reason}; see `journalctl -u {unit}`"));
            }
        }
        for one in &self.extensions {
            if let Merge::Failed(reason) = &one.outcome {
                lines.push(format!("extension {}: {reason}", one.name));
            }
        }
        lines
    }

    /// What the configuration says that is better said otherwise, one line each.
    pub fn doubts(&self) -> Vec<String> {
        let findings = self.findings.iter().filter(|note| !note.error);
        findings.map(|note| self.place_of(note)).collect()
    }

    /// `user-data:4:5: message; hint`.
    fn place_of(&self, note: &super::Note) -> String {
        let name = self.name_of(note.part);
        let mut line = format!("{name}:{}:{}: {}", note.line, note.column, note.message);
        if let Some(hint) = &note.hint {
            line.push_str("; ");
            line.push_str(hint);
        }
        line
    }

    fn counts(&self) -> String {
        let count = |wanted: &[Outcome]| {
            self.items.iter().filter(|item| wanted.contains(&item.outcome)).count()
        };
        format!(
            "{} written, {} removed, {} unchanged",
            count(&[Outcome::Written]),
            count(&[Outcome::Removed, Outcome::Restored]),
            count(&[Outcome::Unchanged, Outcome::Kept]),
        )
    }
}

impl Source {
    /// One line: the place, what was there, how long it took.
    pub(crate) fn line(&self) -> String {
        sight(self, Paint { colour: false })
    }
}

fn sight(source: &Source, paint: Paint) -> String {
    let outcome = match &source.outcome {
        Sight::Found => paint.good("found"),
        Sight::MetaData => "meta-data only".to_string(),
        Sight::Absent => "absent".to_string(),
        Sight::Empty => "no configuration in it".to_string(),
        Sight::Failed(reason) => paint.bad(reason),
    };
    let place = if source.place.is_empty() {
        source.source.to_string()
    } else {
        format!("{}, {}", source.source, source.place)
    };
    format!("{place}: {outcome} ({} ms)", source.elapsed_ms)
}

/// Lines of a label and a text; a label that repeats is shown once.
#[derive(Default)]
struct Rows {
    text: String,
    label: String,
}

impl Rows {
    fn row(&mut self, label: &str, text: &str) {
        let shown = if self.label == label { "" } else { label };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{shown:<COLUMN$} {text}");
        self.label = label.to_string();
    }

    /// The line that a finding is in, with its carets.
    fn excerpt(&mut self, note: &super::Note) {
        let Some((line, carets)) = &note.excerpt else { return };
        let number = note.line.to_string();
        let (label, gutter) = ("", " ".repeat(number.len()));
        let _ = writeln!(self.text, "{label:<COLUMN$}  {number} | {line}");
        let _ = writeln!(self.text, "{label:<COLUMN$}  {gutter} | {carets}");
    }
}
