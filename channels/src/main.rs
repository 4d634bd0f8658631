//! `channels`: makes, signs, publishes, checks and serves a repository of releases.

mod cli;

use std::process::ExitCode;
use std::time::SystemTime;

use channels::time::Time;
use clap::Parser;

fn main() -> ExitCode {
    host::log::init("channels", log_target(), log::LevelFilter::Warn);
    match cli::run(cli::Arguments::parse(), now) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", host::error::report(&error));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn now() -> Time {
    SystemTime::now().into()
}

#[allow(clippy::disallowed_methods)]
fn log_target() -> host::log::Target {
    host::log::Target::stderr(std::env::var("JOURNAL_STREAM").ok().as_deref())
}
