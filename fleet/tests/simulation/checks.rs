//! What must never happen, and what must be true in the end.

use std::collections::BTreeSet;

use fleet::model::{Desired, Key, Order, OrderKind, World};
use fleet::place::Job;
use fleet::unit::{OnPartition, UnitFile};

use super::Story;

impl Story {
    fn job(&self, m: usize, unit: &str) -> Job {
        let text = self.machines[m].files.get(unit).map_or("", String::as_str);
        let file = UnitFile::parse(text.as_bytes()).expect("what was submitted");
        Job::lenient(unit, &file)
    }

    fn order(&self, m: usize, unit: &str) -> Option<Order> {
        let key = Key::Order(self.machines[m].id.clone(), unit.to_string());
        self.store.get(&key).and_then(|entry| serde_json::from_slice(&entry.value).ok())
    }

    /// Asked whenever an agent starts a unit.
    pub(super) fn check_start(&self, m: usize, unit: &str) -> Result<(), String> {
        let job = self.job(m, unit);
        let wants = &job.requirements;
        if wants.global {
            return Ok(());
        }
        for (other, machine) in self.machines.iter().enumerate() {
            if other == m || !machine.running().contains(unit) {
                continue;
            }
            let present = self.store.get(&Key::Info(machine.id.clone())).is_some();
            // An old copy that was cut off for so long that it was given up may still run, and
            // may have come back this very moment.
            let order = self.order(other, unit);
            let given_up = order.as_ref().is_none_or(|order| order.kind == OrderKind::Superseded)
                || (order.is_some_and(|order| order.kind == OrderKind::Release) && !present);
            let exclusive = wants.is_exclusive();
            if exclusive && present && !given_up {
                return Err(format!("{unit} starts on {m} while it runs on {other}"));
            }
            let promised = matches!(wants.on_partition, OnPartition::StopAfter(_));
            if promised && !machine.agent_gone {
                return Err(format!(
                    "{unit} starts on {m}; {other} should have stopped it by itself"
                ));
            }
        }
        for there in self.machines[m].running() {
            if there == unit {
                continue;
            }
            let other = self.job(m, there);
            let conflict = wants.conflicts.iter().any(|glob| glob.matches(there))
                || other.requirements.conflicts.iter().any(|glob| glob.matches(unit));
            // A version of a unit that is on its way out may say otherwise.
            let leaving = self.order(m, there).is_none_or(|order| order.kind == OrderKind::Release);
            if conflict && !other.requirements.global && !leaving && self.reaches(m) {
                return Err(format!("{unit} starts on {m} beside {there}"));
            }
        }
        Ok(())
    }

    /// Asked when all has been quiet for long enough.
    pub(super) fn check_end(&self) -> Result<(), String> {
        let mut world = World::default();
        for (key, entry) in self.store.all() {
            world.set(&key, Some(&entry.value)).map_err(|error| error.to_string())?;
        }
        let jobs = world.jobs();
        let cluster = world.cluster(&jobs);
        if world.brake.is_some() {
            return Err("the storm brake still holds".into());
        }
        if let Some(machine) = self
            .machines
            .iter()
            .find(|m| world.machines.get(&m.id).is_none_or(|h| h.info.is_none()))
        {
            return Err(format!("{} is not back", machine.id));
        }
        for (unit, record) in &world.units {
            let job = &jobs[unit];
            if job.requirements.global {
                continue;
            }
            let places: Vec<(usize, &Order)> =
                world.places(unit).map(|(id, _, order)| (self.by_id[id], order)).collect();
            let running: Vec<usize> = (0..self.machines.len())
                .filter(|&m| self.machines[m].running().contains(unit.as_str()))
                .collect();
            if running.len() > 1 {
                return Err(format!("{unit} runs on {running:?}"));
            }
            match (record.desired, &places[..]) {
                (Desired::Inactive, []) if running.is_empty() => {}
                (Desired::Inactive, _) => {
                    return Err(format!("{unit} should be inactive: {places:?} {running:?}"));
                }
                (_, []) => {
                    if let Some(id) = cluster.decide(job, &BTreeSet::new()) {
                        return Err(format!("{unit} is lost: {} could run it", self.by_id[id]));
                    }
                    if !running.is_empty() {
                        return Err(format!("{unit} runs on {running:?} without an order"));
                    }
                }
                (_, [(m, order)]) => {
                    let kind = OrderKind::of(record.desired);
                    let peers = &job.requirements.machine_of;
                    let failing = world.failures.contains_key(unit)
                        || self.is_broken(*m, unit)
                        || peers.iter().any(|peer| world.failures.contains_key(peer));
                    if (Some(order.kind) != kind || order.version != record.version) && !failing {
                        let waits = job.requirements.update.max_parallel.is_some();
                        if !waits || Some(order.kind) != kind {
                            return Err(format!("{unit} on {m}: order {order:?} for {record:?}"));
                        }
                    }
                    let runs = running == [*m];
                    if record.desired == Desired::Launched && !runs && !failing {
                        return Err(format!(
                            "{unit} does not run on {m}: {:?}",
                            self.machines[*m].systemd.get(unit)
                        ));
                    }
                    if record.desired == Desired::Loaded && !running.is_empty() {
                        return Err(format!("{unit} runs on {m}, should only be loaded"));
                    }
                    let id = &self.machines[*m].id;
                    let state = world.machines[id].states.get(unit);
                    let shown = state.is_some_and(|state| {
                        state.ticket == order.ticket && (state.active == "active") == runs
                    });
                    if !shown && !failing {
                        return Err(format!("{unit} on {m} is shown as {state:?}, runs: {runs}"));
                    }
                }
                // The old copy goes only when the new one runs, which a broken version never will.
                (_, places) if places.iter().any(|(m, _)| self.is_broken(*m, unit)) => {}
                _ => return Err(format!("{unit} has several orders: {places:?}")),
            }
        }
        self.check_ghosts(&world)?;
        self.check_globals(&world)
    }

    fn check_ghosts(&self, world: &World) -> Result<(), String> {
        for (id, host) in &world.machines {
            let m = self.by_id[id];
            if let Some(unit) = host.orders.keys().find(|unit| !world.units.contains_key(*unit)) {
                return Err(format!("an order for {unit} on {m}, which is destroyed"));
            }
            for unit in host.states.keys() {
                if !host.orders.contains_key(unit) && !world.globals.contains_key(unit) {
                    return Err(format!("a ghost: the state of {unit} on {m}"));
                }
            }
        }
        for (m, machine) in self.machines.iter().enumerate() {
            let host = &world.machines[&machine.id];
            for unit in machine.running() {
                if !host.orders.contains_key(unit) && !world.globals.contains_key(unit) {
                    return Err(format!("{unit} runs on {m}, nobody ordered it"));
                }
            }
        }
        Ok(())
    }

    fn check_globals(&self, world: &World) -> Result<(), String> {
        for (unit, order) in &world.globals {
            for (m, machine) in self.machines.iter().enumerate() {
                let takes = order.takes(&machine.id, &world.machines[&machine.id].metadata());
                let runs = machine.running().contains(unit.as_str());
                let should = takes && order.kind == OrderKind::Launch;
                let excused = self.is_broken(m, unit)
                    || order.updated.is_some()
                    || machine.systemd.get(unit).is_some_and(|s| s.active == "failed");
                if runs != should && !excused {
                    return Err(format!(
                        "{unit} on {m}: runs {runs}, should {should}: {order:?} {:?}",
                        machine.systemd.get(unit)
                    ));
                }
            }
        }
        Ok(())
    }
}
