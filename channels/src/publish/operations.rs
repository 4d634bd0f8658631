//! What a publisher does to channels: each operation turns the present state into a draft.

use std::path::PathBuf;
use std::time::Duration;

use disk::version::Version;
use serde_json::{Value, json};

use super::draft::{Draft, Lifetimes, delegation};
use super::packing::BuiltPack;
use super::payload::Payload;
use super::plan::Step;
use super::{Keyring, PublishError, Repository, State};
use crate::client::Target;
use crate::metadata::{RoleKeys, TargetFile};
use crate::offer::{PackInfo, Part};
use crate::policy::{Channel, Halt, NotAllowed, Release, Rollout, may_enter, may_promote};
use crate::time::Time;

/// What the builder says of a release beside its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// The security epoch; that of the newest release if `None`.
    pub epoch: Option<u64>,
    /// The oldest version that may update directly.
    pub min_version: Option<Version>,
    /// The roll-out.
    pub rollout: Option<Rollout>,
}

/// Publishes a new release to the channel where all begin.
pub fn publish<'a>(
    state: &'a State,
    payload: Payload,
    channel: Channel,
    options: PublishOptions,
    now: Time,
) -> Result<Draft<'a>, PublishError> {
    if channel.earlier().is_some() {
        return Err(NotAllowed::NotFirst { channel }.into());
    }
    let all: Vec<Release> =
        Channel::PATH.into_iter().flat_map(|channel| state.releases(channel)).collect();
    let newest = |value: fn(&Release) -> u64| all.iter().map(value).max().unwrap_or(0);
    let release = Release {
        version: payload.version.clone(),
        sequence: newest(|release| release.sequence) + 1,
        epoch: options.epoch.unwrap_or_else(|| newest(|release| release.epoch)),
        min_version: options.min_version,
        published: now,
        rollout: options.rollout,
        halted: None,
        root_hash: payload.root_hash.to_string(),
    };
    may_enter(channel, &state.releases(channel), &release)?;
    let mut draft = Draft::of(state);
    for (part, (from, file)) in payload.files {
        add_target(&mut draft, channel, &release, part, file, |target| Step::Place {
            from,
            link: false,
            target,
        });
    }
    Ok(draft)
}

/// Carries a release on to the next channel.
pub fn promote<'a>(
    repository: &Repository,
    state: &'a State,
    version: &Version,
    channel: Channel,
    soak: Duration,
    rollout: Option<Rollout>,
    now: Time,
) -> Result<Draft<'a>, PublishError> {
    let Some(earlier) = channel.earlier() else { return Err(NotAllowed::NoPromotion.into()) };
    let offers = state.offers(earlier);
    let source: Vec<_> = offers.iter().map(|offer| offer.release.clone()).collect();
    let carried = state.releases(channel);
    let promoted = may_promote(version, channel, &source, &carried, soak, now)?;
    let release = Release { rollout, ..promoted };
    let offer = offers.into_iter().find(|offer| offer.release.version == *version);
    let offer = offer.ok_or_else(|| not_carried(version, earlier))?;
    let mut draft = Draft::of(state);
    for pack in &offer.packs {
        let from = repository.target_path(&Target::consistent(&pack.path, pack.file.clone()));
        add_pack(&mut draft, channel, &pack.info, pack.file.clone(), from);
    }
    for part in Part::ALL {
        let file = &offer.files[&part];
        let from = repository.target_path(&Target::consistent(&offer.path(part), file.clone()));
        add_target(&mut draft, channel, &release, part, file.clone(), |target| Step::Place {
            from,
            link: true,
            target,
        });
    }
    Ok(draft)
}

fn add_target(
    draft: &mut Draft<'_>,
    channel: Channel,
    release: &Release,
    part: Part,
    mut file: TargetFile,
    step: impl FnOnce(Target) -> Step,
) {
    file.custom.retain(|name, _| name == "verity");
    if part == Part::Manifest {
        file.custom.insert("release".to_owned(), release_value(release));
    } else {
        let value = json!({ "version": release.version.as_str(), "part": part.extension() });
        file.custom.insert("part".to_owned(), value);
    }
    let path = part.path(channel, &release.version);
    draft.add_file(step(Target::consistent(&path, file.clone())));
    draft.channel(channel).targets.insert(path, file);
}

/// Adds packs that were made for a release of the channel.
pub fn add_packs(draft: &mut Draft<'_>, channel: Channel, packs: Vec<BuiltPack>) {
    for BuiltPack { info, file, path } in packs {
        add_pack(draft, channel, &info, file, path);
    }
}

/// Adds a pack that is in this repository's file system.
fn add_pack(
    draft: &mut Draft<'_>,
    channel: Channel,
    info: &PackInfo,
    file: TargetFile,
    from: PathBuf,
) {
    let path = info.path(channel);
    let target = Target::consistent(&path, file.clone());
    draft.add_file(Step::Place { from, link: true, target });
    draft.channel(channel).targets.insert(path, file);
}

