//! `status`, `cat`, `verify`.

use super::cluster::{Cluster, is_global};
use super::error::{CtlError, other};
use super::screen::{note, say};
use super::source::{self, Typed};
use crate::api::types::Unit;

/// What `systemctl status` returns for a unit that does not run.
const NOT_RUNNING: u8 = 3;

/// What the machines' systemd says. A global unit is shown for every machine.
pub(super) fn status(cluster: &Cluster, units: &[String]) -> Result<u8, CtlError> {
    let mut code = 0;
    let mut first = true;
    for typed in units {
        let unit = known(cluster, typed)?;
        let states = cluster.states_of(&unit.name)?;
        if unit.machine_id.is_empty() && states.is_empty() {
            note(&format!("Unit {} does not appear to be loaded.", unit.name));
            hint(cluster, &unit)?;
            return Ok(1);
        }
        let mut machines: Vec<&str> =
            states.iter().map(|state| state.machine_id.as_str()).collect();
        if machines.is_empty() {
            machines.push(&unit.machine_id);
        }
        for machine in machines {
            if !std::mem::take(&mut first) {
                say("\n");
            }
            if is_global(&unit) {
                say(&format!("Machine {}:\n", cluster.legend(machine, false)));
            }
            say(&cluster.status(&unit.name, Some(machine))?);
        }
        if !states.iter().any(|state| state.systemd_active_state == "active") {
            code = NOT_RUNNING;
        }
    }
    if units.is_empty() {
        note("No units given");
    }
    Ok(code)
}

/// Why it is not on a machine.
fn hint(cluster: &Cluster, unit: &Unit) -> Result<(), CtlError> {
    if unit.desired_state.as_deref() != Some("inactive")
        && let Some(why) = cluster.why(&unit.name)?
    {
        note(&why.verdict);
    }
    Ok(())
}

pub(super) fn cat(cluster: &Cluster, units: &[String]) -> Result<u8, CtlError> {
    let [typed] = units else { return Err(other("One unit file must be provided")) };
    let unit = known(cluster, typed)?;
    say(unit.body.as_deref().unwrap_or_default());
    Ok(0)
}

/// Whether the file here is what the cluster knows.
pub(super) fn verify(cluster: &Cluster, units: &[String]) -> Result<u8, CtlError> {
    let [typed] = units else { return Err(other("One unit file must be provided")) };
    let unit = known(cluster, typed)?;
    match Typed::read(typed)?.local()? {
        Some(text) if unit.body.as_ref() == Some(&text.bytes) => {
            say(&format!("Unit {} is the same as {}\n", unit.name, text.origin));
            Ok(0)
        }
        Some(text) => {
            note(&source::differs(&unit.name, Some(&text)));
            Ok(1)
        }
        None => Err(other(format!("there is no file {typed} to compare with"))),
    }
}

/// A unit that the cluster knows.
pub(super) fn known(cluster: &Cluster, typed: &str) -> Result<Unit, CtlError> {
    let Typed { name, .. } = Typed::read(typed)?;
    let unit = cluster.unit(name.as_str())?;
    unit.ok_or_else(|| other(format!("Unit {name} not found")))
}
