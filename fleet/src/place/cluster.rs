//! The machines and what is on them, indexed for placing thousands of units in a row.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::unit::{Requirements, UnitFile, group};

/// The characters of a machine id that identify it for people, and for `MachineID=`.
const SHORT_ID: usize = 8;

/// A unit as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The unit's name.
    pub name: String,
    /// What it asks for.
    pub requirements: Requirements,
}

impl Job {
    /// From a unit file, read as fleet would have.
    pub fn lenient(name: &str, file: &UnitFile) -> Job {
        let (requirements, _) = Requirements::read(name, file, crate::unit::Mode::Lenient);
        Job { name: name.to_string(), requirements }
    }
}

/// What a machine has to give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Processors, in thousandths.
    pub cpu: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// A machine and what is on it.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Its machine id.
    pub id: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// What it has to give.
    pub capacity: Capacity,
    /// Why it takes no new units, if it does not.
    pub closed: Option<String>,
    /// The units that are there, global ones included.
    pub units: BTreeMap<String, Arc<Job>>,
    asked: Capacity,
}

impl Machine {
    /// Whether `MachineID=wanted` means it.
    pub fn is(&self, wanted: &str) -> bool {
        self.id == wanted || self.id.get(..SHORT_ID).unwrap_or(&self.id) == wanted
    }

    /// A unit there that cannot be together with `job`: either of the two may say so.
    pub fn conflict(&self, job: &Job) -> Option<String> {
        let conflicts = &job.requirements.conflicts;
        self.units
            .values()
            .filter(|there| there.name != job.name)
            .find(|there| {
                conflicts.iter().any(|glob| glob.matches(&there.name))
                    || there.requirements.conflicts.iter().any(|glob| glob.matches(&job.name))
            })
            .map(|there| there.name.clone())
    }

    /// A unit there that has to leave for `job`. Two that replace each other stay.
    pub fn replaced(&self, job: &Job) -> Option<String> {
        let replaces = &job.requirements.replaces;
        self.units
            .values()
            .filter(|there| there.name != job.name)
            .find(|there| {
                replaces.iter().any(|glob| glob.matches(&there.name))
                    && !there.requirements.replaces.iter().any(|glob| glob.matches(&job.name))
            })
            .map(|there| there.name.clone())
    }

    /// What the units there ask for, without `job` itself.
    pub(super) fn asked(&self, job: &Job) -> Capacity {
        let mut asked = self.asked;
        if let Some(own) = self.units.get(&job.name) {
            asked.cpu -= own.requirements.cpu.unwrap_or(0);
            asked.memory -= own.requirements.memory.unwrap_or(0);
        }
        asked
    }

    /// How full it would be with `job`, in thousandths of what it has; the scarcer counts.
    fn fill(&self, job: &Job) -> u64 {
        let asked = self.asked(job);
        let part = |asked: u64, wanted: Option<u64>, has: u64| {
            (asked + wanted.unwrap_or(0)).saturating_mul(1000) / has.max(1)
        };
        let cpu = part(asked.cpu, job.requirements.cpu, self.capacity.cpu);
        let memory = part(asked.memory, job.requirements.memory, self.capacity.memory);
        match (job.requirements.cpu, job.requirements.memory) {
            (Some(_), Some(_)) => cpu.max(memory),
            (Some(_), None) => cpu,
            (None, Some(_)) => memory,
            (None, None) => 0,
        }
    }
}

/// All machines.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    machines: BTreeMap<String, Machine>,
    /// The order in which machines are asked: fewest units, then smallest id.
    by_load: BTreeSet<(usize, String)>,
    /// Where the members of each group that is spread are.
    groups: HashMap<String, BTreeMap<String, usize>>,
}

impl Cluster {
    /// Adds a machine, or changes what it has to offer; what is on it stays.
    pub fn set_machine(
        &mut self,
        id: &str,
        metadata: BTreeMap<String, String>,
        capacity: Capacity,
    ) {
        let machine = self.machines.entry(id.to_string()).or_insert_with(|| {
            self.by_load.insert((0, id.to_string()));
            Machine { id: id.to_string(), ..Machine::default() }
        });
        machine.metadata = metadata;
        machine.capacity = capacity;
    }

