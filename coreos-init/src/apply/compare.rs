//! What a path has, and what it is to have.

use std::io;

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::root::Owners;
use super::view::{State, View};
use crate::ledger::Trace;
use crate::plan::{Action, Effect, Owner, file_name};

/// What there is to do for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Change,
    Keep,
}

/// Compares what is planned for a path with what is there.
pub(super) fn need(action: &Action, root: &impl View) -> io::Result<Need> {
    let name = file_name(&action.path);
    if name.is_empty() {
        return Err(Errno::EISDIR.into());
    }
    let there = match root.directory(&action.parent())? {
        Some(directory) => root.look(&directory, name)?.map(|state| (directory, state)),
        None => None,
    };
    let Some((directory, state)) = there else {
        return Ok(match action.effect {
            Effect::Remove { .. } => Need::Nothing,
            _ => Need::Change,
        });
    };
    let is_as_planned = match &action.effect {
        Effect::Home { .. } => true,
        Effect::Directory { mode, owner } => {
            if !state.is(SFlag::S_IFDIR) {
                return Err(Errno::ENOTDIR.into());
            }
            has(&state, *mode, *owner, root)
        }
        Effect::Remove { forms, .. } => {
            let ours = matches_any(forms, root, &directory, name, &state)?;
            return Ok(if ours { Need::Change } else { Need::Keep });
        }
        _ if state.is(SFlag::S_IFDIR) => {
            return Err(Errno::EISDIR.into());
        }
        Effect::Link { target } => {
            state.is(SFlag::S_IFLNK) && root.target(&directory, name)? == target.as_str()
        }
        Effect::File { content, mode, owner, .. } => {
            let size = content.0.len() as u64;
            state.is(SFlag::S_IFREG)
                && has(&state, *mode, *owner, root)
                && state.size == size
                && root.content(&directory, name, size)?.as_ref() == Some(&content.0)
        }
    };
    Ok(if is_as_planned { Need::Nothing } else { Need::Change })
}

fn matches_any<V: View>(
    forms: &[Trace],
    root: &V,
    directory: &V::Directory,
    name: &str,
    state: &State,
) -> io::Result<bool> {
    if state.is(SFlag::S_IFLNK) {
        let target = root.target(directory, name)?;
        return Ok(forms.iter().any(|form| match form {
            Trace::Link { target: given } => target == given.as_str(),
            Trace::File { .. } => false,
        }));
    }
    let size = state.size;
    let plausible =
        forms.iter().any(|form| matches!(form, Trace::File { size: s, .. } if *s == size));
    if !plausible {
        return Ok(false);
    }
    let content = root.content(directory, name, size)?;
    Ok(content.is_some_and(|content| forms.contains(&Trace::file(&content))))
}

fn has(state: &State, mode: u32, owner: Owner, root: &impl View) -> bool {
    let owned = (state.uid, state.gid) == (owner.uid, owner.gid);
    state.permissions() == mode & 0o7777 && (owned || root.owners() == Owners::Skip)
}
