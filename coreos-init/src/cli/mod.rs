//! The commands of a person: `validate`, `apply` and `status`; and `finish`, which the service
//! manager runs.
//!
//! Data goes to the standard output, what is wrong to the standard error. The exit code is 0
//! where all is well, 1 where the answer is no, 2 where there is no answer.

mod apply; // a configuration into a directory
mod check_in; // telling the platform
mod explain; // what made a file
mod finish; // what needs the service manager
mod here; // this machine, while it runs
mod input; // where a configuration is
mod period; // how long a trial may wait
mod plan; // what would change
mod schema; // the language for editors
mod sources; // where a configuration would come from
mod trial; // a configuration for a while
mod validate; // is it a configuration?

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use apply::ApplyOptions;
pub use input::Input;
pub use period::period;
pub use plan::{Overrides, PlanTarget};
pub use schema::schema;
pub use sources::SourcesOptions;
pub use trial::TrialStep;

use crate::report::{REPORT, Report, Status};

/// What a command came to, in the order of its gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// All is well.
    Yes,
    /// The answer is no.
    No,
    /// There is no answer.
    None,
    /// Something would change.
    Changes,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        match verdict {
            Verdict::Yes => ExitCode::SUCCESS,
            Verdict::No => ExitCode::from(1),
            Verdict::None | Verdict::Changes => ExitCode::from(2),
        }
    }
}

/// Where a command says things. A reader that went away is not its concern.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Streams<'_> {
    fn say(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.out, "{line}");
    }

    fn warn(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    fn fail(&mut self, error: &dyn Error) {
        let _ = writeln!(self.err, "error: {}", host::error::chain(error));
    }
}

/// Checks configurations and shows every mistake; `-` is the standard input.
pub fn validate(files: &[PathBuf]) -> ExitCode {
    with_streams(|streams| validate::run(files, &mut io::stdin().lock(), streams))
}

/// Writes into a directory what a configuration would write into a machine.
pub fn apply(input: &Input, options: &ApplyOptions<'_>) -> ExitCode {
    with_streams(|streams| apply::run(input, options, streams))
}

/// Shows what a configuration would change.
pub fn plan(input: &Input, target: PlanTarget<'_>, overrides: &Overrides, json: bool) -> ExitCode {
    with_streams(|streams| plan::run(input, target, overrides, json, streams))
}

/// Applies a configuration to this machine for a while.
pub fn try_for(file: &Path, period: std::time::Duration) -> ExitCode {
    with_streams(|streams| trial::begin(file, period, streams))
}

/// Keeps the configuration that is tried.
pub fn confirm() -> ExitCode {
    with_streams(trial::confirm)
}

/// Does one part of the service of a trial.
pub fn trial(step: TrialStep) -> ExitCode {
    with_streams(|streams| trial::step(step, streams))
}

/// Shows what made a file of this machine.
pub fn explain(path: &str) -> ExitCode {
    with_streams(|streams| explain::run(Path::new(REPORT), path, streams))
}

/// Prints the language as a JSON Schema.
pub fn print_schema() -> ExitCode {
    with_streams(|streams| {
        streams.say(serde_json::to_string_pretty(&schema()).expect("a value of JSON"));
        Verdict::Yes
    })
}

/// Shows how this machine was configured.
pub fn status(json: bool) -> ExitCode {
    let colour = io::stdout().is_terminal();
    with_streams(|streams| show_status(Path::new(REPORT), json, colour, streams))
}

/// Looks at every source of a configuration and shows what is there.
pub fn sources(options: &SourcesOptions) -> ExitCode {
    with_streams(|streams| sources::run(options, streams))
}

/// Does what needs the service manager and completes the report.
pub fn finish() -> ExitCode {
    with_streams(finish::run)
}

/// Tells the platform that the machine with this root is ready, if it wants to be told.
pub fn check_in(root: &Path) -> ExitCode {
    with_streams(|streams| check_in::run(root, streams))
}

fn with_streams(command: impl FnOnce(&mut Streams<'_>) -> Verdict) -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    command(&mut Streams { out: &mut out, err: &mut err }).into()
}

fn show_status(path: &Path, json: bool, colour: bool, streams: &mut Streams<'_>) -> Verdict {
    let report = match Report::read(path) {
        Ok(report) => report,
        Err(error) => {
            streams.fail(&error);
            return Verdict::None;
        }
    };
    let text = if json { report.text() } else { report.summary(colour) };
    streams.say(text.trim_end());
    verdict_of(&report)
}

fn verdict_of(report: &Report) -> Verdict {
    match report.status {
        Status::Degraded => Verdict::No,
        Status::Provisioned | Status::Unconfigured => Verdict::Yes,
    }
}

#[cfg(test)]
mod tests;
