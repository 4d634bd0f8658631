//! fleet's own reading part: units, states, machines, in pages.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hyper::StatusCode;

use super::super::http::{Answer, Refusal, json, text};
use super::super::presence::Standing;
use super::Context;
use crate::api::types::{
    Machine, MachinePage, Unit, UnitOption, UnitPage, UnitState, UnitStatePage,
};
use crate::model::{Desired, Key, OrderKind, UnitRecord, World};
use crate::unit::{Mode, UnitFile};

/// What a machine can learn about the API; fleet's clients generate themselves from it.
pub(super) const DISCOVERY: &str = include_str!("discovery.json");

type Asked = BTreeMap<String, String>;

/// One page of a list, and the token of the next.
fn page<T>(
    context: &Context,
    asked: &Asked,
    all: Vec<T>,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let limit = context.page;
    let number = match asked.get("nextPageToken") {
        None => 1,
        Some(token) => {
            let bytes = URL_SAFE
                .decode(token)
                .map_err(|_| Refusal::bad("the page token is not one of ours"))?;
            let [a, b, c, d] = bytes[..] else {
                return Err(Refusal::bad("the page token is not one of ours"));
            };
            let (of, number) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            if usize::from(of) != limit {
                return Err(Refusal::bad(format!("token limit must be {limit}")));
            }
            if number == 0 {
                return Err(Refusal::bad("token page must be greater than zero"));
            }
            usize::from(number)
        }
    };
    let more = all.len() > number * limit;
    let next = u16::try_from(number + 1).ok().zip(u16::try_from(limit).ok()).filter(|_| more);
    let token = next.map(|(number, limit)| {
        URL_SAFE.encode([limit.to_le_bytes(), number.to_le_bytes()].concat())
    });
    Ok((all.into_iter().skip((number - 1) * limit).take(limit).collect(), token))
}

/// Without etcd, or without a place in the cluster, nothing is answered: as fleet did.
fn standing(context: &Context) -> Result<(), Refusal> {
    match &*context.standing.borrow() {
        Standing::In(_) => Ok(()),
        Standing::Out(reason) => Err(Refusal::without_etcd(reason)),
    }
}

