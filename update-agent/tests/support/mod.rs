//! A workshop for tests: releases, a repository, and a machine whose disk is recorded.

#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod disk;
pub(crate) mod server;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::disk::verity::{self, RootHash, Superblock, partition_size};
use channels::client;
use channels::policy::Channel;
use channels::publish::ceremony::{Staged, first_root};
use channels::publish::operations::{self, PublishOptions};
use channels::publish::payload::Payload;
use channels::publish::{Draft, Keyring, Lifetimes, Protection, PublishError, Repository, State};
use channels::store::Memory;
use channels::time::Time;
use serde_json::json;
use sha2::{Digest, Sha256};
use update_agent::install::{self, Installed, Site, Wanted};
use update_agent::source::Source;

/// When the tests take place, unless they say otherwise.
pub(crate) const NOW: Time = Time::from_unix(1_800_000_000);

/// One salt for all releases, as the image builder has it.
const SALT: &[u8] = b"one salt for all";

/// A release as the image builder leaves it, tiny.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) version: String,
    pub(crate) root: Vec<u8>,
    pub(crate) tree: Vec<u8>,
    pub(crate) root_hash: RootHash,
    pub(crate) uki: Vec<u8>,
}

impl Release {
    /// A release whose blocks are made of the numbers in `blocks`.
    pub(crate) fn new(version: &str, blocks: &[u32]) -> Release {
        let root: Vec<u8> = blocks.iter().flat_map(|number| block(*number)).collect();
        let uuid = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
        let superblock = Superblock::new(uuid, SALT, blocks.len() as u64).unwrap();
        let size = usize::try_from(partition_size(blocks.len() as u64)).unwrap();
        let mut tree = Cursor::new(vec![0; size]);
        let root_hash = verity::build(&superblock, &mut root.as_slice(), &mut tree).unwrap();
        let uki = format!("a kernel for {version} with roothash={root_hash}\n").repeat(150);
        let (version, tree, uki) = (version.to_owned(), tree.into_inner(), uki.into_bytes());
        Release { version, root, tree, root_hash, uki }
    }

    fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        let mut parts = serde_json::Map::new();
        for (name, ending, bytes) in [
            ("root", "root", &self.root),
            ("verity", "verity", &self.tree),
            ("uki", "efi", &self.uki),
        ] {
            let file = format!("coreos_{}.{ending}", self.version);
            fs::write(directory.join(&file), bytes).unwrap();
            let sha256 = hex::encode(Sha256::digest(bytes));
            let part = json!({"file": file, "size": bytes.len(), "sha256": sha256});
            parts.insert(name.to_owned(), part);
        }
        let manifest = json!({
            "format": 1, "id": "coreos", "version": self.version, "channel": "alpha",
            "kernel": "6.12", "cmdline": format!("roothash={}", self.root_hash),
            "root_hash": self.root_hash.to_string(), "parts": parts,
            "packages": {"base": self.version},
        });
        let text = serde_json::to_string_pretty(&manifest).unwrap();
        fs::write(directory.join(format!("coreos_{}.manifest.json", self.version)), text).unwrap();
    }
}

/// A block that no other number has.
pub(crate) fn block(number: u32) -> [u8; 4096] {
    let mut block = [number as u8; 4096];
    block[..4].copy_from_slice(&number.to_le_bytes());
    block
}

/// What a machine may take of the repository, taken.
pub(crate) struct Attempt<'a> {
    pub(crate) disk: &'a disk::Recorded,
    pub(crate) running: &'a Release,
    pub(crate) version: &'a str,
    pub(crate) resume: bool,
    pub(crate) staging: &'a Path,
    pub(crate) anchor: &'a [u8],
}

