//! From what is to change to signed files in the order in which they must be written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::plan::{Plan, Step};
use super::{Keyring, PublishError, State};
use crate::metadata::{
    Delegation, FileMeta, Hashes, Role, Root, Signature, Snapshot, TargetFile, Targets, Timestamp,
    Trusted, assemble, signing_bytes,
};
use crate::policy::Channel;
use crate::time::Time;

const DAY: u64 = 86_400;

/// How long signatures are good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of the root.
    pub root: Duration,
    /// Of the top-level targets, which only names the channels' keys.
    pub targets: Duration,
    /// Of the channels.
    pub channel: Duration,
    /// Of the snapshot.
    pub snapshot: Duration,
    /// Of the timestamp: how long a client can be kept from noticing that it is kept in the dark.
    pub timestamp: Duration,
}

impl Default for Lifetimes {
    fn default() -> Lifetimes {
        let days = |days| Duration::from_secs(days * DAY);
        Lifetimes {
            root: days(365),
            targets: days(365),
            channel: days(90),
            snapshot: days(14),
            timestamp: days(2),
        }
    }
}

/// Changes that are not signed yet.
#[derive(Debug, Default)]
pub struct Draft<'a> {
    /// What is there; nothing in a new repository.
    pub(super) state: Option<&'a State>,
    /// The next root, signed already.
    pub(super) root: Option<Trusted<Root>>,
    targets: Option<Targets>,
    channels: BTreeMap<Channel, Targets>,
    renew_snapshot: bool,
    files: Vec<Step>,
}

impl<'a> Draft<'a> {
    /// No change yet. A draft of nothing signs a new timestamp all the same.
    pub fn of(state: &'a State) -> Draft<'a> {
        Draft { state: Some(state), ..Draft::default() }
    }

    /// A channel's next metadata.
    pub fn channel(&mut self, channel: Channel) -> &mut Targets {
        let state = self.state;
        self.channels.entry(channel).or_insert_with(|| {
            let empty = || Targets::new(0, Time::from_unix(0));
            state.map_or_else(empty, |state| Targets::clone(&state.channels[&channel]))
        })
    }

    /// The next metadata of the top-level targets.
    pub fn targets(&mut self) -> &mut Targets {
        let state = self.state;
        self.targets.get_or_insert_with(|| {
            let empty = || Targets::new(0, Time::from_unix(0));
            state.map_or_else(empty, |state| Targets::clone(&state.targets))
        })
    }

    /// Has the snapshot signed again even if nothing in it changes.
    pub fn renew_snapshot(&mut self) {
        self.renew_snapshot = true;
    }

    /// Adds a file to be brought into the repository.
    pub(super) fn add_file(&mut self, step: Step) {
        self.files.push(step);
    }

    /// A target's entry in a channel.
    pub(super) fn target_entry(&mut self, channel: Channel, path: &str) -> Option<&mut TargetFile> {
        self.channel(channel).targets.get_mut(path)
    }

    /// Signs everything that changed and everything that lists it.
    pub fn seal(
        self,
        keyring: &Keyring<'_>,
        lifetimes: &Lifetimes,
        now: Time,
    ) -> Result<Plan, PublishError> {
        let old = self.state;
        if let Some(issued) = old.and_then(|state| state.timestamp.issued)
            && now < issued
        {
            return Err(PublishError::Clock { now, issued });
        }
        let Some(root) = self.root.as_deref().or(old.map(|state| &*state.root)) else {
            return Err(PublishError::Unfinished);
        };
        let mut signing = Signing { old, root, keyring, old_root_accepts: true };
        let mut steps = self.files;
        let mut meta = old.map_or_else(BTreeMap::new, |state| state.snapshot.meta.clone());

        let renew_targets = self.targets.is_some()
            || old.is_some_and(|state| !state.targets.is_signed_by(&root.authority("targets")));
        let targets = match (renew_targets, old, self.targets) {
            (false, Some(state), _) => Targets::clone(&state.targets),
            (_, old, changed) => {
                let base = changed.or_else(|| old.map(|state| Targets::clone(&state.targets)));
                let mut targets = base.unwrap_or_else(|| Targets::new(0, now));
                targets.version = next(&meta, "targets");
                targets.expires = now.plus(lifetimes.targets);
                targets
            }
        };
        for (channel, mut role) in self.channels {
            role.version = next(&meta, channel.name());
            role.expires = now.plus(lifetimes.channel);
            let delegation = delegation(&targets, channel)?;
            let message = signing_bytes(&role);
            let signatures = keyring.sign(&targets.authority(delegation), &message)?;
            let bytes = assemble(&role, &signatures);
            add_role(&mut steps, &mut meta, channel.name(), role.version, bytes);
        }
        if renew_targets {
            let bytes = signing.top_level("targets", &targets)?;
            add_role(&mut steps, &mut meta, "targets", targets.version, bytes);
        }

        let kept = old.filter(|state| {
            !self.renew_snapshot
                && meta == state.snapshot.meta
                && state.snapshot.is_signed_by(&root.authority("snapshot"))
        });
        let listed = if let Some(state) = kept {
            state.timestamp.snapshot().clone()
        } else {
            let version = old.map_or(0, |state| state.snapshot.version) + 1;
            let snapshot = Snapshot::new(version, now.plus(lifetimes.snapshot), meta);
            let bytes = signing.top_level("snapshot", &snapshot)?;
            let listed = listed(version, &bytes);
            steps.push(Step::Write { file: format!("{version}.snapshot.json"), bytes });
            listed
        };
        let version = old.map_or(0, |state| state.timestamp.version) + 1;
        let timestamp = Timestamp::new(version, now, now.plus(lifetimes.timestamp), listed);
        let bytes = signing.top_level("timestamp", &timestamp)?;
        let timestamp = Step::Write { file: "timestamp.json".to_owned(), bytes };
        let roots = self.root.as_ref().map_or_else(Vec::new, root_steps);
        // A client has one root or the other. If both accept the new files, those come first; if
        // a lost key makes that impossible, clients refuse what is old until it is replaced.
        if signing.old_root_accepts {
            steps.push(timestamp);
            steps.extend(roots);
        } else {
            steps.extend(roots);
            steps.push(timestamp);
        }
        Ok(Plan { steps })
    }
}

/// Signing for the top-level roles while their keys may be changing.
struct Signing<'a> {
    old: Option<&'a State>,
    root: &'a Root,
    keyring: &'a Keyring<'a>,
    /// Whether all that was signed is accepted under the root before, too.
    old_root_accepts: bool,
}

