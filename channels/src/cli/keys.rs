//! `keys`: making, replacing and showing them.

use std::fs;

use channels::metadata::{Key, TOP_LEVEL};
use channels::policy::Channel;
use channels::publish::ceremony::{ONLINE, check_unused, keys_of, rotate_channel, set_keys};
use channels::publish::{Keyring, Protection, PublishError, Secret, key_file};

use super::arguments::{NewKeyArguments, RotateArguments};
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

/// Replaces a role's key.
pub(super) fn rotate(context: &Context, arguments: &RotateArguments) -> Result<(), PublishError> {
    let role = arguments.role.as_str();
    check_role(role)?;
    let _lock = context.lock()?;
    let state = context.state()?;
    let count = keys_of(&state.root, role).len();
    if arguments.replace.is_none() && count > 1 {
        let reason = format!("{role} has {count} keys: say which one with --replace");
        return Err(PublishError::Root { reason });
    }
    context.with_keyring(|keyring| {
        let new = match &arguments.with {
            Some(name) => keyring.named(name)?.key.clone(),
            None => keyring.generate(role, protection(role, arguments.no_passphrase))?.key.clone(),
        };
        if let Ok(channel) = role.parse::<Channel>() {
            context.publish(keyring, rotate_channel(&state, channel, &new)?)?;
            println!("{channel} is signed with {} now", &new.id()[..8]);
            return Ok(());
        }
        check_unused(&state, role, &new)?;
        ceremony::change(context, keyring, &state, |root| {
            let mut keys = keys_of(root, role);
            let index = match &arguments.replace {
                Some(name) => position(keyring, &keys, name)?,
                None => 0,
            };
            keys[index] = new;
            let threshold = root.authority(role).allowed.threshold;
            set_keys(root, role, &keys, threshold)
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
