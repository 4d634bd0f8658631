//! `keys`: making, replacing and showing them.

use std::fs;

use channels::metadata::{Key, TOP_LEVEL};
use channels::policy::Channel;
use channels::publish::ceremony::{
    ONLINE, channel_keys, check_unused, keys_of, set_channel_keys, set_keys,
};
use channels::publish::{Keyring, Protection, PublishError, Secret, State, key_file};

use super::arguments::{AddArguments, NewKeyArguments, RotateArguments};
use super::ceremony;
use super::context::Context;

fn check_role(role: &str) -> Result<(), PublishError> {
    if TOP_LEVEL.contains(&role) || role.parse::<Channel>().is_ok() {
        return Ok(());
    }
    Err(PublishError::NoRole { role: role.to_owned() })
}

fn protection(role: &str, no_passphrase: bool) -> Protection {
    match no_passphrase || ONLINE.contains(&role) {
        true => Protection::None,
        false => Protection::Passphrase,
    }
}

/// Makes a key, or takes note of one.
pub(super) fn new(context: &Context, arguments: &NewKeyArguments) -> Result<(), PublishError> {
    let role = arguments.role.as_str();
    check_role(role)?;
    context.check_keys_apart()?;
    context.with_keyring(|keyring| {
        let entry = match &arguments.public_key {
            None => keyring.generate(role, protection(role, arguments.no_passphrase))?,
            Some(path) => {
                let failed = |action| {
                    move |source| PublishError::File { action, path: path.clone(), source }
                };
                let text = fs::read_to_string(path).map_err(failed("read"))?;
                let public = key_file::read_public(&text)
                    .map_err(|source| PublishError::Key { path: path.clone(), source })?;
                keyring.register(role, &public, arguments.sign_command.as_deref())?
            }
        };
        println!("{} {}", entry.name, entry.key.id());
        Ok(())
    })
}

