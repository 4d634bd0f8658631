//! A configuration for a while: what there was before it, and how that comes back.
//!
//! plan → [`Snapshot`] → applied → confirmed, or [`Snapshot::plan`] → applied
//!
//! All of it is on the disk before the first change is made. A machine that stops during a
//! trial, by a power cut or a reboot, takes the trial back in the initrd ([`recover`]) before it
//! looks for its configuration. What is confirmed is confirmed by one file; from then on nothing
//! is taken back.

mod snapshot; // what there was
mod touched; // what of the running system is concerned

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use snapshot::{Snapshot, passing_removal};
pub use touched::Touched;

use crate::apply::{self, Applied, Owners, Root};
use crate::report::Report;
use crate::source::{self, Found, LastError};

/// What is known of a trial, below the root.
const DIRECTORY: &str = "var/lib/coreos-init/trial";
/// The same, once it has ended: on its way out.
const ENDED: &str = "var/lib/coreos-init/trial.ended";
/// What is tried, in the form of the last configuration.
const TRIED: &str = "configuration.json";
/// What there was before.
const BEFORE: &str = "before.json";
/// Is there once it is confirmed.
const CONFIRMED: &str = "confirmed";
/// The version of the form of [`BEFORE`].
const VERSION: u32 = 1;

/// A trial could not be kept in mind, or not be taken back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// Its directory.
    #[error("cannot use {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// What there was before.
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    /// What is tried.
    #[error(transparent)]
    Tried(#[from] LastError),
    /// A file of it.
    #[error(transparent)]
    Write(#[from] host::durable::WriteError),
    /// The root did not take what there was.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// A file that could not be put back.
    #[error("{path} {why}: it could not be put back, so nothing was tried")]
    Unfit { path: String, why: &'static str },
}

/// What a machine was before a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Its files.
    pub snapshot: Snapshot,
    /// Units that the trial concerns, and whether each was running.
    pub units: BTreeMap<String, bool>,
    /// What its report said.
    pub report: Report,
}

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    version: u32,
    #[serde(flatten)]
    departure: T,
}

/// The trial of a root: one at a time.
#[derive(Debug, Clone)]
pub struct Trial {
    root: PathBuf,
    directory: PathBuf,
}

impl Trial {
    /// The trial of this root, under way or not.
    pub fn of(root: &Path) -> Trial {
        Trial { root: root.to_path_buf(), directory: root.join(DIRECTORY) }
    }

    /// Whether one is under way.
    pub fn is_under_way(&self) -> bool {
        self.directory.is_dir()
    }

    /// Begins one: nothing is changed yet.
    ///
    /// # Errors
    /// One is under way already ([`io::ErrorKind::AlreadyExists`]), or the disk says no.
    pub fn begin(&self, tried: &Found) -> Result<(), Error> {
        self.clear();
        if let Some(parent) = self.directory.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(parent).map_err(|e| self.error(e))?;
        }
        DirBuilder::new().mode(0o700).create(&self.directory).map_err(|e| self.error(e))?;
        let stored = source::store(&self.directory.join(TRIED), tried);
        if stored.is_err() {
            let _ = fs::remove_dir_all(&self.directory);
        }
        Ok(stored?)
    }

    /// What is tried.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn tried(&self) -> Result<Found, Error> {
        let tried = source::load(&self.directory.join(TRIED))?;
        tried.ok_or_else(|| self.error(io::ErrorKind::NotFound.into()))
    }

    /// Notes what there is, for the way back. From now on the trial may change things.
    ///
    /// # Errors
    /// The disk says no.
    pub fn depart(&self, departure: &Departure) -> Result<(), Error> {
        let stored = Stored { version: VERSION, departure };
        let text = serde_json::to_vec(&stored).expect("maps with string keys");
        Ok(host::durable::write(&self.directory.join(BEFORE), &text, 0o600)?)
    }

    /// What there was before; none if nothing was changed yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn departure(&self) -> Result<Option<Departure>, Error> {
        let path = self.directory.join(BEFORE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Directory { path, source }),
        };
        let stored =
            serde_json::from_slice(&text).and_then(|stored: Stored<Departure>| {
                match stored.version {
                    VERSION => Ok(stored.departure),
                    other => Err(serde::de::Error::custom(format!("version {other} is not known"))),
                }
            });
        stored.map(Some).map_err(|source| Error::Damaged { path, source })
    }

    /// Confirms it.
    ///
    /// # Errors
    /// There is none any more, or the disk says no.
    pub fn confirm(&self) -> Result<(), Error> {
        Ok(host::durable::write(&self.directory.join(CONFIRMED), b"", 0o600)?)
    }

    /// Whether it was confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.directory.join(CONFIRMED).exists()
    }

    /// Puts the files back that it changed. With `passing`, also those that are gone with the
    /// next boot.
    ///
    /// # Errors
    /// They are not back.
    pub fn take_back(&self, departure: &Departure, passing: bool) -> Result<Applied, Error> {
        let root = Root::open(&self.root, Owners::Set)?;
        let now = apply::ledger(&root)?;
        let applied = apply::apply(&departure.snapshot.plan(now, passing), &root)?;
        departure.snapshot.clear(&root);
        Ok(applied)
    }

    /// Ends it: forgets all of it at once.
    ///
    /// # Errors
    /// The disk says no.
    pub fn end(&self) -> Result<(), Error> {
        self.clear();
        fs::rename(&self.directory, self.root.join(ENDED)).map_err(|e| self.error(e))?;
        let parent = self.directory.parent().and_then(|parent| fs::File::open(parent).ok());
        parent.map_or(Ok(()), |parent| parent.sync_all()).map_err(|e| self.error(e))?;
        self.clear();
        Ok(())
    }

    /// Removes what an ended one left; it is in nobody's way.
    fn clear(&self) {
        let _ = fs::remove_dir_all(self.root.join(ENDED));
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Directory { path: self.directory.clone(), source }
    }
}

/// What became of a trial that the machine stopped in.
#[derive(Debug, PartialEq, Eq)]
pub enum Recovered {
    /// There was none, or nothing was changed by it.
    Nothing,
    /// It was not confirmed: the machine is as before, with these notes.
    TakenBack(Vec<String>),
    /// It was confirmed: this is to be the last configuration.
    Kept(Box<Found>),
}

/// Ends a trial that the machine stopped in. Done twice it does the same.
///
/// # Errors
/// What there was before is not back; the trial stays, for the next boot to take back.
pub fn recover(root: &Path) -> Result<Recovered, Error> {
    let trial = Trial::of(root);
    if !trial.is_under_way() {
        return Ok(Recovered::Nothing);
    }
    if trial.is_confirmed() {
        return Ok(Recovered::Kept(Box::new(trial.tried()?)));
    }
    let recovered = match trial.departure()? {
        None => Recovered::Nothing,
        Some(departure) => Recovered::TakenBack(trial.take_back(&departure, false)?.notes),
    };
    trial.end()?;
    Ok(recovered)
}

#[cfg(test)]
mod tests;
