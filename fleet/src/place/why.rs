//! Why a unit can be where it is, or nowhere: for each rule which machines passed it.

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Job};
use super::rules::Rule;

/// What one rule said about the machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// The rule.
    pub rule: Rule,
    /// The ids of the machines that passed.
    pub passed: Vec<String>,
    /// Those that did not.
    pub failed: Vec<Refused>,
}

/// A machine that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its id.
    pub machine: String,
    /// Why.
    pub reason: String,
}

/// The machine that comes nearest to running the unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Its id.
    pub machine: String,
    /// What would have to change.
    pub reasons: Vec<String>,
}

/// Asks every rule that the unit brings in, and the cordon if there is one, about every machine.
pub fn reports(cluster: &Cluster, job: &Job) -> Vec<RuleReport> {
    let wants = &job.requirements;
    let refusals: Vec<_> =
        cluster.machines().map(|machine| (&machine.id, cluster.refusals(machine, job))).collect();
    let asked = |rule: Rule| match rule {
        Rule::MachineId => wants.machine_id.is_some(),
        Rule::MachineMetadata => !wants.metadata.is_empty(),
        Rule::MachineOf => !wants.machine_of.is_empty(),
        Rule::Cpu => wants.cpu.is_some(),
        Rule::Memory => wants.memory.is_some(),
        Rule::Conflicts | Rule::Cordon => {
            refusals.iter().any(|(_, all)| all.iter().any(|refusal| refusal.rule() == rule))
                || (rule == Rule::Conflicts && !wants.conflicts.is_empty())
        }
    };
    Rule::ALL
        .into_iter()
        .filter(|&rule| asked(rule))
        .map(|rule| {
            let mut report = RuleReport { rule, passed: Vec::new(), failed: Vec::new() };
            for (id, all) in &refusals {
                match all.iter().find(|refusal| refusal.rule() == rule) {
                    Some(refusal) => report
                        .failed
                        .push(Refused { machine: (*id).clone(), reason: refusal.to_string() }),
                    None => report.passed.push((*id).clone()),
                }
            }
            report
        })
        .collect()
}

/// The machine with the fewest reasons against the unit; `None` if one can run it, or if there is
/// none at all.
pub fn nearest(cluster: &Cluster, job: &Job) -> Option<Nearest> {
    let mut best: Option<Nearest> = None;
    for machine in cluster.machines() {
        let refusals = cluster.refusals(machine, job);
        if refusals.is_empty() {
            return None;
        }
        if best.as_ref().is_none_or(|best| refusals.len() < best.reasons.len()) {
            let reasons = refusals.iter().map(ToString::to_string).collect();
            best = Some(Nearest { machine: machine.id.clone(), reasons });
        }
    }
    best
}

/// The machines that a line names before it only counts the others.
const SHOWN: usize = 5;

/// The report as lines for a person; machine ids are shortened to eight characters.
pub fn why_lines(reports: &[RuleReport], nearest: Option<&Nearest>) -> Vec<String> {
    let short = |id: &str| id.get(..8).unwrap_or(id).to_string();
    let mut lines = Vec::new();
    for report in reports {
        let all = report.passed.len() + report.failed.len();
        lines.push(format!("{}: passed by {} of {all} machines", report.rule, report.passed.len()));
        for refused in report.failed.iter().take(SHOWN) {
            lines.push(format!("  not by {}: {}", short(&refused.machine), refused.reason));
        }
        if report.failed.len() > SHOWN {
            lines.push(format!("  nor by {} more", report.failed.len() - SHOWN));
        }
    }
    if let Some(nearest) = nearest {
        let reasons = nearest.reasons.join("; and ");
        lines.push(format!("nearest miss: {}: {reasons}", short(&nearest.machine)));
    }
    lines
}
