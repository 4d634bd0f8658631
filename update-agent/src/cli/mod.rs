//! The commands: words → what is done → what is printed.
//!
//! Data goes to standard output, everything else to the log. A command that fails says why in one
//! line and exits with 1; words that are no command exit with 2.

mod act; // what changes something
mod aliases; // what people knew from before
mod arguments; // words
mod show; // what only looks
mod watch; // the progress bar

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::error::AgentError;
use crate::service::{self, Outside};
use arguments::{Arguments, Command};

/// How a command ends: with what it printed, or with an exit code that says more.
type Outcome = Result<ExitCode, AgentError>;

/// Runs what the words say. The first one is the name under which the program was called.
pub fn run(words: &[String], outside: Outside<'_>) -> ExitCode {
    let name = words.first().map(Path::new).and_then(Path::file_name);
    let name = name.and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(done) = aliases::run(name, words.get(1..).unwrap_or_default(), outside) {
        return finish(done);
    }
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // A closed pipe is not worth a word.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    finish(dispatch(&arguments, outside))
}

fn finish(outcome: Outcome) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        log::error!("{}", host::error::chain(&error));
        ExitCode::FAILURE
    })
}

fn dispatch(arguments: &Arguments, outside: Outside<'_>) -> Outcome {
    let root = &arguments.root;
    match &arguments.command {
        Command::Status { json } => show::status(root, *json, outside),
        Command::History { json } => show::history(root, *json),
        Command::Explain { offline } => show::explain(root, offline.as_deref(), outside),
        Command::Check => act::check(root, outside),
        Command::Apply => act::apply(root, None, outside),
        Command::OfflineApply { directory } => act::apply(root, Some(directory), outside),
        Command::Reboot { force } => act::reboot(root, *force, outside),
        Command::Rollback => act::rollback(root, outside),
        Command::Channel { set: None } => show::channel(root),
        Command::Channel { set: Some(set) } => act::channel(root, set.name(), outside),
        Command::Pin { version } => act::pin(root, Some(version), outside),
        Command::Unpin => act::pin(root, None, outside),
        Command::Forgive { version } => act::forgive(root, version, outside),
        Command::Watch => watch::run(root, outside),
        Command::Run => service::run(root, outside).map(|()| ExitCode::SUCCESS),
        Command::Health => service::health(root, outside).map(|_| ExitCode::SUCCESS),
    }
}

/// Prints, to whoever still listens.
fn print(text: &str) {
    use std::io::Write;
    // A reader that has seen enough is no failure.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