impl Attempt<'_> {
    /// Finds the release in alpha and writes it; the errors as one line.
    pub(crate) fn run(&self, source: &Source) -> Result<Installed, String> {
        let store = Memory::default();
        let settings =
            client::Settings { anchor: Some(self.anchor.to_vec()), ..Default::default() };
        let told = |error: &dyn std::error::Error| host::error::chain(error);
        let view = client::update(source, &store, &settings, NOW).map_err(|e| told(&e))?;
        let offers = view.offers(Channel::Alpha).map_err(|e| told(&e))?;
        let offer = offers.iter().find(|offer| offer.release.version.as_str() == self.version);
        let offer = offer.ok_or("not offered")?;
        let entry = hex::encode(Sha256::digest(&self.running.uki));
        let wanted = Wanted::of(offer, &view, &self.running.root_hash, Some(&entry), 3)
            .map_err(|e| told(&e))?;
        let slots = self.disk.slots(&self.running.root_hash);
        let running = self.running.version.parse().unwrap();
        let stop = AtomicBool::new(false);
        let site = Site {
            slots: &slots,
            entries: self.disk,
            staging: self.staging,
            running: &running,
            resume: self.resume,
            stop: &stop,
        };
        let installed =
            install::install(&wanted, &site, source, &mut |_| ()).map_err(|e| told(&e))?;
        install::activate(&wanted, &site).map_err(|e| told(&e))?;
        Ok(installed)
    }
}

/// A publisher: keys and a repository, removed at the end.
pub(crate) struct Publisher {
    home: tempfile::TempDir,
}

impl Publisher {
    pub(crate) fn new() -> Publisher {
        let publisher = Publisher { home: tempfile::tempdir().unwrap() };
        let keys = publisher.home.path().join("keys");
        let ask = no_passphrase;
        let mut keyring = Keyring::open(&keys, &ask).unwrap();
        for role in ["root", "targets", "snapshot", "timestamp", "alpha", "beta", "stable"] {
            keyring.generate(role, Protection::None).unwrap();
        }
        let lifetimes = Lifetimes::default();
        let root = first_root(&keyring, 1, &lifetimes, NOW).unwrap();
        let mut staged = Staged::create(&keys, &root).unwrap();
        staged.sign_here(&keyring, None).unwrap();
        let plan = staged.plan(None, &keyring, &lifetimes, NOW).unwrap();
        let repository = publisher.repository();
        let _lock = repository.lock().unwrap();
        staged.publish(&repository, &plan).unwrap();
        publisher
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join("repository")
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::at(self.path())
    }

    /// The root that machines begin with.
    pub(crate) fn anchor(&self) -> Vec<u8> {
        fs::read(self.path().join("metadata/1.root.json")).unwrap()
    }

    pub(crate) fn operate(
        &self,
        now: Time,
        operation: impl for<'s> FnOnce(&'s State) -> Result<Draft<'s>, PublishError>,
    ) {
        let repository = self.repository();
        let state = repository.load().unwrap();
        let draft = operation(&state).unwrap();
        let ask = no_passphrase;
        let keyring = Keyring::open(&self.home.path().join("keys"), &ask).unwrap();
        let plan = draft.seal(&keyring, &Lifetimes::default(), now).unwrap();
        plan.apply(repository.path()).unwrap();
    }

    pub(crate) fn publish(&self, release: &Release) {
        self.publish_with(release, PublishOptions::default(), NOW);
    }

    pub(crate) fn publish_with(&self, release: &Release, options: PublishOptions, now: Time) {
        let directory = self.home.path().join(format!("release-{}", release.version));
        release.write(&directory);
        let payload = Payload::read(&directory).unwrap();
        self.operate(now, |state| {
            operations::publish(state, payload, Channel::Alpha, options, now)
        });
    }

    pub(crate) fn promote(&self, version: &str, to: Channel) {
        let repository = self.repository();
        let version = version.parse().unwrap();
        self.operate(NOW, |state| {
            operations::promote(&repository, state, &version, to, Duration::ZERO, None, NOW)
        });
    }

    /// Signs the timestamp again.
    pub(crate) fn refresh(&self, now: Time) {
        self.operate(now, |state| Ok(Draft::of(state)));
    }
}

fn no_passphrase(key: &str, _: bool) -> std::io::Result<String> {
    unreachable!("{key} has no passphrase")
}
