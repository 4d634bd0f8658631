//! From power-on to a machine that is as its config asks.

use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::report::{PATH, Report};
use crate::stages::{Stage, stages};

/// Prints the report once the unit that completes it has done its part; one
/// connection waits in the machine, because each costs an emulated one dear.
const SCRIPT: &str = "\
    until systemctl show --property=ActiveState --value coreos-init.service | \
          grep -qE '^(active|failed)$'; do sleep 0.2; done; sudo -n cat ";

/// A machine that has come up.
#[derive(Clone, Debug)]
pub struct Provisioned {
    /// What it says of itself.
    pub report: Report,
    /// When it said so, counted from power-on.
    pub at: Duration,
    /// What took how long.
    pub stages: Vec<Stage>,
}

/// Waits until somebody can log in to `machine` and its report is complete.
pub fn wait(machine: &Machine, limit: Duration) -> Result<Provisioned> {
    let deadline = Deadline::after(limit);
    let login = machine.log_in(limit)?;
    let script = format!("{SCRIPT}{PATH}");
    let output = machine.run(&script, deadline.left())?;
    let at = machine.uptime();
    let printed = String::from_utf8_lossy(&output.stdout);
    let Some(report) = Report::parse(&printed) else {
        let message = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
        return Err(Error::NoReport { path: PATH, message: message.trim().to_owned() });
    };
    let stages = stages(&machine.console().lines(), login, at);
    Ok(Provisioned { report, at, stages })
}
