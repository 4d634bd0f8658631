//! Lists.

use std::collections::BTreeMap;

use super::{Context, Failure, short, table};
use crate::api::types::Machine;
use crate::unit::{Requirements, UnitFile};

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_string() } else { text.to_string() }
}

/// `MACHINE IP METADATA`.
pub fn list_machines(context: &mut Context<'_>, full: bool, legend: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    if legend {
        rows.push(["MACHINE", "IP", "METADATA"].map(str::to_string).to_vec());
    }
    for machine in context.client.machines()? {
        let id = if full { machine.id.clone() } else { format!("{}...", short(&machine.id)) };
        let metadata: Vec<String> =
            machine.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        rows.push(vec![id, or_dash(&machine.primary_ip), or_dash(&metadata.join(","))]);
    }
    Ok(table(context.out, &rows)?)
}

fn place(machines: &BTreeMap<String, Machine>, id: &str, full: bool) -> String {
    if id.is_empty() {
        return "-".to_string();
    }
    let shown = if full { id.to_string() } else { format!("{}...", short(id)) };
    match machines.get(id).map(|machine| machine.primary_ip.as_str()).filter(|ip| !ip.is_empty()) {
        Some(ip) => format!("{shown}/{ip}"),
        None => shown,
    }
}

fn machines(context: &Context<'_>) -> Result<BTreeMap<String, Machine>, Failure> {
    Ok(context
        .client
        .machines()?
        .into_iter()
        .map(|machine| (machine.id.clone(), machine))
        .collect())
}

/// `UNIT MACHINE ACTIVE SUB`.
pub fn list_units(context: &mut Context<'_>, full: bool, legend: bool) -> Result<(), Failure> {
    let machines = machines(context)?;
    let mut rows = Vec::new();
    if legend {
        rows.push(["UNIT", "MACHINE", "ACTIVE", "SUB"].map(str::to_string).to_vec());
    }
    for state in context.client.states()? {
        let machine = place(&machines, &state.machine_id, full);
        rows.push(vec![
            state.name,
            machine,
            or_dash(&state.systemd_active_state),
            or_dash(&state.systemd_sub_state),
        ]);
    }
    Ok(table(context.out, &rows)?)
}

/// `UNIT HASH DSTATE STATE TARGET`.
pub fn list_unit_files(context: &mut Context<'_>, full: bool, legend: bool) -> Result<(), Failure> {
    let machines = machines(context)?;
    let mut rows = Vec::new();
    if legend {
        rows.push(["UNIT", "HASH", "DSTATE", "STATE", "TARGET"].map(str::to_string).to_vec());
    }
    for unit in context.client.units()? {
        let options =
            unit.options.iter().map(|o| (o.section.as_str(), o.name.as_str(), o.value.as_str()));
        let file = UnitFile::from_options(options);
        let global = Requirements::read(&unit.name, &file, crate::unit::Mode::Lenient).0.global;
        let hash = if full {
            unit.hash.clone()
        } else {
            unit.hash.get(..7).unwrap_or_default().to_string()
        };
        let (state, target) = match global {
            true => ("-".to_string(), "global".to_string()),
            false => {
                (unit.current_state.unwrap_or_default(), place(&machines, &unit.machine_id, full))
            }
        };
        rows.push(vec![
            unit.name,
            hash,
            unit.desired_state.unwrap_or_default(),
            or_dash(&state),
            target,
        ]);
    }
    Ok(table(context.out, &rows)?)
}
