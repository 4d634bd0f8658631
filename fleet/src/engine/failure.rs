//! Units that do not work: remembered, and tried again elsewhere, ever more seldom.

use std::collections::BTreeSet;

use super::{Engine, Millis, Moment, Op};
use crate::model::{Failure, Key, OrderKind, UnitRecord, UnitState};

/// The pause after the first failure; each further one is twice as long.
const FIRST_RETRY: u64 = 30_000;
/// The longest pause.
const LAST_RETRY: u64 = 3_600_000;
/// How long a unit has to have been tried again without failing to be forgiven.
const FORGIVEN: u64 = 600_000;

impl Engine {
    /// systemd gave a unit up, or its machine could not even try.
    pub(super) fn failed(&mut self, now: Moment, machine: &str, unit: &str) {
        let Some(order) = self.order_of(machine, unit).cloned() else { return };
        let Some(state) = self.answer(machine, unit) else { return };
        let reason = match &state.error {
            Some(error) => error.clone(),
            None => format!("it is {} ({})", state.active, state.sub),
        };
        let known = self.world.failures.get(unit);
        if known.is_some_and(|failure| failure.ticket == order.ticket) {
            return;
        }
        let before = known.filter(|failure| failure.version == order.version);
        let count = before.map_or(0, |failure| failure.count) + 1;
        let pause = (FIRST_RETRY << (count - 1).min(16)).min(LAST_RETRY);
        let failure = Failure {
            count,
            ticket: order.ticket,
            machine: machine.to_string(),
            version: order.version,
            reason: reason.clone(),
            retry: now.wall + pause,
        };
        self.put(Key::Failure(unit.to_string()), &failure);
        self.world.failures.insert(unit.to_string(), failure);
        self.event(unit, format!("failed on {machine}: {reason}"));
        self.revert(unit, order.version);
    }

    /// Tries again what has waited for long enough, and forgives what works.
    pub(super) fn retry_failed(&mut self, now: Moment) {
        let due: Vec<(String, Failure)> = self
            .world
            .failures
            .iter()
            .filter(|(_, failure)| failure.retry <= now.wall)
            .map(|(unit, failure)| (unit.clone(), failure.clone()))
            .collect();
        for (unit, failure) in due {
            let order = self.order_of(&failure.machine, &unit);
            let open = order.is_some_and(|order| {
                order.ticket == failure.ticket && order.kind == OrderKind::Launch
            });
            let still = self.answer(&failure.machine, &unit).is_some_and(UnitState::has_failed);
            if open && still && self.should_run(&unit) {
                self.try_again(now, &unit, &failure.machine);
            } else if now.wall >= failure.retry + FORGIVEN {
                self.clear_failure(&unit);
            }
        }
    }

    fn try_again(&mut self, now: Moment, unit: &str, machine: &str) {
        let Some(job) = self.jobs.get(unit).cloned() else { return };
        let avoid = BTreeSet::from([machine.to_string()]);
        let target = self.cluster.decide(&job, &avoid).map(str::to_string);
        if target.is_some_and(|target| target != machine) {
            self.release(machine, unit, "it failed here");
        } else {
            self.reorder(
                now,
                machine,
                unit,
                OrderKind::Launch,
                "it failed; there is no other machine for it",
            );
        }
    }

    /// When the next one is tried again.
    pub(super) fn retry_due(&self, now: Moment) -> Option<Millis> {
        self.world
            .failures
            .values()
            .map(|failure| match failure.retry > now.wall {
                true => failure.retry,
                false => failure.retry + FORGIVEN,
            })
            .min()
            .map(|wall| now.mono + wall.saturating_sub(now.wall).max(1))
    }

    /// `AutoRevert`: the whole group goes back to the version before.
    fn revert(&mut self, unit: &str, version: u64) {
        let Some(record) = self.world.units.get(unit).cloned() else { return };
        let wants = self.jobs.get(unit).is_some_and(|job| job.requirements.update.auto_revert);
        if !wants || record.version != version || record.previous.is_none() {
            return;
        }
        let group = crate::unit::group(unit);
        let same: Vec<(String, UnitRecord)> = self
            .world
            .units
            .iter()
            .filter(|(name, other)| crate::unit::group(name) == group && other.body == record.body)
            .map(|(name, other)| (name.clone(), other.clone()))
            .collect();
        for (name, old) in same {
            let Some(previous) = old.previous.clone() else { continue };
            let new = UnitRecord {
                body: previous.body,
                x_fleet: previous.x_fleet,
                version: old.version + 1,
                previous: None,
                desired: old.desired,
            };
            self.op(Op::Exchange(Key::Unit(name.clone()), super::json(&old), super::json(&new)));
            self.event(&name, "goes back to its version before: the new one failed");
            self.world.units.insert(name.clone(), new);
            self.unit_changed(&name);
        }
    }
}
