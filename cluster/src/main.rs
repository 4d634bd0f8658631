//! `cluster`: forms clusters of etcd, and lets their machines take turns at rebooting.

mod cli;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;

fn main() -> ExitCode {
    host::log::init("cluster", log_target(), log::LevelFilter::Info);
    let arguments = cli::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::run(arguments, environment(), now)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", host::error::report(&*error));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Every variable that is text.
fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

#[allow(clippy::disallowed_methods)]
fn log_target() -> host::log::Target {
    host::log::Target::stderr(std::env::var("JOURNAL_STREAM").ok().as_deref())
}