fn unit_of(world: &World, name: &str, record: &UnitRecord, body: Option<&str>) -> Unit {
    let options = match body {
        Some(body) => options(body),
        None => record
            .x_fleet
            .iter()
            .map(|(name, value)| UnitOption {
                section: crate::unit::SECTION.to_string(),
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
    };
    let global = world.job(name).is_some_and(|job| job.requirements.global);
    let place = world.places(name).find(|(_, _, order)| order.kind != OrderKind::Superseded);
    let current = place.map_or(Desired::Inactive, |(_, host, order)| {
        let answered = host
            .states
            .get(name)
            .is_some_and(|state| state.ticket == order.ticket && !state.released);
        match order.kind {
            OrderKind::Launch if answered => Desired::Launched,
            OrderKind::Load | OrderKind::Release if answered => Desired::Loaded,
            _ => Desired::Inactive,
        }
    });
    Unit {
        name: name.to_string(),
        options,
        desired_state: Some(record.desired.to_string()),
        current_state: (!global).then(|| current.to_string()),
        machine_id: place.map(|(id, ..)| id.to_string()).unwrap_or_default(),
        body: None,
        lenient: false,
        hash: record.body.clone(),
    }
}

fn options(body: &str) -> Vec<UnitOption> {
    let Ok(file) = UnitFile::read(body.as_bytes(), Mode::Lenient) else { return Vec::new() };
    file.options()
        .iter()
        .map(|option| UnitOption {
            section: option.section.clone(),
            name: option.name.clone(),
            value: option.value.clone(),
        })
        .collect()
}

async fn read(context: &Context, kinds: &[&str]) -> Result<World, Refusal> {
    let mut world = World::default();
    for kind in kinds {
        context.store.read(kind, &mut world).await?;
    }
    Ok(world)
}

pub(super) async fn units(context: &Context, asked: &Asked) -> Result<Answer, Refusal> {
    standing(context)?;
    let world = read(context, &["units/", "sched/", "state/"]).await?;
    let names: Vec<&String> = world.units.keys().collect();
    let (names, next_page_token) = page(context, asked, names)?;
    let mut units = Vec::new();
    let mut bodies: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for name in names {
        let Some(record) = world.units.get(name) else { continue };
        if !bodies.contains_key(record.body.as_str()) {
            bodies.insert(&record.body, context.store.body(&record.body).await?);
        }
        let body = bodies.get(record.body.as_str()).and_then(Option::as_deref);
        units.push(unit_of(&world, name, record, body));
    }
    Ok(json(StatusCode::OK, &UnitPage { units, next_page_token }))
}

pub(super) async fn unit(context: &Context, name: &str) -> Result<Answer, Refusal> {
    standing(context)?;
    let world = read(context, &["sched/", "state/"]).await?;
    let Some(entry) = context.store.get(&Key::Unit(name.to_string())).await? else {
        return Err(Refusal::missing("unit does not exist"));
    };
    let mut world = world;
    let key = Key::Unit(name.to_string());
    world.set(&key, Some(&entry.value)).map_err(|error| Refusal::bad(error.to_string()))?;
    let Some(record) = world.units.get(name) else {
        return Err(Refusal::missing("unit does not exist"));
    };
    let body = context.store.body(&record.body).await?;
    let unit = unit_of(&world, name, record, body.as_deref());
    Ok(json(StatusCode::OK, &Unit { body, ..unit }))
}

fn states_of(world: &World) -> Vec<UnitState> {
    let mut states: Vec<UnitState> = world
        .machines
        .iter()
        .flat_map(|(id, host)| host.states.iter().map(move |(name, state)| (id, name, state)))
        .filter(|(.., state)| !state.released)
        .map(|(id, name, state)| UnitState {
            name: name.clone(),
            hash: state.body.clone(),
            machine_id: id.clone(),
            systemd_load_state: state.load.clone(),
            systemd_active_state: state.active.clone(),
            systemd_sub_state: state.sub.clone(),
            healthy: state.healthy,
            error: state.error.clone(),
        })
        .collect();
    states.sort_by(|a, b| (&a.name, &a.machine_id).cmp(&(&b.name, &b.machine_id)));
    states
}

pub(super) async fn states(context: &Context, asked: &Asked) -> Result<Answer, Refusal> {
    standing(context)?;
    let kind = match asked.get("machineID").filter(|id| !id.is_empty()) {
        Some(id) => format!("state/{id}/"),
        None => "state/".to_string(),
    };
    let world = read(context, &[&kind]).await?;
    let wanted = asked.get("unitName").filter(|name| !name.is_empty());
    let states = states_of(&world)
        .into_iter()
        .filter(|state| wanted.is_none_or(|wanted| *wanted == state.name))
        .collect();
    let (states, next_page_token) = page(context, asked, states)?;
    Ok(json(StatusCode::OK, &UnitStatePage { states, next_page_token }))
}

pub(super) async fn state(context: &Context, name: &str) -> Result<Answer, Refusal> {
    standing(context)?;
    let world = read(context, &["state/"]).await?;
    match states_of(&world).into_iter().find(|state| state.name == name) {
        Some(state) => Ok(json(StatusCode::OK, &state)),
        None => Err(Refusal::missing("unit state does not exist")),
    }
}

/// The states of one machine.
pub(super) fn states_on(world: &World, id: &str) -> Vec<UnitState> {
    states_of(world).into_iter().filter(|state| state.machine_id == id).collect()
}

pub(super) async fn machines(context: &Context, asked: &Asked) -> Result<Answer, Refusal> {
    standing(context)?;
    let world = read(context, &["machines/"]).await?;
    let machines = world
        .machines
        .iter()
        .filter_map(|(id, host)| {
            let info = host.info.as_ref()?;
            Some(Machine {
                id: id.clone(),
                primary_ip: info.ip.clone(),
                metadata: host.metadata(),
                cordon: host.cordon.clone(),
            })
        })
        .collect();
    let (machines, next_page_token) = page(context, asked, machines)?;
    Ok(json(StatusCode::OK, &MachinePage { machines, next_page_token }))
}

/// For Prometheus.
pub(super) async fn metrics(context: &Context) -> Result<Answer, Refusal> {
    let registered = matches!(&*context.standing.borrow(), Standing::In(_));
    let mut lines =
        format!("# TYPE fleet_registered gauge\nfleet_registered {}\n", u8::from(registered));
    if registered {
        let world = read(context, &["machines/", "units/", "engine/"]).await?;
        let leads = world.leader.as_ref().is_some_and(|leader| leader.machine == context.machine);
        let present = world.machines.values().filter(|host| host.info.is_some()).count();
        for (name, value) in [
            ("fleet_machines", present),
            ("fleet_units", world.units.len()),
            ("fleet_engine_leader", usize::from(leads)),
            ("fleet_storm_brake", usize::from(world.brake.is_some())),
        ] {
            lines.push_str(&format!("# TYPE {name} gauge\n{name} {value}\n"));
        }
    }
    Ok(text(lines))
}
