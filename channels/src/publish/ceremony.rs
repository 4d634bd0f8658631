//! Changing the root, in steps that can be far apart: its keys may be on machines that never
//! touch the net.
//!
//! change → staged root, unsigned → exported → signed elsewhere → imported → complete → published

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::draft::{Draft, Lifetimes, delegation, merge, root_alone};
use super::{KeyEntry, Keyring, Plan, PublishError, Repository, State};
use crate::metadata::{
    Authority, Delegation, Delegations, Document, Key, RoleKeys, Root, Signature, TOP_LEVEL,
    Targets, Trusted, assemble,
};
use crate::policy::Channel;
use crate::time::Time;

/// Roles that sign unattended.
pub const ONLINE: [&str; 2] = ["timestamp", "snapshot"];

/// A root that waits for its signatures, in a file beside the keys.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    document: Document<Root>,
}

/// What a staged root still needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// `the present root` or `the next root`: whose rule it is.
    pub by: &'static str,
    /// Signatures that are there.
    pub have: usize,
    /// Signatures that are needed.
    pub need: u64,
    /// Ids of the keys that could still sign.
    pub keys: Vec<String>,
}

impl Staged {
    /// The root that waits in the directory of the keys.
    pub fn load(keys: &Path) -> Result<Option<Staged>, PublishError> {
        let path = keys.join("next.root.json");
        match fs::read(&path) {
            Ok(bytes) => Staged::parse(path, bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PublishError::file("read", path)(error)),
        }
    }

    /// The root that waits to follow `present`. One that was published already, by a publisher
    /// that died before it could remove it, is removed.
    pub fn waiting(keys: &Path, present: Option<&Root>) -> Result<Option<Staged>, PublishError> {
        let Some(staged) = Staged::load(keys)? else { return Ok(None) };
        if staged.root().version > present.map_or(0, |root| root.version) {
            return Ok(Some(staged));
        }
        fs::remove_file(&staged.path).map_err(PublishError::file("remove", &staged.path))?;
        Ok(None)
    }

    /// A root that was exported to a file.
    pub fn open(path: &Path) -> Result<Staged, PublishError> {
        let bytes = fs::read(path).map_err(PublishError::file("read", path))?;
        Staged::parse(path.to_owned(), bytes)
    }

    fn parse(path: PathBuf, bytes: Vec<u8>) -> Result<Staged, PublishError> {
        let document = Document::parse(bytes).map_err(|source| PublishError::Malformed {
            file: path.display().to_string(),
            source,
        })?;
        Ok(Staged { path, document })
    }

    /// Stages a root in place of any other.
    pub fn create(keys: &Path, root: &Root) -> Result<Staged, PublishError> {
        let path = keys.join("next.root.json");
        let staged = Staged::parse(path, assemble(root, &[]))?;
        staged.save(&staged.path.clone(), &[])?;
        Ok(staged)
    }

    /// What it says.
    pub fn root(&self) -> &Root {
        self.document.unverified()
    }

    /// Writes it with its signatures to a file, to be signed elsewhere.
    pub fn export(&self, path: &Path) -> Result<(), PublishError> {
        self.save(path, self.document.signatures())
    }

    fn save(&self, path: &Path, signatures: &[Signature]) -> Result<(), PublishError> {
        // Not by `host::durable`: the file may be on a stick whose file system knows no modes.
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(&assemble(self.root(), signatures))?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(PublishError::file("write", path))
    }

    /// Adds signatures, and keeps them.
    fn add(&mut self, more: Vec<Signature>) -> Result<(), PublishError> {
        let mut signatures = self.document.signatures().to_vec();
        merge(&mut signatures, more);
        self.save(&self.path, &signatures)?;
        *self = Staged::open(&self.path)?;
        Ok(())
    }

    /// Signs with one key. It must be one that may sign for this root or for the one before, as
    /// far as that can be known here.
    pub fn sign(&mut self, keyring: &Keyring<'_>, entry: &KeyEntry) -> Result<(), PublishError> {
        let signature = keyring.sign_with(&entry.key.id(), entry, self.document.canonical())?;
        self.add(vec![signature])
    }

    /// Takes over the signatures from a file that was exported and signed.
    pub fn import(&mut self, other: &Staged) -> Result<usize, PublishError> {
        if other.document.canonical() != self.document.canonical() {
            let reason = "the file is of another root than the one that waits here: it was \
                          exported before the last change, or changed since"
                .to_owned();
            return Err(PublishError::Root { reason });
        }
        let before = self.document.signatures().len();
        self.add(other.document.signatures().to_vec())?;
        Ok(self.document.signatures().len() - before)
    }

