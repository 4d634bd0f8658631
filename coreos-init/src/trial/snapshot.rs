//! What there was at every path that a plan changes, and the plan that puts it back.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::apply::{self, Before, Root};
use crate::ledger::{Ledger, Place, Trace};
use crate::plan::{Action, Content, Effect, Origin, Owner, Plan, parent};
use crate::stored::Bytes;

/// The most of one file that is kept for the way back.
const LIMIT: u64 = 64 << 20;

/// What there was before a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In the order of the plan.
    paths: Vec<Kept>,
    /// Directories that were not there.
    missing: Vec<Place>,
    /// What the last configuration owned.
    ledger: Ledger,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Option<String>,
    was: Was,
    /// What the plan puts there, if that is a file or a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    becomes: Option<Trace>,
}

/// What there was at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Was {
    Nothing,
    File { content: Bytes, mode: u32, uid: u32, gid: u32 },
    Link { target: String },
    Directory { mode: u32, uid: u32, gid: u32 },
}

impl Snapshot {
    /// Keeps what a plan is going to change.
    ///
    /// # Errors
    /// Something is there that could not be put back.
    pub fn take(plan: &Plan, root: &Root) -> Result<Snapshot, Error> {
        let mut paths = Vec::new();
        for change in apply::changes_within(plan, root, LIMIT)? {
            let path = change.action.path.clone();
            let unfit = |why| Error::Unfit { path: path.clone(), why };
            let was = match change.before {
                None => Was::Nothing,
                Some(Before::File { content: None, .. }) => return Err(unfit("is too large")),
                Some(Before::Other) => return Err(unfit("is a special file")),
                Some(Before::File { content: Some(content), mode, owner, .. }) => {
                    let content = Bytes::new(&content.0);
                    Was::File { content, mode, uid: owner.uid, gid: owner.gid }
                }
                Some(Before::Link(target)) => Was::Link { target },
                Some(Before::Directory { mode, owner }) => {
                    Was::Directory { mode, uid: owner.uid, gid: owner.gid }
                }
            };
            let becomes = match &change.action.effect {
                Effect::File { content, .. } => Some(Trace::file(&content.0)),
                Effect::Link { target } => Some(Trace::link(target)),
                _ => None,
            };
            paths.push(Kept { path, home: change.action.home.clone(), was, becomes });
        }
        let missing = apply::missing(plan, root);
        Ok(Snapshot { paths, missing, ledger: plan.previous.clone() })
    }

    /// The plan that puts it back. `now` is what is owned now. Without `passing`, what is gone
    /// with the next boot is left out.
    pub fn plan(&self, now: Ledger, passing: bool) -> Plan {
        let kept = self.paths.iter().filter(|kept| passing || !kept.path.starts_with("/run/"));
        let mut owned = Ledger { staging: Vec::new(), ..self.ledger.clone() };
        // A home that was made stays, and so does the number of whom it belongs to.
        for (name, account) in &now.accounts {
            let account = || crate::ledger::OwnedAccount { present: false, ..account.clone() };
            owned.accounts.entry(name.clone()).or_insert_with(account);
        }
        for (name, group) in &now.groups {
            let group = || crate::ledger::OwnedGroup { present: false, ..group.clone() };
            owned.groups.entry(name.clone()).or_insert_with(group);
        }
        let actions = kept.filter_map(Kept::action).collect();
        Plan { actions, owned, previous: now, ..Plan::default() }
    }

    /// Removes the directories that were not there, where nothing is in them.
    pub fn clear(&self, root: &Root) {
        let mut missing: Vec<&Place> = self.missing.iter().collect();
        missing.sort_by_key(|place| std::cmp::Reverse(place.path.len()));
        for place in missing {
            apply::clear_directory(root, place);
        }
    }
}

impl Kept {
    fn action(&self) -> Option<Action> {
        let effect = match &self.was {
            Was::Nothing => {
                let forms = vec![self.becomes.clone()?];
                Effect::Remove { forms, original: None }
            }
            Was::File { content, mode, uid, gid } => Effect::File {
                content: Content(content.to_vec()),
                mode: *mode,
                owner: Owner { uid: *uid, gid: *gid },
                owned: true,
            },
            Was::Link { target } => Effect::Link { target: target.clone() },
            Was::Directory { mode, uid, gid } => {
                Effect::Directory { mode: *mode, owner: Owner { uid: *uid, gid: *gid } }
            }
        };
        let origin = Origin { section: "before the trial", span: None, entry: None };
        Some(Action { path: self.path.clone(), home: self.home.clone(), origin, effect })
    }
}

/// The action that takes away what only an earlier configuration had put into `/run`.
pub fn passing_removal(path: &str, now: Trace) -> Action {
    debug_assert!(parent(path).starts_with("/run"));
    let origin = Origin { section: "no longer configured", span: None, entry: None };
    let effect = Effect::Remove { forms: vec![now], original: None };
    Action { path: path.to_string(), home: None, origin, effect }
}
