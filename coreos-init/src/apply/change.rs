//! What a plan would change, with what is there now: what `plan` shows.

use nix::sys::stat::SFlag;

use super::compare::{Need, need};
use super::view::View;
use super::{Error, write_error};
use crate::plan::{Action, Content, Effect, Owner, Plan, file_name};

/// The most of a file that is read to be shown.
const LIMIT: u64 = 4 << 20;

/// One change that a plan comes to.
#[derive(Debug)]
pub struct Change<'p> {
    /// What is done.
    pub action: &'p Action,
    /// What is there now; nothing if nothing is.
    pub before: Option<Before>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// A file; its content if it can be shown.
    File {
        /// All of it, up to a limit.
        content: Option<Content>,
        /// Bytes.
        size: u64,
        /// Mode bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// A symbolic link, and where it points.
    Link(String),
    /// A directory.
    Directory {
        /// Mode bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// Something else.
    Other,
}

/// What [`super::apply`] would do, in the order of the plan, without doing it.
///
/// # Errors
/// [`Error::Write`] where it would fail for sure.
pub fn changes<'p>(plan: &'p Plan, root: &impl View) -> Result<Vec<Change<'p>>, Error> {
    changes_within(plan, root, LIMIT)
}

/// The same, with files read that have up to `limit` bytes.
///
/// # Errors
/// As of [`changes`].
pub fn changes_within<'p>(
    plan: &'p Plan,
    root: &impl View,
    limit: u64,
) -> Result<Vec<Change<'p>>, Error> {
    let mut changes = Vec::new();
    for action in &plan.actions {
        match need(action, root) {
            Ok(Need::Change) => {
                let before =
                    before(action, root, limit).map_err(|error| write_error(action, error))?;
                changes.push(Change { action, before });
            }
            Ok(_) => {}
            Err(error) => return Err(write_error(action, error)),
        }
    }
    Ok(changes)
}

fn before(action: &Action, root: &impl View, limit: u64) -> std::io::Result<Option<Before>> {
    let name = file_name(&action.path);
    let Some(directory) = root.directory(&action.parent())? else { return Ok(None) };
    let Some(state) = root.look(&directory, name)? else { return Ok(None) };
    let owner = Owner { uid: state.uid, gid: state.gid };
    let mode = state.permissions();
    Ok(Some(if state.is(SFlag::S_IFREG) {
        let content = root.content(&directory, name, limit)?.map(Content);
        Before::File { content, size: state.size, mode, owner }
    } else if state.is(SFlag::S_IFLNK) {
        Before::Link(root.target(&directory, name)?.to_string_lossy().into_owned())
    } else if state.is(SFlag::S_IFDIR) {
        Before::Directory { mode, owner }
    } else {
        Before::Other
    }))
}

/// What will be at a path.
pub fn after(action: &Action) -> Option<Before> {
    Some(match &action.effect {
        Effect::File { content, mode, owner, .. } => file(content, *mode, *owner),
        Effect::Remove { original: Some(original), .. } => {
            file(&original.content, original.mode, original.owner)
        }
        Effect::Link { target } => Before::Link(target.clone()),
        Effect::Directory { mode, owner } => Before::Directory { mode: *mode, owner: *owner },
        Effect::Home { owner, .. } => {
            Before::Directory { mode: crate::plan::HOME_MODE, owner: *owner }
        }
        Effect::Remove { original: None, .. } => return None,
    })
}

fn file(content: &Content, mode: u32, owner: Owner) -> Before {
    let size = content.0.len() as u64;
    Before::File { content: Some(content.clone()), size, mode, owner }
}
