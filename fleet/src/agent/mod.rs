//! The agent: orders → what systemd has to do, and what became of it. Decides only; whoever runs
//! it carries the effects out and brings the results back.
//!
//! orders, bodies, states of systemd, the lease ─▶ [`Agent::input`] ─▶ [`Agent::react`] ─▶ effects
//!
//! Each unit is its own little machine with at most one task under way, so one that fails or
//! hangs holds up no other. Nothing here stops a unit because somebody cannot be reached: without
//! etcd the last orders stay in force, and a unit is stopped for it only if it asked for that
//! (`OnPartition=stop-after=`).

mod input;
mod memory;
mod unit;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use input::{Effect, Input, Status, Task};
pub use memory::Memory;
pub use unit::Body;
use unit::Unit;
use wanted::Wanted;

use crate::model::{CordonPhase, GlobalOrder, Order};
use crate::timing;

/// Milliseconds on a clock that only goes forward.
pub type Millis = u64;

/// How long changes of one unit are gathered before they are written.
const GATHER: Millis = 250;
/// How long after its start an agent waits for etcd before it acts on what it remembers.
const ALONE: Millis = 15_000;
/// The first pause after a task that failed; each further one is twice as long.
const FIRST_RETRY: Millis = 1_000;
/// The longest such pause.
const LAST_RETRY: Millis = 60_000;
/// How often `HealthCmd` is run.
const HEALTH_EVERY: Millis = 10_000;
/// How often in a row it has to fail.
const HEALTH_FAILURES: u32 = 3;

/// The agent of one machine.
#[derive(Debug)]
pub struct Agent {
    machine: String,
    born: Millis,
    /// Orders as etcd has them, or, before it was ever reached, as they are remembered.
    orders: BTreeMap<String, Order>,
    globals: BTreeMap<String, GlobalOrder>,
    /// Whether etcd has told its orders since the agent started.
    informed: bool,
    remembered: Memory,
    /// It acts on what it remembers.
    alone: bool,
    metadata: BTreeMap<String, String>,
    cordon: Option<CordonPhase>,
    lease: bool,
    /// When the last answered sign of life was sent.
    lease_seen: Millis,
    bodies: BTreeMap<String, Arc<Body>>,
    asked: BTreeSet<String>,
    units: BTreeMap<String, Unit>,
    /// The states of the units that were found are known.
    surveyed: bool,
    dirty: BTreeSet<String>,
    persist: bool,
}

impl Agent {
    /// An agent that starts now, with what it remembers of an earlier life.
    pub fn new(machine: &str, memory: Memory, now: Millis) -> Agent {
        let mut agent = Agent {
            machine: machine.to_string(),
            born: now,
            orders: BTreeMap::new(),
            globals: BTreeMap::new(),
            informed: false,
            remembered: memory,
            alone: false,
            metadata: BTreeMap::new(),
            cordon: None,
            lease: false,
            lease_seen: now,
            bodies: BTreeMap::new(),
            asked: BTreeSet::new(),
            units: BTreeMap::new(),
            surveyed: false,
            dirty: BTreeSet::new(),
            persist: false,
        };
        for (name, started) in &agent.remembered.started {
            agent.units.entry(name.clone()).or_default().started = Some(*started);
        }
        agent
    }

    /// What it should remember if it starts again.
    pub fn memory(&self) -> Memory {
        if !self.informed {
            return self.remembered.clone();
        }
        let started =
            self.units.iter().filter_map(|(name, unit)| Some((name.clone(), unit.started?)));
        Memory {
            boot_id: self.remembered.boot_id.clone(),
            orders: self.orders.clone(),
            globals: self.globals.clone(),
            metadata: self.metadata.clone(),
            started: started.collect(),
        }
    }

    /// The digests of the texts that orders name.
    pub fn digests(&self) -> BTreeSet<String> {
        let orders = self.orders.values().map(|order| order.body.clone());
        let globals = self.globals.values().map(|order| order.body.clone());
        let loaded = self.units.values().filter_map(|unit| unit.loaded.clone());
        orders.chain(globals).chain(loaded).collect()
    }

    /// The machine's id.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// The units that it has to do with, and systemd's last word on each.
    pub fn units(&self) -> impl Iterator<Item = (&str, Option<&Status>)> {
        self.units.iter().map(|(name, unit)| (name.as_str(), unit.status.as_ref()))
    }

