//! `fleetctl`: runs units on the machines of a cluster.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use fleet::ctl::{Arguments, from_environment, normalize, run};

pub(crate) fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| "fleetctl".into());
    let words: Vec<OsString> = words.collect();
    if words.is_empty() {
        // As fleet did: no question is no mistake.
        let _ = Arguments::command().print_help();
        return ExitCode::SUCCESS;
    }
    let all = std::iter::once(program).chain(from_environment(variable)).chain(normalize(words));
    let arguments = Arguments::parse_from(all);
    let level =
        if arguments.global.debug { log::LevelFilter::Debug } else { log::LevelFilter::Warn };
    host::log::init("fleetctl", host::log::Target::stderr(None), level);
    match run(arguments, &user()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", host::error::report(&error));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn user() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"];
    let name = names.iter().find_map(|name| variable(name)?.into_string().ok());
    name.unwrap_or_else(|| "unknown".to_string())
}