    /// Says why a machine takes no new units, or that it does.
    pub fn close(&mut self, id: &str, reason: Option<String>) {
        if let Some(machine) = self.machines.get_mut(id) {
            machine.closed = reason;
        }
    }

    /// Forgets a machine and what is on it.
    pub fn remove_machine(&mut self, id: &str) {
        let Some(machine) = self.machines.remove(id) else { return };
        self.by_load.remove(&(machine.units.len(), id.to_string()));
        for unit in machine.units.keys() {
            self.count(unit, id, false);
        }
    }

    /// Puts a unit on a machine.
    pub fn put(&mut self, id: &str, job: Arc<Job>) {
        self.take(id, &job.name);
        let Some(machine) = self.machines.get_mut(id) else { return };
        self.by_load.remove(&(machine.units.len(), id.to_string()));
        machine.asked.cpu += job.requirements.cpu.unwrap_or(0);
        machine.asked.memory += job.requirements.memory.unwrap_or(0);
        let name = job.name.clone();
        machine.units.insert(name.clone(), job);
        self.by_load.insert((machine.units.len(), id.to_string()));
        self.count(&name, id, true);
    }

    /// Takes a unit off a machine.
    pub fn take(&mut self, id: &str, unit: &str) {
        let Some(machine) = self.machines.get_mut(id) else { return };
        let before = machine.units.len();
        let Some(job) = machine.units.remove(unit) else { return };
        machine.asked.cpu -= job.requirements.cpu.unwrap_or(0);
        machine.asked.memory -= job.requirements.memory.unwrap_or(0);
        self.by_load.remove(&(before, id.to_string()));
        self.by_load.insert((before - 1, id.to_string()));
        self.count(unit, id, false);
    }

    fn count(&mut self, unit: &str, id: &str, more: bool) {
        let places = self.groups.entry(group(unit)).or_default();
        let number = places.entry(id.to_string()).or_default();
        *number = if more { *number + 1 } else { number.saturating_sub(1) };
        if *number == 0 {
            places.remove(id);
        }
    }

    /// The machines by id.
    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// One machine.
    pub fn machine(&self, id: &str) -> Option<&Machine> {
        self.machines.get(id)
    }

    /// Whether `unit` is on that machine.
    pub fn is_on(&self, id: &str, unit: &str) -> bool {
        self.machines.get(id).is_some_and(|machine| machine.units.contains_key(unit))
    }

    /// The machine for `job`: of those that can run it, the least loaded by fleet's order, or the
    /// best by the score if the job asks for what fleet did not know. Machines in `avoid` are
    /// taken only if there is no other.
    pub fn decide(&self, job: &Job, avoid: &BTreeSet<String>) -> Option<&str> {
        let able = || {
            self.by_load
                .iter()
                .filter_map(|(count, id)| Some((*count, self.machines.get(id)?)))
                .filter(|(_, machine)| self.refusal(machine, job).is_none())
        };
        let of = |avoided: bool| {
            let mut able =
                able().filter(move |(_, machine)| avoid.contains(&machine.id) == avoided);
            if !job.requirements.scores() {
                return able.next().map(|(_, machine)| machine.id.as_str());
            }
            let spread = self.spread(job);
            able.min_by_key(|(count, machine)| {
                let together = job.requirements.spread.as_ref().map_or(0, |key| {
                    spread
                        .get(machine.metadata.get(key).map_or("", String::as_str))
                        .copied()
                        .unwrap_or(0)
                });
                (together, machine.fill(job), *count, machine.id.as_str())
            })
            .map(|(_, machine)| machine.id.as_str())
        };
        of(false).or_else(|| if avoid.is_empty() { None } else { of(true) })
    }

    /// How many units of the job's group are at each value of the metadata key to spread over.
    fn spread(&self, job: &Job) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        let Some(key) = &job.requirements.spread else { return counts };
        for (id, number) in self.groups.get(&group(&job.name)).into_iter().flatten() {
            let Some(machine) = self.machines.get(id) else { continue };
            let own = usize::from(machine.units.contains_key(&job.name));
            let value = machine.metadata.get(key).map_or("", String::as_str);
            *counts.entry(value).or_default() += number - own;
        }
        counts
    }
}
