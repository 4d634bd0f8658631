//! Machines that come, go missing and come back; the storm brake.

use super::{Engine, Millis, Moment, Op};
use crate::model::{Brake, Key, OrderKind};

/// How long the orders of a machine that does not come back are kept.
const FORGET: Millis = 24 * 3600 * 1000;
/// The brake holds when more machines than this…
const BRAKE_MACHINES: usize = 2;
/// … and more than this part of all are missing, in percent.
const BRAKE_PERCENT: usize = 20;

/// A machine that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) since: Millis,
    /// Its units may start elsewhere.
    pub(super) evicted: bool,
}

/// Whether units may move.
#[derive(Debug, Clone, Default)]
pub(super) struct BrakeState {
    pub(super) held: bool,
    /// A person let go while this many machines were missing.
    pub(super) released_at: usize,
}

impl Engine {
    /// A machine registered, changed what it says, or lost its lease.
    pub(super) fn presence_changed(&mut self, now: Moment, machine: &str) {
        let host = self.world.machines.get(machine);
        let present = host.is_some_and(|host| host.info.is_some());
        let orders: Vec<String> =
            host.map(|host| host.orders.keys().cloned().collect()).unwrap_or_default();
        if present {
            if self.missing.remove(machine).is_some() {
                self.event(machine, "is back");
            }
            self.offer_changed(machine);
            // What it still runs counts again.
            for unit in &orders {
                if let Some(job) = self.jobs.get(unit) {
                    self.cluster.put(machine, std::sync::Arc::clone(job));
                }
            }
            self.dirty.extend(orders);
        } else if orders.is_empty() {
            // Nothing of ours is there; global units go with it.
            self.missing.remove(machine);
            self.cluster.remove_machine(machine);
        } else {
            self.missing
                .entry(machine.to_string())
                .or_insert(Missing { since: now.mono, evicted: false });
            self.cluster.close(machine, Some("it does not answer".to_string()));
            self.event(machine, "does not answer");
        }
    }

    /// A machine's metadata, capacity or cordon changed.
    pub(super) fn offer_changed(&mut self, machine: &str) {
        let Some(host) = self.world.machines.get(machine) else { return };
        if let Some(info) = &host.info {
            self.cluster.set_machine(machine, host.metadata(), info.capacity);
        }
        self.cluster.close(machine, host.closed());
        self.better = true;
        self.dirty.extend(self.world.globals.keys().cloned());
    }

    /// Evicts machines that have been missing for long enough, unless too many are.
    pub(super) fn watch_missing(&mut self, now: Moment) {
        let waiting: Vec<String> = self
            .missing
            .iter()
            .filter(|(_, missing)| !missing.evicted)
            .map(|(machine, _)| machine.clone())
            .collect();
        self.update_brake(now, &waiting);
        let Some(lead) = self.lead else { return };
        let settled = now.mono >= lead.since.mono + self.times.lease;
        for machine in waiting {
            let due = self
                .missing
                .get(&machine)
                .is_some_and(|missing| now.mono >= missing.since + self.times.grace);
            if due && settled && !self.brake.held {
                self.evict(&machine);
            }
        }
        let lost: Vec<String> = self
            .missing
            .iter()
            .filter(|(_, missing)| now.mono >= missing.since + FORGET)
            .map(|(machine, _)| machine.clone())
            .collect();
        for machine in lost {
            self.forget_machine(&machine);
        }
    }

    pub(super) fn missing_due(&self) -> Option<Millis> {
        let lead = self.lead?;
        self.missing
            .values()
            .map(|missing| match missing.evicted || self.brake.held {
                true => missing.since + FORGET,
                false => (missing.since + self.times.grace).max(lead.since.mono + self.times.lease),
            })
            .min()
    }

    fn update_brake(&mut self, now: Moment, waiting: &[String]) {
        let all = self.cluster.machines().count();
        let limit = BRAKE_MACHINES.max(all * BRAKE_PERCENT / 100);
        let many = waiting.len() > limit;
        if many && !self.brake.held && waiting.len() > self.brake.released_at {
            self.brake.held = true;
            let brake = Brake { since: now.wall, machines: waiting.to_vec() };
            self.put(Key::Brake, &brake);
            self.world.brake = Some(brake);
            let number = waiting.len();
            self.event("cluster", format!("storm brake: {number} of {all} machines went missing together, nothing is moved"));
        } else if !many {
            self.brake.released_at = 0;
            if self.brake.held {
                self.brake.held = false;
                self.world.brake = None;
                self.op(Op::Delete(Key::Brake));
                // The last of them get as much time as if they had been alone.
                for missing in self.missing.values_mut().filter(|missing| !missing.evicted) {
                    missing.since = now.mono;
                }
                self.event("cluster", "storm brake released: the machines are back");
            }
        }
    }

    /// The brake's key changed; only a person deletes it while it holds.
    pub(super) fn brake_changed(&mut self) {
        if self.world.brake.is_none() && self.brake.held {
            self.brake.held = false;
            self.brake.released_at =
                self.missing.values().filter(|missing| !missing.evicted).count();
            self.event("cluster", "storm brake released by hand");
        }
    }

    fn evict(&mut self, machine: &str) {
        if let Some(missing) = self.missing.get_mut(machine) {
            missing.evicted = true;
        }
        let orders: Vec<(String, OrderKind)> = self
            .world
            .machines
            .get(machine)
            .map(|host| {
                host.orders.iter().map(|(unit, order)| (unit.clone(), order.kind)).collect()
            })
            .unwrap_or_default();
        self.event(machine, format!("is given up; its {} units move", orders.len()));
        for (unit, kind) in orders {
            let pinned =
                self.jobs.get(&unit).is_some_and(|job| job.requirements.machine_id.is_some());
            if matches!(kind, OrderKind::Launch | OrderKind::Load) && !pinned {
                self.change_kind(
                    machine,
                    &unit,
                    OrderKind::Superseded,
                    "its machine does not answer",
                );
                // Peers that went to the same grave do not hold a unit there.
                self.cluster.take(machine, &unit);
                self.dirty_followers(&unit);
            }
            self.dirty.insert(unit);
        }
    }

    fn forget_machine(&mut self, machine: &str) {
        let orders: Vec<String> = self
            .world
            .machines
            .get(machine)
            .map(|host| host.orders.keys().cloned().collect())
            .unwrap_or_default();
        for unit in orders {
            self.forget(machine, &unit);
        }
        self.missing.remove(machine);
        self.cluster.remove_machine(machine);
        self.event(machine, "is forgotten after a day");
    }
}
