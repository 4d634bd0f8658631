//! `list-machines`, `list-units`, `list-unit-files`.

use serde::Serialize;

use super::arguments::{List, Output};
use super::cluster::{Cluster, is_global, short};
use super::error::{CtlError, other};
use super::screen::{note, say};
use super::table::Table;
use crate::api::types::{Machine, Unit, UnitState};

/// The characters of a digest that people see.
const SHORT_HASH: usize = 7;

/// A column: its name, and what it shows of an entry. The flag is whether nothing is shortened.
type Column<T> = (&'static str, fn(&Cluster, &T, bool) -> String);

const MACHINE: [Column<Machine>; 4] = [
    ("machine", |_, machine, full| short(&machine.id, full)),
    ("ip", |_, machine, _| or_dash(&machine.primary_ip)),
    ("metadata", |_, machine, _| {
        let pairs: Vec<_> =
            machine.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        or_dash(&pairs.join(","))
    }),
    ("cordon", |_, machine, _| {
        machine.cordon.as_ref().map_or_else(|| "-".to_string(), |cordon| cordon.reason.clone())
    }),
];

const STATE: [Column<UnitState>; 7] = [
    ("unit", |_, state, _| state.name.clone()),
    ("machine", |cluster, state, full| match state.machine_id.as_str() {
        "" => "-".to_string(),
        id => cluster.legend(id, full),
    }),
    ("active", |_, state, _| state.systemd_active_state.clone()),
    ("sub", |_, state, _| state.systemd_sub_state.clone()),
    ("load", |_, state, _| state.systemd_load_state.clone()),
    ("hash", |_, state, full| hash(&state.hash, full)),
    ("healthy", |_, state, _| {
        state.healthy.map_or("-", |healthy| if healthy { "yes" } else { "no" }).to_string()
    }),
];

const FILE: [Column<Unit>; 8] = [
    ("unit", |_, unit, _| unit.name.clone()),
    ("hash", |_, unit, full| hash(&unit.hash, full)),
    ("dstate", |_, unit, _| or_dash(unit.desired_state.as_deref().unwrap_or_default())),
    ("state", |_, unit, _| match unit.current_state.as_deref() {
        Some(state) if !is_global(unit) => or_dash(state),
        _ => "-".to_string(),
    }),
    ("target", target),
    ("tmachine", target),
    ("global", |_, unit, _| is_global(unit).to_string()),
    ("desc", |_, unit, _| {
        let options = unit.options.iter();
        let mut texts = options.filter(|o| o.section == "Unit" && o.name == "Description");
        or_dash(texts.next().map_or("", |option| option.value.as_str()))
    }),
];

pub(super) fn machines(cluster: &Cluster, list: &List) -> Result<u8, CtlError> {
    let columns = pick(&MACHINE, list, "machine,ip,metadata")?;
    show(cluster, list, &columns, &cluster.machines()?)
}

pub(super) fn units(cluster: &Cluster, list: &List) -> Result<u8, CtlError> {
    let columns = pick(&STATE, list, "unit,machine,active,sub")?;
    show(cluster, list, &columns, &cluster.states()?)
}

pub(super) fn unit_files(cluster: &Cluster, list: &List) -> Result<u8, CtlError> {
    let columns = pick(&FILE, list, "unit,hash,dstate,state,target")?;
    if columns.iter().any(|(name, _)| *name == "tmachine") {
        note("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
    }
    show(cluster, list, &columns, &cluster.units()?)
}

fn pick<T>(all: &[Column<T>], list: &List, default: &str) -> Result<Vec<Column<T>>, CtlError> {
    let wanted = list.fields.as_deref().unwrap_or(default);
    if wanted.is_empty() {
        return Err(other("Must define output format: --fields is empty"));
    }
    wanted
        .split(',')
        .map(|name| {
            let column = all.iter().find(|(known, _)| *known == name).copied();
            column.ok_or_else(|| {
                let known: Vec<_> = all.iter().map(|(name, _)| *name).collect();
                other(format!(
                    "Invalid key in output format: {name:?}; there are {}",
                    known.join(", ")
                ))
            })
        })
        .collect()
}

fn show<T: Serialize>(
    cluster: &Cluster,
    list: &List,
    columns: &[Column<T>],
    entries: &[T],
) -> Result<u8, CtlError> {
    if list.output == Output::Json {
        say(&json(&entries)?);
        return Ok(0);
    }
    let mut table = Table::default();
    if !list.no_legend {
        table.row(columns.iter().map(|(name, _)| name.to_uppercase()).collect());
    }
    for entry in entries {
        table.row(columns.iter().map(|(_, cell)| cell(cluster, entry, list.full)).collect());
    }
    say(&table.text());
    Ok(0)
}

/// A value as a program reads it, with a line end.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, CtlError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| other(error.to_string()))?;
    Ok(text + "\n")
}

fn target(cluster: &Cluster, unit: &Unit, full: bool) -> String {
    match unit.machine_id.as_str() {
        _ if is_global(unit) => "global".to_string(),
        "" => "-".to_string(),
        id => cluster.legend(id, full),
    }
}

fn hash(hash: &str, full: bool) -> String {
    match hash.get(..SHORT_HASH) {
        Some(beginning) if !full => beginning.to_string(),
        _ => or_dash(hash),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_string() } else { text.to_string() }
}
