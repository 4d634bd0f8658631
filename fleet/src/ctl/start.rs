//! `load`, `start`, `restart`.

use super::arguments::{Change, Stop};
use super::cluster::{Cluster, is_global};
use super::error::{CtlError, other};
use super::screen::{note, say};
use super::stop::{find, still_running};
use super::submit::{self, For, Known};
use super::wait::{Goal, limit, wait};
use crate::api::types::Unit;

pub(super) fn load(cluster: &Cluster, change: &Change) -> Result<u8, CtlError> {
    let known = submit::ensure(cluster, &change.submit, For::Load)?;
    let waiting = trigger(cluster, &known, "loaded", "load")?;
    wait(cluster, &waiting, "load", Goal::Loaded, &change.wait)?;
    Ok(0)
}

pub(super) fn start(cluster: &Cluster, change: &Change) -> Result<u8, CtlError> {
    let known = submit::ensure(cluster, &change.submit, For::Start)?;
    let waiting = trigger(cluster, &known, "launched", "start")?;
    wait(cluster, &waiting, "start", Goal::Launched, &change.wait)?;
    Ok(0)
}

/// Changes what the units should be, and returns those that are worth waiting for: neither
/// global nor what they should be already.
fn trigger(
    cluster: &Cluster,
    known: &[Known],
    desired: &str,
    verb: &str,
) -> Result<Vec<String>, CtlError> {
    let mut waiting = Vec::new();
    for Known { name, replaced } in known {
        let name = name.as_str();
        let unit = one(cluster, name)?;
        if unit.desired_state.as_deref() == Some(desired) && !replaced {
            hint_at_failure(cluster, &unit)?;
            continue;
        }
        cluster.set_state(name, desired)?;
        if is_global(&unit) {
            say(&format!("Triggered global unit {name} {verb}\n"));
        } else {
            waiting.push(name.to_string());
        }
    }
    Ok(waiting)
}

/// Starting a unit that was started and has failed does nothing; that is worth a word.
fn hint_at_failure(cluster: &Cluster, unit: &Unit) -> Result<(), CtlError> {
    let states = cluster.states_of(&unit.name)?;
    if unit.desired_state.as_deref() == Some("launched")
        && states.iter().any(|state| state.systemd_active_state == "failed")
    {
        let name = &unit.name;
        note(&format!("Unit {name} was started before and has failed: fleetctl restart {name}"));
    }
    Ok(())
}

/// Stops units, waits until they have stopped, and starts them again. A global one stops and
/// starts on all machines at once.
pub(super) fn restart(cluster: &Cluster, stop: &Stop) -> Result<u8, CtlError> {
    let mut starting = Vec::new();
    for unit in find(cluster, &stop.units)? {
        let name = &unit.name;
        match unit.desired_state.as_deref() {
            Some("launched") => {
                cluster.set_state(name, "loaded")?;
                // Not to wait for the start is possible, not to wait for the stop is not: it
                // would not happen at all.
                let stopped = still_running(cluster, name, limit(&stop.wait).flatten());
                let put_back = cluster.set_state(name, "launched");
                stopped?;
                put_back?;
            }
            Some("loaded") => cluster.set_state(name, "launched")?,
            _ => {
                note(&format!("Unable to restart unit {name} in state inactive"));
                continue;
            }
        }
        if is_global(&unit) {
            say(&format!("Triggered global unit {name} restart\n"));
        } else {
            starting.push(name.clone());
        }
    }
    wait(cluster, &starting, "restart", Goal::Launched, &stop.wait)?;
    Ok(0)
}

fn one(cluster: &Cluster, name: &str) -> Result<Unit, CtlError> {
    cluster.unit(name)?.ok_or_else(|| other(format!("unable to find unit {name}")))
}
