//! Moving units away from a machine, one after the other, before it goes down.

use std::sync::Arc;

use super::{Engine, Millis, Moment};
use crate::model::{Cordon, CordonPhase, Host, Key, OrderKind};
use crate::place::Job;
use crate::unit::group;

/// How long a unit's turn is waited for, unless `DrainTimeout` says otherwise.
const TIMEOUT: u64 = 300_000;
/// How long a moved unit may take to run before the drain goes on without it.
const SETTLE: Millis = 60_000;

/// Whether units are moving away from it.
pub(super) fn is_draining(host: &Host) -> bool {
    host.info.is_some()
        && host.cordon.as_ref().is_some_and(|cordon| cordon.phase == CordonPhase::Moving)
}

impl Engine {
    pub(super) fn drain_machines(&mut self, now: Moment) {
        let draining: Vec<String> = self
            .world
            .machines
            .iter()
            .filter(|(_, host)| is_draining(host))
            .map(|(machine, _)| machine.clone())
            .collect();
        self.moved.retain(|machine, _| draining.contains(machine));
        for machine in draining {
            self.drain(now, &machine);
        }
    }

    fn drain(&mut self, now: Moment, machine: &str) {
        let Some(host) = self.world.machines.get(machine) else { return };
        let Some(cordon) = host.cordon.clone() else { return };
        let units: Vec<(String, OrderKind)> =
            host.orders.iter().map(|(unit, order)| (unit.clone(), order.kind)).collect();
        let mut busy = false;
        for (unit, kind) in units {
            if kind == OrderKind::Release {
                busy = true;
                continue;
            }
            let Some(job) = self.jobs.get(&unit).cloned() else { continue };
            if kind == OrderKind::Superseded {
                continue;
            }
            let turn = self.may_move(now, &cordon, machine, &job);
            if !self.can_move(machine, &job) {
                // It is stopped at the end, but not while its group cannot spare it.
                busy |= !turn && !job.requirements.global;
                continue;
            }
            busy = true;
            if turn {
                self.moved.entry(machine.to_string()).or_default().insert(unit.clone(), now.mono);
                self.release(
                    machine,
                    &unit,
                    &format!("its machine is drained ({})", cordon.reason),
                );
            }
        }
        let settling = self.moved.get(machine).is_some_and(|moved| {
            moved.iter().any(|(unit, since)| {
                let runs = self
                    .places
                    .get(unit)
                    .into_iter()
                    .flatten()
                    .any(|place| self.is_well(place, unit));
                !runs && self.should_run(unit) && now.mono < since + SETTLE
            })
        });
        if !busy && !settling {
            let cordon = Cordon { phase: CordonPhase::Stopping, ..cordon };
            self.put(Key::Cordon(machine.to_string()), &cordon);
            if let Some(host) = self.world.machines.get_mut(machine) {
                host.cordon = Some(cordon);
            }
            self.event(machine, "all that can move has moved; the rest is stopped");
        }
    }

    /// Whether another machine takes the unit. What is bound to this machine is stopped at the
    /// end; what is bound to a peer follows it.
    fn can_move(&self, machine: &str, job: &Arc<Job>) -> bool {
        let wants = &job.requirements;
        wants.machine_id.is_none()
            && wants.machine_of.is_empty()
            && self
                .cluster
                .decide(job, &std::collections::BTreeSet::new())
                .is_some_and(|m| m != machine)
    }

    /// Whether it is the unit's turn: its group stands firm without it, or it has waited too long.
    /// Those of the group that no machine takes do not count: waiting does not help them.
    fn may_move(&self, now: Moment, cordon: &Cordon, machine: &str, job: &Job) -> bool {
        let timeout =
            job.requirements.drain_timeout.map_or(TIMEOUT, |time| time.as_millis() as u64);
        if now.wall >= cordon.since * 1000 + timeout {
            return true;
        }
        let members = self.members(&group(&job.name));
        let well = members.iter().filter(|member| member.well).count();
        let own = self.is_well(machine, &job.name);
        let down = members.iter().filter(|member| member.placed && !member.well).count();
        let others_down = down.saturating_sub(usize::from(!own && self.should_run(&job.name)));
        let most = job.requirements.update.max_parallel.unwrap_or(1) as usize;
        let least = job.requirements.update.min_healthy.unwrap_or(0) as usize;
        others_down < most && (!own || well > least)
    }
}
