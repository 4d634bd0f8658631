//! Submitting units and saying what they should be.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Context, Failure, short};
use crate::api::types::Unit;
use crate::unit::UnitName;

/// Between two looks at what became of a unit.
const LOOK: Duration = Duration::from_millis(250);

/// What units should become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// `inactive`, `loaded` or `launched`.
    pub desired: &'static str,
    /// Wait until it is so.
    pub block: bool,
    /// How long to wait; for ever if there is none.
    pub timeout: Option<Duration>,
    /// Take the local file though another is submitted.
    pub replace: bool,
    /// Read local files as fleet did.
    pub lenient: bool,
}

/// The unit's name: the last part of what was typed.
fn name_of(typed: &str) -> Result<UnitName, Failure> {
    let last = typed.rsplit('/').next().unwrap_or(typed);
    UnitName::parse_typed(last).map_err(|error| Failure(error.to_string()))
}

fn local(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Failure(format!("{}: not UTF-8", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure(format!("{}: {error}", path.display()))),
    }
}

/// Submits a unit unless it is there: from its file, its template in the cluster, or its
/// template's file. Returns its name.
fn ensure(
    context: &mut Context<'_>,
    typed: &str,
    replace: bool,
    lenient: bool,
) -> Result<UnitName, Failure> {
    let name = name_of(typed)?;
    let path = Path::new(typed);
    let path = if typed.ends_with(name.as_str()) {
        path.to_path_buf()
    } else {
        path.with_file_name(name.as_str())
    };
    let known = context.client.unit(name.as_str())?;
    let file = local(&path)?;
    let body = match (known, file) {
        (Some(known), Some(file)) if known.body.as_deref() != Some(file.as_str()) => {
            if !replace {
                writeln!(
                    context.errors,
                    "WARNING: Unit {name} in registry differs from local unit file {}. Add --replace to override.",
                    path.display()
                )?;
                return Ok(name);
            }
            file
        }
        (Some(_), _) => return Ok(name),
        (None, Some(file)) => file,
        (None, None) => {
            let template = name.template().ok_or_else(|| {
                Failure(format!("unable to find Unit({name}) in the cluster or on the file system"))
            })?;
            let stored = context.client.unit(template.as_str())?.and_then(|unit| unit.body);
            let file = match stored {
                Some(body) => Some(body),
                None => local(&path.with_file_name(template.as_str()))?,
            };
            file.ok_or_else(|| {
                Failure(format!("unable to find Unit({name}) or its template {template}"))
            })?
        }
    };
    let unit = Unit { name: name.to_string(), body: Some(body), lenient, ..Unit::default() };
    context.client.put_unit(&unit)?;
    Ok(name)
}

/// `submit`.
pub fn submit(
    context: &mut Context<'_>,
    units: &[String],
    replace: bool,
    lenient: bool,
) -> Result<(), Failure> {
    for typed in units {
        let name = ensure(context, typed, replace, lenient)?;
        writeln!(context.out, "Unit {name} inactive")?;
    }
    Ok(())
}

/// `load`, `start`, `stop`, `unload`: `start` and `load` submit what is not there yet.
pub fn change(
    context: &mut Context<'_>,
    units: &[String],
    change: Change,
    create: bool,
) -> Result<(), Failure> {
    let mut names = Vec::new();
    for typed in units {
        let name = if create {
            ensure(context, typed, change.replace, change.lenient)?
        } else {
            let name = name_of(typed)?;
            if context.client.unit(name.as_str())?.is_none() {
                writeln!(context.errors, "Unit {name} does not exist.")?;
                continue;
            }
            name
        };
        context.client.set_state(name.as_str(), change.desired)?;
        names.push(name);
    }
    let begin = Instant::now();
    for name in names {
        if !change.block {
            writeln!(context.out, "Triggered unit {name} {}", verb(change.desired))?;
            continue;
        }
        wait(context, &name, &change, begin)?;
    }
    Ok(())
}

fn verb(desired: &str) -> &str {
    match desired {
        "launched" => "start",
        "loaded" => "load",
        _ => "unload",
    }
}

fn wait(
    context: &mut Context<'_>,
    name: &UnitName,
    change: &Change,
    begin: Instant,
) -> Result<(), Failure> {
    loop {
        let Some(unit) = context.client.unit(name.as_str())? else {
            return Err(Failure(format!("Unit {name} was destroyed meanwhile")));
        };
        let Some(current) = unit.current_state else {
            writeln!(context.out, "Triggered global unit {name} {}", verb(change.desired))?;
            return Ok(());
        };
        if current == change.desired {
            let place = match unit.machine_id.as_str() {
                "" => String::new(),
                id => format!(" on {}...", short(id)),
            };
            writeln!(context.out, "Unit {name} {current}{place}")?;
            return Ok(());
        }
        if change.timeout.is_some_and(|timeout| begin.elapsed() >= timeout) {
            let why = context.client.why(name.as_str())?.map(|why| why.verdict).unwrap_or_default();
            return Err(Failure(format!("Unit {name} is still {current}: {why}")));
        }
        std::thread::sleep(LOOK);
    }
}

/// `destroy`.
pub fn destroy(context: &mut Context<'_>, units: &[String]) -> Result<(), Failure> {
    for typed in units {
        let name = name_of(typed)?;
        match context.client.destroy(name.as_str()) {
            Ok(()) => writeln!(context.out, "Destroyed {name}")?,
            Err(error) if error.is_not_found() => {
                writeln!(context.errors, "Unit {name} does not exist.")?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
