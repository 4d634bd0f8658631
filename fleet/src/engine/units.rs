//! One unit: where it should be, and the next step there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Engine, Moment};
use crate::model::{Desired, Key, Order, OrderKind, UnitState};
use crate::place::Job;

impl Engine {
    /// The state of a unit changed on a machine.
    pub(super) fn state_changed(
        &mut self,
        now: Moment,
        machine: &str,
        unit: &str,
        before: Option<&UnitState>,
    ) {
        if let Some(state) = self.answer(machine, unit) {
            let released = state.released;
            let failed = state.has_failed();
            let well = self.is_well(machine, unit);
            let kind = self.order_of(machine, unit).map(|order| order.kind);
            if released && kind == Some(OrderKind::Release) {
                self.forget(machine, unit);
                return;
            }
            if failed && kind == Some(OrderKind::Launch) {
                self.failed(now, machine, unit);
            }
            if well && before.is_none_or(|before| !before.is_well()) {
                // An older copy elsewhere can go now.
                self.dirty.insert(unit.to_string());
            }
        }
    }

    /// Brings one unit a step nearer to where it should be.
    pub(super) fn reconcile(&mut self, now: Moment, unit: &str) {
        let Some(record) = self.world.units.get(unit).cloned() else {
            self.stale.remove(unit);
            self.pending.remove(unit);
            self.remove_global(unit);
            self.release_everywhere(unit, "the unit was destroyed");
            self.clear_failure(unit);
            return;
        };
        let Some(job) = self.jobs.get(unit).cloned() else { return };
        if job.requirements.global {
            self.release_everywhere(unit, "the unit became global");
            self.reconcile_global(unit, &record, &job);
            return;
        }
        self.remove_global(unit);
        let Some(kind) = OrderKind::of(record.desired) else {
            self.stale.remove(unit);
            self.pending.remove(unit);
            self.release_everywhere(unit, "the unit should be inactive");
            self.clear_failure(unit);
            return;
        };
        let places: Vec<String> = self.places.get(unit).into_iter().flatten().cloned().collect();
        let mut free = true;
        for machine in &places {
            free &= self.settle(now, unit, machine, kind, &job, &places);
        }
        if free {
            self.place(now, unit, kind, &job);
        }
    }

    /// One place of a unit. Tells whether it is no obstacle to starting the unit elsewhere.
    fn settle(
        &mut self,
        now: Moment,
        unit: &str,
        machine: &str,
        kind: OrderKind,
        job: &Arc<Job>,
        places: &[String],
    ) -> bool {
        let Some(order) = self.order_of(machine, unit).cloned() else { return true };
        let missing = self.missing.get(machine).copied();
        match order.kind {
            OrderKind::Superseded if missing.is_some() => true,
            OrderKind::Superseded => {
                let others = places.iter().filter(|other| *other != machine);
                let mut others = others.filter(|other| {
                    self.order_of(other, unit)
                        .is_some_and(|order| order.kind != OrderKind::Superseded)
                });
                match others.next() {
                    // Back before anything was started elsewhere.
                    None => {
                        self.change_kind(machine, unit, kind, "the machine came back");
                        self.event(unit, format!("stays on {machine}, which came back"));
                        self.dirty.insert(unit.to_string());
                    }
                    Some(other) => {
                        let running = self.is_well(other, unit) || kind == OrderKind::Load;
                        if running {
                            self.change_kind(
                                machine,
                                unit,
                                OrderKind::Release,
                                "it runs elsewhere",
                            );
                        }
                    }
                }
                false
            }
            OrderKind::Release => {
                if self.answer(machine, unit).is_some_and(|state| state.released) {
                    self.forget(machine, unit);
                    return true;
                }
                missing.is_some_and(|missing| missing.evicted)
            }
            OrderKind::Launch | OrderKind::Load => {
                if missing.is_some() {
                    return false;
                }
                if order.kind == OrderKind::Launch
                    && self.answer(machine, unit).is_some_and(UnitState::has_failed)
                {
                    self.failed(now, machine, unit);
                }
                if let Some(reason) = self.unfit(machine, unit, &order, job) {
                    self.release(machine, unit, &reason);
                    return false;
                }
                if let Some(replaced) = self.replaced(machine, job) {
                    self.release(machine, &replaced, &format!("{unit} replaces it"));
                }
                if order.version != self.version(unit) {
                    self.update(now, machine, unit, kind);
                } else if order.kind != kind {
                    self.reorder(now, machine, unit, kind, "what it should be changed");
                } else {
                    self.stale.remove(unit);
                }
                false
            }
        }
    }

    pub(super) fn version(&self, unit: &str) -> u64 {
        self.world.units.get(unit).map_or(0, |record| record.version)
    }

