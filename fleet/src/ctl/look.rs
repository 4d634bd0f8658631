//! Looking at one unit, and ahead.

use std::path::Path;

use super::{Context, Failure, short};
use crate::api::types::{PlanRequest, Unit};
use crate::place::{Snapshot, why_lines};
use crate::unit::{Mode, UnitName};

/// `cat`: the unit file as it was submitted, byte for byte.
pub fn cat(context: &mut Context<'_>, unit: &str) -> Result<(), Failure> {
    let name = UnitName::parse_typed(unit).map_err(|error| Failure(error.to_string()))?;
    let found = context.client.unit(name.as_str())?;
    let Some(unit) = found else { return Err(Failure(format!("Unit {name} not found"))) };
    context.out.write_all(unit.body.unwrap_or_default().as_bytes())?;
    Ok(())
}

/// `why`: why a unit is where it is, or nowhere.
pub fn why(context: &mut Context<'_>, unit: &str) -> Result<(), Failure> {
    let name = UnitName::parse_typed(unit).map_err(|error| Failure(error.to_string()))?;
    let Some(why) = context.client.why(name.as_str())? else {
        return Err(Failure(format!("Unit {name} not found")));
    };
    writeln!(context.out, "{}", why.verdict)?;
    for line in why_lines(&why.rules, why.nearest.as_ref()) {
        writeln!(context.out, "{line}")?;
    }
    if let Some(failure) = &why.failure {
        writeln!(context.out, "attempts: {}; last: {}", failure.count, failure.reason)?;
    }
    if let Some(brake) = &why.brake {
        writeln!(
            context.out,
            "storm brake: {} machines are missing, nothing is moved",
            brake.machines.len()
        )?;
    }
    Ok(())
}

/// `plan FILE…`: where these would go.
pub fn plan(context: &mut Context<'_>, files: &[String], lenient: bool) -> Result<(), Failure> {
    let mut request = PlanRequest::default();
    for file in files {
        let last = file.rsplit('/').next().unwrap_or(file);
        let name = UnitName::parse_typed(last).map_err(|error| Failure(error.to_string()))?;
        let body =
            std::fs::read_to_string(file).map_err(|error| Failure(format!("{file}: {error}")))?;
        request.units.push(Unit {
            name: name.to_string(),
            body: Some(body),
            lenient,
            ..Unit::default()
        });
    }
    for decision in context.client.plan(&request)?.decisions {
        let machines: Vec<&str> = decision.machines.iter().map(|id| short(id)).collect();
        match &machines[..] {
            [] => writeln!(context.out, "{}: no machine can run it", decision.name)?,
            machines => writeln!(context.out, "{}: {}", decision.name, machines.join(" "))?,
        }
        for line in why_lines(&decision.rules, decision.nearest.as_ref()) {
            writeln!(context.out, "  {line}")?;
        }
    }
    Ok(())
}

/// `plan --snapshot FILE`: a decision without a cluster, as JSON. Needs no daemon.
pub fn plan_snapshot(
    out: &mut dyn std::io::Write,
    errors: &mut dyn std::io::Write,
    file: &Path,
    lenient: bool,
) -> Result<(), Failure> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)?;
        bytes
    } else {
        std::fs::read(file).map_err(|error| Failure(format!("{}: {error}", file.display())))?
    };
    let failure = |error: &dyn std::error::Error| {
        Failure(format!("{}: {}", file.display(), host::error::chain(error)))
    };
    let snapshot = Snapshot::parse(&bytes).map_err(|error| failure(&error))?;
    let mode = if lenient { Mode::Lenient } else { Mode::Strict };
    let decision = snapshot.decide(mode).map_err(|error| Failure(error.to_string()))?;
    for warning in &decision.warnings {
        writeln!(errors, "{warning}")?;
    }
    serde_json::to_writer(&mut *out, &decision).map_err(|error| Failure(error.to_string()))?;
    writeln!(out)?;
    Ok(())
}
