//! `init` and `root`: the root and its signatures, here and elsewhere.

use std::path::Path;

use channels::metadata::{Root, TOP_LEVEL};
use channels::policy::Channel;
use channels::publish::ceremony::{
    ONLINE, Staged, check_unused, first_root, keys_of, role_keys, set_keys, stage,
};
use channels::publish::{Keyring, Protection, PublishError, State};

use super::arguments::InitArguments;
use super::context::Context;

/// Makes a repository.
pub(super) fn init(context: &Context, arguments: &InitArguments) -> Result<(), PublishError> {
    context.check_keys_apart()?;
    let _lock = context.repository.lock()?;
    if context.repository.exists() {
        return Err(PublishError::Exists { path: context.repository.path().to_owned() });
    }
    context.with_keyring(|keyring| {
        make_missing_keys(keyring, arguments)?;
        let count = role_keys(keyring, "root").len() as u64;
        let threshold = arguments.root_threshold.unwrap_or(count.min(2));
        let root = first_root(keyring, threshold, &context.lifetimes, context.now)?;
        finish(context, keyring, Staged::create(&context.keys, &root)?, None)
    })
}

fn make_missing_keys(
    keyring: &mut Keyring<'_>,
    arguments: &InitArguments,
) -> Result<(), PublishError> {
    for role in TOP_LEVEL.into_iter().chain(Channel::PATH.map(Channel::name)) {
        let protection = match arguments.no_passphrase || ONLINE.contains(&role) {
            true => Protection::None,
            false => Protection::Passphrase,
        };
        let wanted = if role == "root" { arguments.root_keys } else { 1 };
        if role_keys(keyring, role).is_empty() {
            for _ in 0..wanted {
                keyring.generate(role, protection)?;
            }
        }
    }
    Ok(())
}

/// Signs a root with the keys that are here, and publishes it if that is enough.
pub(super) fn finish(
    context: &Context,
    keyring: &Keyring<'_>,
    mut staged: Staged,
    state: Option<&State>,
) -> Result<(), PublishError> {
    let present = state.map(|state| &*state.root);
    staged.sign_here(keyring, present)?;
    let version = staged.root().version;
    if !staged.missing(present).is_empty() {
        print_missing(&staged, present);
        println!(
            "next: `channels root export FILE`, `channels root sign FILE --key KEY` where the"
        );
        println!("keys are, then `channels root import FILE` here");
        return Ok(());
    }
    let plan = staged.plan(state, keyring, &context.lifetimes, context.now)?;
    staged.publish(&context.repository, &plan)?;
    context.repository.check(context.now)?;
    println!("published version {version} of the root in {}", context.repository.path().display());
    if state.is_none() {
        let root = context.repository.path().join("metadata/1.root.json");
        println!(
            "build {} into the images, and take the private root keys to a safe place",
            root.display()
        );
    }
    Ok(())
}

fn print_missing(staged: &Staged, present: Option<&Root>) {
    println!("version {} of the root waits for signatures:", staged.root().version);
    for missing in staged.missing(present) {
        let keys: Vec<_> = missing.keys.iter().map(|id| id.get(..8).unwrap_or(id)).collect();
        let (have, need, by) = (missing.have, missing.need, missing.by);
        println!("  {have} of {need} that {by} asks for; can still sign: {}", keys.join(" "));
    }
}

/// Stages a change of the root, and goes on with it as far as possible.
pub(super) fn change(
    context: &Context,
    keyring: &Keyring<'_>,
    state: &State,
    change: impl FnOnce(&mut Root) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    let staged = stage(&context.keys, &state.root, &context.lifetimes, context.now, change)?;
    finish(context, keyring, staged, Some(state))
}

