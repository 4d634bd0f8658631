//! What differs between two locks, package by package.

use super::{Lock, Package};
use crate::archive::version;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A package that is not the same in two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// The version it had, if it was there.
    pub from: Option<String>,
    /// The version it has now, if it is there.
    pub to: Option<String>,
}

/// The packages that differ, by name.
#[must_use]
pub fn between(old: Option<&Lock>, new: &Lock) -> Vec<Change> {
    let by_name = |lock: &Lock| -> BTreeMap<String, Package> {
        lock.packages.iter().map(|package| (package.name.clone(), package.clone())).collect()
    };
    let (old, new) = (old.map(by_name).unwrap_or_default(), by_name(new));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| {
            let digest = |packages: &BTreeMap<String, Package>| {
                packages.get(*name).map(|package| package.sha256.clone())
            };
            digest(&old) != digest(&new)
        })
        .map(|name| Change {
            name: name.clone(),
            from: old.get(name).map(|package| package.version.clone()),
            to: new.get(name).map(|package| package.version.clone()),
        })
        .collect()
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { name, from, to } = self;
        match (from, to) {
            (None, Some(to)) => write!(formatter, "+ {name} {to}"),
            (Some(from), None) => write!(formatter, "- {name} {from}"),
            (Some(from), Some(to)) => {
                let sign = match version::compare(from, to) {
                    std::cmp::Ordering::Less => '↑',
                    std::cmp::Ordering::Greater => '↓',
                    std::cmp::Ordering::Equal => '~',
                };
                write!(formatter, "{sign} {name} {from} → {to}")
            }
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::FORMAT;

    fn lock(packages: &[(&str, &str)]) -> Lock {
        let package = |(name, version): &(&str, &str)| Package {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            architecture: "all".to_owned(),
            source: (*name).to_owned(),
            archive: 0,
            path: String::new(),
            size: 0,
            sha256: format!("{name} {version}"),
        };
        Lock {
            format: FORMAT,
            architecture: "amd64".to_owned(),
            asked: Vec::new(),
            archives: Vec::new(),
            packages: packages.iter().map(package).collect(),
        }
    }

    #[test]
    fn changes_are_told_package_by_package() {
        let old = lock(&[("down", "2"), ("gone", "1"), ("same", "1"), ("up", "1.9")]);
        let new = lock(&[("down", "1"), ("new", "1"), ("same", "1"), ("up", "1.10")]);
        let texts: Vec<String> =
            between(Some(&old), &new).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["↓ down 2 → 1", "- gone 1", "+ new 1", "↑ up 1.9 → 1.10"]);
        assert_eq!(between(None, &new).len(), 4);
        assert!(between(Some(&new), &new).is_empty());
    }
}
