//! The engine: what should be → orders for machines. Decides only; one engine of the cluster
//! leads, and each of its writes holds only while it does.
//!
//! units, machines, states ─▶ [`Engine::input`] ─▶ [`Engine::react`] ─▶ guarded writes
//!
//! - A unit leaves a machine by an order to release it; it starts elsewhere only when the machine
//!   has said that it did.
//! - A machine whose lease is gone is `missing`. Its units move only after [`timing::GRACE`], and
//!   only if this engine has led, and has had etcd, for a whole lease: a leader of etcd that
//!   pauses lets every lease expire at once, and nothing may move for that.
//! - If more than two machines and a fifth of the cluster go missing together, nothing moves
//!   until they are back or a person says so: the storm brake.
//! - What has moved and comes back is stopped only when the new copy runs.

mod drain;
mod failure;
mod globals;
mod presence;
mod rollout;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Key, Order, OrderKind, UnitState, World};
use crate::place::{Cluster, Job};
use crate::timing;

/// Milliseconds on a clock that only goes forward.
pub type Millis = u64;

/// The two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment {
    /// Since some point in the past; for everything that is waited for.
    pub mono: Millis,
    /// Since 1970; for everything that is written down.
    pub wall: u64,
}

/// What an engine asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// One transaction, on the condition that this engine still leads.
    Write(Vec<Op>),
    /// Something that people should find later.
    Event {
        /// The unit or machine it is about.
        about: String,
        /// What happened.
        what: String,
    },
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Put a value.
    Put(Key, String),
    /// Put a value if the key still has this one.
    Exchange(Key, String, String),
    /// Delete a key.
    Delete(Key),
}

/// The most writes in one transaction; etcd's limit is 128.
const TRANSACTION: usize = 100;

/// What an engine waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long a machine's lease lasts.
    pub lease: Millis,
    /// How long a machine has to have been missing before its units move.
    pub grace: Millis,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            lease: timing::LEASE.as_millis() as Millis,
            grace: timing::GRACE.as_millis() as Millis,
        }
    }
}

/// The engine of one machine.
#[derive(Debug, Default)]
pub struct Engine {
    times: Times,
    /// Since when it leads, and its first ticket.
    lead: Option<Lead>,
    world: World,
    jobs: BTreeMap<String, Arc<Job>>,
    cluster: Cluster,
    /// The machines with an order for a unit.
    places: BTreeMap<String, BTreeSet<String>>,
    /// For each unit those that want to be with it.
    followers: BTreeMap<String, BTreeSet<String>>,
    missing: BTreeMap<String, presence::Missing>,
    brake: presence::BrakeState,
    /// Units to look at.
    dirty: BTreeSet<String>,
    /// Units that found no machine; looked at again when something got better.
    pending: BTreeSet<String>,
    better: bool,
    /// Units whose machine has an older version.
    stale: BTreeSet<String>,
    moved: BTreeMap<String, BTreeMap<String, Millis>>,
    ops: Vec<Op>,
    effects: Vec<Effect>,
    states_changed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Lead {
    since: Moment,
    ticket: u64,
}

impl Engine {
    /// An engine that does not lead yet.
    pub fn new(times: Times) -> Engine {
        Engine { times, ..Engine::default() }
    }

    /// Starts to lead, with everything that etcd has. `term` is the revision at which leadership
    /// was won: it makes tickets unique. Called again, it starts anew with a new view.
    pub fn lead(&mut self, now: Moment, term: u64, world: World) {
        let ticket = match self.lead {
            // A new view in the same term goes on counting.
            Some(lead) if lead.ticket >> 24 == term => lead.ticket,
            _ => term << 24,
        };
        let lead = Some(Lead { since: now, ticket });
        *self = Engine { lead, ..Engine::new(self.times) };
        self.jobs = world.jobs();
        self.cluster = world.cluster(&self.jobs);
        self.world = world;
        for (id, host) in &self.world.machines {
            for unit in host.orders.keys() {
                self.places.entry(unit.clone()).or_default().insert(id.clone());
            }
            if host.info.is_none() && !host.orders.is_empty() {
                self.missing
                    .insert(id.clone(), presence::Missing { since: now.mono, evicted: false });
            }
        }
        self.brake.held = self.world.brake.is_some();
        for (unit, job) in &self.jobs {
            for peer in &job.requirements.machine_of {
                self.followers.entry(peer.clone()).or_default().insert(unit.clone());
            }
        }
        self.dirty.extend(self.world.units.keys().cloned());
        self.dirty.extend(self.places.keys().cloned());
        self.dirty.extend(self.world.globals.keys().cloned());
    }

