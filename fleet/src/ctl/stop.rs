//! `stop`, `unload`, `destroy`.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::Stop;
use super::cluster::{Cluster, is_global};
use super::error::{CtlError, other};
use super::screen::{note, say};
use super::source::Typed;
use super::wait::{Goal, limit, wait};
use crate::api::types::Unit;

/// How often it is looked whether something has stopped.
const INTERVAL: Duration = Duration::from_millis(250);

pub(super) fn stop(cluster: &Cluster, stop: &Stop) -> Result<u8, CtlError> {
    let mut waiting = Vec::new();
    for unit in find(cluster, &stop.units)? {
        let name = &unit.name;
        let global = is_global(&unit);
        match unit.current_state.as_deref() {
            Some("loaded") if !global => continue,
            Some("launched") => {}
            _ if global => {}
            _ if unit.desired_state.as_deref() != Some("inactive") => {}
            _ => {
                note(&format!("Unable to stop unit {name} in state inactive"));
                return Ok(1);
            }
        }
        cluster.set_state(name, "loaded")?;
        if global {
            say(&format!("Triggered global unit {name} stop\n"));
        } else {
            waiting.push(name.clone());
        }
    }
    if stop.units.is_empty() {
        return Ok(0);
    }
    wait(cluster, &waiting, "stop", Goal::Loaded, &stop.wait)?;
    note(&format!("Successfully stopped units [{}].", waiting.join(" ")));
    Ok(0)
}

pub(super) fn unload(cluster: &Cluster, stop: &Stop) -> Result<u8, CtlError> {
    let mut waiting = Vec::new();
    for unit in find(cluster, &stop.units)? {
        let name = &unit.name;
        if unit.desired_state.as_deref() == Some("inactive") && !is_global(&unit) {
            continue;
        }
        cluster.set_state(name, "inactive")?;
        if is_global(&unit) {
            say(&format!("Triggered global unit {name} unload\n"));
        } else {
            waiting.push(name.clone());
        }
    }
    if stop.units.is_empty() {
        return Ok(0);
    }
    wait(cluster, &waiting, "unload", Goal::Inactive, &stop.wait)?;
    note(&format!("Successfully unloaded units [{}].", waiting.join(" ")));
    Ok(0)
}

/// Forgets units. Only with a limit it is waited until they have stopped: a machine that is cut
/// off stops them when it is back.
pub(super) fn destroy(cluster: &Cluster, stop: &Stop) -> Result<u8, CtlError> {
    let units = find(cluster, &stop.units)?;
    for unit in &units {
        match cluster.destroy(&unit.name) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => say(&format!("Destroyed {}\n", unit.name)),
        }
    }
    if let Some(Some(limit)) = limit(&stop.wait) {
        for unit in &units {
            still_running(cluster, &unit.name, Some(limit))?;
        }
    }
    Ok(0)
}

/// The units of these names that the cluster knows, in the order in which they were typed. Says
/// so if there is none; that is no failure.
pub(super) fn find(cluster: &Cluster, typed: &[String]) -> Result<Vec<Unit>, CtlError> {
    if typed.is_empty() {
        note("No units given");
        return Ok(Vec::new());
    }
    let names: Vec<_> = typed.iter().map(|typed| Typed::read(typed)).collect::<Result<_, _>>()?;
    let mut known: BTreeMap<String, Unit> =
        cluster.units()?.into_iter().map(|unit| (unit.name.clone(), unit)).collect();
    let mut found = Vec::new();
    for Typed { name, .. } in &names {
        match known.remove(name.as_str()) {
            Some(unit) => found.push(unit),
            None if names.len() > 1 => note(&format!("Unit {name} not found in registry")),
            None => {}
        }
    }
    if found.is_empty() {
        note("Units not found in registry");
    }
    Ok(found)
}

/// Waits until no machine runs the unit any more.
pub(super) fn still_running(
    cluster: &Cluster,
    unit: &str,
    limit: Option<Duration>,
) -> Result<(), CtlError> {
    let started = Instant::now();
    loop {
        let states = cluster.states_of(unit)?;
        let running =
            |state: &str| matches!(state, "active" | "activating" | "deactivating" | "reloading");
        let Some(state) = states.iter().find(|state| running(&state.systemd_active_state)) else {
            return Ok(());
        };
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Err(other(format!(
                "timed out waiting for unit {unit} to stop on {}",
                cluster.legend(&state.machine_id, false)
            )));
        }
        thread::sleep(INTERVAL);
    }
}
