//! `plan`: what a configuration would change in a root or on a disk, as a unified diff or as JSON.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use cloud_config::{has_errors, redacted};
use serde::Serialize;
use similar::TextDiff;

use super::apply::{ApplyOptions, Failure, plan_for, say_jobs};
use super::input::{self, Input, Keep};
use super::{Streams, Verdict, here};
use crate::apply::{Before, Change, Owners, Root, View, after, changes};
use crate::image::DiskImage;
use crate::plan::Plan;
use crate::reading::Reading;
use crate::source::Found;

/// Lines around a change that are shown.
const CONTEXT: usize = 3;

/// All that would change.
#[derive(Debug, Serialize)]
struct Shown {
    changes: Vec<ShownChange>,
    /// What systemd would be asked for.
    jobs: Vec<String>,
}

/// One change.
#[derive(Debug, Serialize)]
struct ShownChange {
    path: String,
    /// `create`, `change`, `remove`, `restore`.
    change: &'static str,
    /// The part of the configuration.
    section: &'static str,
    /// `node.yaml:4:5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    before: Option<State>,
    after: Option<State>,
    /// Its content is not shown: not everybody on the machine may read it.
    secret: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    diff: String,
}

/// What is, or will be, at a path.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum State {
    File { mode: String, uid: u32, gid: u32, size: u64 },
    Link { target: String },
    Directory { mode: String, uid: u32, gid: u32 },
    Other,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy)]