fn release_value(release: &Release) -> Value {
    serde_json::to_value(release).expect("a release has only strings for names")
}

fn not_carried(version: &Version, channel: Channel) -> PublishError {
    PublishError::NotCarried { version: version.to_string(), channel }
}

/// Gives a release in a channel a roll-out, or takes it away.
pub fn set_rollout<'a>(
    state: &'a State,
    version: &Version,
    channel: Channel,
    rollout: Option<Rollout>,
) -> Result<Draft<'a>, PublishError> {
    let mut draft = Draft::of(state);
    change(state, &mut draft, version, channel, |release| release.rollout = rollout)?;
    Ok(draft)
}

/// Halts a release in these channels, or lets it go on.
pub fn set_halt<'a>(
    state: &'a State,
    version: &Version,
    channels: &[Channel],
    halt: Option<&Halt>,
) -> Result<Draft<'a>, PublishError> {
    let mut draft = Draft::of(state);
    for channel in channels {
        change(state, &mut draft, version, *channel, |release| release.halted = halt.cloned())?;
    }
    Ok(draft)
}

fn change(
    state: &State,
    draft: &mut Draft<'_>,
    version: &Version,
    channel: Channel,
    change: impl FnOnce(&mut Release),
) -> Result<(), PublishError> {
    let offer = state.offers(channel).into_iter().find(|offer| offer.release.version == *version);
    let mut release = offer.ok_or_else(|| not_carried(version, channel))?.release;
    change(&mut release);
    if let Some(file) = draft.target_entry(channel, &Part::Manifest.path(channel, version)) {
        file.custom.insert("release".to_owned(), release_value(&release));
    }
    Ok(())
}

/// The channel that an operation on a version means if none is named.
pub fn only_channel(state: &State, version: &Version) -> Result<Channel, PublishError> {
    match state.carriers(version.as_str()).as_slice() {
        [] => Err(PublishError::NoRelease { version: version.to_string() }),
        [channel] => Ok(*channel),
        several => {
            let names: Vec<_> = several.iter().map(|channel| channel.name()).collect();
            let (version, channels) = (version.to_string(), names.join(" and "));
            Err(PublishError::Ambiguous { version, channels })
        }
    }
}

/// What signing again found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Roles that were signed again beside the timestamp.
    pub signed: Vec<String>,
    /// Roles that expire before long and need a person: role and expiry.
    pub attention: Vec<(String, Time)>,
}

/// Signs the timestamp again, and everything else whose time is half over and whose key is at
/// hand without a person; with `all`, everything but the root whatever its key.
pub fn refresh<'a>(
    state: &'a State,
    keyring: &Keyring<'_>,
    lifetimes: &Lifetimes,
    all: bool,
    now: Time,
) -> Result<(Draft<'a>, Refreshed), PublishError> {
    let mut draft = Draft::of(state);
    let mut done = Refreshed::default();
    let due = |expires: Time, lifetime: Duration| all || expires <= now.plus(lifetime / 2);
    for channel in Channel::PATH {
        let expires = state.channels[&channel].expires;
        if due(expires, lifetimes.channel) {
            let allowed = &delegation(&state.targets, channel)?.allowed;
            if all || unattended(keyring, state, allowed) {
                draft.channel(channel);
                done.signed.push(channel.to_string());
            } else {
                done.attention.push((channel.to_string(), expires));
            }
        }
    }
    let allowed = |role| state.root.authority(role).allowed;
    if due(state.targets.expires, lifetimes.targets) {
        if all || unattended(keyring, state, allowed("targets")) {
            draft.targets();
            done.signed.push("targets".to_owned());
        } else {
            done.attention.push(("targets".to_owned(), state.targets.expires));
        }
    }
    if due(state.snapshot.expires, lifetimes.snapshot) {
        if all || unattended(keyring, state, allowed("snapshot")) {
            draft.renew_snapshot();
            done.signed.push("snapshot".to_owned());
        } else {
            done.attention.push(("snapshot".to_owned(), state.snapshot.expires));
        }
    }
    // Never by the way: it is signed in steps.
    if state.root.expires <= now.plus(lifetimes.root / 4) {
        done.attention.push(("root".to_owned(), state.root.expires));
    }
    Ok((draft, done))
}

/// Whether enough keys of a role are here that need no passphrase.
fn unattended(keyring: &Keyring<'_>, state: &State, allowed: &RoleKeys) -> bool {
    let delegated = state.targets.delegations.as_ref();
    let key = |id: &String| {
        state
            .root
            .keys
            .get(id)
            .or_else(|| delegated.and_then(|delegations| delegations.keys.get(id)))
    };
    let ready = allowed.keyids.iter().filter_map(key).filter_map(|key| keyring.find(key));
    let ready = ready.filter(|entry| entry.can_sign() && !entry.needs_passphrase()).count();
    ready as u64 >= allowed.threshold
}
