//! The rules, each with why it refuses.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Job, Machine};

/// A rule that a machine has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // each is the key of the same name
pub enum Rule {
    #[serde(rename = "MachineID")]
    MachineId,
    MachineMetadata,
    MachineOf,
    Conflicts,
    #[serde(rename = "CPURequest")]
    Cpu,
    #[serde(rename = "MemoryRequest")]
    Memory,
    /// The machine takes new units.
    Cordon,
}

impl Rule {
    /// In the order in which they are asked.
    pub const ALL: [Rule; 7] = [
        Rule::MachineId,
        Rule::MachineMetadata,
        Rule::MachineOf,
        Rule::Conflicts,
        Rule::Cpu,
        Rule::Memory,
        Rule::Cordon,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::MachineId => "MachineID",
            Rule::MachineMetadata => "MachineMetadata",
            Rule::MachineOf => "MachineOf",
            Rule::Conflicts => "Conflicts",
            Rule::Cpu => "CPURequest",
            Rule::Memory => "MemoryRequest",
            Rule::Cordon => "cordon",
        })
    }
}

/// Why a machine does not take a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another machine is asked for.
    MachineId {
        /// The one asked for.
        wanted: String,
    },
    /// The metadata key is missing or has another value.
    Metadata {
        /// The key.
        key: String,
        /// What would do.
        wanted: Vec<String>,
        /// What the machine has.
        has: Option<String>,
    },
    /// A peer of `MachineOf` is not here.
    Peer(String),
    /// A unit here conflicts with it.
    Conflict(String),
    /// Too few processors are free, in thousandths.
    Cpu {
        /// What is asked for.
        wanted: u64,
        /// What nobody asked for yet.
        free: u64,
    },
    /// Too little memory is free, in bytes.
    Memory {
        /// What is asked for.
        wanted: u64,
        /// What nobody asked for yet.
        free: u64,
    },
    /// The machine takes no new units.
    Closed(String),
}

impl Refusal {
    /// The rule it comes from.
    pub fn rule(&self) -> Rule {
        match self {
            Refusal::MachineId { .. } => Rule::MachineId,
            Refusal::Metadata { .. } => Rule::MachineMetadata,
            Refusal::Peer(_) => Rule::MachineOf,
            Refusal::Conflict(_) => Rule::Conflicts,
            Refusal::Cpu { .. } => Rule::Cpu,
            Refusal::Memory { .. } => Rule::Memory,
            Refusal::Closed(_) => Rule::Cordon,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::MachineId { wanted } => write!(f, "it is not {wanted}"),
            Refusal::Metadata { key, wanted, has } => {
                let wanted = wanted.join(" or ");
                match has {
                    Some(has) => write!(f, "its {key} is {has}, not {wanted}"),
                    None => write!(f, "it has no {key}, which should be {wanted}"),
                }
            }
            Refusal::Peer(peer) => write!(f, "{peer} is not there"),
            Refusal::Conflict(other) => write!(f, "{other} is there"),
            Refusal::Cpu { wanted, free } => {
                write!(f, "{free}m of its processors are free, {wanted}m are asked for")
            }
            Refusal::Memory { wanted, free } => {
                let mib = |bytes: u64| bytes >> 20;
                write!(f, "{}M of its memory are free, {}M are asked for", mib(*free), mib(*wanted))
            }
            Refusal::Closed(reason) => f.write_str(reason),
        }
    }
}

impl Cluster {
    /// The first reason against `job` on `machine`, in the order of [`Rule::ALL`].
    pub fn refusal(&self, machine: &Machine, job: &Job) -> Option<Refusal> {
        Rule::ALL.iter().find_map(|&rule| check(machine, job, rule))
    }

    /// Every reason against it, one for each rule.
    pub fn refusals(&self, machine: &Machine, job: &Job) -> Vec<Refusal> {
        Rule::ALL.iter().filter_map(|&rule| check(machine, job, rule)).collect()
    }
}

fn check(machine: &Machine, job: &Job, rule: Rule) -> Option<Refusal> {
    let wants = &job.requirements;
    match rule {
        Rule::MachineId => {
            let wanted = wants.machine_id.as_ref()?;
            (!machine.is(wanted)).then(|| Refusal::MachineId { wanted: wanted.clone() })
        }
        Rule::MachineMetadata => wants.metadata.iter().find_map(|(key, wanted)| {
            let has = machine.metadata.get(key);
            (!has.is_some_and(|has| wanted.contains(has))).then(|| Refusal::Metadata {
                key: key.clone(),
                wanted: wanted.iter().cloned().collect(),
                has: has.cloned(),
            })
        }),
        Rule::MachineOf => {
            let absent = wants.machine_of.iter().find(|peer| !machine.units.contains_key(*peer))?;
            Some(Refusal::Peer(absent.clone()))
        }
        Rule::Conflicts => machine.conflict(job).map(Refusal::Conflict),
        Rule::Cpu => {
            let wanted = wants.cpu?;
            let free = machine.capacity.cpu.saturating_sub(machine.asked(job).cpu);
            (wanted > free).then_some(Refusal::Cpu { wanted, free })
        }
        Rule::Memory => {
            let wanted = wants.memory?;
            let free = machine.capacity.memory.saturating_sub(machine.asked(job).memory);
            (wanted > free).then_some(Refusal::Memory { wanted, free })
        }
        Rule::Cordon => machine.closed.clone().map(Refusal::Closed),
    }
}
