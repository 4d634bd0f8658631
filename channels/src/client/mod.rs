//! The client: from a root that came with the machine to a target file that can be trusted.
//!
//! root chain → timestamp → snapshot → targets → [`View`] → delegations → [`Target`] → its bytes
//!
//! Follows the detailed client workflow of the TUF specification, its section 5, whose numbers
//! stand at the steps. Beyond it: a [`Floor`] that outlives a lost store, and a clock that is
//! never earlier than the newest timestamp that was verified.

mod error;
mod floor;
mod refresh;
mod target;
mod view;

pub use error::ClientError;
pub use floor::Floor;
pub use target::{CheckedReader, Target};
pub use view::View;

use crate::fetch::{Area, Fetch};
use crate::metadata::{Document, Role};
use crate::store::Store;
use crate::time::Time;

/// What a client is told beside where the repository is.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Root metadata that is trusted because it came with the machine. It counts if the store
    /// has none or an older one; with none in either place nothing can be trusted.
    pub anchor: Option<Vec<u8>>,
    /// What was seen before, kept apart from the store.
    pub floor: Floor,
    /// The bounds of what is fetched.
    pub limits: Limits,
}

/// Bounds of what is fetched for a file whose size nobody has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many new roots are followed in one update.
    pub roots: u32,
    /// Bytes of root metadata.
    pub root: u64,
    /// Bytes of timestamp metadata.
    pub timestamp: u64,
    /// Bytes of snapshot metadata.
    pub snapshot: u64,
    /// Bytes of targets metadata.
    pub targets: u64,
    /// How many roles are visited for one target.
    pub visits: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            roots: 1024,
            root: 512 << 10,
            timestamp: 16 << 10,
            snapshot: 2 << 20,
            targets: 8 << 20,
            visits: 32,
        }
    }
}

/// Brings the trusted metadata up to date. `now` is the time for everything that is done with
/// the result (5.1).
///
/// An error leaves the store as far as the update came; the next attempt goes on from there.
pub fn update<'a>(
    fetch: &'a dyn Fetch,
    store: &'a dyn Store,
    settings: &Settings,
    now: Time,
) -> Result<View<'a>, ClientError> {
    let session = Session { fetch, store, limits: settings.limits.clone() };
    let root = session.update_root(settings.anchor.as_deref())?;
    let stored = session.stored_state(&root)?;
    let mut floor = settings.floor.clone().under(&root);
    floor.raise(&root, stored.timestamp.as_deref(), stored.snapshot.as_deref());
    let now = floor.correct(now);
    floor.check_root(&root, now)?;
    let timestamp = session.update_timestamp(&root, stored.timestamp, &floor, now)?;
    let snapshot = session.update_snapshot(&root, &timestamp, stored.snapshot, &floor, now)?;
    let targets = session.update_targets(&root, &snapshot, now)?;
    floor.raise(&root, Some(&timestamp), Some(&snapshot));
    Ok(View { session, root, snapshot, targets, floor, now })
}

/// The effects of one update.
struct Session<'a> {
    fetch: &'a dyn Fetch,
    store: &'a dyn Store,
    limits: Limits,
}

impl Session<'_> {
    /// Fetches a metadata file.
    fn get(&self, file: &str, limit: u64) -> Result<Option<Vec<u8>>, ClientError> {
        let bytes = self.fetch.get(Area::Metadata, file, limit)?;
        match bytes {
            Some(bytes) if bytes.len() as u64 > limit => {
                Err(ClientError::TooLarge { file: file.to_owned(), limit })
            }
            bytes => Ok(bytes),
        }
    }
}

fn parse<T: Role>(file: &str, bytes: Vec<u8>) -> Result<Document<T>, ClientError> {
    Document::parse(bytes)
        .map_err(|source| ClientError::Malformed { file: file.to_owned(), source })
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
