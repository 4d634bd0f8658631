//! A repository as its publisher sees it: a directory, and what its newest metadata says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::PublishError;
use super::plan::TEMPORARY;
use crate::client::{self, Limits, Settings, Target};
use crate::fetch::Directory;
use crate::metadata::{
    Authority, Document, FileMeta, Role, RoleKeys, Root, Snapshot, Targets, Timestamp, Trusted,
};
use crate::offer::{Offer, offers};
use crate::policy::{Channel, Release};
use crate::store::Memory;
use crate::time::Time;

/// The directory of a repository.
#[derive(Debug, Clone)]
pub struct Repository {
    directory: PathBuf,
}

/// The newest metadata of a repository, expired or not.
#[derive(Debug)]
pub struct State {
    /// The newest root.
    pub root: Trusted<Root>,
    /// The timestamp.
    pub timestamp: Trusted<Timestamp>,
    /// The snapshot that the timestamp names.
    pub snapshot: Trusted<Snapshot>,
    /// The top-level targets.
    pub targets: Trusted<Targets>,
    /// The channels.
    pub channels: BTreeMap<Channel, Trusted<Targets>>,
}

/// That nobody else publishes to a repository, for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Repository {
    /// A repository in a directory, which need not exist yet.
    pub fn at(directory: impl Into<PathBuf>) -> Repository {
        Repository { directory: directory.into() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Keeps other publishers out, and removes what one that died left half-written.
    pub fn lock(&self) -> Result<Lock, PublishError> {
        fs::create_dir_all(&self.directory)
            .map_err(PublishError::file("create", &self.directory))?;
        let path = self.directory.join(".lock");
        let failed = || PublishError::file("lock", &path);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(PublishError::Locked { path: self.directory.clone() });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed()(error)),
        }
        self.remove_leftovers()?;
        Ok(Lock { _file: file })
    }

    /// Where a publisher makes what it then brings in; not served, and removed by the next one.
    pub fn scratch(&self) -> PathBuf {
        self.directory.join(".scratch")
    }

    fn remove_leftovers(&self) -> Result<(), PublishError> {
        let scratch = self.scratch();
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PublishError::file("remove", scratch)(error));
            }
            _ => {}
        }
        let mut directories = vec![self.directory.join("metadata"), self.directory.join("targets")];
        directories.extend(Channel::PATH.map(|channel| directories[1].join(channel.name())));
        for directory in directories {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries {
                let path = entry.map_err(PublishError::file("read", &directory))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(TEMPORARY) {
                    fs::remove_file(&path).map_err(PublishError::file("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is a first root.
    pub fn exists(&self) -> bool {
        self.directory.join("metadata/1.root.json").exists()
    }

    /// Where a target's file is.
    pub fn target_path(&self, target: &Target) -> PathBuf {
        self.directory.join("targets").join(target.address().unwrap_or_default())
    }

    /// A metadata file; `None` if there is none.
    pub fn read(&self, file: &str, limit: u64) -> Result<Option<Vec<u8>>, PublishError> {
        let path = self.directory.join("metadata").join(file);
        let opened = match File::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PublishError::file("read", path)(error)),
        };
        let mut bytes = Vec::new();
        let read = opened.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(PublishError::file("read", &path))?;
        if bytes.len() as u64 > limit {
            let what = format!("{file} is larger than the {limit} bytes that clients read");
            return Err(PublishError::Incomplete { what });
        }
        Ok(Some(bytes))
    }

    /// Reads and verifies the newest metadata. Expiry does not matter: what expired is renewed
    /// by publishing.
    pub fn load(&self) -> Result<State, PublishError> {
        let limits = Limits::default();
        let roots = self.roots()?;
        let Some(root) = roots.last().cloned() else {
            return Err(PublishError::NoRepository { path: self.directory.clone() });
        };
        // A publisher that died while it rotated a key that is lost leaves files which only the
        // root before vouches for.
        let vouching: Vec<&Root> = roots.iter().rev().take(2).map(|root| &**root).collect();
        let authorities =
            |role: &'static str| vouching.iter().map(move |root| root.authority(role));
        let missing = |what: &str| PublishError::Incomplete { what: format!("no {what}") };
        let bytes = self.read("timestamp.json", limits.timestamp)?;
        let bytes = bytes.ok_or_else(|| missing("timestamp.json"))?;
        let timestamp: Trusted<Timestamp> =
            trust_any("timestamp.json", bytes, authorities("timestamp"))?;
        let listed = timestamp.snapshot();
        let snapshot: Trusted<Snapshot> =
            self.load_listed("snapshot", listed, limits.snapshot, authorities("snapshot"))?;
        let listed = |role: &str| {
            let file = format!("{role}.json");
            snapshot.meta.get(&file).ok_or_else(|| missing(&format!("{file} in the snapshot")))
        };
        let targets: Trusted<Targets> = self.load_listed(
            "targets",
            listed("targets")?,
            limits.targets,
            authorities("targets"),
        )?;
        let mut channels = BTreeMap::new();
        for channel in Channel::PATH {
            let name = channel.name();
            let delegation = targets.delegated().iter().find(|role| role.name == name);
            let delegation = delegation.ok_or_else(|| missing(&format!("delegation to {name}")))?;
            let authority = [targets.authority(delegation)];
            let role =
                self.load_listed(name, listed(name)?, limits.targets, authority.into_iter())?;
            channels.insert(channel, role);
        }
        Ok(State { root, timestamp, snapshot, targets, channels })
    }

    /// All roots, each verified by the one before.
    fn roots(&self) -> Result<Vec<Trusted<Root>>, PublishError> {
        let mut roots: Vec<Trusted<Root>> = Vec::new();
        loop {
            let version = roots.len() as u64 + 1;
            let file = format!("{version}.root.json");
            let Some(bytes) = self.read(&file, Limits::default().root)? else { return Ok(roots) };
            let document = parse::<Root>(&file, bytes)?;
            let claimed = document.unverified().clone();
            let mut authorities = vec![claimed.authority("root")];
            authorities.extend(roots.last().map(|root| root.authority("root")));
            let trusted = document.trust(&authorities);
            let root =
                trusted.map_err(|source| PublishError::Unsigned { file: file.clone(), source })?;
            if root.version != version {
                let what = format!("{file} is version {}", root.version);
                return Err(PublishError::Incomplete { what });
            }
            roots.push(root);
        }
    }

    fn load_listed<'a, T: Role>(
        &self,
        role: &str,
        listed: &FileMeta,
        limit: u64,
        authorities: impl Iterator<Item = Authority<'a>>,
    ) -> Result<Trusted<T>, PublishError> {
        let file = format!("{}.{role}.json", listed.version);
        let bytes = self.read(&file, limit)?;
        let bytes = bytes.ok_or_else(|| PublishError::Incomplete { what: format!("no {file}") })?;
        if listed.hashes.as_ref().is_some_and(|hashes| !hashes.match_bytes(&bytes)) {
            let what = format!("{file} does not have the hash that is signed for it");
            return Err(PublishError::Incomplete { what });
        }
        trust_any(&file, bytes, authorities)
    }

    /// Does what a client does that has only the first root.
    pub fn check(&self, now: Time) -> Result<(), PublishError> {
        let anchor = self.read("1.root.json", Limits::default().root)?;
        let settings = Settings { anchor, ..Settings::default() };
        let (fetch, store) = (Directory::new(&self.directory), Memory::default());
        let checked = client::update(&fetch, &store, &settings, now).and_then(|view| {
            Channel::PATH.iter().try_for_each(|channel| view.targets_of(channel.name()).map(|_| ()))
        });
        checked.map_err(|source| PublishError::Refused { source })
    }
}

impl State {
    /// All roles, the root first: name, keys as metadata lists them, and the different keys that
    /// these are.
    pub fn authorities(&self) -> Vec<(String, RoleKeys, BTreeSet<String>)> {
        let entry = |authority: Authority<'_>| {
            (authority.role.to_owned(), authority.allowed.clone(), authority.holders())
        };
        let top = ["root", "timestamp", "snapshot", "targets"];
        let top = top.into_iter().map(|role| self.root.authority(role));
        let delegated = self.targets.delegated().iter().map(|role| self.targets.authority(role));
        top.chain(delegated).map(entry).collect()
    }

    /// Version and expiry of every role's metadata.
    pub fn role_versions(&self) -> BTreeMap<String, (u64, Time)> {
        let top = [
            ("root", self.root.version, self.root.expires),
            ("timestamp", self.timestamp.version, self.timestamp.expires),
            ("snapshot", self.snapshot.version, self.snapshot.expires),
            ("targets", self.targets.version, self.targets.expires),
        ];
        let top = top.map(|(role, version, expires)| (role.to_owned(), (version, expires)));
        let channels = self.channels.iter();
        let channels =
            channels.map(|(channel, role)| (channel.to_string(), (role.version, role.expires)));
        top.into_iter().chain(channels).collect()
    }

    /// The releases of a channel, the oldest first.
    pub fn offers(&self, channel: Channel) -> Vec<Offer> {
        offers(channel, &self.channels[&channel].targets).into_iter().flatten().collect()
    }

    /// What a channel says of its releases, the oldest first.
    pub fn releases(&self, channel: Channel) -> Vec<Release> {
        self.offers(channel).into_iter().map(|offer| offer.release).collect()
    }

    /// A release, as the first channel has it that carries it.
    pub fn find(&self, version: &str) -> Result<Offer, PublishError> {
        let mut offers = Channel::PATH.into_iter().flat_map(|channel| self.offers(channel));
        let found = offers.find(|offer| offer.release.version.as_str() == version);
        found.ok_or_else(|| PublishError::NoRelease { version: version.to_owned() })
    }

    /// The channels that carry a version.
    pub fn carriers(&self, version: &str) -> Vec<Channel> {
        let carries = |channel: &Channel| {
            self.releases(*channel).iter().any(|release| release.version.as_str() == version)
        };
        Channel::PATH.into_iter().filter(carries).collect()
    }
}

fn parse<T: Role>(file: &str, bytes: Vec<u8>) -> Result<Document<T>, PublishError> {
    Document::parse(bytes)
        .map_err(|source| PublishError::Malformed { file: file.to_owned(), source })
}

/// Trusts a file that any of the authorities vouches for.
fn trust_any<'a, T: Role>(
    file: &str,
    bytes: Vec<u8>,
    authorities: impl Iterator<Item = Authority<'a>>,
) -> Result<Trusted<T>, PublishError> {
    let document = parse::<T>(file, bytes)?;
    let mut first = None;
    for authority in authorities {
        match authority.verify(document.canonical(), document.signatures()) {
            Ok(()) => {
                return document
                    .trust(&[authority])
                    .map_err(|source| PublishError::Unsigned { file: file.to_owned(), source });
            }
            Err(source) => _ = first.get_or_insert(source),
        }
    }
    match first {
        Some(source) => Err(PublishError::Unsigned { file: file.to_owned(), source }),
        None => Err(PublishError::Incomplete { what: format!("nobody may sign {file}") }),
    }
}
