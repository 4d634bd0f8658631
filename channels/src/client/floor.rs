//! What a client has seen and must not forget: the lowest versions that it may still accept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ClientError;
use crate::metadata::{Root, Snapshot, Timestamp, Trusted};
use crate::time::Time;

/// The lowest versions that are accepted. Small enough to be kept apart from the store, so that
/// a store that is lost or damaged does not make the client forget.
///
/// The versions hold as long as the keys do that signed them: a root that takes one of the keys
/// of timestamp or snapshot away resets them, which is how a repository recovers from an
/// attacker who raised them (5.3.11).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Version of the root metadata.
    pub root: u64,
    /// Keys of the timestamp and the snapshot role when the rest was noted.
    keys: BTreeSet<String>,
    /// Version of the timestamp metadata.
    pub timestamp: u64,
    /// Version of the snapshot metadata.
    pub snapshot: u64,
    /// Versions of all targets metadata.
    pub targets: BTreeMap<String, u64>,
    /// When the newest timestamp metadata was signed: it is later than that.
    pub issued: Option<Time>,
}

impl Floor {
    /// What still holds under this root.
    #[must_use]
    pub(super) fn under(self, root: &Root) -> Floor {
        if self.keys.is_subset(&current_keys(root)) {
            self
        } else {
            Floor { root: self.root, ..Floor::default() }
        }
    }

    /// Takes note of what is trusted now. The metadata must be signed by keys of `root`.
    pub(super) fn raise(
        &mut self,
        root: &Root,
        timestamp: Option<&Timestamp>,
        snapshot: Option<&Snapshot>,
    ) {
        self.root = self.root.max(root.version);
        self.keys = current_keys(root);
        if let Some(timestamp) = timestamp {
            self.timestamp = self.timestamp.max(timestamp.version);
            self.snapshot = self.snapshot.max(timestamp.snapshot().version);
            self.issued = self.issued.max(timestamp.issued);
        }
        for (file, meta) in snapshot.iter().flat_map(|snapshot| &snapshot.meta) {
            let version = self.targets.entry(file.clone()).or_default();
            *version = meta.version.max(*version);
        }
    }

    /// The time, if the clock is right; a clock that is behind what was verified is not.
    pub(super) fn correct(&self, now: Time) -> Time {
        self.issued.map_or(now, |issued| now.max(issued))
    }

    /// Checks the newest root there is (5.3.10).
    pub(super) fn check_root(&self, root: &Root, now: Time) -> Result<(), ClientError> {
        at_least("root.json", self.root, root.version)?;
        not_expired("root.json", root.expires, now)
    }

    /// Checks a new timestamp (5.4.3).
    pub(super) fn check_timestamp(&self, new: &Timestamp) -> Result<(), ClientError> {
        at_least("timestamp.json", self.timestamp, new.version)?;
        at_least("snapshot.json", self.snapshot, new.snapshot().version)
    }

    /// Checks a new snapshot (5.5.5).
    pub(super) fn check_snapshot(&self, new: &Trusted<Snapshot>) -> Result<(), ClientError> {
        for (file, &known) in &self.targets {
            match new.meta.get(file) {
                Some(meta) => at_least(file, known, meta.version)?,
                None => return Err(ClientError::Removed { file: file.clone() }),
            }
        }
        Ok(())
    }
}

fn current_keys(root: &Root) -> BTreeSet<String> {
    let keys = |role: &'static str| {
        root.authority(role).holders().into_iter().map(move |holder| format!("{role}:{holder}"))
    };
    keys("timestamp").chain(keys("snapshot")).collect()
}

fn at_least(file: &str, known: u64, found: u64) -> Result<(), ClientError> {
    if found < known {
        return Err(ClientError::Rollback { file: file.to_owned(), known, found });
    }
    Ok(())
}

/// Checks for a freeze: what has expired may be all that an attacker lets through.
pub(super) fn not_expired(file: &str, expires: Time, now: Time) -> Result<(), ClientError> {
    if expires <= now {
        return Err(ClientError::Expired { file: file.to_owned(), expires, now });
    }
    Ok(())
}
