//! An etcd in memory: revisions, guarded transactions, leases, watches from a revision.

use std::collections::{BTreeMap, BTreeSet};

use fleet::engine::Op;
use fleet::model::{Key, Keys};

/// A key's value and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) value: Vec<u8>,
    pub(crate) created: u64,
    lease: Option<u64>,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    keys: Keys,
    pub(crate) revision: u64,
    entries: BTreeMap<String, Entry>,
    leases: BTreeMap<u64, Lease>,
    /// Every change, for the watches: its key and new value.
    pub(crate) history: Vec<(Key, Option<Vec<u8>>)>,
    /// A digest of the history, to compare two runs.
    pub(crate) trace: u64,
    pub(crate) up: bool,
}

#[derive(Debug)]
struct Lease {
    expires: u64,
    keys: BTreeSet<String>,
}

pub(crate) const TTL: u64 = 30_000;

impl Store {
    pub(crate) fn new() -> Store {
        Store {
            keys: Keys::new("/fleet/v1"),
            revision: 1,
            entries: BTreeMap::new(),
            leases: BTreeMap::new(),
            history: Vec::new(),
            trace: 0,
            up: true,
        }
    }

    fn log(&mut self, path: &str, value: Option<&[u8]>) {
        for byte in path.bytes().chain(value.unwrap_or(b"\0").iter().copied()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(key) = self.keys.parse(path) {
            self.history.push((key, value.map(<[u8]>::to_vec)));
        }
    }

    pub(crate) fn put(&mut self, key: &Key, value: Vec<u8>, lease: Option<u64>) {
        self.revision += 1;
        self.set(key, value, lease);
    }

    fn set(&mut self, key: &Key, value: Vec<u8>, lease: Option<u64>) {
        let path = self.keys.path(key);
        self.log(&path, Some(&value));
        let old = self.entries.get(&path).and_then(|entry| entry.lease);
        if let Some(old) = old.and_then(|old| self.leases.get_mut(&old)) {
            old.keys.remove(&path);
        }
        if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.insert(path.clone());
        }
        let created = self.entries.get(&path).map_or(self.revision, |entry| entry.created);
        self.entries.insert(path, Entry { value, created, lease });
    }

    pub(crate) fn delete(&mut self, key: &Key) {
        self.revision += 1;
        self.unset(&self.keys.path(key));
    }

    fn unset(&mut self, path: &str) {
        let Some(entry) = self.entries.remove(path) else { return };
        if let Some(lease) = entry.lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.remove(path);
        }
        self.log(path, None);
    }

    /// The engine's transaction: `leader` is the revision at which it won.
    pub(crate) fn transact(&mut self, leader: u64, ops: &[Op]) -> bool {
        let guard = self.get(&Key::Leader).is_some_and(|entry| entry.created == leader);
        let holds = ops.iter().all(|op| match op {
            Op::Exchange(key, old, _) => {
                self.get(key).is_some_and(|entry| entry.value == old.as_bytes())
            }
            _ => true,
        });
        if !guard || !holds {
            return false;
        }
        self.revision += 1;
        for op in ops {
            match op {
                Op::Put(key, value) | Op::Exchange(key, _, value) => {
                    self.set(key, value.clone().into_bytes(), None);
                }
                Op::Delete(key) => self.unset(&self.keys.path(key)),
            }
        }
        true
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(&self.keys.path(key))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Key, &Entry)> {
        self.entries.iter().filter_map(|(path, entry)| Some((self.keys.parse(path)?, entry)))
    }

    pub(crate) fn below(&self, tail: &str) -> Vec<(Key, Vec<u8>)> {
        let prefix = self.keys.below(tail);
        self.entries
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter_map(|(path, entry)| Some((self.keys.parse(path)?, entry.value.clone())))
            .collect()
    }

    pub(crate) fn grant(&mut self, now: u64) -> u64 {
        self.revision += 1;
        self.leases.insert(self.revision, Lease { expires: now + TTL, keys: BTreeSet::new() });
        self.revision
    }

    pub(crate) fn keep_alive(&mut self, lease: u64, now: u64) -> bool {
        match self.leases.get_mut(&lease) {
            Some(lease) => {
                lease.expires = now + TTL;
                true
            }
            None => false,
        }
    }

    /// All keys of a lease go in one revision.
    pub(crate) fn expire(&mut self, now: u64) {
        let gone: Vec<u64> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.expires <= now)
            .map(|(&id, _)| id)
            .collect();
        for id in gone {
            self.revoke(id);
        }
    }

    pub(crate) fn revoke(&mut self, id: u64) {
        let Some(lease) = self.leases.remove(&id) else { return };
        self.revision += 1;
        for path in lease.keys {
            self.unset(&path);
        }
    }

    /// The store comes back: a new leader gives every lease its whole time again, one that was
    /// merely paused finds them all expired.
    pub(crate) fn resume(&mut self, now: u64, paused: bool) {
        self.up = true;
        for lease in self.leases.values_mut() {
            lease.expires = if paused { now } else { now + TTL };
        }
        self.expire(now);
    }
}