pub enum PlanTarget<'a> {
    /// A directory that stands for the machine's root.
    Root(&'a Path),
    /// The image of the machine's disk.
    Image(&'a Path),
}

/// Variables of the environment that say what `$private_ipv4` and the like are.
pub type Overrides = BTreeMap<String, String>;

pub(super) fn run(
    input: &Input,
    target: PlanTarget<'_>,
    overrides: &Overrides,
    json: bool,
    streams: &mut Streams<'_>,
) -> Verdict {
    match plan(input, target, overrides, json, streams) {
        Ok(verdict) => verdict,
        Err(error) => {
            streams.fail(&error);
            Verdict::No
        }
    }
}

fn plan(
    input: &Input,
    target: PlanTarget<'_>,
    overrides: &Overrides,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<Verdict, Failure> {
    let found = input::find(input, &mut io::stdin().lock())?;
    match target {
        PlanTarget::Root(root) => {
            let options = ApplyOptions { root, dry_run: true, overrides };
            show_plan(&found, &options, json, streams)
        }
        PlanTarget::Image(path) => plan_for_image(&found, path, overrides, json, streams),
    }
}

/// Shows the plan of a configuration for the machine whose disk a file is the image of.
fn plan_for_image(
    found: &Found,
    path: &Path,
    overrides: &Overrides,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<Verdict, Failure> {
    let disk = DiskImage::open(path)?;
    let state = if disk.has_state() { "the state of its last boot" } else { "no state yet" };
    streams.warn(format_args!(
        "note: {} boots {} from slot {}, with {state}",
        path.display(),
        disk.version,
        disk.slot
    ));
    let reading = input::read_for(found, &disk.root, overrides, streams);
    show(&reading, &disk.root, Some(&disk.original), json, streams)
}

/// Shows the plan of a configuration for a directory.
pub(super) fn show_plan(
    found: &Found,
    options: &ApplyOptions<'_>,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<Verdict, Failure> {
    // Whose a file is counts for everybody who looks.
    let root = Root::open(options.root, Owners::Set)?;
    let reading = input::read(found, options.root, Keep::Nothing, options.overrides, streams);
    show(&reading, &root, here::image(options.root).as_ref(), json, streams)
}

fn show<V: View>(
    reading: &Reading,
    root: &V,
    image: Option<&V>,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<Verdict, Failure> {
    if has_errors(&reading.findings) || !reading.failures.is_empty() {
        return Ok(Verdict::No);
    }
    let plan = plan_for(reading, root, image, streams)?;
    if has_errors(&plan.findings) {
        return Ok(Verdict::No);
    }
    let shown = shown(&plan, reading, root)?;
    if json {
        streams.say(serde_json::to_string_pretty(&shown).expect("structs with string keys"));
    } else {
        for change in &shown.changes {
            streams.say(change.text().trim_end());
        }
        if shown.changes.is_empty() {
            streams.say("nothing would change: all is as configured");
        } else {
            say_jobs(&plan, streams);
        }
    }
    Ok(if shown.changes.is_empty() { Verdict::Yes } else { Verdict::Changes })
}

fn shown(plan: &Plan, reading: &Reading, root: &impl View) -> Result<Shown, Failure> {
    let changes = changes(plan, root)?;
    let names = reading.bundle.names();
    let changes = changes.iter().map(|change| ShownChange::new(change, &names));
    let jobs = plan.jobs.iter().map(|job| format!("{} {}", job.verb, job.unit));
    let merges = plan.extensions.iter().map(|extension| format!("merge {}", extension.name));
    let scripts = plan.scripts.iter().map(|script| format!("run {script}"));
    Ok(Shown { changes: changes.collect(), jobs: merges.chain(jobs).chain(scripts).collect() })
}

impl ShownChange {
    fn new(change: &Change<'_>, names: &[String]) -> ShownChange {
        let action = change.action;
        let after = after(action);
        let place = action.origin.span.map(|span| {
            let part = usize::try_from(span.part).unwrap_or(0);
            let name = names.get(part).map_or("user-data", String::as_str);
            format!("{name}:{}:{}", span.start.line, span.start.column)
        });
        let secret = [change.before.as_ref(), after.as_ref()].into_iter().flatten().any(is_secret);
        let diff = match secret {
            true => String::new(),
            false => diff(&action.path, change.before.as_ref(), after.as_ref()),
        };
        let word = match (&change.before, &after) {
            (None, _) => "create",
            (Some(_), None) => "remove",
            _ if action.origin.section == "no longer configured" => "restore",
            _ => "change",
        };
        ShownChange {
            path: action.path.clone(),
            change: word,
            section: action.origin.section,
            place,
            before: change.before.as_ref().map(State::from),
            after: after.as_ref().map(State::from),
            secret,
            diff,
        }
    }

    /// A line that says what it is, and the diff.
    fn text(&self) -> String {
        let origin = match &self.place {
            Some(place) => format!("{}, {place}", self.section),
            None => self.section.to_string(),
        };
        let state = match (&self.before, &self.after) {
            (_, None) => String::new(),
            (Some(before), Some(after)) if before != after => format!(" {before} -> {after}"),
            (_, Some(after)) => format!(" {after}"),
        };
        let hidden = if self.secret { ", content not shown" } else { "" };
        format!("# {} {}{state} ({origin}{hidden})\n{}", self.change, self.path, self.diff)
    }
}

/// Whether not everybody on the machine may read it.
fn is_secret(state: &Before) -> bool {
    matches!(state, Before::File { mode, .. } if mode & 0o004 == 0)
}

/// The unified diff of two files; nothing where neither is one, or nothing of them differs.
fn diff(path: &str, before: Option<&Before>, after: Option<&Before>) -> String {
    let text = |state: Option<&Before>| match state {
        Some(Before::File { content: Some(content), .. }) => {
            String::from_utf8(content.0.clone()).ok().map(|text| redacted(&text))
        }
        Some(Before::File { content: None, .. }) => None,
        Some(Before::Link(target)) => Some(format!("-> {target}\n")),
        _ => Some(String::new()),
    };
    let (Some(old), Some(new)) = (text(before), text(after)) else {
        return "the content is not text, or too large to be shown\n".to_string();
    };
    let name = |state: Option<&Before>, letter: &str| match state {
        None => "/dev/null".to_string(),
        Some(_) => format!("{letter}{path}"),
    };
    if old == new {
        let changed = content(before) != content(after);
        return if changed {
            "only what is not shown differs\n".to_string()
        } else {
            String::new()
        };
    }
    let (old_name, new_name) = (name(before, "a"), name(after, "b"));
    TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&old_name, &new_name)
        .to_string()
}

fn content(state: Option<&Before>) -> Option<&[u8]> {
    match state {
        Some(Before::File { content: Some(content), .. }) => Some(&content.0),
        _ => None,
    }
}

impl From<&Before> for State {
    fn from(state: &Before) -> State {
        let octal = |mode: &u32| format!("{mode:04o}");
        match state {
            Before::File { size, mode, owner, .. } => {
                State::File { mode: octal(mode), uid: owner.uid, gid: owner.gid, size: *size }
            }
            Before::Link(target) => State::Link { target: target.clone() },
            Before::Directory { mode, owner } => {
                State::Directory { mode: octal(mode), uid: owner.uid, gid: owner.gid }
            }
            Before::Other => State::Other,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::File { mode, uid, gid, size } => write!(f, "{mode} {uid}:{gid} {size} bytes"),
            State::Link { target } => write!(f, "-> {target}"),
            State::Directory { mode, uid, gid } => write!(f, "directory {mode} {uid}:{gid}"),
            State::Other => f.write_str("a special file"),
        }
    }
}