    /// Leads no more.
    pub fn follow(&mut self) {
        *self = Engine::new(self.times);
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.lead.is_some()
    }

    /// The connection to etcd was lost and is back: leases may have expired meanwhile.
    pub fn reconnected(&mut self, now: Moment) {
        if let Some(lead) = &mut self.lead {
            lead.since = now;
        }
    }

    /// What it knows.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Takes note of a change in etcd. Orders are the engine's own; their echo is passed over.
    pub fn input(&mut self, now: Moment, key: &Key, value: Option<&[u8]>) {
        if self.lead.is_none() {
            return;
        }
        match key {
            Key::Order(..) | Key::Global(_) | Key::Failure(_) | Key::Leader => return,
            _ => {}
        }
        let before = match key {
            Key::State(machine, unit) => {
                self.world.machines.get(machine).and_then(|host| host.states.get(unit)).cloned()
            }
            _ => None,
        };
        if let Err(error) = self.world.set(key, value) {
            log::warn!("{}", error_line(&error));
        }
        match key {
            Key::Unit(unit) => self.unit_changed(unit),
            Key::Info(machine) => self.presence_changed(now, machine),
            Key::Meta(machine, _) | Key::Cordon(machine) => self.offer_changed(machine),
            Key::State(machine, unit) => {
                self.states_changed = true;
                self.state_changed(now, machine, unit, before.as_ref());
            }
            Key::Rollout(_) => self.states_changed = true,
            Key::Brake => self.brake_changed(),
            _ => {}
        }
    }

    fn unit_changed(&mut self, unit: &str) {
        if let Some(old) = self.jobs.remove(unit) {
            for peer in &old.requirements.machine_of {
                if let Some(followers) = self.followers.get_mut(peer) {
                    followers.remove(unit);
                }
            }
        }
        if let Some(job) = self.world.job(unit) {
            for peer in &job.requirements.machine_of {
                self.followers.entry(peer.clone()).or_default().insert(unit.to_string());
            }
            self.jobs.insert(unit.to_string(), job);
        }
        self.dirty.insert(unit.to_string());
    }

    /// What is to be done now.
    pub fn react(&mut self, now: Moment) -> Vec<Effect> {
        if self.lead.is_none() {
            return Vec::new();
        }
        self.watch_missing(now);
        if std::mem::take(&mut self.states_changed) {
            self.dirty.extend(self.stale.iter().cloned());
            let rolling = self.world.globals.iter().filter(|(_, order)| order.updated.is_some());
            self.dirty.extend(rolling.map(|(unit, _)| unit.clone()));
        }
        self.retry_failed(now);
        loop {
            if std::mem::take(&mut self.better) {
                self.dirty.append(&mut self.pending);
            }
            if self.dirty.is_empty() {
                break;
            }
            for unit in std::mem::take(&mut self.dirty) {
                self.reconcile(now, &unit);
            }
        }
        self.drain_machines(now);
        for unit in std::mem::take(&mut self.dirty) {
            self.reconcile(now, &unit);
        }
        self.flush();
        std::mem::take(&mut self.effects)
    }

    /// When [`Engine::react`] has to be called at the latest.
    pub fn next(&self, now: Moment) -> Option<Millis> {
        self.lead?;
        let draining = self.world.machines.values().any(drain::is_draining);
        let drain = draining.then_some(now.mono + 1_000);
        [self.missing_due(), self.retry_due(now), drain].into_iter().flatten().min()
    }

