//! The update of the top-level roles, one method per step of the specification.

use super::floor::{Floor, not_expired};
use super::{ClientError, Session, parse};
use crate::fetch::encode;
use crate::metadata::{
    Authority, FileMeta, Role, Root, SNAPSHOT_FILE, Snapshot, Targets, Timestamp, Trusted,
};
use crate::time::Time;

/// What the store holds that the present keys still vouch for. It may have expired: it is what
/// newer metadata is compared with.
pub(super) struct Stored {
    pub(super) timestamp: Option<Trusted<Timestamp>>,
    pub(super) snapshot: Option<Trusted<Snapshot>>,
}

impl Session<'_> {
    /// 5.2 and 5.3: from the root that is trusted to the newest one, each signed by the keys of
    /// the one before and by its own.
    pub(super) fn update_root(&self, anchor: Option<&[u8]>) -> Result<Trusted<Root>, ClientError> {
        let mut root = self.trusted_root(anchor)?;
        for _ in 0..self.limits.roots {
            let next = root.version.saturating_add(1);
            let file = format!("{next}.root.json");
            let Some(bytes) = self.get(&file, self.limits.root)? else { break };
            let document = parse::<Root>(&file, bytes)?;
            let claimed = document.unverified().clone();
            let new = document
                .trust(&[root.authority("root"), claimed.authority("root")])
                .map_err(|source| ClientError::Unsigned { file: file.clone(), source })?;
            same_version(&file, next, new.version)?;
            self.forget_rotated(&root, &new)?;
            self.store.save("root", new.bytes())?;
            root = new;
        }
        Ok(root)
    }

    /// The newer one of the roots that are trusted without asking anybody.
    fn trusted_root(&self, anchor: Option<&[u8]>) -> Result<Trusted<Root>, ClientError> {
        let stored = self.store.load("root")?.map(|bytes| own_root("root.json", bytes));
        let anchor =
            anchor.map(|bytes| own_root("the built-in root", bytes.to_vec())).transpose()?;
        match (stored, anchor) {
            (None, None) => Err(ClientError::NoRoot),
            (Some(stored), None) => stored,
            (None, Some(anchor)) => Ok(anchor),
            (Some(Err(error)), Some(anchor)) => {
                log::warn!("using the built-in root: the stored one is damaged: {error}");
                Ok(anchor)
            }
            (Some(Ok(stored)), Some(anchor)) if stored.version >= anchor.version => Ok(stored),
            (Some(Ok(stored)), Some(anchor)) => {
                self.forget_rotated(&stored, &anchor)?;
                Ok(anchor)
            }
        }
    }

    /// 5.3.11, before the new root is kept: if the power fails between the two, it is done again.
    fn forget_rotated(&self, old: &Root, new: &Root) -> Result<(), ClientError> {
        let rotated = |role| old.authority(role).lost_a_key_in(&new.authority(role));
        if rotated("timestamp") || rotated("snapshot") {
            self.store.remove("timestamp")?;
            self.store.remove("snapshot")?;
        }
        Ok(())
    }

    /// The rest of what is trusted already.
    pub(super) fn stored_state(&self, root: &Root) -> Result<Stored, ClientError> {
        Ok(Stored {
            timestamp: self.stored("timestamp", &root.authority("timestamp"))?,
            snapshot: self.stored("snapshot", &root.authority("snapshot"))?,
        })
    }

    /// Stored metadata of a role, if it is undamaged and `authority` vouches for it.
    fn stored<T: Role>(
        &self,
        role: &str,
        authority: &Authority<'_>,
    ) -> Result<Option<Trusted<T>>, ClientError> {
        let Some(bytes) = self.store.load(role)? else { return Ok(None) };
        let trusted = parse::<T>(role, bytes).and_then(|document| {
            let unsigned = |source| ClientError::Unsigned { file: role.to_owned(), source };
            document.trust(&[*authority]).map_err(unsigned)
        });
        match trusted {
            Ok(trusted) => Ok(Some(trusted)),
            Err(error) => {
                log::warn!("passing over the stored metadata of {role}: {error}");
                Ok(None)
            }
        }
    }

    /// 5.4: the newest timestamp.
    pub(super) fn update_timestamp(
        &self,
        root: &Root,
        stored: Option<Trusted<Timestamp>>,
        floor: &Floor,
        now: Time,
    ) -> Result<Trusted<Timestamp>, ClientError> {
        const FILE: &str = "timestamp.json";
        let Some(bytes) = self.get(FILE, self.limits.timestamp)? else {
            return Err(ClientError::Missing { file: FILE.to_owned() });
        };
        let new = parse::<Timestamp>(FILE, bytes)?
            .trust(&[root.authority("timestamp")])
            .map_err(|source| ClientError::Unsigned { file: FILE.to_owned(), source })?;
        if let Some(stored) = stored
            && stored.version == new.version
        {
            // The same version says the same; if it does not, the one seen first counts.
            not_expired(FILE, stored.expires, now)?;
            return Ok(stored);
        }
        floor.check_timestamp(&new)?;
        not_expired(FILE, new.expires, now)?;
        self.store.save("timestamp", new.bytes())?;
        Ok(new)
    }

    /// 5.5: the snapshot that the timestamp names.
    pub(super) fn update_snapshot(
        &self,
        root: &Root,
        timestamp: &Timestamp,
        stored: Option<Trusted<Snapshot>>,
        floor: &Floor,
        now: Time,
    ) -> Result<Trusted<Snapshot>, ClientError> {
        let listed = timestamp.snapshot();
        if let Some(stored) = stored
            && still_good(&stored, listed, now)
        {
            floor.check_snapshot(&stored)?;
            return Ok(stored);
        }
        let authority = root.authority("snapshot");
        let limit = self.limits.snapshot;
        let new: Trusted<Snapshot> =
            self.listed("snapshot", listed, limit, root.consistent_snapshot, &authority)?;
        floor.check_snapshot(&new)?;
        not_expired(SNAPSHOT_FILE, new.expires, now)?;
        self.store.save("snapshot", new.bytes())?;
        Ok(new)
    }

    /// 5.6, its first part: the top-level targets.
    pub(super) fn update_targets(
        &self,
        root: &Root,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<Trusted<Targets>, ClientError> {
        let authority = root.authority("targets");
        self.load_targets("targets", root.consistent_snapshot, snapshot, &authority, now)
    }

    /// Targets metadata of a role, from the store or else from the repository. It is verified
    /// against the role that delegates to it, every time: who vouched for it before may not be
    /// who does now.
    pub(super) fn load_targets(
        &self,
        role: &str,
        consistent: bool,
        snapshot: &Snapshot,
        authority: &Authority<'_>,
        now: Time,
    ) -> Result<Trusted<Targets>, ClientError> {
        let file = format!("{role}.json");
        let Some(listed) = snapshot.meta.get(&file) else {
            return Err(ClientError::Unlisted { file });
        };
        if let Some(stored) = self.stored::<Targets>(role, authority)?
            && still_good(&stored, listed, now)
        {
            return Ok(stored);
        }
        let new: Trusted<Targets> =
            self.listed(role, listed, self.limits.targets, consistent, authority)?;
        not_expired(&file, new.expires, now)?;
        self.store.save(role, new.bytes())?;
        Ok(new)
    }

    /// Fetches a file that a signed list speaks of, and checks it against the list and the keys.
    fn listed<T: Role>(
        &self,
        role: &str,
        listed: &FileMeta,
        limit: u64,
        consistent: bool,
        authority: &Authority<'_>,
    ) -> Result<Trusted<T>, ClientError> {
        let name = encode(role);
        let file = match consistent {
            true => format!("{}.{name}.json", listed.version),
            false => format!("{name}.json"),
        };
        let Some(bytes) = self.get(&file, listed.length.unwrap_or(limit))? else {
            return Err(ClientError::Missing { file });
        };
        if let Some(hashes) = &listed.hashes
            && !hashes.match_bytes(&bytes)
        {
            return Err(ClientError::Hash { file });
        }
        if let Some(expected) = listed.length
            && expected != bytes.len() as u64
        {
            return Err(ClientError::Length { file, expected });
        }
        let new = parse::<T>(&file, bytes)?
            .trust(&[*authority])
            .map_err(|source| ClientError::Unsigned { file: file.clone(), source })?;
        same_version(&file, listed.version, new.version())?;
        Ok(new)
    }
}

/// A root that vouches for itself, which is all that can be asked of the first one.
fn own_root(file: &str, bytes: Vec<u8>) -> Result<Trusted<Root>, ClientError> {
    let document = parse::<Root>(file, bytes)?;
    let claimed = document.unverified().clone();
    document
        .trust(&[claimed.authority("root")])
        .map_err(|source| ClientError::Unsigned { file: file.to_owned(), source })
}

/// Whether stored metadata is what a list speaks of, so that it need not be fetched.
fn still_good<T: Role>(stored: &Trusted<T>, listed: &FileMeta, now: Time) -> bool {
    let bytes = stored.bytes();
    stored.version() == listed.version
        && stored.expires() > now
        && listed.length.is_none_or(|length| length == bytes.len() as u64)
        && listed.hashes.as_ref().is_none_or(|hashes| hashes.match_bytes(bytes))
}

fn same_version(file: &str, expected: u64, found: u64) -> Result<(), ClientError> {
    if found != expected {
        return Err(ClientError::Version { file: file.to_owned(), expected, found });
    }
    Ok(())
}
