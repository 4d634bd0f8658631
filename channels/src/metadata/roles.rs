//! What root, timestamp and snapshot say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

use super::document::{Authority, Role, RoleKeys};
use super::key::Key;
use crate::time::Time;

/// The TUF specification that we write for.
pub(crate) const SPEC_VERSION: &str = "1.0.34";

/// Names of the roles that root metadata gives keys to.
pub const TOP_LEVEL: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// Root metadata: the keys of the top-level roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    #[serde(rename = "_type")]
    pub(crate) kind: String,
    pub(crate) spec_version: String,
    /// Counts from 1, without a gap.
    pub version: u64,
    /// When it is no longer to be trusted.
    pub expires: Time,
    /// Whether files have their version or hash in front of their names.
    #[serde(default)]
    pub consistent_snapshot: bool,
    /// The keys of all roles by their ids.
    pub keys: BTreeMap<String, Key>,
    /// Who may sign what.
    pub roles: BTreeMap<String, RoleKeys>,
}

impl Root {
    /// A root without keys.
    pub fn new(version: u64, expires: Time) -> Root {
        Root {
            kind: Root::TYPE.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
            consistent_snapshot: true,
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }

    /// Who may sign for a top-level role.
    pub fn authority<'a>(&'a self, role: &'a str) -> Authority<'a> {
        /// Of a role that root metadata does not name; a parsed root names them all.
        static NOBODY: RoleKeys = RoleKeys { keyids: Vec::new(), threshold: 1 };
        Authority { role, allowed: self.roles.get(role).unwrap_or(&NOBODY), keys: &self.keys }
    }
}

impl Role for Root {
    const TYPE: &'static str = "root";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> Time {
        self.expires
    }

