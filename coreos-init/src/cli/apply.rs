//! `apply`: a configuration into a directory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use cloud_config::has_errors;

use super::input::{self, Input, InputError, Keep};
use super::trial::{carry_out, on_bus};
use super::{Streams, Verdict, here};
use crate::apply::{self, Applied, Outcome, Owners, Root, View, survey};
use crate::extension;
use crate::image::ImageError;
use crate::plan::{Context, Plan, plan};
use crate::reading::Reading;
use crate::trial::{self, Recovered, Touched, Trial};
use crate::verbs::JobOutcome;

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Trial(#[from] trial::Error),
    #[error("a trial is under way: `coreos-init confirm` keeps it, or wait until it is taken back")]
    UnderWay,
}

/// What to do, and where.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// The directory that stands for the machine's root.
    pub root: &'a Path,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Variables of the environment that say what `$private_ipv4` and the like are.
    pub overrides: &'a BTreeMap<String, String>,
}

pub(super) fn run(input: &Input, options: &ApplyOptions<'_>, streams: &mut Streams<'_>) -> Verdict {
    match apply(input, options, streams) {
        Ok(verdict) => verdict,
        Err(error) => {
            streams.fail(&error);
            match error {
                Failure::Input(_) | Failure::Apply(apply::Error::Open { .. }) => Verdict::None,
                _ => Verdict::No,
            }
        }
    }
}

fn apply(
    input: &Input,
    options: &ApplyOptions<'_>,
    streams: &mut Streams<'_>,
) -> Result<Verdict, Failure> {
    let found = input::find(input, &mut io::stdin().lock())?;
    let owners = if nix::unistd::geteuid().is_root() { Owners::Set } else { Owners::Skip };
    let root = Root::open(options.root, owners)?;
    end_trial(options, streams)?;
    let keep = if options.dry_run { Keep::Nothing } else { Keep::All };
    let reading = input::read(&found, options.root, keep, options.overrides, streams);
    if has_errors(&reading.findings) || !reading.failures.is_empty() {
        return Ok(Verdict::No);
    }
    let image = here::image(options.root);
    let plan = plan_for(&reading, &root, image.as_ref(), streams)?;
    if has_errors(&plan.findings) {
        return Ok(Verdict::No);
    }
    if owners == Owners::Skip {
        streams.warn("warning: not run as root: everything will belong to you");
    }
    if options.dry_run {
        for change in apply::changes(&plan, &root)? {
            streams.say(change.action);
        }
        say_jobs(&plan, streams);
        return Ok(Verdict::Yes);
    }
    let applied = apply::apply(&plan, &root)?;
    if !applied.has_failures() {
        extension::forget_others(options.root);
    }
    say_applied(&applied, streams);
    say_jobs(&plan, streams);
    let merged = options.root != Path::new("/") || merge(&applied, streams);
    Ok(if applied.has_failures() || !merged { Verdict::No } else { Verdict::Yes })
}

/// Lets this machine merge its extensions, if they are others now. Whether it did.
fn merge(applied: &Applied, streams: &mut Streams<'_>) -> bool {
    let changed = applied.items.iter().filter_map(|item| match item.outcome {
        Outcome::Written | Outcome::Restored => Some((item.path.as_str(), false)),
        Outcome::Removed => Some((item.path.as_str(), true)),
        _ => None,
    });
    let merges = Touched::of(changed).merges();
    if merges.is_empty() {
        return true;
    }
    let failed = match on_bus(async |bus| carry_out(bus, merges).await) {
        Ok(reports) => reports.into_iter().find_map(|report| match report.outcome {
            JobOutcome::Failed(why) => Some(why),
            _ => None,
        }),
        Err(error) => Some(host::error::chain(&error)),
    };
    match &failed {
        Some(why) => streams.warn(format_args!("error: the extensions are not merged: {why}")),
        None => streams.say("merged the extensions"),
    }
    failed.is_none()
}

/// A trial that a root was left in is ended, as its machine would at its next boot. One of this
/// machine is not interfered with.
fn end_trial(options: &ApplyOptions<'_>, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let trial = Trial::of(options.root);
    if options.dry_run || !trial.is_under_way() {
        return Ok(());
    }
    if options.root == Path::new("/") {
        return Err(Failure::UnderWay);
    }
    match trial::recover(options.root)? {
        Recovered::Nothing => {}
        Recovered::TakenBack(notes) => {
            for note in notes {
                streams.warn(format_args!("note: {note}"));
            }
            streams.warn("note: a trial was not confirmed: it was taken back");
        }
        Recovered::Kept(_) => trial.end()?,
    }
    Ok(())
}

/// Plans a configuration for a root, and shows what is wrong with it there. `image` is the root
/// as the image has it, if that is known.
pub(super) fn plan_for<V: View>(
    reading: &Reading,
    root: &V,
    image: Option<&V>,
    streams: &mut Streams<'_>,
) -> Result<Plan, apply::Error> {
    let (facts, notes) = survey(root, image, &reading.config)?;
    let plan = plan(&reading.config, &Context { facts, ..reading.context.clone() });
    for finding in &plan.findings {
        streams.warn(reading.bundle.render(finding));
    }
    for note in notes.iter().chain(&plan.notes) {
        streams.warn(format_args!("note: {note}"));
    }
    Ok(plan)
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

/// What only a running machine does.
pub(super) fn say_jobs(plan: &Plan, streams: &mut Streams<'_>) {
    for job in &plan.jobs {
        streams.say(format_args!("on the machine: {} {}", job.verb, job.unit));
    }
    for extension in &plan.extensions {
        streams.say(format_args!("on the machine: merge {}", extension.name));
    }
    for script in &plan.scripts {
        streams.say(format_args!("on the machine: run {script}"));
    }
}
