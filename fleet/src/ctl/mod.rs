//! `fleetctl`: asks a daemon, or tells it what should be.
//!
//! words → [`Arguments`] → questions to the daemon ([`crate::api::Client`]) → text or JSON
//!
//! Commands, columns and exit codes are fleet's; where fleet waited in silence the reason is
//! said on standard error.

pub mod arguments;

mod cluster;
mod completion;
mod error;
mod journal;
mod list;
mod machines;
mod rollout;
mod screen;
mod source;
mod ssh;
mod start;
mod stop;
mod submit;
mod table;
mod top;
mod unit;
mod wait;
mod why;
mod words;

use std::ffi::OsString;

pub use arguments::Arguments;
pub use error::CtlError;
pub use words::normalize;

use arguments::{Command, Global};
use cluster::Cluster;
use screen::say;

/// The words that variables add in front of the others: `FLEETCTL_REQUEST_TIMEOUT=5` is
/// `--request-timeout=5`. `variable` looks one up.
pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    words::FROM_ENVIRONMENT
        .iter()
        .filter_map(|flag| {
            let name = format!("FLEETCTL_{}", flag.to_uppercase().replace('-', "_"));
            let value = variable(&name).filter(|value| !value.is_empty())?;
            let mut word = OsString::from(format!("--{flag}="));
            word.push(value);
            Some(word)
        })
        .collect()
}

/// Does what the arguments say, and returns the exit code. `user` is who cordons are put down to.
///
/// # Errors
/// What could not be done; it has not been printed.
pub fn run(arguments: Arguments, user: &str) -> Result<u8, CtlError> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Version => {
            say(&format!("fleetctl version {}\n", env!("CARGO_PKG_VERSION")));
            return Ok(0);
        }
        Command::Completion { shell } => {
            completion::print(shell);
            return Ok(0);
        }
        Command::FdForward { socket } => return ssh::forward(&socket).map(|()| 0),
        Command::Plan(ref plan) if plan.snapshot.is_some() => return why::snapshot(plan),
        _ => {}
    }
    refuse_what_is_gone(&global)?;
    let cluster = Cluster::open(&global)?;
    match command {
        Command::ListMachines(list) => list::machines(&cluster, &list),
        Command::ListUnits(list) => list::units(&cluster, &list),
        Command::ListUnitFiles(list) => list::unit_files(&cluster, &list),
        Command::Submit(submit) => submit::run(&cluster, &submit),
        Command::Load(change) => start::load(&cluster, &change),
        Command::Start(change) => start::start(&cluster, &change),
        Command::Stop(stop) => stop::stop(&cluster, &stop),
        Command::Unload(stop) => stop::unload(&cluster, &stop),
        Command::Destroy(stop) => stop::destroy(&cluster, &stop),
        Command::Restart(stop) => start::restart(&cluster, &stop),
        Command::Status(status) => unit::status(&cluster, &status.units),
        Command::Cat(one) => unit::cat(&cluster, &one.units),
        Command::Verify(one) => unit::verify(&cluster, &one.units),
        Command::Journal(journal) => journal::run(&cluster, &journal),
        Command::Ssh(words) => ssh::run(&cluster, &global, words),
        Command::Why(args) => why::run(&cluster, &args),
        Command::Plan(plan) => why::plan(&cluster, &plan),
        Command::Drain(drain) => machines::drain(&cluster, &drain, user),
        Command::Cordon(cordon) => machines::cordon(&cluster, &cordon, user),
        Command::Uncordon(one) => machines::uncordon(&cluster, &one.machine),
        Command::Rollout(args) => rollout::run(&cluster, args),
        Command::Brake(brake) => machines::brake(&cluster, &brake),
        Command::Events => top::events(&cluster),
        Command::Top(args) => top::run(&cluster, &args),
        Command::Version | Command::Completion { .. } | Command::FdForward { .. } => Ok(0),
    }
}

/// Flags of fleet that would mean something else than what is done.
fn refuse_what_is_gone(global: &Global) -> Result<(), CtlError> {
    if global.driver != "API" {
        return Err(CtlError::Gone {
            what: format!("--driver={}", global.driver),
            instead: "fleetctl asks fleetd only: leave the flag out".to_string(),
        });
    }
    let files = [&global.key_file, &global.cert_file, &global.ca_file];
    if files.iter().any(|file| file.is_some()) {
        return Err(CtlError::Gone {
            what: "--key-file, --cert-file and --ca-file".to_string(),
            instead: "reach the endpoint with --tunnel".to_string(),
        });
    }
    Ok(())
}