    fn ticket(&mut self) -> u64 {
        let Some(lead) = &mut self.lead else { return 0 };
        lead.ticket += 1;
        lead.ticket
    }

    fn event(&mut self, about: &str, what: impl Into<String>) {
        self.effects.push(Effect::Event { about: about.to_string(), what: what.into() });
    }

    fn put<T: serde::Serialize>(&mut self, key: Key, value: &T) {
        let value = json(value);
        self.op(Op::Put(key, value));
    }

    fn op(&mut self, op: Op) {
        self.ops.push(op);
        if self.ops.len() >= TRANSACTION {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.ops.is_empty() {
            self.effects.push(Effect::Write(std::mem::take(&mut self.ops)));
        }
    }

    /// Writes an order, and keeps every index in step.
    fn order(&mut self, machine: &str, unit: &str, order: &Order) {
        let host = self.world.machines.entry(machine.to_string()).or_default();
        let key = Key::Order(machine.to_string(), unit.to_string());
        host.orders.insert(unit.to_string(), order.clone());
        self.places.entry(unit.to_string()).or_default().insert(machine.to_string());
        if let Some(job) = self.jobs.get(unit) {
            self.cluster.put(machine, Arc::clone(job));
        }
        self.put(key, order);
    }

    /// Changes what an order is about and nothing else.
    fn change_kind(&mut self, machine: &str, unit: &str, kind: OrderKind, why: &str) {
        let host = self.world.machines.get(machine);
        let Some(order) = host.and_then(|host| host.orders.get(unit)) else { return };
        if order.kind == kind {
            return;
        }
        let order = Order { kind, why: why.to_string(), ..order.clone() };
        self.order(machine, unit, &order);
    }

    /// Takes an order back, once it has been carried out or its machine is forgotten.
    fn forget(&mut self, machine: &str, unit: &str) {
        self.op(Op::Delete(Key::Order(machine.to_string(), unit.to_string())));
        if let Some(host) = self.world.machines.get_mut(machine) {
            host.orders.remove(unit);
            if host.states.remove(unit).is_some() {
                self.op(Op::Delete(Key::State(machine.to_string(), unit.to_string())));
            }
        }
        if let Some(places) = self.places.get_mut(unit) {
            places.remove(machine);
            if places.is_empty() {
                self.places.remove(unit);
            }
        }
        self.left(machine, unit);
    }

    /// A unit is no longer on a machine: others may fit now.
    fn left(&mut self, machine: &str, unit: &str) {
        self.cluster.take(machine, unit);
        self.better = true;
        self.dirty.insert(unit.to_string());
        self.dirty_followers(unit);
        let refused =
            self.world.globals.iter().filter(|(_, order)| order.refused.contains(machine));
        self.dirty.extend(refused.map(|(unit, _)| unit.clone()));
    }

    fn dirty_followers(&mut self, unit: &str) {
        if let Some(followers) = self.followers.get(unit) {
            self.dirty.extend(followers.iter().cloned());
        }
    }

    fn order_of(&self, machine: &str, unit: &str) -> Option<&Order> {
        self.world.machines.get(machine)?.orders.get(unit)
    }

    /// The state that answers the present order.
    fn answer(&self, machine: &str, unit: &str) -> Option<&UnitState> {
        let host = self.world.machines.get(machine)?;
        let order = host.orders.get(unit)?;
        host.states.get(unit).filter(|state| state.ticket == order.ticket)
    }

    /// Whether the unit runs, and well, on that machine.
    fn is_well(&self, machine: &str, unit: &str) -> bool {
        let Some(state) = self.answer(machine, unit) else { return false };
        let checked = self.jobs.get(unit).is_some_and(|job| job.requirements.health.is_some());
        state.is_well() && (!checked || state.healthy == Some(true))
    }
}

/// A record as it is stored.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn error_line(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
