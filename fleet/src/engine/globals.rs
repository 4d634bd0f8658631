//! Global units: one order for all machines, with those that refuse it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Engine, Op};
use crate::model::{GlobalOrder, Key, OrderKind, UnitRecord};
use crate::place::Job;

impl Engine {
    pub(super) fn reconcile_global(&mut self, unit: &str, record: &UnitRecord, job: &Arc<Job>) {
        let old = self.world.globals.get(unit).cloned();
        let Some(kind) = OrderKind::of(record.desired) else {
            self.remove_global(unit);
            return;
        };
        let refused = self.refusing(unit, job);
        let (ticket, updated) = match &old {
            Some(old) if old.version == record.version && old.kind == kind => {
                (old.ticket, self.next_updated(unit, old))
            }
            Some(old)
                if old.version != record.version
                    && job.requirements.update.max_parallel.is_some() =>
            {
                (self.ticket(), Some(BTreeSet::new()))
            }
            _ => (self.ticket(), None),
        };
        let order = GlobalOrder {
            ticket,
            body: record.body.clone(),
            version: record.version,
            kind,
            metadata: job.requirements.metadata.clone(),
            refused,
            updated,
        };
        self.spread(&order, job);
        if old.as_ref() == Some(&order) {
            return;
        }
        self.put(Key::Global(unit.to_string()), &order);
        let rolling = order.updated.is_some();
        self.world.globals.insert(unit.to_string(), order);
        if rolling && old.is_none_or(|old| old.updated.is_none()) {
            // The first machines take it at once.
            self.dirty.insert(unit.to_string());
        }
    }

    /// The machines with something that conflicts. Where it already is, it stays.
    fn refusing(&self, unit: &str, job: &Job) -> BTreeSet<String> {
        self.cluster
            .machines()
            .filter(|machine| !machine.units.contains_key(unit) && machine.conflict(job).is_some())
            .map(|machine| machine.id.clone())
            .collect()
    }

    /// Puts it where it is admitted, takes it from where it is not.
    fn spread(&mut self, order: &GlobalOrder, job: &Arc<Job>) {
        let places: Vec<(String, bool, bool)> = self
            .cluster
            .machines()
            .map(|machine| {
                let there =
                    machine.units.get(&job.name).is_some_and(|known| Arc::ptr_eq(known, job));
                (machine.id.clone(), order.takes(&machine.id, &machine.metadata), there)
            })
            .collect();
        for (machine, takes, there) in places {
            if takes && !there {
                self.cluster.put(&machine, Arc::clone(job));
            } else if !takes && self.cluster.is_on(&machine, &job.name) {
                self.cluster.take(&machine, &job.name);
                self.better = true;
            }
        }
    }

    /// During a rolling update: the machines that have the new version, and those whose turn it is.
    fn next_updated(&self, unit: &str, order: &GlobalOrder) -> Option<BTreeSet<String>> {
        let mut updated = order.updated.clone()?;
        let most = self.jobs.get(unit)?.requirements.update.max_parallel? as usize;
        if self.world.rollouts.get(&crate::unit::group(unit)).is_some_and(|rollout| rollout.paused)
        {
            return Some(updated);
        }
        let checked = self.jobs.get(unit)?.requirements.health.is_some();
        let well = |machine: &str| {
            let state = self.world.machines.get(machine).and_then(|host| host.states.get(unit));
            state.is_some_and(|state| {
                state.ticket == order.ticket
                    && (order.kind == OrderKind::Load
                        || (state.is_well() && (!checked || state.healthy == Some(true))))
            })
        };
        let mut under_way = updated
            .iter()
            .filter(|machine| {
                self.cluster.machine(machine).is_some_and(|m| m.closed.is_none()) && !well(machine)
            })
            .count();
        let takers: Vec<&str> = self
            .cluster
            .machines()
            .filter(|machine| order.takes(&machine.id, &machine.metadata))
            .map(|machine| machine.id.as_str())
            .collect();
        for machine in &takers {
            if under_way >= most {
                break;
            }
            if updated.insert((*machine).to_string()) {
                under_way += 1;
            }
        }
        let all = takers.iter().all(|machine| updated.contains(*machine) && well(machine));
        (!all).then_some(updated)
    }

    pub(super) fn remove_global(&mut self, unit: &str) {
        if self.world.globals.remove(unit).is_none() {
            return;
        }
        self.op(Op::Delete(Key::Global(unit.to_string())));
        let places: Vec<String> = self
            .cluster
            .machines()
            .filter(|machine| machine.units.contains_key(unit))
            .map(|machine| machine.id.clone())
            .collect();
        for machine in places {
            self.left(&machine, unit);
        }
    }
}
