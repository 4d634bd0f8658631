//! Releases that nobody needs any more: out of the channels first, and their files off the disk
//! when no machine can still be fetching them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use disk::version::Version;

use super::{Draft, PublishError, Repository, State};
use crate::client::Target;
use crate::offer::{Offer, Part};
use crate::policy::Channel;
use crate::time::Time;

/// Notes when files were first found unneeded; not served.
const NOTES: &str = ".unneeded.json";

/// Takes releases out of all channels. Refused for the newest of a channel, and for a step that
/// machines on older versions still need.
pub fn retire<'a>(state: &'a State, versions: &[Version]) -> Result<Draft<'a>, PublishError> {
    let mut draft = Draft::of(state);
    for version in versions {
        state.find(version.as_str())?;
    }
    for channel in Channel::PATH {
        let offers = state.offers(channel);
        let (going, staying): (Vec<&Offer>, Vec<&Offer>) =
            offers.iter().partition(|offer| versions.contains(&offer.release.version));
        if going.is_empty() {
            continue;
        }
        check(channel, &offers, &going, &staying)?;
        let targets = &mut draft.channel(channel).targets;
        for offer in going {
            for part in Part::ALL {
                targets.remove(&offer.path(part));
            }
            for pack in &offer.packs {
                targets.remove(&pack.path);
            }
        }
    }
    Ok(draft)
}

fn check(
    channel: Channel,
    offers: &[Offer],
    going: &[&Offer],
    staying: &[&Offer],
) -> Result<(), PublishError> {
    let refuse = |version: &Version, reason: String| {
        Err(PublishError::Needed { version: version.to_string(), channel, reason })
    };
    for offer in going {
        let version = &offer.release.version;
        if offers.last().is_some_and(|newest| newest.release.version == *version) {
            return refuse(version, "it is the newest there".to_owned());
        }
        // Who must take a step before a release finds one: any that is old enough to be reached
        // and new enough to go on from.
        let needing = staying.iter().find(|later| {
            let Some(least) = &later.release.min_version else { return false };
            let step = |offer: &&Offer| {
                offer.release.version >= *least && offer.release.version < later.release.version
            };
            step(offer) && !staying.iter().any(step)
        });
        if let Some(later) = needing {
            let reason = format!("older machines reach {} only by it", later.release.version);
            return refuse(version, reason);
        }
    }
    Ok(())
}

/// All but the newest releases of the channels: none of a channel's newest `keep` is among them.
pub fn all_but_newest(state: &State, keep: usize) -> Vec<Version> {
    let mut kept = BTreeSet::new();
    let mut all = BTreeSet::new();
    for channel in Channel::PATH {
        for (index, release) in state.releases(channel).into_iter().rev().enumerate() {
            if index < keep {
                kept.insert(release.version.clone());
            }
            all.insert(release.version);
        }
    }
    all.difference(&kept).cloned().collect()
}

/// What cleaning up did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Files that were removed.
    pub removed: usize,
    /// Bytes that they had; what is linked elsewhere takes space there still.
    pub bytes: u64,
    /// Files that wait for their time.
    pub waiting: usize,
}

/// Removes files that have been unneeded for `after`: targets that no channel lists, and metadata
/// but roots that the newest snapshot and timestamp do not lead to. A machine that fetched the
/// timestamp before a release was retired may still be fetching the release.
pub fn prune(
    repository: &Repository,
    state: &State,
    after: Duration,
    now: Time,
) -> Result<Pruned, PublishError> {
    let root = repository.path();
    let needed = needed(state);
    let notes_path = root.join(NOTES);
    let mut notes: BTreeMap<String, Time> = match fs::read(&notes_path) {
        // What cannot be read is begun anew: then files stay longer.
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(PublishError::file("read", notes_path)(error)),
    };
    let mut pruned = Pruned::default();
    let mut found = BTreeMap::new();
    for path in files(root)? {
        if needed.contains(&path) || is_root(&path) {
            continue;
        }
        let since = notes.remove(&path).unwrap_or(now);
        if now.since(since) < after || since > now {
            found.insert(path, since);
            pruned.waiting += 1;
            continue;
        }
        let full = root.join(&path);
        pruned.bytes += fs::metadata(&full).map_or(0, |metadata| metadata.len());
        fs::remove_file(&full).map_err(PublishError::file("remove", &full))?;
        pruned.removed += 1;
    }
    let text = serde_json::to_vec_pretty(&found).expect("only strings for names");
    host::durable::write(&notes_path, &text, 0o644)
        .map_err(|error| PublishError::file("write", notes_path)(error.source))?;
    Ok(pruned)
}

/// Paths of all that the newest metadata leads to.
fn needed(state: &State) -> BTreeSet<String> {
    let mut needed = BTreeSet::from(["metadata/timestamp.json".to_owned()]);
    needed.insert(format!("metadata/{}.snapshot.json", state.snapshot.version));
    for (file, meta) in &state.snapshot.meta {
        needed.insert(format!("metadata/{}.{file}", meta.version));
    }
    for role in state.channels.values() {
        for (path, file) in &role.targets {
            let address = Target::consistent(path, file.clone()).address();
            needed.extend(address.map(|address| format!("targets/{address}")));
        }
    }
    needed
}

/// Every root is needed for ever: a machine follows them one by one from the one in its image.
fn is_root(path: &str) -> bool {
    path.ends_with(".root.json") || path == "metadata/root.json"
}

/// Paths of the files that are served, relative to the repository.
fn files(root: &Path) -> Result<Vec<String>, PublishError> {
    let mut found = Vec::new();
    let mut pending = vec!["metadata".to_owned(), "targets".to_owned()];
    while let Some(directory) = pending.pop() {
        let full = root.join(&directory);
        let entries = match fs::read_dir(&full) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(PublishError::file("read", &full))?,
        };
        for entry in entries {
            let entry = entry.map_err(PublishError::file("read", &full))?;
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(path),
                _ => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}
