//! `apply`: a configuration into a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cloud_config::{
    Config, Document, Finding, UserData, Values, Variable, config_static_addresses, has_errors,
    recognise,
};

use super::{Streams, Verdict};
use crate::apply::{self, Applied, Outcome, Owners, Root, survey};
use crate::net::facts;
use crate::plan::{Context, Plan, plan};
use crate::source::{FileError, MetaData, from_file};

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Apply(#[from] apply::Error),
}

pub(super) fn run(
    root: &Path,
    file: &Path,
    dry_run: bool,
    overrides: &BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Verdict {
    match apply(root, file, dry_run, overrides, streams) {
        Ok(verdict) => verdict,
        Err(error) => {
            streams.fail(&error);
            match error {
                Failure::File(_) | Failure::Apply(apply::Error::Open { .. }) => Verdict::None,
                Failure::Apply(_) => Verdict::No,
            }
        }
    }
}

fn apply(
    root: &Path,
    file: &Path,
    dry_run: bool,
    overrides: &BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Result<Verdict, Failure> {
    let found = from_file(file)?;
    let text = match recognise(&found.user_data) {
        Ok(UserData::CloudConfig(text)) => text,
        Ok(UserData::Script(_)) => {
            streams.say("a script runs on the machine: there is nothing to write");
            return Ok(Verdict::Yes);
        }
        Ok(UserData::Empty) => String::new(),
        Err(finding) => {
            let text = String::from_utf8_lossy(&found.user_data);
            show(&[finding], &found.name, &text, streams);
            return Ok(Verdict::No);
        }
    };
    let document = Document::parse(&text);
    let (config, values, findings) = read(&document, overrides);
    show(&findings, &found.name, &text, streams);
    for variable in unknown(&document, &values) {
        let name = facts::override_name(variable);
        streams.warn(format_args!("note: {name}=ADDRESS in the environment stands for {variable}"));
    }
    if has_errors(&findings) {
        return Ok(Verdict::No);
    }

    let owners = if nix::unistd::geteuid().is_root() { Owners::Set } else { Owners::Skip };
    let root = Root::open(root, owners)?;
    let (facts, notes) = survey(&root, None, &config)?;
    let plan = plan(&config, &Context { values: values.map, facts, ..Context::default() });
    show(&plan.findings, &found.name, &text, streams);
    for note in notes.iter().chain(&plan.notes) {
        streams.warn(format_args!("note: {note}"));
    }
    if has_errors(&plan.findings) {
        return Ok(Verdict::No);
    }
    if owners == Owners::Skip {
        streams.warn("warning: not run as root: everything will belong to you");
    }
    if dry_run {
        for action in apply::preview(&plan, &root)? {
            streams.say(action);
        }
        say_jobs(&plan, streams);
        return Ok(Verdict::Yes);
    }
    let applied = apply::apply(&plan, &root)?;
    say_applied(&applied, streams);
    say_jobs(&plan, streams);
    Ok(if applied.has_failures() { Verdict::No } else { Verdict::Yes })
}

/// Decodes with the addresses that the environment gives and those that the configuration
/// itself sets.
fn read(
    document: &Document,
    overrides: &BTreeMap<String, String>,
) -> (Config, facts::Values, Vec<Finding>) {
    let (draft, _) = document.decode(&Values::Unknown);
    let fixed = config_static_addresses(&draft);
    let values = facts::values(overrides, &MetaData::default(), &fixed, None);
    let (config, findings) = document.decode(&Values::Known(&values.map));
    (config, values, findings)
}

/// The variables that are used without a value.
fn unknown(document: &Document, values: &facts::Values) -> BTreeSet<Variable> {
    let used = document.variables().into_iter().map(|used| used.variable);
    used.filter(|variable| !values.map.contains_key(variable)).collect()
}

fn show(findings: &[Finding], name: &str, text: &str, streams: &mut Streams<'_>) {
    for finding in findings {
        streams.warn(finding.render(name, text));
    }
}

fn say_applied(applied: &Applied, streams: &mut Streams<'_>) {
    for item in &applied.items {
        let path = &item.path;
        match &item.outcome {
            Outcome::Unchanged | Outcome::Kept => {}
            Outcome::Written => streams.say(format_args!("wrote {path}")),
            Outcome::Removed => streams.say(format_args!("removed {path}")),
            Outcome::Restored => streams.say(format_args!("restored {path}")),
            Outcome::Failed(reason) => {
                streams.warn(format_args!("error: cannot write {path}: {reason}"));
            }
        }
    }
    for note in &applied.notes {
        streams.warn(format_args!("note: {note}"));
    }
    let count = |outcome| applied.items.iter().filter(|item| item.outcome == outcome).count();
    if count(Outcome::Unchanged) == applied.items.len() {
        streams.say("nothing to do: all is as configured");
    }
}

fn say_jobs(plan: &Plan, streams: &mut Streams<'_>) {
    for job in &plan.jobs {
        streams.say(format_args!("on the machine: {} {}", job.verb, job.unit));
    }
}
