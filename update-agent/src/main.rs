//! `update-agent`: checks for releases, writes them beside the running one, and sees them prove
//! themselves.
// The one place that reads the process's surroundings: arguments, clock, signals.
#![allow(clippy::disallowed_methods)]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use host::log::{Target, init};
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use update_agent::cli;
use update_agent::service::Outside;

fn main() -> ExitCode {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    init("update-agent", Target::stderr(stream.as_deref()), LevelFilter::Info);
    let (stop, wake) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for (signal, set) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &wake), (SIGUSR1, &wake)] {
        if let Err(error) = flag::register(signal, Arc::clone(set)) {
            log::warn!("cannot wait for signal {signal}: {error}");
        }
    }
    let words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let random = RandomState::new().build_hasher().finish();
    cli::run(&words, Outside { now: || SystemTime::now().into(), stop: &stop, wake: &wake, random })
}
