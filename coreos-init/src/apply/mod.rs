//! Plan → a changed root; decides nothing.
//!
//! look → note in the ledger → stage → sync → switch → ledger → sync
//!
//! Every file is written beside its place first and only then moved into it, so that a full
//! disk or an impossible path is met before anything has changed, and so that a machine that
//! loses power at any moment has each file old or new. The next run clears what such a moment
//! left. A root that already is as planned is not written to.

mod change; // what would change, with what is there
mod compare; // what a path has, and what it is to have
mod root; // a root directory, and every effect on it
mod stage; // files beside their places, then in them
mod survey; // what a plan must know of the root
mod view; // a root as it is looked at

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use cloud_config::{Config, Finding};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

pub use change::{Before, Change, after, changes, changes_within};
pub use root::{Owners, Root};
pub use survey::{ledger, survey};
pub use view::{State, View};

use crate::ledger::{Ledger, Place};
use crate::plan::{Action, Context, Effect, Origin, Plan, decide, file_name, parent, rescue};
use compare::{Need, need};
use stage::Stage;

/// Why nothing was applied. The root is as it was.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// The root itself.
    #[error("cannot use {} as a root directory", path.display())]
    Open { path: PathBuf, source: io::Error },
    /// Something that a plan must know.
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    /// A file that is edited, and so must be understood.
    #[error("cannot edit {path}: it is not UTF-8 text")]
    NotText { path: String },
    /// A planned change.
    #[error("cannot write {path} ({origin})")]
    Write { path: String, origin: Box<Origin>, source: io::Error },
    /// The record of what is owned.
    #[error("cannot write {}", Ledger::PATH)]
    Ledger { source: io::Error },
    /// The disk did not take the changes.
    #[error("cannot bring the changes to the disk")]
    Sync { source: io::Error },
}

/// What was done, change by change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// In the order of the plan.
    pub items: Vec<Item>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

impl Applied {
    /// Whether the root is not quite what was planned.
    pub fn has_failures(&self) -> bool {
        self.items.iter().any(|item| matches!(item.outcome, Outcome::Failed(_)))
    }
}

/// One change and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The path in the root.
    pub path: String,
    /// The part of the configuration it is from.
    pub section: String,
    /// The text of the user data it is from, where that has several.
    #[serde(skip_serializing_if = "crate::report::is_first", default)]
    pub part: u32,
    /// The line of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    /// The column in that line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
    /// The variables that it depends on, without dollar signs.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub variables: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was as planned already.
    Unchanged,
    /// Written or made.
    Written,
    /// Removed: no longer configured.
    Removed,
    /// What the image has is there again: no longer configured.
    Restored,
    /// No longer configured, but left: somebody changed it since.
    Kept,
    /// For this reason.
    Failed(String),
}

/// Brings a root to what is planned for it.
///
/// # Errors
/// [`Error`], and then nothing has changed. From the moment on that changes are switched in,
/// what goes wrong with one is in its item and does not keep the others from being made.
pub fn apply(plan: &Plan, root: &Root) -> Result<Applied, Error> {
    sweep(plan, root);
    let mut items: Vec<Item> = Vec::with_capacity(plan.actions.len());
    let mut changes = Vec::new();
    for (index, action) in plan.actions.iter().enumerate() {
        let outcome = match need(action, root) {
            Ok(Need::Nothing) => Outcome::Unchanged,
            Ok(Need::Keep) => Outcome::Kept,
            Ok(Need::Change) => {
                changes.push(index);
                Outcome::Unchanged
            }
            Err(error) if is_theirs(action, &error) => Outcome::Failed(error.to_string()),
            Err(error) => return Err(write_error(action, error)),
        };
        items.push(item(action, outcome));
    }
    let staging = places(root, changes.iter().map(|index| &plan.actions[*index]));
    if !changes.is_empty() || plan.owned != plan.previous {
        make(plan, root, &changes, &staging, &mut items)?;
    }
    let kept = items.iter().filter(|item| item.outcome == Outcome::Kept);
    let kept = kept
        .map(|item| format!("{} is no longer configured, but was changed since: kept", item.path));
    Ok(Applied { notes: kept.collect(), items })
}

/// What [`apply_or_rescue`] came to.
#[derive(Debug)]
pub struct Attempt {
    /// What was planned and applied in the end.
    pub plan: Plan,
    /// What was done.
    pub applied: Applied,
    /// Why the whole could not be applied, if it could not.
    pub refused: Option<Error>,
}

/// Plans and applies a configuration; where the root does not take it, what lets people in
/// ([`rescue`]).
///
/// # Errors
/// The root does not take even that.
pub fn apply_or_rescue(
    config: &Config,
    findings: &[Finding],
    context: &Context,
    root: &Root,
) -> Result<Attempt, Error> {
    let whole = decide(config, findings, context);
    match apply(&whole, root) {
        Ok(applied) => Ok(Attempt { plan: whole, applied, refused: None }),
        Err(error) => {
            let plan = Plan { findings: whole.findings, ..rescue(config, context) };
            let applied = apply(&plan, root)?;
            Ok(Attempt { plan, applied, refused: Some(error) })
        }
    }
}