/// What is to happen to the keys of a role: which ones there are, and how many must sign.
type Edit<'e> = &'e dyn Fn(&Keyring<'_>, &mut Vec<Key>, &mut u64) -> Result<(), PublishError>;

/// Changes who signs for a role: a channel's keys at once, those of other roles by a new root.
fn change(
    context: &Context,
    keyring: &Keyring<'_>,
    state: &State,
    role: &str,
    edit: Edit<'_>,
) -> Result<(), PublishError> {
    if let Ok(channel) = role.parse::<Channel>() {
        let (mut keys, mut threshold) = channel_keys(state, channel)?;
        edit(keyring, &mut keys, &mut threshold)?;
        context.publish(keyring, set_channel_keys(state, channel, &keys, threshold)?)?;
        let ids: Vec<_> = keys.iter().map(|key| key.id()[..8].to_owned()).collect();
        match ids.as_slice() {
            [id] => println!("{channel} is signed with {id} now"),
            ids => println!("{channel} is signed with {threshold} of {} now", ids.join(", ")),
        }
        return Ok(());
    }
    ceremony::change(context, keyring, state, |root| {
        let mut keys = keys_of(root, role);
        let mut threshold = root.authority(role).allowed.threshold;
        edit(keyring, &mut keys, &mut threshold)?;
        set_keys(root, role, &keys, threshold)
    })
}

/// Opens what a change of keys needs, and keeps others out.
fn with_state(
    context: &Context,
    role: &str,
    action: impl FnOnce(&mut Keyring<'_>, &State) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    check_role(role)?;
    let _lock = context.lock()?;
    let state = context.state()?;
    context.with_keyring(|keyring| action(keyring, &state))
}

/// A key that is here by its name, or a new one.
fn key_for(
    keyring: &mut Keyring<'_>,
    role: &str,
    with: Option<&str>,
    no_passphrase: bool,
) -> Result<Key, PublishError> {
    match with {
        Some(name) => Ok(keyring.named(name)?.key.clone()),
        None => Ok(keyring.generate(role, protection(role, no_passphrase))?.key.clone()),
    }
}

/// Replaces a role's key.
pub(super) fn rotate(context: &Context, arguments: &RotateArguments) -> Result<(), PublishError> {
    let RotateArguments { role, with, replace, no_passphrase } = arguments;
    with_state(context, role, |keyring, state| {
        let count = match role.parse::<Channel>() {
            Ok(channel) => channel_keys(state, channel)?.0.len(),
            Err(_) => keys_of(&state.root, role).len(),
        };
        if replace.is_none() && count > 1 {
            let reason = format!("{role} has {count} keys: say which one with --replace");
            return Err(PublishError::Root { reason });
        }
        let new = key_for(keyring, role, with.as_deref(), *no_passphrase)?;
        check_unused(state, role, &new)?;
        change(context, keyring, state, role, &|keyring, keys, _| {
            let index = match replace {
                Some(name) => position(keyring, keys, name)?,
                None => 0,
            };
            keys[index] = new.clone();
            Ok(())
        })
    })
}

/// Gives a role one key more.
pub(super) fn add(context: &Context, arguments: &AddArguments) -> Result<(), PublishError> {
    let AddArguments { role, with, no_passphrase } = arguments;
    with_state(context, role, |keyring, state| {
        let new = key_for(keyring, role, with.as_deref(), *no_passphrase)?;
        check_unused(state, role, &new)?;
        change(context, keyring, state, role, &|_, keys, _| {
            keys.push(new.clone());
            Ok(())
        })
    })
}

/// Takes a key away from a role.
pub(super) fn remove(context: &Context, role: &str, key: &str) -> Result<(), PublishError> {
    with_state(context, role, |keyring, state| {
        change(context, keyring, state, role, &|keyring, keys, _| {
            keys.remove(position(keyring, keys, key)?);
            Ok(())
        })
    })
}

/// Sets how many of a role's keys must sign.
pub(super) fn threshold(context: &Context, role: &str, number: u64) -> Result<(), PublishError> {
    with_state(context, role, |keyring, state| {
        change(context, keyring, state, role, &|_, _, threshold| {
            *threshold = number;
            Ok(())
        })
    })
}

/// Which of these keys has this name or id. The key itself need not be here.
pub(super) fn position(
    keyring: &Keyring<'_>,
    keys: &[Key],
    name: &str,
) -> Result<usize, PublishError> {
    let fits = |key: &Key| {
        (name.len() >= 8 && key.id().starts_with(name))
            || keyring.find(key).is_some_and(|entry| entry.name == name)
    };
    let missing =
        || PublishError::NoKey { name: name.to_owned(), keys: keyring.directory().to_owned() };
    keys.iter().position(fits).ok_or_else(missing)
}

/// Shows all keys: those that are here, and those that sign and are elsewhere.
pub(super) fn list(context: &Context) -> Result<(), PublishError> {
    let roles = match context.repository.exists() {
        true => context.repository.load()?.authorities(),
        false => Vec::new(),
    };
    context.with_keyring(|keyring| {
        let mut shown = Vec::new();
        println!("{:<10} {:<8}  private part", "role", "key");
        for (role, allowed, _) in &roles {
            for id in &allowed.keyids {
                let entry = keyring.keys().iter().find(|entry| entry.key.id() == *id);
                let place = entry.map_or("elsewhere", |entry| place(&entry.secret));
                println!("{role:<10} {:<8}  {place}", id.get(..8).unwrap_or(id));
                shown.push(id.clone());
            }
        }
        for entry in keyring.keys().iter().filter(|entry| !shown.contains(&entry.key.id())) {
            let (role, _) = entry.name.rsplit_once('-').unwrap_or((&entry.name, ""));
            let place = place(&entry.secret);
            println!(
                "{:<10} {:<8}  {place}; not in use, made for {role}",
                "-",
                &entry.key.id()[..8]
            );
        }
        Ok(())
    })
}

fn place(secret: &Secret) -> &'static str {
    match secret {
        Secret::Absent => "elsewhere",
        Secret::Command(_) => "behind a command",
        Secret::File(file) if file.is_encrypted() => "here, encrypted",
        Secret::File(_) => "here",
    }
}
