//! Submitting, changing and destroying units.

use cluster::Txn;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::super::http::{Answer, Refusal, empty, read};
use super::Context;
use crate::api::types::Unit;
use crate::model::{Desired, Key, Previous, UnitRecord, World, digest};
use crate::unit::{Mode, Requirements, SECTION, UnitFile, UnitName, has_errors, rejected};

/// Attempts against others who change the same unit.
const ATTEMPTS: usize = 8;

fn mode(lenient: bool) -> Mode {
    if lenient { Mode::Lenient } else { Mode::Strict }
}

/// What a file asks for, checked.
pub(super) fn check(name: &str, file: &UnitFile, lenient: bool) -> Result<Requirements, Refusal> {
    let (requirements, findings) = Requirements::read(name, file, mode(lenient));
    if has_errors(&findings) {
        let lines: Vec<String> =
            findings.iter().map(|finding| format!("{name}:{finding}")).collect();
        return Err(Refusal::bad(lines.join("\n")));
    }
    match rejected(&requirements) {
        Some(reason) => Err(Refusal::bad(format!("{name}: {reason}"))),
        None => Ok(requirements),
    }
}

/// The file of a request: its body, or else its options.
pub(super) fn file_of(unit: &Unit) -> Result<Option<UnitFile>, Refusal> {
    match &unit.body {
        Some(body) => {
            let file = UnitFile::read(body.as_bytes(), mode(unit.lenient));
            file.map(Some).map_err(|findings| {
                let lines: Vec<String> =
                    findings.iter().map(|finding| format!("{}:{finding}", unit.name)).collect();
                Refusal::bad(lines.join("\n"))
            })
        }
        None if unit.options.is_empty() => Ok(None),
        None => {
            let options = unit
                .options
                .iter()
                .map(|o| (o.section.as_str(), o.name.as_str(), o.value.as_str()));
            let file = UnitFile::from_options(options);
            // What cannot be written as a file is not one.
            UnitFile::parse(file.text().as_bytes()).map(Some).map_err(|findings| {
                Refusal::bad(findings.first().map(ToString::to_string).unwrap_or_default())
            })
        }
    }
}

pub(super) async fn put(
    context: &Context,
    name: &str,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let mut unit: Unit = read(request).await?;
    if unit.name.is_empty() {
        unit.name = name.to_string();
    }
    if unit.name != name {
        let message =
            format!("name in URL {name:?} differs from unit name in request body {:?}", unit.name);
        return Err(Refusal::bad(message));
    }
    let checked = UnitName::parse(name).map_err(|error| Refusal::bad(error.to_string()))?;
    let desired = match unit.desired_state.as_deref().filter(|state| !state.is_empty()) {
        Some(text) => Some(text.parse::<Desired>().map_err(Refusal::bad)?),
        None => None,
    };
    if checked.is_template() && desired.is_some_and(|desired| desired != Desired::Inactive) {
        return Err(Refusal::bad(format!("cannot activate template {name:?}")));
    }
    let file = file_of(&unit)?;
    for _ in 0..ATTEMPTS {
        if let Some(answer) = attempt(context, &unit, file.as_ref(), desired).await? {
            return Ok(answer);
        }
    }
    Err(Refusal::new(StatusCode::CONFLICT, "others change this unit all the time; try again"))
}