    /// Takes note of something.
    pub fn input(&mut self, now: Millis, input: Input) {
        match input {
            Input::Orders { orders, globals, metadata, cordon } => {
                self.informed = true;
                self.persist = true;
                self.metadata = metadata;
                self.cordon = cordon;
                self.orders = orders;
                self.globals = globals;
                self.all_dirty();
            }
            Input::Order(name, order) => {
                self.persist = true;
                match order {
                    Some(order) => self.orders.insert(name.clone(), order),
                    None => self.orders.remove(&name),
                };
                self.dirty.insert(name);
            }
            Input::Global(name, order) => {
                self.persist = true;
                match order {
                    Some(order) => self.globals.insert(name.clone(), order),
                    None => self.globals.remove(&name),
                };
                self.dirty.insert(name);
            }
            Input::Metadata(metadata) => {
                self.persist = true;
                self.metadata = metadata;
                self.all_dirty();
            }
            Input::Cordon(phase) => {
                self.cordon = phase;
                self.all_dirty();
            }
            Input::Body { digest, text } => {
                self.asked.remove(&digest);
                if let Some(text) = text {
                    self.bodies.insert(digest.clone(), Arc::new(Body::read(&digest, &text)));
                }
                self.all_dirty();
            }
            Input::Found(texts) => {
                for (name, text) in texts {
                    let digest = crate::model::digest(&text);
                    self.bodies
                        .entry(digest.clone())
                        .or_insert_with(|| Arc::new(Body::read(&digest, &text)));
                    self.units.entry(name).or_default().loaded = Some(digest);
                }
            }
            Input::Surveyed => {
                self.surveyed = true;
                self.all_dirty();
            }
            Input::Lease { live, sent } => {
                if live {
                    self.lease_seen = self.lease_seen.max(sent);
                }
                if live != self.lease {
                    self.lease = live;
                    self.all_dirty();
                }
            }
            Input::Registered => {
                for unit in self.units.values_mut() {
                    // With the old lease all that was written went.
                    unit.published = None;
                    unit.publish_at = Some(now);
                }
                self.all_dirty();
            }
            Input::Status(name, status) => {
                if let Some(unit) = self.units.get_mut(&name) {
                    unit.set_status(now, status);
                    self.dirty.insert(name);
                }
            }
            Input::Done { name, task, result } => {
                if let Some(unit) = self.units.get_mut(&name) {
                    unit.done(now, task, result);
                    self.persist = true;
                    self.dirty.insert(name);
                }
            }
            Input::Health { name, well } => {
                if let Some(unit) = self.units.get_mut(&name) {
                    unit.set_health(well);
                    self.dirty.insert(name);
                }
            }
        }
    }

    fn all_dirty(&mut self) {
        self.dirty.extend(self.units.keys().cloned());
        self.dirty.extend(self.orders.keys().cloned());
        self.dirty.extend(self.globals.keys().cloned());
    }

    /// What is to be done now.
    pub fn react(&mut self, now: Millis) -> Vec<Effect> {
        self.remember_if_alone(now);
        for (name, unit) in &self.units {
            if unit.due(self.lease).is_some_and(|at| at <= now) {
                self.dirty.insert(name.clone());
            }
        }
        if !self.lease {
            let overdue =
                self.units.keys().filter(|name| self.stop_at(name).is_some_and(|at| at <= now));
            self.dirty.extend(overdue.cloned().collect::<Vec<_>>());
        }
        let mut effects = Vec::new();
        if !self.surveyed || !(self.informed || self.is_alone(now)) {
            return effects;
        }
        let mut work = unit::Work::default();
        for name in std::mem::take(&mut self.dirty) {
            self.reconcile(now, &name, &mut work);
        }
        if !work.load.is_empty() {
            effects.push(Effect::Load(work.load));
        }
        if !work.unload.is_empty() {
            effects.push(Effect::Unload(work.unload));
        }
        effects.extend(work.effects);
        if self.persist && self.informed {
            self.persist = false;
            effects.push(Effect::Persist);
        }
        effects
    }

    /// When [`Agent::react`] has to be called at the latest.
    pub fn next(&self) -> Option<Millis> {
        let units = self.units.values().filter_map(|unit| unit.due(self.lease));
        let cut_off = self.units.iter().filter(|(_, unit)| !self.lease && !unit.waits());
        let stops = cut_off.filter_map(|(name, _)| self.stop_at(name));
        let alone = (!self.informed && !self.alone).then_some(self.born + ALONE);
        units.chain(stops).chain(alone).min()
    }

    fn is_alone(&self, now: Millis) -> bool {
        !self.informed && now >= self.born + ALONE
    }

    /// Without etcd, what was ordered last is still in force.
    fn remember_if_alone(&mut self, now: Millis) {
        if self.is_alone(now) && !self.alone {
            self.alone = true;
            self.orders = self.remembered.orders.clone();
            self.globals = self.remembered.globals.clone();
            self.metadata = self.remembered.metadata.clone();
            self.all_dirty();
        }
    }

    /// When the unit has to be stopped because the machine is cut off.
    fn stop_at(&self, name: &str) -> Option<Millis> {
        let unit = self.units.get(name)?;
        if unit.is_idle_and_down() {
            return None;
        }
        let body = self.bodies.get(unit.loaded.as_ref()?)?;
        match body.requirements(name).on_partition {
            crate::unit::OnPartition::Keep => None,
            crate::unit::OnPartition::StopAfter(time) => {
                Some(self.lease_seen + time.min(timing::LONGEST_STOP_AFTER).as_millis() as Millis)
            }
        }
    }
}

#[cfg(test)]
mod tests;
