//! Rolling updates: how far they are, stopping them, going back.

use std::collections::BTreeMap;

use cluster::Txn;
use hyper::StatusCode;

use super::super::http::{Answer, Refusal, empty, json};
use super::Context;
use crate::api::types::RolloutStatus;
use crate::model::{Key, Rollout, UnitRecord, World};
use crate::unit::group;

pub(super) async fn list(context: &Context) -> Result<Answer, Refusal> {
    let world = context.store.world().await?;
    let mut groups: BTreeMap<String, RolloutStatus> = BTreeMap::new();
    for host in world.machines.values() {
        for (unit, order) in &host.orders {
            let Some(record) = world.units.get(unit) else { continue };
            let group = group(unit);
            let paused = world.rollouts.get(&group).is_some_and(|rollout| rollout.paused);
            let status = groups.entry(group.clone()).or_insert(RolloutStatus {
                group,
                updated: 0,
                total: 0,
                paused,
            });
            status.total += 1;
            status.updated += usize::from(order.version == record.version);
        }
    }
    for (unit, order) in &world.globals {
        let paused = world.rollouts.get(unit).is_some_and(|rollout| rollout.paused);
        let all = world.machines.values().filter(|host| host.states.contains_key(unit)).count();
        let updated = order.updated.as_ref().map_or(all, std::collections::BTreeSet::len);
        groups.insert(
            unit.clone(),
            RolloutStatus { group: unit.clone(), updated, total: all, paused },
        );
    }
    let open: Vec<RolloutStatus> = groups
        .into_values()
        .filter(|status| status.paused || status.updated < status.total)
        .collect();
    Ok(json(StatusCode::OK, &open))
}

pub(super) async fn change(context: &Context, name: &str, verb: &str) -> Result<Answer, Refusal> {
    let store = &context.store;
    let group = group(name);
    let path = store.path(&Key::Rollout(group.clone()));
    match verb {
        "pause" => {
            let rollout = Rollout { paused: true, reason: "by hand".to_string() };
            let value = serde_json::to_vec(&rollout).unwrap_or_default();
            store.client.put(&path, value).await?;
        }
        "resume" => drop(store.client.delete(&path).await?),
        "undo" => undo(context, &group).await?,
        _ => {
            return Err(Refusal::missing(format!(
                "a rollout is paused, resumed or undone, not `{verb}`"
            )));
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Every unit of the group gets back the version it had before.
async fn undo(context: &Context, wanted: &str) -> Result<(), Refusal> {
    let store = &context.store;
    let listing = store.client.list(&store.keys.below("units/")).await?;
    let mut undone = 0;
    for entry in &listing.entries {
        let mut world = World::default();
        let Some(Key::Unit(name)) = store.keys.parse(&entry.key) else { continue };
        if group(&name) != wanted {
            continue;
        }
        let _ = world.set(&Key::Unit(name.clone()), Some(&entry.value));
        let Some(record) = world.units.remove(&name) else { continue };
        let Some(previous) = record.previous else { continue };
        let new = UnitRecord {
            body: previous.body,
            x_fleet: previous.x_fleet,
            version: record.version + 1,
            previous: None,
            desired: record.desired,
        };
        let value = serde_json::to_vec(&new).unwrap_or_default();
        let done = store.client.commit(Txn::new().unchanged(entry).put(&entry.key, value)).await?;
        undone += usize::from(done.done);
    }
    if undone == 0 {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            format!("no unit of {wanted} has a version before"),
        ));
    }
    Ok(())
}