async fn attempt(
    context: &Context,
    unit: &Unit,
    file: Option<&UnitFile>,
    desired: Option<Desired>,
) -> Result<Option<Answer>, Refusal> {
    let store = &context.store;
    let key = Key::Unit(unit.name.clone());
    let path = store.path(&key);
    let entry = store.get(&key).await?;
    let old: Option<UnitRecord> =
        entry.as_ref().and_then(|entry| serde_json::from_slice(&entry.value).ok());
    let guard = match &entry {
        Some(entry) => Txn::new().unchanged(entry),
        None => Txn::new().absent(&path),
    };
    let changed = match (file, &old) {
        (None, None) => {
            let message = "unit does not exist and options field empty";
            return Err(Refusal::new(StatusCode::CONFLICT, message));
        }
        (None, Some(_)) => None,
        (Some(file), None) => Some(file),
        (Some(file), Some(old)) if digest(file.text()) == old.body => None,
        // Options alone say nothing about comments and blanks.
        (Some(file), Some(old)) if unit.body.is_none() => {
            let stored = store.body(&old.body).await?.unwrap_or_default();
            let stored = UnitFile::read(stored.as_bytes(), Mode::Lenient);
            let stored = stored.map(|f| plain(&f)).unwrap_or_default();
            (stored != plain(file)).then_some(file)
        }
        (Some(file), Some(_)) => Some(file),
    };
    let (record, code) = match (changed, old.clone()) {
        (Some(file), old) => {
            check(&unit.name, file, unit.lenient)?;
            let x_fleet =
                file.section(SECTION).map(|o| (o.name.clone(), o.value.clone())).collect();
            let version = old.as_ref().map_or(1, |old| old.version + 1);
            let kept = old.as_ref().map_or(Desired::Inactive, |old| old.desired);
            let previous = old.map(|old| Previous { body: old.body, x_fleet: old.x_fleet });
            let desired = desired.unwrap_or(kept);
            (
                UnitRecord { body: digest(file.text()), desired, version, x_fleet, previous },
                StatusCode::CREATED,
            )
        }
        (None, Some(old)) => {
            let Some(desired) = desired else {
                let message = "must provide DesiredState to update existing unit";
                return Err(Refusal::new(StatusCode::CONFLICT, message));
            };
            if old.desired == desired {
                return Ok(Some(empty(StatusCode::NO_CONTENT)));
            }
            (UnitRecord { desired, ..old }, StatusCode::NO_CONTENT)
        }
        (None, None) => return Ok(None),
    };
    let value = serde_json::to_vec(&record).map_err(|error| Refusal::bad(error.to_string()))?;
    let mut txn = guard.put(&path, value);
    if let Some(file) = changed {
        // Always written, so that whoever is about to delete it for want of users notices.
        txn = txn.put(&store.path(&Key::Body(record.body.clone())), file.text());
    }
    if !store.client.commit(txn).await?.done {
        return Ok(None);
    }
    if let Some(gone) = old.and_then(|old| old.previous).filter(|_| changed.is_some()) {
        sweep(context, &gone.body).await?;
    }
    Ok(Some(empty(code)))
}

fn plain(file: &UnitFile) -> Vec<(String, String, String)> {
    let mut options: Vec<_> = file
        .options()
        .iter()
        .map(|o| (o.section.clone(), o.name.clone(), o.value.clone()))
        .collect();
    // Sections may have been put together; within one the order counts.
    options.sort_by(|a, b| a.0.cmp(&b.0));
    options
}

pub(super) async fn destroy(context: &Context, name: &str) -> Result<Answer, Refusal> {
    let store = &context.store;
    let key = Key::Unit(name.to_string());
    for _ in 0..ATTEMPTS {
        let Some(entry) = store.get(&key).await? else {
            return Err(Refusal::missing("unit does not exist"));
        };
        let txn = Txn::new().unchanged(&entry).delete(&entry.key);
        if store.client.commit(txn).await?.done {
            if let Ok(record) = serde_json::from_slice::<UnitRecord>(&entry.value) {
                sweep(context, &record.body).await?;
                if let Some(previous) = record.previous {
                    sweep(context, &previous.body).await?;
                }
            }
            return Ok(empty(StatusCode::NO_CONTENT));
        }
    }
    Err(Refusal::new(StatusCode::CONFLICT, "others change this unit all the time; try again"))
}

/// Deletes a text that no unit has any more.
async fn sweep(context: &Context, body: &str) -> Result<(), Refusal> {
    let store = &context.store;
    let Some(entry) = store.get(&Key::Body(body.to_string())).await? else { return Ok(()) };
    let mut world = World::default();
    store.read("units/", &mut world).await?;
    let used = world.units.values().any(|unit| {
        unit.body == body || unit.previous.as_ref().is_some_and(|previous| previous.body == body)
    });
    if !used {
        store.client.commit(Txn::new().unchanged(&entry).delete(&entry.key)).await?;
    }
    Ok(())
}
