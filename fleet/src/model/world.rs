//! Everything in etcd, read: what the engine decides on, and what the API answers from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::keys::Key;
use super::records::{
    Brake, Cordon, CordonPhase, Failure, GlobalOrder, Leader, MachineInfo, Order, OrderKind,
    Rollout, UnitRecord, UnitState,
};
use crate::place::{Cluster, Job};
use crate::unit::Requirements;

/// Everything in etcd but the texts of units and the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// The submitted units.
    pub units: BTreeMap<String, UnitRecord>,
    /// The machines, by id; also those that are gone and still have orders.
    pub machines: BTreeMap<String, Host>,
    /// The global units as they are ordered.
    pub globals: BTreeMap<String, GlobalOrder>,
    /// Units that did not work.
    pub failures: BTreeMap<String, Failure>,
    /// Rolling updates that somebody stopped, by group.
    pub rollouts: BTreeMap<String, Rollout>,
    /// Whose engine decides.
    pub leader: Option<Leader>,
    /// The storm brake, while it holds.
    pub brake: Option<Brake>,
}

/// One machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// What it says about itself; none while it is missing.
    pub info: Option<MachineInfo>,
    /// Metadata set by people, over its own.
    pub meta: BTreeMap<String, String>,
    /// Whether it takes new units.
    pub cordon: Option<Cordon>,
    /// What it is to do, by unit.
    pub orders: BTreeMap<String, Order>,
    /// What became of it, by unit; global units too.
    pub states: BTreeMap<String, UnitState>,
}

impl Host {
    /// The metadata that placement sees: its own, with what people set over it.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.info.as_ref().map(|info| info.metadata.clone()).unwrap_or_default();
        for (key, value) in &self.meta {
            if value.is_empty() {
                metadata.remove(key);
            } else {
                metadata.insert(key.clone(), value.clone());
            }
        }
        metadata
    }

    /// Why it takes no new units, if so.
    pub fn closed(&self) -> Option<String> {
        match (&self.info, &self.cordon) {
            (None, _) => Some("it does not answer".to_string()),
            (_, Some(cordon)) if cordon.phase >= CordonPhase::Moving => {
                Some(format!("it is being drained ({})", cordon.reason))
            }
            (_, Some(cordon)) => Some(format!("it is cordoned ({})", cordon.reason)),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Host::default()
    }
}

/// A value that is not what its key says.
#[derive(Debug, thiserror::Error)]
#[error("the value of {key} cannot be read")]
pub struct ValueError {
    key: String,
    source: serde_json::Error,
}

impl World {
    /// Puts one key's value in, or takes it out. A value that cannot be read counts as none.
    pub fn set(&mut self, key: &Key, value: Option<&[u8]>) -> Result<(), ValueError> {
        let mut error = None;
        match key {
            Key::Unit(unit) => put(&mut self.units, unit, read(key, value, &mut error)),
            Key::Global(unit) => put(&mut self.globals, unit, read(key, value, &mut error)),
            Key::Failure(unit) => put(&mut self.failures, unit, read(key, value, &mut error)),
            Key::Rollout(group) => put(&mut self.rollouts, group, read(key, value, &mut error)),
            Key::Leader => self.leader = read(key, value, &mut error),
            Key::Brake => self.brake = read(key, value, &mut error),
            Key::Info(machine) => {
                self.host(machine, |host| host.info = read(key, value, &mut error));
            }
            Key::Cordon(machine) => {
                self.host(machine, |host| host.cordon = read(key, value, &mut error));
            }
            Key::Meta(machine, name) => {
                let text = value.map(|value| String::from_utf8_lossy(value).into_owned());
                self.host(machine, |host| put(&mut host.meta, name, text));
            }
            Key::Order(machine, unit) => {
                self.host(machine, |host| {
                    put(&mut host.orders, unit, read(key, value, &mut error));
                });
            }
            Key::State(machine, unit) => {
                self.host(machine, |host| {
                    put(&mut host.states, unit, read(key, value, &mut error));
                });
            }
            Key::Body(_) | Key::Event(_) | Key::RelaySecret | Key::Schema => {}
        }
        error.map_or(Ok(()), Err)
    }

    fn host(&mut self, machine: &str, change: impl FnOnce(&mut Host)) {
        let host = self.machines.entry(machine.to_string()).or_default();
        change(host);
        if host.is_empty() {
            self.machines.remove(machine);
        }
    }

    /// What the unit asks for; none if there is no such unit.
    pub fn job(&self, unit: &str) -> Option<Arc<Job>> {
        let record = self.units.get(unit)?;
        let requirements = Requirements::of_pairs(unit, &record.x_fleet);
        Some(Arc::new(Job { name: unit.to_string(), requirements }))
    }

    /// The machines and units as placement sees them. A machine that is gone is in it while it
    /// has orders, but takes no units.
    pub fn cluster(&self, jobs: &BTreeMap<String, Arc<Job>>) -> Cluster {
        let mut cluster = Cluster::default();
        for (id, host) in &self.machines {
            if host.info.is_none() && host.orders.is_empty() {
                continue;
            }
            let capacity = host.info.as_ref().map(|info| info.capacity).unwrap_or_default();
            cluster.set_machine(id, host.metadata(), capacity);
            cluster.close(id, host.closed());
            for (unit, order) in &host.orders {
                let given_up = host.info.is_none() && order.kind == OrderKind::Superseded;
                if let (Some(job), false) = (jobs.get(unit), given_up) {
                    cluster.put(id, Arc::clone(job));
                }
            }
        }
        for (unit, order) in &self.globals {
            let Some(job) = jobs.get(unit) else { continue };
            let takers: Vec<String> = cluster
                .machines()
                .filter(|machine| order.takes(&machine.id, &machine.metadata))
                .map(|machine| machine.id.clone())
                .collect();
            for id in takers {
                cluster.put(&id, Arc::clone(job));
            }
        }
        cluster
    }

    /// What every unit asks for.
    pub fn jobs(&self) -> BTreeMap<String, Arc<Job>> {
        self.units.keys().filter_map(|unit| Some((unit.clone(), self.job(unit)?))).collect()
    }

    /// The machines with an order for the unit.
    pub fn places<'a>(
        &'a self,
        unit: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Host, &'a Order)> {
        self.machines
            .iter()
            .filter_map(move |(id, host)| Some((id.as_str(), host, host.orders.get(unit)?)))
    }
}

impl GlobalOrder {
    /// Whether a machine takes the unit.
    pub fn takes(&self, machine: &str, metadata: &BTreeMap<String, String>) -> bool {
        !self.refused.contains(machine)
            && self
                .metadata
                .iter()
                .all(|(key, values)| metadata.get(key).is_some_and(|has| values.contains(has)))
    }
}

fn put<T>(map: &mut BTreeMap<String, T>, key: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(key.to_string(), value),
        None => map.remove(key),
    };
}

fn read<T: DeserializeOwned>(
    key: &Key,
    value: Option<&[u8]>,
    error: &mut Option<ValueError>,
) -> Option<T> {
    match serde_json::from_slice(value?) {
        Ok(value) => Some(value),
        Err(source) => {
            *error = Some(ValueError { key: format!("{key:?}"), source });
            None
        }
    }
}
