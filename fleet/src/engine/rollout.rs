//! New versions of units, a few at a time.

use super::{Engine, Moment};
use crate::model::OrderKind;
use crate::unit::group;

impl Engine {
    /// Gives a unit on a machine its new version, if it is its turn.
    pub(super) fn update(&mut self, now: Moment, machine: &str, unit: &str, kind: OrderKind) {
        if self.may_update(machine, unit) {
            self.reorder(now, machine, unit, kind, "a new version");
            // The next one has to wait for this one.
            self.states_changed = true;
        } else {
            self.stale.insert(unit.to_string());
        }
    }

    fn may_update(&self, machine: &str, unit: &str) -> bool {
        let Some(job) = self.jobs.get(unit) else { return false };
        let group = group(unit);
        if self.world.rollouts.get(&group).is_some_and(|rollout| rollout.paused) {
            return false;
        }
        let update = job.requirements.update;
        if update.max_parallel.is_none() && update.min_healthy.is_none() {
            return true;
        }
        let members = self.members(&group);
        let well = members.iter().filter(|member| member.well).count();
        // Of those that already have their new version.
        let under_way = members.iter().filter(|member| member.current && !member.well).count();
        let own = usize::from(self.is_well(machine, unit));
        update.max_parallel.is_none_or(|most| under_way < most as usize)
            && update.min_healthy.is_none_or(|least| well - own >= least as usize)
    }

    /// The units of a group that should run, each with whether it does.
    pub(super) fn members(&self, wanted: &str) -> Vec<Member> {
        let stem = wanted.split('@').next().unwrap_or(wanted);
        self.world
            .units
            .range(stem.to_string()..)
            .take_while(|(name, _)| name.starts_with(stem))
            .filter(|(name, _)| group(name) == wanted && self.should_run(name))
            .map(|(name, record)| {
                let places = self.places.get(name).into_iter().flatten();
                let mut member = Member { placed: false, well: false, current: false };
                for machine in places {
                    member.placed = true;
                    member.well |= self.is_well(machine, name);
                    member.current |= self.order_of(machine, name).is_some_and(|order| {
                        order.version == record.version && order.kind == OrderKind::Launch
                    });
                }
                member
            })
            .collect()
    }
}

/// A unit of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// It has a machine, or is on its way from one to the next.
    pub(super) placed: bool,
    /// It runs and is well.
    pub(super) well: bool,
    /// It is ordered in its present version.
    pub(super) current: bool,
}
