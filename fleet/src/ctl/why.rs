//! `why` and `plan`: the decisions, and their reasons.

use std::fs;
use std::io::{self, Read};

use super::arguments::{Output, Plan, Why as Arguments};
use super::cluster::{Cluster, short};
use super::error::{CtlError, other};
use super::list::json;
use super::screen::{ago, note, now, say};
use super::source::{self, Typed};
use crate::api::types::{PlanRequest, PlannedUnit, Unit, Why};
use crate::place::{Nearest, RuleReport, Snapshot};
use crate::unit::Mode;

/// Machines that are named for one rule; the others are counted.
const SHOWN: usize = 5;

pub(super) fn run(cluster: &Cluster, arguments: &Arguments) -> Result<u8, CtlError> {
    let Typed { name, .. } = Typed::read(&arguments.unit)?;
    let why = cluster.why(name.as_str())?;
    let why = why.ok_or_else(|| other(format!("Unit {name} not found")))?;
    match arguments.output {
        Output::Json => say(&json(&why)?),
        Output::Text => say(&text(cluster, &why)),
    }
    Ok(0)
}

fn text(cluster: &Cluster, why: &Why) -> String {
    let mut text = format!("{}\n", why.verdict);
    for place in &why.places {
        let machine = cluster.legend(&place.machine, false);
        text.push_str(&format!("  on {machine}: {}, {}\n", place.state, place.why));
    }
    text.push_str(&rules(&why.rules));
    text.push_str(&nearest(why.nearest.as_ref()));
    if let Some(failure) = &why.failure {
        let seconds = failure.retry.saturating_sub(now()) / 1000;
        text.push_str(&format!(
            "  failed {} times, last on {}: {}; tried again in {seconds} s\n",
            failure.count,
            short(&failure.machine, false),
            failure.reason,
        ));
    }
    if let Some(brake) = &why.brake {
        text.push_str(&format!(
            "  nothing moves: {} machines went missing at once, {} ago (fleetctl brake release)\n",
            brake.machines.len(),
            ago(now(), brake.since),
        ));
    }
    text
}

/// Each rule with the machines that failed it.
fn rules(reports: &[RuleReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let all = report.passed.len() + report.failed.len();
        text.push_str(&format!(
            "  {}: {} of {all} machines pass\n",
            report.rule,
            report.passed.len()
        ));
        for refused in report.failed.iter().take(SHOWN) {
            text.push_str(&format!(
                "    not {}: {}\n",
                short(&refused.machine, false),
                refused.reason
            ));
        }
        if report.failed.len() > SHOWN {
            text.push_str(&format!("    and {} more\n", report.failed.len() - SHOWN));
        }
    }
    text
}

fn nearest(nearest: Option<&Nearest>) -> String {
    let Some(nearest) = nearest else { return String::new() };
    let reasons = nearest.reasons.join("; ");
    format!("  nearest miss: {}: {reasons}\n", short(&nearest.machine, false))
}

/// Where units would go. 1 if one of them would go nowhere.
pub(super) fn plan(cluster: &Cluster, plan: &Plan) -> Result<u8, CtlError> {
    if plan.files.is_empty() {
        return Err(other("No units given"));
    }
    let mut request = PlanRequest::default();
    for path in &plan.files {
        let typed = Typed::read(&path.to_string_lossy())?;
        let text = typed.find(cluster)?;
        for line in source::check(&typed.name, &text, plan.lenient)? {
            note(&line);
        }
        request.units.push(Unit {
            name: typed.name.to_string(),
            body: Some(text.bytes),
            desired_state: Some("launched".to_string()),
            lenient: plan.lenient,
            ..Unit::default()
        });
    }
    let answer = cluster.plan(&request)?;
    if plan.output == Output::Json {
        say(&json(&answer)?);
    } else {
        for decision in &answer.decisions {
            say(&planned(cluster, decision));
        }
    }
    Ok(u8::from(answer.decisions.iter().any(|decision| decision.machines.is_empty())))
}

fn planned(cluster: &Cluster, unit: &PlannedUnit) -> String {
    if unit.machines.is_empty() {
        let reasons = rules(&unit.rules) + &nearest(unit.nearest.as_ref());
        return format!("{}: no machine can run it\n{reasons}", unit.name);
    }
    let machines: Vec<_> =
        unit.machines.iter().map(|machine| cluster.legend(machine, false)).collect();
    format!("{}: {}\n", unit.name, machines.join(", "))
}

/// Decides about a cluster in a file.
pub(super) fn snapshot(plan: &Plan) -> Result<u8, CtlError> {
    let path = plan.snapshot.clone().unwrap_or_default();
    let read = match path.to_str() {
        Some("-") => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        _ => fs::read(&path),
    };
    let bytes = read.map_err(|source| CtlError::Read { path: path.clone(), source })?;
    let mode = if plan.lenient { Mode::Lenient } else { Mode::Strict };
    let decision = Snapshot::parse(&bytes)
        .and_then(|snapshot| snapshot.decide(mode))
        .map_err(|source| CtlError::Snapshot { path, source })?;
    for warning in &decision.warnings {
        note(warning);
    }
    say(&json(&decision)?);
    Ok(0)
}