impl Signing<'_> {
    /// Signs with the keys of the new root and, as far as they are there, with those of the old.
    fn top_level(&mut self, role: &str, signed: &impl Role) -> Result<Vec<u8>, PublishError> {
        let message = signing_bytes(signed);
        let mut signatures = self.keyring.sign(&self.root.authority(role), &message)?;
        if let Some(state) = self.old {
            let before = state.root.authority(role);
            if before.verify(&message, &signatures).is_err() {
                match self.keyring.sign(&before, &message) {
                    Ok(more) => merge(&mut signatures, more),
                    Err(PublishError::MissingKeys { .. }) => self.old_root_accepts = false,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(assemble(signed, &signatures))
    }
}

/// Adds signatures of keys that have none yet.
pub(super) fn merge(signatures: &mut Vec<Signature>, more: Vec<Signature>) {
    let ids: BTreeSet<_> = signatures.iter().map(|signature| signature.keyid.clone()).collect();
    signatures.extend(more.into_iter().filter(|signature| !ids.contains(&signature.keyid)));
}

/// The delegation to a channel.
pub(super) fn delegation(targets: &Targets, channel: Channel) -> Result<&Delegation, PublishError> {
    let found = targets.delegated().iter().find(|role| role.name == channel.name());
    found.ok_or_else(|| PublishError::Incomplete { what: format!("no delegation to {channel}") })
}

/// The root, and a copy under a name that people find.
fn root_steps(root: &Trusted<Root>) -> Vec<Step> {
    let write = |file: String| Step::Write { file, bytes: root.bytes().to_vec() };
    vec![write(format!("{}.root.json", root.version)), write("root.json".to_owned())]
}

/// The steps that publish a root which changes no other role.
pub(super) fn root_alone(root: &Trusted<Root>) -> Plan {
    Plan { steps: root_steps(root) }
}

fn add_role(
    steps: &mut Vec<Step>,
    meta: &mut BTreeMap<String, FileMeta>,
    role: &str,
    version: u64,
    bytes: Vec<u8>,
) {
    meta.insert(format!("{role}.json"), listed(version, &bytes));
    steps.push(Step::Write { file: format!("{version}.{role}.json"), bytes });
}

fn listed(version: u64, bytes: &[u8]) -> FileMeta {
    let hashes = Some(Hashes::sha256(&Sha256::digest(bytes).into()));
    FileMeta { version, length: Some(bytes.len() as u64), hashes }
}

fn next(meta: &BTreeMap<String, FileMeta>, role: &str) -> u64 {
    meta.get(&format!("{role}.json")).map_or(0, |file| file.version) + 1
}
