//! What the tests sign with, and what they attack: a tiny repository in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use serde_json::Map;
use sha2::{Digest, Sha256};

use crate::client::{self, ClientError, Settings, View};
use crate::fetch::{Area, Fetch, FetchError};
use crate::metadata::{
    Delegation, FileMeta, Hashes, Key, Role, RoleKeys, Root, SNAPSHOT_FILE, Signature, Snapshot,
    TOP_LEVEL, TargetFile, Targets, Timestamp, assemble, signing_bytes,
};
use crate::store::{Store, StoreError};
use crate::time::Time;

/// An Ed25519 key made from a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestKey(SigningKey);

impl TestKey {
    pub(crate) fn new(seed: u8) -> TestKey {
        TestKey(SigningKey::from_bytes(&[seed; 32]))
    }

    pub(crate) fn public(&self) -> Key {
        Key::ed25519(self.0.verifying_key().as_bytes())
    }

    pub(crate) fn id(&self) -> String {
        self.public().id()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).to_bytes().to_vec()
    }
}

pub(crate) fn keys(keys: &[&TestKey]) -> BTreeMap<String, Key> {
    keys.iter().map(|key| (key.id(), key.public())).collect()
}

pub(crate) fn allow(keys: &[&TestKey], threshold: u64) -> RoleKeys {
    RoleKeys { keyids: keys.iter().map(|key| key.id()).collect(), threshold }
}

/// A file of this metadata, signed by these keys.
pub(crate) fn sign(signed: &impl Role, keys: &[TestKey]) -> Vec<u8> {
    let message = signing_bytes(signed);
    let signature =
        |key: &TestKey| Signature { keyid: key.id(), sig: hex::encode(key.sign(&message)) };
    assemble(signed, &keys.iter().map(signature).collect::<Vec<_>>())
}

/// Noon of a day in 2027, the time of all tests.
pub(crate) const NOW: Time = Time::from_unix(1_813_838_400);
const DAY: Duration = Duration::from_secs(86_400);

/// A moment some days from [`NOW`].
pub(crate) fn day(offset: i64) -> Time {
    Time::from_unix(NOW.unix() + offset * 86_400)
}

/// A repository in memory whose every part a test can bend.
#[derive(Debug)]
pub(crate) struct Repo {
    pub(crate) root: Root,
    pub(crate) timestamp: Timestamp,
    pub(crate) snapshot: Snapshot,
    pub(crate) targets: BTreeMap<String, Targets>,
    /// Who signs for a role; not always who may.
    pub(crate) signers: BTreeMap<String, Vec<TestKey>>,
    /// Whether lists carry lengths and hashes.
    pub(crate) hashes: bool,
    /// The files as they are served, by area and path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// What was asked for.
    pub(crate) requests: RefCell<Vec<String>>,
}

impl Repo {
    /// Version 1 of every top-level role, signed by the keys 1 to 4.
    pub(crate) fn new() -> Repo {
        let expires = NOW.plus(30 * DAY);
        let file = |version| FileMeta { version, length: None, hashes: None };
        let mut repo = Repo {
            root: Root::new(0, expires),
            timestamp: Timestamp::new(0, day(-1), expires, file(1)),
            snapshot: Snapshot::new(0, expires, BTreeMap::new()),
            targets: BTreeMap::from([("targets".to_owned(), Targets::new(0, expires))]),
            signers: BTreeMap::new(),
            hashes: false,
            files: BTreeMap::new(),
            requests: RefCell::default(),
        };
        for (seed, role) in (1..).zip(TOP_LEVEL) {
            repo.set_keys(role, &[seed], 1);
        }
        repo.publish(&["root", "targets", "snapshot", "timestamp"]);
        repo
    }

    /// Gives a top-level role keys, in the next root and to sign with.
    pub(crate) fn set_keys(&mut self, role: &str, seeds: &[u8], threshold: u64) {
        let signers: Vec<_> = seeds.iter().copied().map(TestKey::new).collect();
        let refs: Vec<_> = signers.iter().collect();
        self.root.keys.extend(keys(&refs));
        self.root.roles.insert(role.to_owned(), allow(&refs, threshold));
        self.signers.insert(role.to_owned(), signers);
    }

    /// Who signs for a role, whoever may.
    pub(crate) fn sign_by(&mut self, role: &str, seeds: &[u8]) {
        let signers = seeds.iter().copied().map(TestKey::new).collect();
        self.signers.insert(role.to_owned(), signers);
    }

    /// Adds a role that `delegator` delegates these paths to; version 1 of it is published.
    pub(crate) fn delegate(&mut self, delegator: &str, name: &str, seed: u8, paths: &[&str]) {
        let key = TestKey::new(seed);
        let delegation = Delegation {
            name: name.to_owned(),
            allowed: allow(&[&key], 1),
            terminating: false,
            paths: Some(paths.iter().map(ToString::to_string).collect()),
            path_hash_prefixes: None,
        };
        let delegations = self.role(delegator).delegations.get_or_insert_default();
        delegations.keys.extend(keys(&[&key]));
        delegations.roles.push(delegation);
        if !self.targets.contains_key(name) {
            self.targets.insert(name.to_owned(), Targets::new(0, NOW.plus(30 * DAY)));
            self.signers.insert(name.to_owned(), vec![key]);
            self.publish(&[name]);
        }
    }