/// Makes changes that are needed.
fn make(
    plan: &Plan,
    root: &Root,
    changes: &[usize],
    staging: &[Place],
    items: &mut Vec<Item>,
) -> Result<(), Error> {
    // Where only `/run` changes, as at every boot of an unchanged machine, the disk rests.
    let lasting = !staging.iter().all(is_passing) || plan.owned != plan.previous;
    let to_sync = || staging.iter().cloned().chain([ledger_place()]).filter(|_| lasting);
    let mut stage = Stage::new(root);
    let staged = (|| {
        if lasting {
            let joined = plan.previous.joined(&plan.owned, staging.to_vec());
            stage.ledger(&joined).map_err(|source| Error::Ledger { source })?;
        }
        for index in changes {
            let action = &plan.actions[*index];
            match stage.prepare(*index, action) {
                Ok(()) => {}
                Err(error) if is_theirs(action, &error) => {
                    items[*index].outcome = Outcome::Failed(error.to_string());
                }
                Err(error) => return Err(write_error(action, error)),
            }
        }
        root.sync(to_sync()).map_err(|source| Error::Sync { source })
    })();
    if let Err(error) = staged {
        stage.undo(&plan.previous);
        return Err(error);
    }
    let (switched, mut complete) = stage.switch(&plan.actions);
    for (index, result) in switched {
        items[index].outcome = result.unwrap_or_else(|error| {
            complete = false;
            Outcome::Failed(error.to_string())
        });
    }
    // What could not be switched may have either form, and stays known for it.
    let last = match complete {
        true => plan.owned.clone(),
        false => plan.previous.joined(&plan.owned, Vec::new()),
    };
    let recorded = match lasting {
        true => stage.ledger(&last).and_then(|()| root.sync(to_sync())),
        false => Ok(()),
    };
    if let Err(error) = recorded {
        items.push(Item {
            path: Ledger::PATH.to_string(),
            section: "ledger".to_string(),
            part: 0,
            line: None,
            column: None,
            variables: Vec::new(),
            outcome: Outcome::Failed(error.to_string()),
        });
    }
    Ok(())
}

/// Whether something went wrong only because of what somebody did in their own home. That is
/// not to keep a machine from being provisioned.
fn is_theirs(action: &Action, error: &io::Error) -> bool {
    let theirs = [
        Errno::EACCES,
        Errno::EEXIST,
        Errno::EISDIR,
        Errno::ELOOP,
        Errno::ENOENT,
        Errno::ENOTDIR,
        Errno::ENOTEMPTY,
        Errno::EXDEV,
    ];
    let number = error.raw_os_error();
    action.home.is_some() && theirs.iter().any(|errno| number == Some(*errno as i32))
}

fn write_error(action: &Action, source: io::Error) -> Error {
    Error::Write { path: action.path.clone(), origin: Box::new(action.origin), source }
}

fn item(action: &Action, outcome: Outcome) -> Item {
    let span = action.origin.span;
    Item {
        path: action.path.clone(),
        section: action.origin.section.to_string(),
        part: span.map_or(0, |span| span.part),
        line: span.map(|span| span.start.line),
        column: span.map(|span| span.start.column),
        variables: Vec::new(),
        outcome,
    }
}

/// Clears what an interrupted run left: where the ledger says it was at work, and where the
/// ledger does not look.
fn sweep(plan: &Plan, root: &Root) {
    let passing = plan.actions.iter().map(Action::parent).filter(is_passing);
    // The ledger's own directory is made before there is a ledger.
    let mut own = vec![ledger_place()];
    while let Some(above) = own.last().filter(|place| place.path != "/") {
        let path = parent(&above.path).to_string();
        own.push(Place { path, home: None });
    }
    let places = plan.previous.staging.iter().cloned().chain(own).chain(passing);
    for place in places.collect::<BTreeSet<_>>() {
        // A leftover that cannot be cleared is in nobody's way.
        let _ = root.sweep(&place);
    }
}

/// Whether a directory is gone with the next boot.
fn is_passing(place: &Place) -> bool {
    place.path == "/run" || place.path.starts_with("/run/")
}

/// The directories that these actions write to, with those on the way that there are not yet.
fn places<'a>(root: &Root, actions: impl Iterator<Item = &'a Action>) -> Vec<Place> {
    let mut places = BTreeSet::new();
    for action in actions {
        let mut place = action.parent();
        while places.insert(place.clone())
            && place.path != "/"
            && !matches!(root.directory(&place), Ok(Some(_)))
        {
            place.path = parent(&place.path).to_string();
        }
    }
    places.into_iter().collect()
}

/// The directories that a plan's changes need and that are not there yet, the outermost first.
pub fn missing(plan: &Plan, root: &Root) -> Vec<Place> {
    let made =
        plan.actions.iter().filter(|action| matches!(action.effect, Effect::Directory { .. }));
    let made = made.map(|action| Place { path: action.path.clone(), home: action.home.clone() });
    let writing = plan.actions.iter().filter(|a| !matches!(a.effect, Effect::Remove { .. }));
    let all: BTreeSet<Place> = places(root, writing).into_iter().chain(made).collect();
    all.into_iter().filter(|place| !matches!(root.directory(place), Ok(Some(_)))).collect()
}

/// Removes a directory if there is nothing in it. Whether it is as it should be then: one that is
/// in use is.
pub fn clear_directory(root: &Root, place: &Place) -> bool {
    let above = Place { path: parent(&place.path).to_string(), home: place.home.clone() };
    let removed = match root.directory(&above) {
        Ok(Some(above)) => root.rmdir(&above, file_name(&place.path)),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let fine = [Errno::ENOENT, Errno::ENOTEMPTY, Errno::EBUSY].map(|errno| errno as i32);
    match removed {
        Ok(()) => true,
        Err(error) => error.raw_os_error().is_some_and(|number| fine.contains(&number)),
    }
}

fn ledger_place() -> Place {
    Place { path: parent(Ledger::PATH).to_string(), home: None }
}

#[cfg(test)]
pub(crate) mod tests;
