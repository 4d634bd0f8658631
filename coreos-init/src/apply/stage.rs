//! The changes of one apply: prepared beside their places, then switched in.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::{Outcome, Root, clear_directory, ledger_place};
use crate::ledger::{Ledger, Place};
use crate::plan::{Action, Effect, HOME_MODE, Owner, Skeleton, file_name, parent};

/// Changes on their way into a root.
pub(super) struct Stage<'r> {
    root: &'r Root,
    prepared: Vec<Prepared>,
    /// Directories made, in order.
    made: Vec<Place>,
    /// Homes made.
    homes: Vec<Place>,
}

/// One change that is ready to be switched in.
struct Prepared {
    /// Of the action, in the plan.
    index: usize,
    place: Place,
    /// The name of what takes the place; none where something is only changed or removed.
    temporary: Option<String>,
}

impl<'r> Stage<'r> {
    pub(super) fn new(root: &'r Root) -> Stage<'r> {
        Stage { root, prepared: Vec::new(), made: Vec::new(), homes: Vec::new() }
    }

    /// Prepares one change. Directories are made at once: an empty one changes nothing.
    pub(super) fn prepare(&mut self, index: usize, action: &Action) -> io::Result<()> {
        let place = action.parent();
        let name = file_name(&action.path);
        let directory = self.root.make_directory(&place, &mut self.made)?;
        let temporary = match &action.effect {
            Effect::File { content, mode, owner, .. } => {
                Some(self.root.temporary_file(&directory, &content.0, *mode, *owner)?)
            }
            Effect::Link { target } => Some(self.root.temporary_link(&directory, target)?),
            Effect::Remove { original: Some(file), .. } => Some(self.root.temporary_file(
                &directory,
                &file.content.0,
                file.mode,
                file.owner,
            )?),
            Effect::Remove { original: None, .. } => None,
            Effect::Directory { mode, owner } => {
                if self.root.look(&directory, name)?.is_none() {
                    self.root.new_directory(&directory, name, *mode, *owner)?;
                    let home = action.home.clone();
                    self.made.push(Place { path: action.path.clone(), home });
                }
                None
            }
            Effect::Home { owner, skeleton } => {
                self.home(&directory, name, *owner, skeleton)?;
                self.homes.push(Place { path: action.path.clone(), home: None });
                None
            }
        };
        self.prepared.push(Prepared { index, place, temporary });
        Ok(())
    }

    /// Makes a home that appears with all its files or not at all.
    fn home(
        &self,
        above: &OwnedFd,
        name: &str,
        owner: Owner,
        skeleton: &[Skeleton],
    ) -> io::Result<()> {
        self.root.new_filled_directory(above, name, HOME_MODE, owner, |home| {
            for entry in skeleton {
                match &entry.content {
                    Some(content) => {
                        self.root.new_file(home, &entry.path, &content.0, entry.mode, owner)?;
                    }
                    None => self.root.new_directory(home, &entry.path, entry.mode, owner)?,
                }
            }
            Ok(())
        })
    }

    /// Switches everything in. What goes wrong with one does not keep the others out. Also
    /// whether what became empty is gone.
    pub(super) fn switch(&self, actions: &[Action]) -> (Vec<(usize, io::Result<Outcome>)>, bool) {
        let switched = self.prepared.iter().map(|prepared| {
            let action = &actions[prepared.index];
            (prepared.index, self.switch_one(prepared, action))
        });
        let switched = switched.collect();
        let mut clear = true;
        for action in actions.iter().filter(|a| matches!(a.effect, Effect::Remove { .. })) {
            clear &= self.clear(&action.parent());
        }
        (switched, clear)
    }

    fn switch_one(&self, prepared: &Prepared, action: &Action) -> io::Result<Outcome> {
        let name = file_name(&action.path);
        let directory = self.root.directory(&prepared.place)?.ok_or(Errno::ENOENT)?;
        match (&action.effect, &prepared.temporary) {
            (effect, Some(temporary)) => {
                self.root.rename(&directory, temporary, name)?;
                Ok(match effect {
                    Effect::Remove { .. } => Outcome::Restored,
                    _ => Outcome::Written,
                })
            }
            (Effect::Remove { .. }, None) => {
                self.root.unlink(&directory, name)?;
                Ok(Outcome::Removed)
            }
            (Effect::Directory { mode, owner }, None) => {
                let directory = self.root.open_beneath(&directory, name)?;
                self.root.set(&directory, *mode, *owner)?;
                Ok(Outcome::Written)
            }
            (_, None) => Ok(Outcome::Written),
        }
    }

    /// Removes the directory of a unit's drop-ins or links once the last is gone. Whether it is.
    fn clear(&self, place: &Place) -> bool {
        let dependent = [".d", ".wants", ".requires", ".upholds"];
        let ours = place.path.starts_with("/etc/systemd/")
            && dependent.iter().any(|suffix| place.path.ends_with(suffix));
        !ours || clear_directory(self.root, place)
    }

    /// Writes the ledger.
    pub(super) fn ledger(&mut self, ledger: &Ledger) -> io::Result<()> {
        let place = ledger_place();
        if self.root.directory(&place)?.is_none() {
            let above = Place { path: parent(&place.path).to_string(), home: None };
            let above = self.root.make_directory(&above, &mut self.made)?;
            self.root.new_directory(&above, file_name(&place.path), 0o700, Owner::ROOT)?;
            self.made.push(place.clone());
        }
        let directory = self.root.directory(&place)?.ok_or(Errno::ENOENT)?;
        let text = ledger.text();
        let temporary =
            self.root.temporary_file(&directory, text.as_bytes(), 0o600, Owner::ROOT)?;
        self.root.rename(&directory, &temporary, file_name(Ledger::PATH))
    }

    /// Takes back all that was prepared, as far as the root still lets itself be changed.
    pub(super) fn undo(&mut self, previous: &Ledger) {
        for prepared in &self.prepared {
            if let (Some(temporary), Ok(Some(directory))) =
                (&prepared.temporary, self.root.directory(&prepared.place))
            {
                let _ = self.root.unlink(&directory, temporary);
            }
        }
        for home in std::mem::take(&mut self.homes) {
            let above = Place { path: parent(&home.path).to_string(), home: None };
            if let Ok(Some(above)) = self.root.directory(&above) {
                let _ = self.root.remove_tree(&above, OsStr::new(file_name(&home.path)));
            }
        }
        if *previous == Ledger::default() {
            if let Ok(Some(directory)) = self.root.directory(&ledger_place()) {
                let _ = self.root.unlink(&directory, file_name(Ledger::PATH));
            }
        } else {
            let _ = self.ledger(previous);
        }
        for place in self.made.iter().rev() {
            clear_directory(self.root, place);
        }
    }
}