    /// Why a unit cannot stay. A machine's metadata is looked at only when a unit is placed or
    /// its version changes.
    fn unfit(&self, machine: &str, unit: &str, order: &Order, job: &Job) -> Option<String> {
        let host = self.cluster.machine(machine)?;
        let peers = &job.requirements.machine_of;
        if let Some(peer) = peers.iter().find(|peer| !self.stays(machine, peer)) {
            return Some(format!("{peer} is no longer on its machine"));
        }
        if order.version == self.version(unit) {
            return None;
        }
        let refusal = self.cluster.refusal(host, job)?;
        (refusal.rule() != crate::place::Rule::Cordon)
            .then(|| format!("its new version does not fit: {refusal}"))
    }

    /// Whether a peer is on the machine and not about to leave.
    fn stays(&self, machine: &str, peer: &str) -> bool {
        match self.order_of(machine, peer) {
            Some(order) => order.kind != OrderKind::Release,
            None => self.cluster.is_on(machine, peer),
        }
    }

    /// A unit on the machine that has to leave for `job`, and can.
    fn replaced(&self, machine: &str, job: &Job) -> Option<String> {
        let replaced = self.cluster.machine(machine)?.replaced(job)?;
        let order = self.order_of(machine, &replaced)?;
        let other = self.jobs.get(&replaced)?;
        let avoid = BTreeSet::from([machine.to_string()]);
        let elsewhere = self.cluster.decide(other, &avoid)?;
        let leaves = matches!(order.kind, OrderKind::Launch | OrderKind::Load);
        (leaves && elsewhere != machine).then_some(replaced)
    }

    /// Has a unit stopped on a machine, to be started elsewhere or not at all.
    pub(super) fn release(&mut self, machine: &str, unit: &str, why: &str) {
        self.change_kind(machine, unit, OrderKind::Release, why);
        self.stale.remove(unit);
        self.dirty_followers(unit);
        self.event(unit, format!("leaves {machine}: {why}"));
        // It may never have got there, or be gone already.
        if self.answer(machine, unit).is_some_and(|state| state.released) {
            self.forget(machine, unit);
        }
    }

    fn release_everywhere(&mut self, unit: &str, why: &str) {
        let places: Vec<String> = self.places.get(unit).into_iter().flatten().cloned().collect();
        for machine in places {
            let kind = self.order_of(&machine, unit).map(|order| order.kind);
            if kind.is_some_and(|kind| kind != OrderKind::Release) {
                self.release(&machine, unit, why);
            } else if self.answer(&machine, unit).is_some_and(|state| state.released) {
                self.forget(&machine, unit);
            }
        }
    }

    /// Writes the order for a unit anew, with a new ticket: what failed is tried again.
    pub(super) fn reorder(
        &mut self,
        now: Moment,
        machine: &str,
        unit: &str,
        kind: OrderKind,
        why: &str,
    ) {
        let Some(record) = self.world.units.get(unit) else { return };
        let (body, version) = (record.body.clone(), record.version);
        let ticket = self.ticket();
        let order = Order { ticket, body, version, kind, since: now.wall, why: why.to_string() };
        self.order(machine, unit, &order);
        self.stale.remove(unit);
    }

    fn place(&mut self, now: Moment, unit: &str, kind: OrderKind, job: &Arc<Job>) {
        let avoid: BTreeSet<String> = self
            .world
            .failures
            .get(unit)
            .map(|failure| failure.machine.clone())
            .into_iter()
            .collect();
        // A unit that replaces another kicked it off this machine; it goes elsewhere.
        let avoid: BTreeSet<String> = self
            .cluster
            .machines()
            .filter(|machine| {
                machine.units.values().any(|there| {
                    there.name != job.name
                        && there.requirements.replaces.iter().any(|glob| glob.matches(&job.name))
                        && !job.requirements.replaces.iter().any(|glob| glob.matches(&there.name))
                })
            })
            .map(|machine| machine.id.clone())
            .chain(avoid)
            .collect();
        let Some(machine) = self.cluster.decide(job, &avoid).map(str::to_string) else {
            self.pending.insert(unit.to_string());
            return;
        };
        self.pending.remove(unit);
        let why = if job.requirements.scores() { "best score" } else { "fewest units" };
        self.reorder(now, &machine, unit, kind, why);
        self.event(unit, format!("goes to {machine}"));
        self.dirty_followers(unit);
    }

    pub(super) fn clear_failure(&mut self, unit: &str) {
        if self.world.failures.remove(unit).is_some() {
            self.op(super::Op::Delete(Key::Failure(unit.to_string())));
        }
    }

    /// Whether the unit should run.
    pub(super) fn should_run(&self, unit: &str) -> bool {
        self.world.units.get(unit).is_some_and(|record| record.desired == Desired::Launched)
    }
}