/// Changes the root of a repository that is there.
fn change_root(
    context: &Context,
    action: impl FnOnce(&Keyring<'_>, &State, &mut Root) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    let _lock = context.lock()?;
    let state = context.state()?;
    context.with_keyring(|keyring| {
        let keyring = &*keyring;
        change(context, keyring, &state, |root| action(keyring, &state, root))
    })
}

/// Signs the root for another lifetime.
pub(super) fn renew(context: &Context) -> Result<(), PublishError> {
    change_root(context, |_, _, _| Ok(()))
}

/// Sets how many root keys must sign.
pub(super) fn threshold(context: &Context, threshold: u64) -> Result<(), PublishError> {
    change_root(context, |_, _, root| {
        let keys = keys_of(root, "root");
        set_keys(root, "root", &keys, threshold)
    })
}

/// Gives the root one key more.
pub(super) fn add(context: &Context, key: &str) -> Result<(), PublishError> {
    change_root(context, |keyring, state, root| {
        let key = keyring.named(key)?.key.clone();
        check_unused(state, "root", &key)?;
        let mut keys = keys_of(root, "root");
        if !keys.contains(&key) {
            keys.push(key);
        }
        let threshold = root.authority("root").allowed.threshold;
        set_keys(root, "root", &keys, threshold)
    })
}

/// Takes a key away from the root.
pub(super) fn remove(context: &Context, name: &str) -> Result<(), PublishError> {
    change_root(context, |keyring, _, root| {
        let mut keys = keys_of(root, "root");
        let index = super::keys::position(keyring, &keys, name)?;
        keys.remove(index);
        let threshold = root.authority("root").allowed.threshold;
        set_keys(root, "root", &keys, threshold)
    })
}

/// The root that waits, and what it is to follow.
fn waiting(context: &Context) -> Result<(Option<State>, Option<Staged>), PublishError> {
    let state = match context.repository.exists() {
        true => Some(context.repository.load()?),
        false => None,
    };
    let staged = Staged::waiting(&context.keys, state.as_ref().map(|state| &*state.root))?;
    Ok((state, staged))
}

fn nothing_waits() -> PublishError {
    PublishError::Root { reason: "no root waits for signatures".to_owned() }
}

/// Writes the root that waits to a file.
pub(super) fn export(context: &Context, file: &Path) -> Result<(), PublishError> {
    let (state, staged) = waiting(context)?;
    let staged = staged.ok_or_else(nothing_waits)?;
    staged.export(file)?;
    print_missing(&staged, state.as_ref().map(|state| &*state.root));
    println!("wrote {}", file.display());
    Ok(())
}

/// Signs an exported root; the repository is not needed.
pub(super) fn sign(context: &Context, file: &Path, key: &str) -> Result<(), PublishError> {
    let mut staged = Staged::open(file)?;
    let root = staged.root().clone();
    println!("version {} of the root, to expire at {}", root.version, root.expires);
    for role in TOP_LEVEL {
        let authority = root.authority(role);
        let ids: Vec<_> = authority.keys().map(|(id, _)| id.get(..8).unwrap_or(id)).collect();
        println!(
            "  {role:<10} {} of {}: {}",
            authority.allowed.threshold,
            ids.len(),
            ids.join(" ")
        );
    }
    context.with_keyring(|keyring| {
        let entry = keyring.named(key)?;
        staged.sign(keyring, entry)?;
        println!("signed {} with {}", file.display(), entry.name);
        Ok(())
    })
}

/// Takes over signatures, and publishes the root if they are enough.
pub(super) fn import(context: &Context, file: &Path) -> Result<(), PublishError> {
    let _lock = context.repository.lock()?;
    let (state, staged) = waiting(context)?;
    let mut staged = staged.ok_or_else(nothing_waits)?;
    let count = staged.import(&Staged::open(file)?)?;
    println!("{count} new signature{}", if count == 1 { "" } else { "s" });
    context.with_keyring(|keyring| finish(context, keyring, staged, state.as_ref()))
}

/// Shows whether a root waits.
pub(super) fn status(context: &Context) -> Result<(), PublishError> {
    let (state, staged) = waiting(context)?;
    match staged {
        None => println!("no root waits for signatures"),
        Some(staged) => print_missing(&staged, state.as_ref().map(|state| &*state.root)),
    }
    Ok(())
}
