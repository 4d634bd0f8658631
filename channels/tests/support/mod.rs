//! A workshop for tests of the program: releases, a repository, keys, and a client.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use channels::client::{self, Settings, View};
use channels::fetch::Directory;
use channels::store::{DirectoryStore, Memory, Store};
use channels::time::Time;
use disk::verity::{self, Superblock, partition_size};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A directory with a repository, keys and releases, removed at the end.
pub(crate) struct Workshop {
    home: tempfile::TempDir,
}

/// What the program printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workshop {
    pub(crate) fn new() -> Workshop {
        Workshop { home: tempfile::tempdir().unwrap() }
    }

    /// With a repository whose keys have no passphrase.
    pub(crate) fn with_repository() -> Workshop {
        let workshop = Workshop::new();
        workshop.good("init --no-passphrase");
        workshop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// Runs the program in the workshop.
    pub(crate) fn run(&self, arguments: &str) -> Told {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        self.run_arguments(&arguments)
    }

    pub(crate) fn run_arguments(&self, arguments: &[&str]) -> Told {
        let mut command = Command::cargo_bin("channels").unwrap();
        let output = command.current_dir(self.home.path()).args(arguments).output().unwrap();
        let told = Told {
            code: output.status.code().expect("the program was not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!told.stderr.contains("panicked"), "{told:?}");
        told
    }

    /// Runs the program, which must succeed, and returns what it printed.
    pub(crate) fn good(&self, arguments: &str) -> String {
        let told = self.run(arguments);
        assert_eq!(told.code, 0, "channels {arguments}: {told:?}");
        told.stdout
    }

    /// Runs the program, which must fail, and returns what it complained about.
    pub(crate) fn bad(&self, arguments: &str) -> String {
        let told = self.run(arguments);
        assert_eq!(told.code, 1, "channels {arguments}: {told:?}");
        assert!(told.stderr.starts_with("error: "), "{told:?}");
        told.stderr
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.good("status --json")).unwrap()
    }

    /// Versions of a channel, the newest first.
    pub(crate) fn versions(&self, channel: &str) -> Vec<String> {
        let status = self.status();
        let channels = status["channels"].as_array().unwrap();
        let found = channels.iter().find(|view| view["name"] == channel).unwrap();
        let releases = found["releases"].as_array().unwrap();
        releases.iter().map(|view| view["version"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes a release directory. Each byte of `blocks` fills one block of the root.
    pub(crate) fn release(
        &self,
        version: &str,
        blocks: &[u8],
        packages: &[(&str, &str)],
    ) -> PathBuf {
        let directory = self.path(&format!("release-{version}"));
        make_release(&directory, version, blocks, packages);
        directory
    }

    /// Makes and publishes a release.
    pub(crate) fn publish(&self, version: &str) {
        self.release(version, version.as_bytes(), &[("base", version)]);
        self.good(&format!("publish release-{version}"));
    }

    /// A client with the first root, in its own directory.
    pub(crate) fn client(&self) -> Client {
        let store = tempfile::tempdir().unwrap();
        let root = fs::read(self.repository().join("metadata/1.root.json")).unwrap();
        DirectoryStore::new(store.path()).save("root", &root).unwrap();
        Client { store: DirectoryStore::new(store.path()), _home: store }
    }
}

/// A client that keeps what it trusts.
pub(crate) struct Client {
    store: DirectoryStore,
    _home: tempfile::TempDir,
}

impl Client {
    /// Updates from a directory, and returns the versions that the channels offer, or why not.
    pub(crate) fn update(&self, repository: &Path) -> Result<Vec<Vec<String>>, String> {
        let fetch = Directory::new(repository);
        let view = client::update(&fetch, &self.store, &Settings::default(), now());
        view.map_err(|error| told(&error)).and_then(|view| offered(&view))
    }
}

/// Updates a client that has only this root.
pub(crate) fn fresh_update(repository: &Path) -> Result<Vec<Vec<String>>, String> {
    let anchor = Some(fs::read(repository.join("metadata/1.root.json")).unwrap());
    let settings = Settings { anchor, ..Settings::default() };
    let (fetch, store) = (Directory::new(repository), Memory::default());
    let view = client::update(&fetch, &store, &settings, now());
    view.map_err(|error| told(&error)).and_then(|view| offered(&view))
}

/// What the channels offer, after every byte of it was fetched and checked.
fn offered(view: &View<'_>) -> Result<Vec<Vec<String>>, String> {
    let mut all = Vec::new();
    for channel in channels::policy::Channel::PATH {
        let offers = view.offers(channel).map_err(|error| told(&error))?;
        for offer in &offers {
            for part in channels::offer::Part::ALL {
                let found = view.find(&offer.path(part)).map_err(|error| told(&error))?;
                assert_eq!(found, offer.target(view, part));
                view.fetch(&found).map_err(|error| told(&error))?;
            }
        }
        all.push(offers.iter().map(|offer| offer.release.version.to_string()).collect());
    }
    Ok(all)
}

/// An error with its causes, in one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The program's clock is the system's, so these tests go by it too.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Time {
    std::time::SystemTime::now().into()
}

/// Makes a release directory as the image builder does, but tiny.
pub(crate) fn make_release(
    directory: &Path,
    version: &str,
    blocks: &[u8],
    packages: &[(&str, &str)],
) {
    fs::create_dir_all(directory).unwrap();
    let root: Vec<u8> = blocks.iter().flat_map(|byte| [*byte; 4096]).collect();
    let uuid = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
    let superblock = Superblock::new(uuid, b"one salt for all", blocks.len() as u64).unwrap();
    let size = usize::try_from(partition_size(blocks.len() as u64)).unwrap();
    let mut tree = Cursor::new(vec![0; size]);
    let root_hash = verity::build(&superblock, &mut root.as_slice(), &mut tree).unwrap();
    let uki = format!("a kernel for {version}");
    let mut parts = serde_json::Map::new();
    for (name, ending, bytes) in [
        ("root", "root", root),
        ("verity", "verity", tree.into_inner()),
        ("uki", "efi", uki.into()),
    ] {
        let file = format!("coreos_{version}.{ending}");
        fs::write(directory.join(&file), &bytes).unwrap();
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let part = json!({"file": file, "size": bytes.len(), "sha256": sha256});
        parts.insert(name.to_owned(), part);
    }
    let packages: serde_json::Map<_, _> =
        packages.iter().map(|(name, version)| (name.to_string(), json!(version))).collect();
    let manifest = json!({
        "format": 1, "id": "coreos", "version": version, "channel": "alpha", "kernel": "6.12",
        "cmdline": format!("roothash={root_hash}"), "root_hash": root_hash.to_string(),
        "parts": parts, "packages": packages,
    });
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    fs::write(directory.join(format!("coreos_{version}.manifest.json")), text).unwrap();
}
