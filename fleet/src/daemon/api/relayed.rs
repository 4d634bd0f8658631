//! Status and journal of a unit, from whichever machine it is on.

use std::collections::BTreeMap;

use super::super::http::{Answer, Refusal};
use super::super::{journal, relay};
use super::Context;
use super::machines::find;
use crate::model::{Key, World};
use crate::unit::UnitName;

type Asked = BTreeMap<String, String>;

/// Finds the machine, and asks it.
pub(super) async fn relay(
    context: &Context,
    unit: &str,
    what: &str,
    asked: &Asked,
) -> Result<Answer, Refusal> {
    UnitName::parse(unit).map_err(|error| Refusal::bad(error.to_string()))?;
    let mut world = World::default();
    for kind in ["machines/", "sched/", "state/", "global/"] {
        context.store.read(kind, &mut world).await?;
    }
    let machine = match asked.get("machine").filter(|id| !id.is_empty()) {
        Some(id) => find(&world, id)?.to_string(),
        None => {
            let mut places: Vec<&String> = world
                .machines
                .iter()
                .filter(|(_, host)| {
                    host.states.contains_key(unit) || host.orders.contains_key(unit)
                })
                .map(|(id, _)| id)
                .collect();
            // This machine first: it needs no relay.
            places.sort_by_key(|id| **id != context.machine);
            match places.first() {
                Some(id) => (*id).clone(),
                None if context.store.get(&Key::Unit(unit.to_string())).await?.is_some() => {
                    return Err(Refusal::missing(format!(
                        "{unit} is on no machine; `fleetctl why {unit}` says why"
                    )));
                }
                None => return Err(Refusal::missing("unit does not exist")),
            }
        }
    };
    if machine == context.machine {
        return local(unit, what, asked).await;
    }
    let address =
        world.machines[&machine].info.as_ref().map(|info| info.relay.clone()).unwrap_or_default();
    if address.is_empty() {
        return Err(Refusal::missing(format!(
            "machine {machine} does not answer other machines: set relay_listen and public_ip there"
        )));
    }
    let mut query = vec![format!("machine={machine}")];
    for (key, value) in asked.iter().filter(|(key, _)| *key != "machine") {
        query.push(format!(
            "{key}={}",
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC)
        ));
    }
    relay::ask(context, &address, &format!("/{what}/{unit}?{}", query.join("&"))).await
}

/// Answers from this machine.
pub(in super::super) async fn local(
    unit: &str,
    what: &str,
    asked: &Asked,
) -> Result<Answer, Refusal> {
    UnitName::parse(unit).map_err(|error| Refusal::bad(error.to_string()))?;
    match what {
        "status" => journal::status(unit).await,
        "journal" => journal::follow(unit, asked),
        _ => Err(Refusal::missing("")),
    }
}
