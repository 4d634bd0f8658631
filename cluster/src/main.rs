//! `cluster`: forms clusters of etcd, and lets their machines take turns at rebooting.

mod cli;

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
    match runtime.block_on(cli::run(arguments, now)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  caused by: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[allow(clippy::disallowed_methods)]
fn log_target() -> host::log::Target {
    host::log::Target::stderr(std::env::var("JOURNAL_STREAM").ok().as_deref())
}