    /// Signs with the root keys that are here, as far as they are needed.
    pub fn sign_here(
        &mut self,
        keyring: &Keyring<'_>,
        old: Option<&Root>,
    ) -> Result<(), PublishError> {
        for entry in keyring.keys() {
            let missing = self.missing(old);
            let id = entry.key.id();
            if entry.can_sign() && missing.iter().any(|missing| missing.keys.contains(&id)) {
                self.sign(keyring, entry)?;
            }
        }
        Ok(())
    }

    /// What must still be signed: by the rules of the present root and by its own.
    pub fn missing(&self, old: Option<&Root>) -> Vec<Missing> {
        let own = self.root().clone();
        let check = |by, authority: Authority<'_>| {
            let (message, signatures) = (self.document.canonical(), self.document.signatures());
            let have = authority.signers(message, signatures);
            let need = authority.allowed.threshold;
            let signed: BTreeSet<_> = signatures.iter().map(|signature| &signature.keyid).collect();
            let keys = authority.keys().map(|(id, _)| id.to_owned());
            let keys = keys.filter(|id| !signed.contains(id)).collect();
            ((have as u64) < need).then_some(Missing { by, have, need, keys })
        };
        let old = old.and_then(|old| check("the present root", old.authority("root")));
        old.into_iter().chain(check("the next root", own.authority("root"))).collect()
    }

    fn complete(&self, old: Option<&Root>) -> Result<Trusted<Root>, PublishError> {
        let own = self.root().clone();
        let mut authorities = vec![own.authority("root")];
        authorities.extend(old.map(|old| old.authority("root")));
        self.document.clone().trust(&authorities).map_err(|source| PublishError::Unsigned {
            file: self.path.display().to_string(),
            source,
        })
    }

    /// What to write to publish the root, and what must be signed anew under it.
    pub fn plan(
        &self,
        state: Option<&State>,
        keyring: &Keyring<'_>,
        lifetimes: &Lifetimes,
        now: Time,
    ) -> Result<Plan, PublishError> {
        let old = state.map(|state| &*state.root);
        let root = self.complete(old)?;
        let expected = old.map_or(0, |root| root.version) + 1;
        if root.version != expected {
            let reason = format!("the root that waits is version {}, not {expected}", root.version);
            return Err(PublishError::Root { reason });
        }
        let still_signed = state.is_some_and(|state| {
            state.timestamp.is_signed_by(&root.authority("timestamp"))
                && state.snapshot.is_signed_by(&root.authority("snapshot"))
                && state.targets.is_signed_by(&root.authority("targets"))
        });
        if still_signed {
            return Ok(root_alone(&root));
        }
        let mut draft = state.map_or_else(Draft::default, Draft::of);
        draft.root = Some(root);
        if state.is_none() {
            *draft.targets() = first_targets(keyring, now)?;
            for channel in Channel::PATH {
                draft.channel(channel);
            }
        }
        draft.seal(keyring, lifetimes, now)
    }

    /// Publishes the root; then it waits no longer.
    pub fn publish(self, repository: &Repository, plan: &Plan) -> Result<(), PublishError> {
        plan.apply(repository.path())?;
        fs::remove_file(&self.path).map_err(PublishError::file("remove", &self.path))
    }
}

/// The delegations of a new repository: each channel has its own key and its own paths.
fn first_targets(keyring: &Keyring<'_>, now: Time) -> Result<Targets, PublishError> {
    let mut delegations = Delegations::default();
    for channel in Channel::PATH {
        let keys = role_keys(keyring, channel.name());
        let [entry] = keys.as_slice() else {
            let reason = format!("{} keys for {channel}: there must be one", keys.len());
            return Err(PublishError::Root { reason });
        };
        delegations.keys.insert(entry.key.id(), entry.key.clone());
        delegations.roles.push(Delegation {
            name: channel.name().to_owned(),
            allowed: RoleKeys { keyids: vec![entry.key.id()], threshold: 1 },
            terminating: true,
            paths: Some(vec![format!("{channel}/*")]),
            path_hash_prefixes: None,
        });
    }
    let mut targets = Targets::new(0, now);
    targets.delegations = Some(delegations);
    Ok(targets)
}

/// The keys that were made for a role.
pub fn role_keys<'k>(keyring: &'k Keyring<'_>, role: &str) -> Vec<&'k KeyEntry> {
    let made_for =
        |entry: &&KeyEntry| entry.name.rsplit_once('-').is_some_and(|(of, _)| of == role);
    keyring.keys().iter().filter(made_for).collect()
}

