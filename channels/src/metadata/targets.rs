//! What targets metadata says: the files of a role, and which other roles it trusts with what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::document::{Authority, Role, RoleKeys};
use super::key::Key;
use super::roles::{Hashes, SPEC_VERSION, TOP_LEVEL};
use crate::time::Time;

/// Targets metadata, of the top-level role or of a delegated one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    #[serde(rename = "_type")]
    pub(crate) kind: String,
    pub(crate) spec_version: String,
    /// Counts up with every change.
    pub version: u64,
    /// When it is no longer to be trusted.
    pub expires: Time,
    /// The files by their paths.
    pub targets: BTreeMap<String, TargetFile>,
    /// The roles that this one delegates to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
}

/// A file that a targets role vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// Its size in bytes.
    pub length: u64,
    /// Its hashes.
    pub hashes: Hashes,
    /// What else the role says of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub custom: Map<String, Value>,
}

/// The roles that a targets role delegates to, the most trusted one first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegations {
    /// The keys of all of them by their ids.
    pub keys: BTreeMap<String, Key>,
    /// The roles.
    #[serde(default)]
    pub roles: Vec<Delegation>,
}

/// One role that is trusted with some paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Its name.
    pub name: String,
    /// Who may sign for it.
    #[serde(flatten)]
    pub allowed: RoleKeys,
    /// Whether no other role is asked for a path that this one is trusted with.
    #[serde(default)]
    pub terminating: bool,
    /// Patterns of the paths it is trusted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// First hexadecimal digits of the SHA-256 of the paths it is trusted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
}

impl Targets {
    /// Targets metadata without a file.
    pub fn new(version: u64, expires: Time) -> Targets {
        Targets {
            kind: Targets::TYPE.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
            targets: BTreeMap::new(),
            delegations: None,
        }
    }

    /// The delegations, none if there are none.
    pub fn delegated(&self) -> &[Delegation] {
        self.delegations.as_ref().map_or(&[], |delegations| &delegations.roles)
    }

    /// Who may sign for a role that this one delegates to.
    pub fn authority<'a>(&'a self, delegation: &'a Delegation) -> Authority<'a> {
        static NO_KEYS: BTreeMap<String, Key> = BTreeMap::new();
        let keys = self.delegations.as_ref().map_or(&NO_KEYS, |delegations| &delegations.keys);
        Authority { role: &delegation.name, allowed: &delegation.allowed, keys }
    }
}

impl Role for Targets {
    const TYPE: &'static str = "targets";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> Time {
        self.expires
    }

    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for Delegation { name, allowed, paths, path_hash_prefixes, .. } in self.delegated() {
            if name.is_empty() || TOP_LEVEL.contains(&name.as_str()) {
                return Err(format!("a delegation to a role named `{name}`"));
            }
            if !names.insert(name) {
                return Err(format!("two delegations to the role {name}"));
            }
            if allowed.threshold == 0 {
                return Err(format!("the threshold of the role {name} is 0"));
            }
            if paths.is_some() == path_hash_prefixes.is_some() {
                return Err(format!(
                    "paths or path_hash_prefixes: one of them for the role {name}"
                ));
            }
        }
        Ok(())
    }
}

impl Delegation {
    /// Whether the role is trusted with a path.
    pub fn covers(&self, path: &str) -> bool {
        if let Some(patterns) = &self.paths {
            return patterns.iter().any(|pattern| pattern_matches(pattern, path));
        }
        let hash = hex::encode(Sha256::digest(path));
        let prefixes = self.path_hash_prefixes.iter().flatten();
        prefixes.into_iter().any(|prefix| hash.starts_with(&prefix.to_ascii_lowercase()))
    }
}

/// Whether a path matches a pattern: `*` is any characters and `?` any one, neither of them `/`.
fn pattern_matches(pattern: &str, path: &str) -> bool {
    let (patterns, parts) = (pattern.split('/'), path.split('/'));
    patterns.clone().count() == parts.clone().count()
        && patterns.zip(parts).all(|(pattern, part)| {
            let (pattern, part): (Vec<char>, Vec<char>) =
                (pattern.chars().collect(), part.chars().collect());
            part_matches(&pattern, &part)
        })
}

/// Matches without recursion: after a mismatch only the last `*` may take one character more, so
/// the work is bounded by the product of both lengths.
fn part_matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&char) if char == '?' || char == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((star, taken)) => {
                    *taken += 1;
                    (p, t) = (*star + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&char| char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stop_at_slashes() {
        let cases = [
            ("targets/*.tgz", "targets/foo.tgz", true),
            ("targets/*.tgz", "targets/foo.txt", false),
            ("foo-version-?.tgz", "foo-version-2.tgz", true),
            ("foo-version-?.tgz", "foo-version-alpha.tgz", false),
            ("*.tgz", "foo.tgz", true),
            ("*.tgz", "targets/foo.tgz", false),
            ("foo.tgz", "foo.tgz", true),
            ("foo.tgz", "Foo.tgz", false),
            ("*", "", true),
            ("?", "", false),
            ("?", "é", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**", "x", true),
            ("*/*", "a/b", true),
            ("*/*", "a/b/c", false),
            ("*/", "a/", true),
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(pattern_matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = "*a".repeat(2000);
        let path = "a".repeat(4000) + "b";
        assert!(!pattern_matches(&pattern, &path));
    }

    #[test]
    fn hash_prefixes_are_of_the_path() {
        let mut delegation = Delegation {
            name: "bin".to_owned(),
            allowed: RoleKeys { keyids: Vec::new(), threshold: 1 },
            terminating: false,
            paths: None,
            path_hash_prefixes: Some(Vec::new()),
        };
        // SHA-256 of "foo" begins with 2c26b46b.
        for (prefix, expected) in [("2c26", true), ("2C26", true), ("2c27", false), ("", true)] {
            delegation.path_hash_prefixes = Some(vec!["ff".to_owned(), prefix.to_owned()]);
            assert_eq!(delegation.covers("foo"), expected, "{prefix}");
        }
        delegation.path_hash_prefixes = Some(Vec::new());
        assert!(!delegation.covers("foo"));
    }
}
