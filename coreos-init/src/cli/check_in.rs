//! `check-in`: tells the platform that this machine is ready, where it wants to be told.

use std::fs;
use std::path::Path;
use std::time::Duration;

use host::error::chain;

use super::{Streams, Verdict};
use crate::report::{REPORT, Report, Status};
use crate::source::{Platform, platform_of};
use crate::wireserver::{self, Health};

/// How long it is tried. Azure gives up on a new machine after twenty minutes or more.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

pub(super) fn run(root: &Path, streams: &mut Streams<'_>) -> Verdict {
    let command_line = fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default();
    if platform_of(&command_line, &root.join("sys")) != Some(Platform::Azure) {
        streams.say("this platform does not want to be told");
        return Verdict::Yes;
    }
    let report = match Report::read(&root.join(REPORT.trim_start_matches('/'))) {
        Ok(report) => report,
        Err(error) => {
            streams.fail(&error);
            return Verdict::None;
        }
    };
    let health = health(&report);
    match wireserver::report(wireserver::ADDRESS, &health, DEADLINE) {
        Ok(()) => {
            streams.say(match health {
                Health::Ready => "Azure was told that this machine is ready".to_owned(),
                Health::NotReady(why) => format!("Azure was told that this machine failed: {why}"),
            });
            Verdict::Yes
        }
        Err(error) => {
            streams.warn(format_args!("error: Azure was not told: {}", chain(&error)));
            Verdict::No
        }
    }
}

/// What is told of a machine. One without a configuration is as its owner left it.
fn health(report: &Report) -> Health {
    match report.status {
        Status::Provisioned | Status::Unconfigured => Health::Ready,
        Status::Degraded => Health::NotReady(report.trouble().join("; ")),
    }
}
