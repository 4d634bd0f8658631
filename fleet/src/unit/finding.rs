//! Something wrong in a unit file, with its place.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is accepted; its author should know.
    Warning,
    /// The file is refused.
    Error,
}

/// One thing that is wrong in a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line, counted from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what to do, in one sentence without a full stop.
    pub message: String,
}

impl Finding {
    pub(super) fn error(line: usize, message: impl Into<String>) -> Finding {
        Finding { line, severity: Severity::Error, message: message.into() }
    }

    pub(super) fn warning(line: usize, message: impl Into<String>) -> Finding {
        Finding { line, severity: Severity::Warning, message: message.into() }
    }
}

/// `12: unknown key …`, to be put behind the name of the file; `warning: ` comes first if it is
/// one.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}: ", self.line)?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Whether one of them refuses the file.
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