    fn check(&self) -> Result<(), String> {
        for role in TOP_LEVEL {
            match self.roles.get(role) {
                None => return Err(format!("no keys for the role {role}")),
                Some(keys) if keys.threshold == 0 => {
                    return Err(format!("the threshold of the role {role} is 0"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// What timestamp and snapshot say of another file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// The file's version.
    pub version: u64,
    /// The file's size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// The file's hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Hashes>,
}

/// Timestamp metadata: which snapshot is the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    #[serde(rename = "_type")]
    pub(crate) kind: String,
    pub(crate) spec_version: String,
    /// Counts up with every signing.
    pub version: u64,
    /// When it is no longer to be trusted.
    pub expires: Time,
    /// When it was signed; our own addition. A client's clock that is earlier than this is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Time>,
    pub(crate) meta: BTreeMap<String, FileMeta>,
}

/// The one file that a timestamp speaks of.
pub(crate) const SNAPSHOT_FILE: &str = "snapshot.json";

impl Timestamp {
    /// A timestamp for a snapshot.
    pub fn new(version: u64, issued: Time, expires: Time, snapshot: FileMeta) -> Timestamp {
        Timestamp {
            kind: Timestamp::TYPE.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
            issued: Some(issued),
            meta: BTreeMap::from([(SNAPSHOT_FILE.to_owned(), snapshot)]),
        }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &FileMeta {
        &self.meta[SNAPSHOT_FILE]
    }
}

impl Role for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> Time {
        self.expires
    }

    fn check(&self) -> Result<(), String> {
        if !self.meta.contains_key(SNAPSHOT_FILE) {
            return Err("a timestamp without snapshot.json".to_owned());
        }
        check_meta(&self.meta)
    }
}

/// Snapshot metadata: which versions of all targets metadata belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(rename = "_type")]
    pub(crate) kind: String,
    pub(crate) spec_version: String,
    /// Counts up with every change.
    pub version: u64,
    /// When it is no longer to be trusted.
    pub expires: Time,
    /// The files by their names, such as `targets.json`.
    pub meta: BTreeMap<String, FileMeta>,
}

impl Snapshot {
    /// A snapshot of these files.
    pub fn new(version: u64, expires: Time, meta: BTreeMap<String, FileMeta>) -> Snapshot {
        let (kind, spec_version) = (Snapshot::TYPE.to_owned(), SPEC_VERSION.to_owned());
        Snapshot { kind, spec_version, version, expires, meta }
    }
}

impl Role for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> Time {
        self.expires
    }

    fn check(&self) -> Result<(), String> {
        if !self.meta.contains_key("targets.json") {
            return Err("a snapshot without targets.json".to_owned());
        }
        check_meta(&self.meta)
    }
}

fn check_meta(meta: &BTreeMap<String, FileMeta>) -> Result<(), String> {
    match meta.iter().find(|(_, file)| file.version == 0) {
        Some((name, _)) => Err(format!("version 0 of {name}")),
        None => Ok(()),
    }
}

/// Hashes of a file: hexadecimal digits by the name of the algorithm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hashes(BTreeMap<String, String>);

impl Hashes {
    /// The hash that we write.
    pub fn sha256(hash: &[u8; 32]) -> Hashes {
        Hashes(BTreeMap::from([("sha256".to_owned(), hex::encode(hash))]))
    }

    /// The SHA-256, if there is one.
    pub fn get_sha256(&self) -> Option<&str> {
        self.0.get("sha256").map(String::as_str)
    }

    /// The hash that a file's name begins with in a consistent snapshot, if we know one of its
    /// algorithms. A text that is no hash is no part of a name.
    pub fn prefix(&self) -> Option<&str> {
        let known = self.0.get("sha256").or_else(|| self.0.get("sha512"))?;
        known.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(known)
    }

    /// Something to feed a file's bytes to.
    pub fn hasher(&self) -> Hasher {
        Hasher {
            sha256: self.0.contains_key("sha256").then(Sha256::new),
            sha512: self.0.contains_key("sha512").then(Sha512::new),
        }
    }

    /// Whether the bytes have these hashes. At least one algorithm must be known, and all that
    /// are must agree.
    pub fn matches(&self, hasher: Hasher) -> bool {
        let sha256 = hasher.sha256.map(|hasher| ("sha256", hex::encode(hasher.finalize())));
        let sha512 = hasher.sha512.map(|hasher| ("sha512", hex::encode(hasher.finalize())));
        let computed: BTreeSet<_> = sha256.into_iter().chain(sha512).collect();
        let same = |(name, hash): &(&str, String)| {
            self.0.get(*name).is_some_and(|wanted| wanted.eq_ignore_ascii_case(hash))
        };
        !computed.is_empty() && computed.iter().all(same)
    }

    /// Whether these bytes have these hashes.
    pub fn match_bytes(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        self.matches(hasher)
    }
}

/// Computes the hashes that a [`Hashes`] can be compared by.
#[derive(Debug, Clone)]
pub struct Hasher {
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl Hasher {
    /// Takes more of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha512 {
            hasher.update(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_hash_must_match_and_every_known_one() {
        let sha256 = hex::encode(Sha256::digest(b"x"));
        let sha512 = hex::encode(Sha512::digest(b"x"));
        let other = hex::encode(Sha256::digest(b"y"));
        let cases: [(&[(&str, &str)], bool); 8] = [
            (&[("sha256", &sha256)], true),
            (&[("sha512", &sha512)], true),
            (&[("sha256", &sha256), ("sha512", &sha512), ("blake3", "?")], true),
            (&[("sha256", &sha256.to_uppercase())], true),
            (&[("sha256", &other)], false),
            (&[("sha256", &other), ("sha512", &sha512)], false),
            (&[("blake3", &sha256)], false),
            (&[], false),
        ];
        for (hashes, expected) in cases {
            let pairs = hashes.iter().map(|(name, hash)| (name.to_string(), hash.to_string()));
            assert_eq!(Hashes(pairs.collect()).match_bytes(b"x"), expected, "{hashes:?}");
        }
    }
}