    pub(crate) fn role(&mut self, name: &str) -> &mut Targets {
        self.targets.get_mut(name).unwrap()
    }

    /// Adds a target to a role and its file to what is served.
    pub(crate) fn add_target(&mut self, role: &str, path: &str, content: &[u8]) {
        let hashes = Hashes::sha256(&Sha256::digest(content).into());
        let file = TargetFile { length: content.len() as u64, hashes, custom: Map::new() };
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slash = if directory.is_empty() { "" } else { "/" };
        let hash = file.hashes.prefix().unwrap();
        self.files.insert(format!("Targets/{directory}{slash}{hash}.{name}"), content.to_vec());
        self.role(role).targets.insert(path.to_owned(), file);
    }

    /// Publishes the next version of these roles, in this order; what lists them is changed but
    /// not published.
    pub(crate) fn publish(&mut self, roles: &[&str]) {
        for &name in roles {
            let signers = self.signers[name].clone();
            match name {
                "root" => {
                    self.root.version += 1;
                    self.put(
                        &format!("{}.root.json", self.root.version),
                        sign(&self.root, &signers),
                    );
                }
                "timestamp" => {
                    self.timestamp.version += 1;
                    self.put("timestamp.json", sign(&self.timestamp, &signers));
                }
                "snapshot" => {
                    self.snapshot.version += 1;
                    let bytes = sign(&self.snapshot, &signers);
                    let listed = self.listed(self.snapshot.version, &bytes);
                    self.timestamp.meta.insert(SNAPSHOT_FILE.to_owned(), listed);
                    self.put_versioned(self.snapshot.version, "snapshot", bytes);
                }
                role => {
                    self.role(role).version += 1;
                    let version = self.targets[role].version;
                    let bytes = sign(&self.targets[role], &signers);
                    let listed = self.listed(version, &bytes);
                    self.snapshot.meta.insert(format!("{role}.json"), listed);
                    self.put_versioned(version, role, bytes);
                }
            }
        }
    }

    fn listed(&self, version: u64, bytes: &[u8]) -> FileMeta {
        let length = self.hashes.then_some(bytes.len() as u64);
        let hashes = self.hashes.then(|| Hashes::sha256(&Sha256::digest(bytes).into()));
        FileMeta { version, length, hashes }
    }

    fn put_versioned(&mut self, version: u64, role: &str, bytes: Vec<u8>) {
        let file = match self.root.consistent_snapshot {
            true => format!("{version}.{role}.json"),
            false => format!("{role}.json"),
        };
        self.put(&file, bytes);
    }

    pub(crate) fn put(&mut self, file: &str, bytes: Vec<u8>) {
        self.files.insert(format!("Metadata/{file}"), bytes);
    }

    /// A store that trusts version 1 of the root.
    pub(crate) fn new_store(&self) -> MemoryStore {
        let store = MemoryStore::default();
        store.save("root", &self.files["Metadata/1.root.json"]).unwrap();
        store
    }

    pub(crate) fn update<'a>(&'a self, store: &'a MemoryStore) -> Result<View<'a>, ClientError> {
        client::update(self, store, &Settings::default(), NOW)
    }
}

impl Fetch for Repo {
    fn get(&self, area: Area, path: &str, _: u64) -> Result<Option<Vec<u8>>, FetchError> {
        self.requests.borrow_mut().push(path.to_owned());
        // The limit is ignored, as a bad server would.
        Ok(self.files.get(&format!("{area:?}/{path}")).cloned())
    }
}

/// A store in memory that can lose its power.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    pub(crate) files: RefCell<BTreeMap<String, Vec<u8>>>,
    /// How many changes still work; all of them if `None`.
    pub(crate) changes_left: Cell<Option<usize>>,
}

impl MemoryStore {
    fn change(&self, role: &str) -> Result<(), StoreError> {
        match self.changes_left.get() {
            Some(0) => {
                let (role, path) = (role.to_owned(), PathBuf::from("memory"));
                let source = io::Error::other("power failed");
                return Err(StoreError { action: "write", role, path, source });
            }
            Some(left) => self.changes_left.set(Some(left - 1)),
            None => {}
        }
        Ok(())
    }

    /// The version that is kept of a role.
    pub(crate) fn version(&self, role: &str) -> Option<u64> {
        let files = self.files.borrow();
        let value: serde_json::Value = serde_json::from_slice(files.get(role)?).unwrap();
        value["signed"]["version"].as_u64()
    }

    /// The versions that are kept of root, timestamp, snapshot and targets; 0 for none.
    pub(crate) fn versions(&self) -> [u64; 4] {
        TOP_LEVEL.map(|role| self.version(role).unwrap_or(0))
    }
}

impl Store for MemoryStore {
    fn load(&self, role: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.files.borrow().get(role).cloned())
    }

    fn save(&self, role: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.change(role)?;
        self.files.borrow_mut().insert(role.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, role: &str) -> Result<(), StoreError> {
        self.change(role)?;
        self.files.borrow_mut().remove(role);
        Ok(())
    }
}
