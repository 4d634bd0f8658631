//! The whole repository checked offline: what clients would refuse, and what they would not
//! notice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::pack_audit::check_packs;
use super::payload::Manifest;
use super::{PublishError, Repository, State};
use crate::client::Target;
use crate::offer::{Offer, Part, offers};
use crate::policy::Channel;
use crate::time::Time;

/// Expiries nearer than this are worth a word, but for roles that sign themselves again.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// What a check of the whole repository found.
#[derive(Debug, Default)]
pub struct Audit {
    /// What must be repaired.
    pub errors: Vec<String>,
    /// What should be looked at.
    pub warnings: Vec<String>,
    /// How many target files were read.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Checks metadata, rules and every byte of every target.
pub fn audit(repository: &Repository, now: Time) -> Result<Audit, PublishError> {
    let state = repository.load()?;
    let mut audit = Audit::default();
    if let Err(error) = repository.check(now) {
        audit.errors.push(host::error::chain(&error));
    }
    audit.check_expiries(&state, now);
    audit.check_keys(&state);
    let mut carried = BTreeMap::new();
    let mut known = BTreeSet::new();
    for channel in Channel::PATH {
        let mut good = Vec::new();
        for offer in offers(channel, &state.channels[&channel].targets) {
            match offer {
                Ok(offer) => good.push(offer),
                Err(error) => audit.errors.push(error.to_string()),
            }
        }
        audit.check_order(channel, &good, carried.get(&channel.earlier()));
        for offer in &good {
            audit.check_manifest(repository, offer);
        }
        for (path, file) in &state.channels[&channel].targets {
            let target = Target::consistent(path, file.clone());
            audit.check_file(repository, &target);
            known.extend(target.address());
        }
        carried.insert(Some(channel), good);
    }
    audit.errors.extend(check_packs(repository, &state));
    audit.check_strays(repository.path(), &known);
    Ok(audit)
}

impl Audit {
    fn check_expiries(&mut self, state: &State, now: Time) {
        let mut roles = vec![
            ("root".to_owned(), state.root.expires),
            ("targets".to_owned(), state.targets.expires),
        ];
        roles.extend(
            state.channels.iter().map(|(channel, role)| (channel.to_string(), role.expires)),
        );
        for (role, expires) in roles {
            if expires > now && expires <= now.plus(SOON) {
                self.warnings.push(format!("{role} expires at {expires}"));
            }
        }
    }

    /// One key for two roles is one key less to steal.
    fn check_keys(&mut self, state: &State) {
        let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (role, _, holders) in state.authorities() {
            for holder in holders {
                roles.entry(holder).or_default().push(role.clone());
            }
        }
        for roles in roles.into_values().filter(|roles| roles.len() > 1) {
            self.errors.push(format!("one key signs for {}", roles.join(" and ")));
        }
    }

    fn check_order(&mut self, channel: Channel, good: &[Offer], earlier: Option<&Vec<Offer>>) {
        for pair in good.windows(2) {
            let (old, new) = (&pair[0].release, &pair[1].release);
            if new.sequence <= old.sequence || new.version <= old.version || new.epoch < old.epoch {
                let (old, new) = (&old.version, &new.version);
                self.errors.push(format!("{channel} goes back from {old} to {new}"));
            }
        }
        let (Some(earlier), Some(name)) = (earlier, channel.earlier()) else { return };
        for offer in good {
            let version = &offer.release.version;
            let hashes = |offer: &Offer| {
                let files = offer.files.values();
                files.map(|file| (file.length, file.hashes.clone())).collect::<Vec<_>>()
            };
            match earlier.iter().find(|other| other.release.version == *version) {
                None => self.errors.push(format!("{version} is in {channel} but not in {name}")),
                Some(other)
                    if hashes(other) != hashes(offer)
                        || other.release.sequence != offer.release.sequence =>
                {
                    self.errors
                        .push(format!("{version} is another release in {channel} than in {name}"));
                }
                Some(_) => {}
            }
        }
    }

    fn check_manifest(&mut self, repository: &Repository, offer: &Offer) {
        match read_manifest(repository, offer) {
            Ok(manifest) if manifest.root_hash == offer.release.root_hash => {}
            Ok(_) => {
                let path = offer.path(Part::Manifest);
                self.errors.push(format!("{path} has another root hash than is signed for it"));
            }
            Err(error) => self.errors.push(host::error::chain(&error)),
        }
    }

    fn check_file(&mut self, repository: &Repository, target: &Target) {
        self.files += 1;
        let read = File::open(repository.target_path(target))
            .and_then(|file| io::copy(&mut target.check(file), &mut io::sink()));
        match read {
            Ok(bytes) => self.bytes += bytes,
            Err(error) => self.errors.push(format!("{}: {error}", target.path)),
        }
    }

    fn check_strays(&mut self, root: &Path, known: &BTreeSet<String>) {
        for path in files_below(root) {
            let name = path.rsplit('/').next().unwrap_or_default();
            let extension = name.rsplit('.').next().unwrap_or_default();
            if matches!(extension, "key" | "pem" | "command") {
                self.errors.push(format!("{path} looks like a private key, and would be served"));
            } else if let Some(target) = path.strip_prefix("targets/")
                && !known.contains(target)
            {
                self.warnings.push(format!("no channel speaks of {path}: see `channels prune`"));
            }
        }
    }
}

/// The manifest of a release in the repository.
pub fn read_manifest(repository: &Repository, offer: &Offer) -> Result<Manifest, PublishError> {
    let target =
        Target::consistent(&offer.path(Part::Manifest), offer.files[&Part::Manifest].clone());
    let path = repository.target_path(&target);
    let bytes = fs::read(&path).map_err(PublishError::file("read", &path))?;
    Manifest::parse(&bytes)
        .map_err(|error| PublishError::Release { path, reason: error.to_string() })
}

/// Paths of all files below a directory, relative to it.
fn files_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path);
            } else if let Ok(path) = path.strip_prefix(root) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
