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
