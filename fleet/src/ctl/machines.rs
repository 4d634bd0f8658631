//! `drain`, `cordon`, `uncordon`, `brake`.

use std::thread;
use std::time::{Duration, Instant};

use super::arguments::{Brake, BrakeVerb, Cordon, Drain};
use super::cluster::{Cluster, short};
use super::error::{CtlError, other};
use super::screen::{ago, note, now, say};
use crate::api::types::{CordonRequest, MachineDetail};

/// How often it is looked whether a machine is empty.
const INTERVAL: Duration = Duration::from_millis(500);

/// Moves everything away from a machine. Waiting longer than allowed is a failure; the machine
/// goes on being drained.
pub(super) fn drain(cluster: &Cluster, drain: &Drain, user: &str) -> Result<u8, CtlError> {
    let request = CordonRequest { by: user.to_string(), reason: drain.reason.clone(), drain: true };
    let machine = cluster.cordon(&drain.machine, &request)?;
    if !drain.wait {
        say(&format!("Draining {}\n", cluster.legend(&machine.id, false)));
        return Ok(0);
    }
    let started = Instant::now();
    let mut last = usize::MAX;
    loop {
        // A daemon that restarts or an etcd that is away must not end a drain.
        let seen = cluster.machine(&machine.id);
        if let Ok(Some(detail)) = &seen {
            if detail.drained {
                say(&format!("Drained {}\n", cluster.legend(&machine.id, false)));
                return Ok(0);
            }
            let left = running(detail);
            if left.len() != last {
                last = left.len();
                note(&format!("{} units left: {}", left.len(), left.join(" ")));
            }
        }
        if started.elapsed() >= Duration::from_secs(drain.timeout) {
            seen?;
            return Err(other(format!(
                "timed out draining {}: {last} units are left; it goes on being drained",
                short(&machine.id, false)
            )));
        }
        thread::sleep(INTERVAL);
    }
}

fn running(machine: &MachineDetail) -> Vec<&str> {
    machine.units.iter().map(|unit| unit.name.as_str()).collect()
}

pub(super) fn cordon(cluster: &Cluster, cordon: &Cordon, user: &str) -> Result<u8, CtlError> {
    let request =
        CordonRequest { by: user.to_string(), reason: cordon.reason.clone(), drain: false };
    let machine = cluster.cordon(&cordon.machine, &request)?;
    say(&format!("Closed {}\n", cluster.legend(&machine.id, false)));
    Ok(0)
}

pub(super) fn uncordon(cluster: &Cluster, prefix: &str) -> Result<u8, CtlError> {
    let machine = cluster.machine(prefix)?;
    let machine = machine.ok_or_else(|| other(format!("no machine's id begins with {prefix}")))?;
    if machine.cordon.is_none() {
        note(&format!("{} is open already", cluster.legend(&machine.id, false)));
        return Ok(0);
    }
    cluster.uncordon(&machine.id)?;
    say(&format!("Opened {}\n", cluster.legend(&machine.id, false)));
    Ok(0)
}

pub(super) fn brake(cluster: &Cluster, brake: &Brake) -> Result<u8, CtlError> {
    let Some(held) = cluster.cluster()?.brake else {
        say("The brake is open: units of missing machines move.\n");
        return Ok(0);
    };
    let machines: Vec<_> =
        held.machines.iter().map(|machine| cluster.legend(machine, false)).collect();
    match brake.verb {
        None => say(&format!(
            "Nothing moves: {} machines went missing at once, {} ago: {}\n\
             It ends when they are back, or with fleetctl brake release.\n",
            machines.len(),
            ago(now(), held.since),
            machines.join(", "),
        )),
        Some(BrakeVerb::Release) => {
            cluster.release_brake()?;
            say(&format!("Released: the units of {} move now.\n", machines.join(", ")));
        }
    }
    Ok(0)
}
