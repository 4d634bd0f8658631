//! A whole cluster as one JSON document, so that placement can be checked without a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cluster::{Capacity, Cluster, Job};
use super::rules::Rule;
use crate::model::Desired;
use crate::unit::{Finding, Mode, Requirements, UnitFile, has_errors, rejected};

/// Machines, the units that are known, and one more.
#[derive(Debug, Clone, Deserialize)]
pub struct Snapshot {
    /// The machines.
    #[serde(default)]
    pub machines: Vec<SnapshotMachine>,
    /// The units that are known.
    #[serde(default)]
    pub units: Vec<SnapshotUnit>,
    /// The one to be placed.
    pub new_unit: SnapshotUnit,
}

/// A machine.
#[derive(Debug, Clone, Deserialize)]
pub struct SnapshotMachine {
    /// Its machine id.
    pub id: String,
    /// Its metadata.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// What it has to give: thousandths of processors, bytes of memory. Without it, whatever is
    /// asked for fits.
    #[serde(default)]
    pub capacity: Option<Capacity>,
}

/// A unit.
#[derive(Debug, Clone, Deserialize)]
pub struct SnapshotUnit {
    /// Its name.
    pub name: String,
    /// Its unit file.
    pub body: String,
    /// The machine it is on, if it is on one.
    #[serde(default)]
    pub scheduled_on: Option<String>,
    /// What it should be.
    #[serde(default)]
    pub desired_state: Desired,
}

/// Where the new unit goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The machine's id; none if no machine can run it, or if it is not one machine's: a global
    /// unit, or one that should be inactive.
    pub decision: Option<String>,
    /// For each machine, whether it could run the unit.
    pub able_to_run: BTreeMap<String, bool>,
    /// What was passed over.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not such a document.
    #[error("not a snapshot of a cluster")]
    Json(#[source] serde_json::Error),
    /// Units that would be refused: a line for each mistake.
    #[error("{}", .0.join("\n"))]
    Units(Vec<String>),
}

impl Snapshot {
    /// Reads the document.
    pub fn parse(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
        serde_json::from_slice(bytes).map_err(SnapshotError::Json)
    }

    /// Decides. With [`Mode::Lenient`] every unit is read as fleet did.
    pub fn decide(&self, mode: Mode) -> Result<Decision, SnapshotError> {
        let mut reader = Reader { mode, errors: Vec::new(), warnings: Vec::new() };
        let mut known: BTreeMap<&str, (Arc<Job>, &SnapshotUnit)> = BTreeMap::new();
        for unit in &self.units {
            if let Some(job) = reader.job(unit) {
                known.insert(&unit.name, (Arc::new(job), unit));
            }
        }
        let job = reader.job(&self.new_unit);
        let (Some(job), true) = (job, reader.errors.is_empty()) else {
            return Err(SnapshotError::Units(reader.errors));
        };
        known.remove(self.new_unit.name.as_str());

        let mut cluster = Cluster::default();
        let plenty = Capacity { cpu: u64::MAX / 2000, memory: u64::MAX / 2000 };
        for machine in &self.machines {
            let metadata = machine.metadata.clone().unwrap_or_default();
            cluster.set_machine(&machine.id, metadata, machine.capacity.unwrap_or(plenty));
        }
        for (job, unit) in known.values().filter(|(job, _)| !job.requirements.global) {
            if let (Some(id), true) = (&unit.scheduled_on, unit.desired_state != Desired::Inactive)
            {
                cluster.put(id, Arc::clone(job));
            }
        }
        // A global unit is wherever its metadata and conflicts allow, whatever it should be.
        let globals = known.values().filter(|(job, _)| job.requirements.global);
        for (job, _) in globals {
            admit(&mut cluster, job);
        }
        let able_to_run = cluster
            .machines()
            .map(|machine| (machine.id.clone(), cluster.refusal(machine, &job).is_none()))
            .collect();
        let decision = match self.new_unit.desired_state {
            Desired::Inactive => None,
            _ if job.requirements.global => None,
            _ => cluster.decide(&job, &BTreeSet::new()).map(str::to_string),
        };
        Ok(Decision { decision, able_to_run, warnings: reader.warnings })
    }
}

/// Puts a global unit on every machine that takes it.
fn admit(cluster: &mut Cluster, job: &Arc<Job>) {
    let takers: Vec<String> = cluster
        .machines()
        .filter(|machine| {
            let refusals = cluster.refusals(machine, job);
            !refusals.iter().any(|r| matches!(r.rule(), Rule::MachineMetadata | Rule::Conflicts))
        })
        .map(|machine| machine.id.clone())
        .collect();
    for id in takers {
        cluster.put(&id, Arc::clone(job));
    }
}

struct Reader {
    mode: Mode,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Reader {
    fn job(&mut self, unit: &SnapshotUnit) -> Option<Job> {
        let shown = |finding: &Finding| format!("{}:{finding}", unit.name);
        let file = match UnitFile::read(unit.body.as_bytes(), self.mode) {
            Ok(file) => file,
            Err(findings) => {
                self.errors.extend(findings.iter().map(shown));
                return None;
            }
        };
        let (requirements, findings) = Requirements::read(&unit.name, &file, self.mode);
        let target = if has_errors(&findings) { &mut self.errors } else { &mut self.warnings };
        target.extend(findings.iter().map(shown));
        if let Some(reason) = rejected(&requirements) {
            match self.mode {
                Mode::Strict => self.errors.push(format!("{}: {reason}", unit.name)),
                Mode::Lenient => self.warnings.push(format!("{}: warning: {reason}", unit.name)),
            }
        }
        Some(Job { name: unit.name.clone(), requirements })
    }
}
