//! Where a unit goes: fleet's rules, decided without touching anything.
//!
//! [`Cluster`] (machines with what is on them) + [`Job`] → a machine, or for each machine the
//! [`Refusal`]s. The machine with the fewest units wins, then the one with the smallest id; only
//! keys that fleet did not have bring a score in.

mod cluster;
mod rules;
mod snapshot;
mod why;

pub use cluster::{Capacity, Cluster, Job, Machine};
pub use rules::{Refusal, Rule};
pub use snapshot::{Decision, Snapshot, SnapshotError, SnapshotMachine, SnapshotUnit};
pub use why::{Nearest, Refused, RuleReport, nearest, reports, why_lines};

#[cfg(test)]
mod tests;
