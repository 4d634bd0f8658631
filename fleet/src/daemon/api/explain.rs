//! Why things are as they are, and what would be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::super::http::{Answer, Refusal, empty, json, read};
use super::Context;
use super::submit::{check, file_of};
use crate::api::types::{ClusterStatus, Place, Plan, PlanRequest, PlannedUnit, Why};
use crate::model::{Desired, Event, Key, OrderKind, World};
use crate::place::{Job, nearest, reports};
use crate::unit::UnitName;

pub(super) async fn why(context: &Context, name: &str) -> Result<Why, Refusal> {
    let world = context.store.world().await?;
    let Some(record) = world.units.get(name) else {
        return Err(Refusal::missing("unit does not exist"));
    };
    let jobs = world.jobs();
    let cluster = world.cluster(&jobs);
    let Some(job) = jobs.get(name) else { return Err(Refusal::missing("unit does not exist")) };
    let mut places: Vec<Place> = world
        .places(name)
        .map(|(id, host, order)| {
            let state = host.states.get(name);
            let answered = state.filter(|state| state.ticket == order.ticket);
            let state = match (answered, &host.info) {
                (_, None) => "its machine does not answer".to_string(),
                (None, _) => "the machine has not answered yet".to_string(),
                (Some(state), _) => match &state.error {
                    Some(error) => format!("{} ({}): {error}", state.active, state.sub),
                    None => format!("{} ({})", state.active, state.sub),
                },
            };
            let order_name = match order.kind {
                OrderKind::Launch => "launch",
                OrderKind::Load => "load",
                OrderKind::Release => "release",
                OrderKind::Superseded => "superseded",
            };
            Place {
                machine: id.to_string(),
                order: order_name.to_string(),
                why: order.why.clone(),
                state,
            }
        })
        .collect();
    if let Some(order) = world.globals.get(name) {
        for (id, host) in &world.machines {
            let Some(state) = host.states.get(name) else { continue };
            places.push(Place {
                machine: id.clone(),
                order: "global".to_string(),
                why: "global".to_string(),
                state: format!("{} ({})", state.active, state.sub),
            });
        }
        for machine in &order.refused {
            let conflict = cluster.machine(machine).and_then(|machine| machine.conflict(job));
            let state = conflict
                .map_or("refused".to_string(), |other| format!("refused: {other} is there"));
            places.push(Place {
                machine: machine.clone(),
                order: "none".into(),
                why: "conflict".into(),
                state,
            });
        }
    }
    let open = record.desired != Desired::Inactive && !job.requirements.global;
    let nearest = nearest(&cluster, job).filter(|_| open && places.is_empty());
    let failure = world.failures.get(name).cloned();
    let verdict = verdict(&world, name, record.desired, job, &places);
    Ok(Why {
        unit: name.to_string(),
        desired: record.desired,
        verdict,
        rules: reports(&cluster, job),
        nearest,
        failure,
        brake: world.brake.clone(),
        places,
    })
}

fn verdict(world: &World, name: &str, desired: Desired, job: &Job, places: &[Place]) -> String {
    let short = |id: &str| id.get(..8).unwrap_or(id).to_string();
    if UnitName::parse(name).is_ok_and(|name| name.is_template()) {
        return format!("{name} is a template: its instances run");
    }
    if job.requirements.global {
        return format!(
            "{name} is global: on {} machines",
            places.iter().filter(|p| p.order == "global").count()
        );
    }
    if let Some(failure) = world.failures.get(name) {
        let times = failure.count;
        return format!(
            "{name} failed {times} time{} in a row, last on {}: {}",
            if times == 1 { "" } else { "s" },
            short(&failure.machine),
            failure.reason
        );
    }
    match places {
        _ if desired == Desired::Inactive && places.is_empty() => {
            format!("{name} should be inactive, and is")
        }
        [] => match world.machines.values().any(|host| host.info.is_some()) {
            true => format!("{name} is on no machine: none can run it"),
            false => "there is no machine".to_string(),
        },
        [place] if place.order == "release" => {
            format!("{name} leaves {}: {}", short(&place.machine), place.why)
        }
        [place] => {
            format!("{name} is on {}: {}; {}", short(&place.machine), place.why, place.state)
        }
        several => {
            let all: Vec<String> = several
                .iter()
                .map(|place| format!("{} ({})", short(&place.machine), place.order))
                .collect();
            format!("{name} has orders on {}", all.join(", "))
        }
    }
}

pub(super) async fn plan(context: &Context, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let asked: PlanRequest = read(request).await?;
    let world = context.store.world().await?;
    let mut cluster = world.cluster(&world.jobs());
    let mut decisions = Vec::new();
    for unit in &asked.units {
        UnitName::parse(&unit.name).map_err(|error| Refusal::bad(error.to_string()))?;
        let Some(file) = file_of(unit)? else {
            return Err(Refusal::bad(format!("{}: no unit file", unit.name)));
        };
        let requirements = check(&unit.name, &file, unit.lenient)?;
        let job = Arc::new(Job { name: unit.name.clone(), requirements });
        let ids: Vec<String> = cluster.machines().map(|machine| machine.id.clone()).collect();
        for id in &ids {
            cluster.take(id, &unit.name);
        }
        let machines: Vec<String> = if job.requirements.global {
            let able =
                cluster.machines().filter(|machine| cluster.refusal(machine, &job).is_none());
            able.map(|machine| machine.id.clone()).collect()
        } else {
            cluster.decide(&job, &BTreeSet::new()).map(str::to_string).into_iter().collect()
        };
        let rules = reports(&cluster, &job);
        let nearest = nearest(&cluster, &job);
        // The next one finds this one there.
        for machine in &machines {
            cluster.put(machine, Arc::clone(&job));
        }
        decisions.push(PlannedUnit { name: unit.name.clone(), machines, rules, nearest });
    }
    Ok(json(StatusCode::OK, &Plan { decisions }))
}

pub(super) async fn cluster(context: &Context) -> Result<ClusterStatus, Refusal> {
    let world = context.store.world().await?;
    let placed: BTreeSet<&String> =
        world.machines.values().flat_map(|host| host.orders.keys()).collect();
    let unplaced = world
        .units
        .iter()
        .filter(|(name, record)| record.desired != Desired::Inactive && !placed.contains(name))
        .filter(|(name, _)| !world.globals.contains_key(*name))
        .map(|(name, _)| name.clone())
        .collect();
    let missing = world
        .machines
        .iter()
        .filter(|(_, host)| host.info.is_none() && !host.orders.is_empty())
        .map(|(id, _)| id.clone())
        .collect();
    Ok(ClusterStatus {
        leader: world.leader.clone(),
        brake: world.brake.clone(),
        machines: world.machines.values().filter(|host| host.info.is_some()).count(),
        missing,
        units: world.units.len(),
        unplaced,
    })
}

pub(super) async fn release_brake(context: &Context) -> Result<Answer, Refusal> {
    context.store.client.delete(&context.store.path(&Key::Brake)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn events(context: &Context) -> Result<Answer, Refusal> {
    let listing = context.store.client.list(&context.store.keys.below("events/")).await?;
    let events: BTreeMap<String, Event> = listing
        .entries
        .into_iter()
        .filter_map(|entry| Some((entry.key, serde_json::from_slice(&entry.value).ok()?)))
        .collect();
    Ok(json(StatusCode::OK, &events.into_values().collect::<Vec<_>>()))
}