/// The first root, from the keys that are in the keyring.
pub fn first_root(
    keyring: &Keyring<'_>,
    threshold: u64,
    lifetimes: &Lifetimes,
    now: Time,
) -> Result<Root, PublishError> {
    let mut root = Root::new(1, now.plus(lifetimes.root));
    for role in TOP_LEVEL {
        let keys: Vec<Key> =
            role_keys(keyring, role).into_iter().map(|entry| entry.key.clone()).collect();
        if role != "root" && keys.len() != 1 {
            let reason = format!("{} keys for {role}: there must be one", keys.len());
            return Err(PublishError::Root { reason });
        }
        set_keys(&mut root, role, &keys, if role == "root" { threshold } else { 1 })?;
    }
    Ok(root)
}

/// Checks that a key does not sign for another role: each role has keys of its own, so that who
/// steals one does not have two.
pub fn check_unused(state: &State, role: &str, key: &Key) -> Result<(), PublishError> {
    let Some(public) = key.public() else { return Ok(()) };
    let holder = hex::encode(public.holder());
    let used = state.authorities().into_iter().find(|(_, _, holders)| holders.contains(&holder));
    match used {
        Some((other, ..)) => {
            let id = &key.id()[..8];
            let mut reason = format!("the key {id} signs for {other} already");
            if other != role {
                reason.push_str(&format!(": {role} needs a key of its own"));
            }
            Err(PublishError::Root { reason })
        }
        None => Ok(()),
    }
}

/// Gives a role of the root these keys and no others.
pub fn set_keys(
    root: &mut Root,
    role: &str,
    keys: &[Key],
    threshold: u64,
) -> Result<(), PublishError> {
    if threshold == 0 || threshold > keys.len() as u64 {
        let reason = format!("{threshold} of {} keys cannot sign for {role}", keys.len());
        return Err(PublishError::Root { reason });
    }
    let keyids = keys.iter().map(Key::id).collect();
    root.keys.extend(keys.iter().map(|key| (key.id(), key.clone())));
    root.roles.insert(role.to_owned(), RoleKeys { keyids, threshold });
    let used: BTreeSet<_> = root.roles.values().flat_map(|role| role.keyids.clone()).collect();
    root.keys.retain(|id, _| used.contains(id));
    Ok(())
}

/// The keys of a role of the root.
pub fn keys_of(root: &Root, role: &str) -> Vec<Key> {
    root.authority(role).keys().map(|(_, key)| key.clone()).collect()
}

/// Stages the next root, with a change; a root that waits already is changed further.
pub fn stage(
    keys: &Path,
    present: &Root,
    lifetimes: &Lifetimes,
    now: Time,
    change: impl FnOnce(&mut Root) -> Result<(), PublishError>,
) -> Result<Staged, PublishError> {
    let version = present.version + 1;
    let waiting = Staged::waiting(keys, Some(present))?;
    let mut root = waiting.map_or_else(|| present.clone(), |staged| staged.root().clone());
    root.version = version;
    root.expires = now.plus(lifetimes.root);
    change(&mut root)?;
    Staged::create(keys, &root)
}

/// The keys that sign for a channel, and how many of them must.
pub fn channel_keys(state: &State, channel: Channel) -> Result<(Vec<Key>, u64), PublishError> {
    let delegation = delegation(&state.targets, channel)?;
    let authority = state.targets.authority(delegation);
    let keys = authority.keys().map(|(_, key)| key.clone()).collect();
    Ok((keys, delegation.allowed.threshold))
}

/// Gives a channel these keys and no others.
pub fn set_channel_keys<'a>(
    state: &'a State,
    channel: Channel,
    keys: &[Key],
    threshold: u64,
) -> Result<Draft<'a>, PublishError> {
    if threshold == 0 || threshold > keys.len() as u64 {
        let reason = format!("{threshold} of {} keys cannot sign for {channel}", keys.len());
        return Err(PublishError::Root { reason });
    }
    let mut draft = Draft::of(state);
    delegation(&state.targets, channel)?;
    let delegations = draft.targets().delegations.get_or_insert_default();
    for role in delegations.roles.iter_mut().filter(|role| role.name == channel.name()) {
        role.allowed = RoleKeys { keyids: keys.iter().map(Key::id).collect(), threshold };
    }
    let used: BTreeSet<_> =
        delegations.roles.iter().flat_map(|role| role.allowed.keyids.clone()).collect();
    delegations.keys.retain(|id, _| used.contains(id));
    delegations.keys.extend(keys.iter().map(|key| (key.id(), key.clone())));
    draft.channel(channel);
    Ok(draft)
}

/// One key for a channel, in place of the present ones.
pub fn rotate_channel<'a>(
    state: &'a State,
    channel: Channel,
    key: &Key,
) -> Result<Draft<'a>, PublishError> {
    check_unused(state, channel.name(), key)?;
    set_channel_keys(state, channel, std::slice::from_ref(key), 1)
}
