//! `submit`, and what `load` and `start` do first: see that the cluster knows the units.

use super::arguments::Submit;
use super::cluster::Cluster;
use super::error::CtlError;
use super::screen::{note, say};
use super::source::{self, Text, Typed};
use crate::api::types::Unit;
use crate::model::Desired;
use crate::unit::UnitName;

/// The command that submits; it decides in which states a unit may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum For {
    Submit,
    Load,
    Start,
}

/// What became of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The unit.
    pub(super) name: UnitName,
    /// Its file has just been replaced.
    pub(super) replaced: bool,
}

pub(super) fn run(cluster: &Cluster, submit: &Submit) -> Result<u8, CtlError> {
    ensure(cluster, submit, For::Submit)?;
    Ok(0)
}

/// Sees that the cluster knows every unit that was typed, with the files as far as they are
/// asked for. Units before the first failing one stay submitted.
pub(super) fn ensure(
    cluster: &Cluster,
    submit: &Submit,
    command: For,
) -> Result<Vec<Known>, CtlError> {
    if submit.sign {
        return Err(CtlError::Gone {
            what: "--sign".to_string(),
            instead: "units are not signed; leave the flag out".to_string(),
        });
    }
    if submit.units.is_empty() {
        note("No units given");
    }
    // A slip of the finger in the last one must not leave the others behind half done.
    let typed: Vec<Typed> =
        submit.units.iter().map(|unit| Typed::read(unit)).collect::<Result<_, _>>()?;
    let mut known = Vec::new();
    for typed in typed {
        let replaced = match cluster.unit(typed.name.as_str())? {
            None => {
                let text = typed.find(cluster)?;
                create(cluster, submit, &typed.name, text)?;
                false
            }
            Some(unit) => replace(cluster, submit, command, &typed, &unit)?,
        };
        known.push(Known { name: typed.name, replaced });
    }
    Ok(known)
}

fn create(cluster: &Cluster, submit: &Submit, name: &UnitName, text: Text) -> Result<(), CtlError> {
    warn(source::check(name, &text, submit.lenient)?);
    put(cluster, submit, name, text.bytes, Desired::Inactive)?;
    say(&format!("Unit {name} inactive\n"));
    Ok(())
}

/// Gives a unit that the cluster knows the file that is here, if that is wanted and allowed.
fn replace(
    cluster: &Cluster,
    submit: &Submit,
    command: For,
    typed: &Typed,
    unit: &Unit,
) -> Result<bool, CtlError> {
    let name = &typed.name;
    let Some(text) = typed.local()? else { return Ok(false) };
    if unit.body.as_ref() == Some(&text.bytes) {
        if submit.replace {
            say(&format!("Found same Unit({name}) in Registry, nothing to do\n"));
        }
        return Ok(false);
    }
    if !submit.replace {
        note(&source::differs(name.as_str(), Some(&text)));
        return Ok(false);
    }
    let desired: Desired =
        unit.desired_state.as_deref().unwrap_or_default().parse().unwrap_or(Desired::Inactive);
    let most = match command {
        For::Submit => Desired::Inactive,
        For::Load => Desired::Loaded,
        For::Start => Desired::Launched,
    };
    if desired > most {
        note(&format!(
            "Warning: can not replace Unit({name}) in state '{desired}', use the appropriate command"
        ));
        return Ok(false);
    }
    warn(source::check(name, &text, submit.lenient)?);
    put(cluster, submit, name, text.bytes, desired)?;
    Ok(true)
}

fn put(
    cluster: &Cluster,
    submit: &Submit,
    name: &UnitName,
    body: String,
    desired: Desired,
) -> Result<(), CtlError> {
    let unit = Unit {
        name: name.to_string(),
        body: Some(body),
        desired_state: Some(desired.to_string()),
        lenient: submit.lenient,
        ..Unit::default()
    };
    Ok(cluster.put_unit(&unit)?)
}

fn warn(lines: Vec<String>) {
    for line in lines {
        note(&line);
    }
}
