//! Machines: their metadata, and closing and draining them.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;

use super::super::http::{Answer, Refusal, empty, json, read};
use super::Context;
use super::fleet::states_on;
use crate::api::types::{CordonRequest, MachineDetail};
use crate::model::{Cordon, CordonPhase, Key, World};

/// One change of metadata: JSON Patch, as far as fleet took it.
#[derive(Debug, Deserialize)]
struct Change {
    op: String,
    path: String,
    #[serde(default)]
    value: Option<Value>,
}

/// A value as fleet's own client wrote it, or plainly.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Plain(String),
    Wrapped { value: String },
}

pub(super) async fn patch(
    context: &Context,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let changes: Vec<Change> = read(request).await?;
    let mut keys = Vec::new();
    for change in &changes {
        if !["add", "remove", "replace"].contains(&change.op.as_str()) {
            return Err(Refusal::bad("invalid op: expect add, remove, or replace"));
        }
        let parts: Vec<&str> = change.path.split('/').collect();
        let named = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let ["", machine, "metadata", key] = parts[..] else {
            return Err(Refusal::bad("machine metadata path invalid"));
        };
        if machine.is_empty() || key.is_empty() || !key.chars().all(named) {
            return Err(Refusal::bad("machine metadata path invalid"));
        }
        let value = match &change.value {
            Some(Value::Plain(value) | Value::Wrapped { value }) => value.clone(),
            None => String::new(),
        };
        if change.op != "remove" && value.is_empty() {
            return Err(Refusal::bad("invalid value: add and replace require a value"));
        }
        // An empty value hides what the machine itself says.
        let value = if change.op == "remove" { String::new() } else { value };
        keys.push((Key::Meta(machine.to_string(), key.to_string()), value));
    }
    for (key, value) in keys {
        context.store.client.put(&context.store.path(&key), value).await?;
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// The machine whose id begins so.
pub(super) fn find<'w>(world: &'w World, id: &str) -> Result<&'w str, Refusal> {
    let mut matching = world.machines.iter().filter(|(known, host)| {
        known.starts_with(id) && (host.info.is_some() || !host.orders.is_empty())
    });
    match (matching.next(), matching.next()) {
        (Some((id, _)), None) => Ok(id),
        (None, _) => Err(Refusal::missing(format!("there is no machine {id}"))),
        _ => Err(Refusal::bad(format!("several machines have ids that start with {id}"))),
    }
}

pub(super) async fn detail(context: &Context, id: &str) -> Result<MachineDetail, Refusal> {
    let mut world = World::default();
    for kind in ["machines/", "sched/", "state/"] {
        context.store.read(kind, &mut world).await?;
    }
    let id = find(&world, id)?.to_string();
    let host = &world.machines[&id];
    let units = states_on(&world, &id);
    let stopping = host.cordon.as_ref().is_some_and(|cordon| cordon.phase == CordonPhase::Stopping);
    let still = units
        .iter()
        .any(|unit| !matches!(unit.systemd_active_state.as_str(), "inactive" | "failed"));
    Ok(MachineDetail {
        present: host.info.is_some(),
        ip: host.info.as_ref().map(|info| info.ip.clone()).unwrap_or_default(),
        cordon: host.cordon.clone(),
        drained: stopping && !still,
        units,
        id,
    })
}

pub(super) async fn cordon(
    context: &Context,
    id: &str,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let asked: CordonRequest = read(request).await?;
    let mut machine = detail(context, id).await?;
    let wanted = if asked.drain { CordonPhase::Moving } else { CordonPhase::Closed };
    if machine.cordon.as_ref().is_none_or(|cordon| cordon.phase < wanted) {
        let since = context.clock.moment().wall / 1000;
        let cordon = Cordon { by: asked.by, reason: asked.reason, since, phase: wanted };
        let value = serde_json::to_vec(&cordon).map_err(|error| Refusal::bad(error.to_string()))?;
        let key = Key::Cordon(machine.id.clone());
        context.store.client.put(&context.store.path(&key), value).await?;
        machine.cordon = Some(cordon);
    }
    Ok(json(StatusCode::OK, &machine))
}

pub(super) async fn uncordon(context: &Context, id: &str) -> Result<Answer, Refusal> {
    let mut world = World::default();
    for kind in ["machines/", "sched/"] {
        context.store.read(kind, &mut world).await?;
    }
    let key = Key::Cordon(find(&world, id)?.to_string());
    context.store.client.delete(&context.store.path(&key)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
