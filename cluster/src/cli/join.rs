//! `cluster join`.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use cluster::join::{self, JoinError, Joined};

use super::arguments::JoinArguments;

/// `ExecCondition=` takes 1 to 254 for "not here", and 255 for a failure.
const NOT_HERE: u8 = 1;
const FAILED: u8 = 255;

pub(crate) async fn run(
    arguments: &JoinArguments,
    environment: &BTreeMap<String, String>,
    now: fn() -> SystemTime,
) -> ExitCode {
    let run = &*arguments.run;
    let result = match (&*arguments.exec, arguments.finish) {
        ([program, rest @ ..], _) => Err(exec(arguments, program, rest)),
        ([], true) => join::finish(environment, run).await.map(|()| ExitCode::SUCCESS),
        ([], false) => join::join(environment, run, now).await.map(|joined| match joined {
            Joined::Member => ExitCode::SUCCESS,
            Joined::Client => ExitCode::from(NOT_HERE),
        }),
    };
    result.unwrap_or_else(|error| {
        log::error!("{}", host::error::chain(&error));
        ExitCode::from(FAILED)
    })
}

/// Becomes `program`; returns only if that is not possible.
fn exec(arguments: &JoinArguments, program: &str, rest: &[String]) -> JoinError {
    let overrides = match join::started(&arguments.run) {
        Ok(overrides) => overrides,
        Err(error) => return error,
    };
    let mut command = Command::new(program);
    command.args(rest);
    for (name, value) in overrides {
        match value.is_empty() {
            true => command.env_remove(name),
            false => command.env(name, value),
        };
    }
    let source = command.exec();
    JoinError::File { action: "run", path: program.into(), source }
}
