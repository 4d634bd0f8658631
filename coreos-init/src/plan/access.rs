//! Accounts, passwords, and the keys that log in.

use std::collections::BTreeSet;

use cloud_config::{Config, Spanned, User};

use super::setting::METADATA;
use super::{Content, Draft, Effect, Origin, Owner, at};
use crate::accounts::{Account, Database, PrimaryGroup, Problem};
use crate::ledger::{OwnedAccount, sha256};

/// The user that every machine has, for the people who own it.
const CORE: &str = "core";
const SHELL: &str = "/bin/bash";

impl Draft<'_> {
    /// Makes and updates accounts; with `removals`, those that are no longer named go.
    pub(super) fn accounts(&mut self, config: &Config, removals: bool) {
        if removals {
            self.remove_accounts(config);
        }
        let made: Vec<bool> = config.users.iter().map(|user| self.account(user)).collect();
        // A group may be another new user's own, so all users come first.
        for (user, made) in config.users.iter().zip(made) {
            if made {
                self.groups(user);
            }
        }
        self.core(config);
        self.passwords(config, removals);
        self.note_homes();
        self.put_databases();
        for user in &config.users {
            if !user.no_create_home && self.is_ours(&user.name.value) {
                self.home(&user.name.value, at("users", user.name.span));
            }
        }
    }

    /// Whether a configuration made this account. One of another id is the image's own, of a
    /// release that came later.
    fn is_ours(&self, name: &str) -> bool {
        let exists = self.accounts.user(name);
        let record = self.owned.accounts.get(name).filter(|account| account.present);
        record.is_some_and(|account| exists.is_none_or(|user| user.uid == account.uid))
    }

    /// Makes one account, or brings one that a configuration made up to date. False where the
    /// account is the image's or cannot be made.
    fn account(&mut self, user: &User) -> bool {
        let name = &user.name.value;
        let home = format!("/home/{name}");
        let account = Account {
            name,
            password: hash(user),
            comment: user.gecos.as_deref().unwrap_or(""),
            home: user.homedir.as_deref().unwrap_or(&home),
            shell: user.shell.as_deref().unwrap_or(SHELL),
            group: match &user.primary_group {
                Some(group) => PrimaryGroup::Named(group),
                None if user.no_user_group => PrimaryGroup::Users,
                None => PrimaryGroup::Own,
            },
            system: user.system,
        };
        let exists = self.accounts.user(name).is_some();
        if exists && !self.is_ours(name) {
            if asks_for_more(user) {
                self.warn(
                    user.name.span,
                    format!(
                        "user `{name}` exists already: only `passwd` and `ssh_authorized_keys` are applied to it"
                    ),
                );
            }
            return false;
        }
        let done = if exists { self.accounts.update(&account) } else { self.create(&account) };
        if let Err(problem) = done {
            self.refuse(&user.name, &problem);
            return false;
        }
        true
    }

    fn create(&mut self, account: &Account<'_>) -> Result<(), Problem> {
        let earlier = self.owned.accounts.get(account.name).map(|account| account.uid);
        let reserved: BTreeSet<u32> = self.owned.accounts.values().map(|a| a.uid).collect();
        self.accounts.create(account, earlier, &reserved)?;
        if let Some(user) = self.accounts.user(account.name) {
            let record = OwnedAccount { uid: user.uid, groups: Vec::new(), present: true };
            self.owned.accounts.insert(account.name.to_string(), record);
        }
        Ok(())
    }

    /// Further groups: those named are joined, those named only earlier are left.
    fn groups(&mut self, user: &User) {
        let name = &user.name.value;
        let earlier = self.owned.accounts.get(name).map(|account| account.groups.clone());
        for group in earlier.unwrap_or_default() {
            if user.groups.iter().all(|wanted| wanted.value != group) {
                self.accounts.leave(&group, name);
            }
        }
        let mut joined = Vec::new();
        for group in &user.groups {
            match self.accounts.join(&group.value, name) {
                Ok(()) => joined.push(group.value.clone()),
                Err(problem) => self.error(group.span, problem.to_string()),
            }
        }
        if let Some(record) = self.owned.accounts.get_mut(name) {
            record.groups = joined;
        }
    }

    /// The image has the user `core`; a root that does not gets it with its keys.
    fn core(&mut self, config: &Config) {
        let wanted = !config.ssh_authorized_keys.is_empty() || !self.context.keys.is_empty();
        if !wanted || self.accounts.user(CORE).is_some() {
            return;
        }
        let core = Account {
            name: CORE,
            password: None,
            comment: "",
            home: "/home/core",
            shell: SHELL,
            group: PrimaryGroup::Own,
            system: false,
        };
        if let Err(problem) = self.create(&core) {
            match config.ssh_authorized_keys.first() {
                Some(key) => self.error(key.span, format!("user `core`: {problem}")),
                None => self.notes.push(format!("the user `core` cannot be made: {problem}")),
            }
        }
    }

    /// Removes what a configuration made and this one does not name.
    fn remove_accounts(&mut self, config: &Config) {
        let core = !config.ssh_authorized_keys.is_empty() || !self.context.keys.is_empty();
        let named = |name: &str| {
            (core && name == CORE) || config.users.iter().any(|user| user.name.value == name)
        };
        let mut removed = Vec::new();
        for (name, account) in &mut self.owned.accounts {
            if !account.present || named(name) {
                continue;
            }
            account.present = false;
            account.groups.clear();
            let entry = self.accounts.user(name);
            if entry.is_none_or(|entry| entry.uid == account.uid) {
                let home = entry.map(|entry| entry.home.to_string());
                removed.push((name.clone(), account.uid, home));
            }
        }
        for (name, uid, home) in removed {
            self.accounts.remove(&name, uid);
            if let Some(home) = home {
                self.notes.push(format!(
                    "the account `{name}` is no longer configured: removed; its files in {home} stay"
                ));
            }
        }
    }

    /// Sets passwords; one that an earlier configuration set and this one does not is locked.
    fn passwords(&mut self, config: &Config, removals: bool) {
        let earlier = &self.context.facts.ledger.passwords;
        for (name, hashes) in earlier {
            let named = config.users.iter().any(|u| u.name.value == *name && hash(u).is_some());
            let current = self.accounts.password(name);
            if !removals || named || current.as_deref().is_none_or(|hash| hash == "*") {
                continue;
            }
            if current.is_some_and(|current| hashes.contains(&sha256(current.as_bytes()))) {
                // `*` has nothing in it that could be refused.
                let _ = self.accounts.set_password(name, "*");
            } else {
                self.notes.push(format!(
                    "the password of `{name}` is no longer configured, but was changed since: kept"
                ));
            }
        }
        for user in &config.users {
            let name = &user.name.value;
            let Some(hash) = hash(user).filter(|_| self.accounts.user(name).is_some()) else {
                continue;
            };
            match self.accounts.set_password(name, hash) {
                Ok(()) => {
                    let record = vec![sha256(hash.as_bytes())];
                    self.owned.passwords.insert(name.clone(), record);
                }
                Err(problem) => self.refuse(&user.name, &problem),
            }
        }
    }

    fn refuse(&mut self, name: &Spanned<String>, problem: &Problem) {
        self.error(name.span, format!("user `{}`: {problem}", name.value));
    }

    fn put_databases(&mut self) {
        let facts = &self.context.facts;
        let secret = if self.accounts.group("shadow").is_some() { 0o640 } else { 0o600 };
        let shadow = Owner { uid: 0, gid: self.accounts.group("shadow").unwrap_or(0) };
        for (database, text) in self.accounts.changed() {
            let (path, existing, mode, owner) = match database {
                Database::Group => ("/etc/group", &facts.group, 0o644, Owner::ROOT),
                Database::Gshadow => ("/etc/gshadow", &facts.gshadow, secret, shadow),
                Database::Shadow => ("/etc/shadow", &facts.shadow, secret, shadow),
                Database::Passwd => ("/etc/passwd", &facts.passwd, 0o644, Owner::ROOT),
            };
            let (mode, owner) = existing.as_ref().map_or((mode, owner), |e| (e.mode, e.owner));
            let content = Content(text.into_bytes());
            let origin = Origin { section: "users", span: None };
            self.put(path.into(), origin, Effect::File { content, mode, owner, owned: false });
        }
    }

    /// `authorized_keys` of everyone who has keys. The file is the configuration's: a key that
    /// is no longer in it no longer logs in.
    pub(super) fn keys(&mut self, config: &Config) {
        let mut holders: Vec<Holder<'_>> = Vec::new();
        for key in &config.ssh_authorized_keys {
            add_key(&mut holders, CORE, at("ssh_authorized_keys", key.span), &key.value);
        }
        for user in &config.users {
            for key in &user.ssh_authorized_keys {
                add_key(&mut holders, &user.name.value, at("users", key.span), &key.value);
            }
        }
        for key in &self.context.keys {
            add_key(&mut holders, CORE, METADATA, key);
        }
        for holder in holders {
            let homeless =
                config.users.iter().any(|u| u.name.value == holder.name && u.no_create_home);
            self.authorized_keys(&holder, !homeless);
        }
    }

    fn authorized_keys(&mut self, holder: &Holder<'_>, make_home: bool) {
        let Holder { name, origin, keys } = holder;
        let Some(user) = self.accounts.user(name) else { return };
        let owner = Owner { uid: user.uid, gid: user.gid };
        let home = user.home.trim_end_matches('/').to_string();
        if !is_home(&home) {
            self.notes.push(format!("`{name}` has no home directory for its keys: left out"));
            return;
        }
        if make_home {
            self.home(name, *origin);
        }
        let directory = format!("{home}/.ssh");
        let file = format!("{directory}/authorized_keys");
        self.put(directory, *origin, Effect::Directory { mode: 0o700, owner });
        let content = Content(keys.iter().map(|key| format!("{key}\n")).collect::<String>().into());
        self.put(file, *origin, Effect::File { content, mode: 0o600, owner, owned: true });
    }

    /// The home directory of an account, made where there is none.
    fn home(&mut self, name: &str, origin: Origin) {
        let Some(user) = self.accounts.user(name) else { return };
        let owner = Owner { uid: user.uid, gid: user.gid };
        let home = user.home.trim_end_matches('/').to_string();
        if is_home(&home) && !self.is_planned(&home) {
            let skeleton = self.context.facts.skeleton.clone();
            self.put(home, origin, Effect::Home { owner, skeleton });
        }
    }
}

/// Somebody who logs in by key.
struct Holder<'a> {
    name: &'a str,
    /// Of the first key.
    origin: Origin,
    keys: Vec<&'a str>,
}

fn add_key<'a>(holders: &mut Vec<Holder<'a>>, name: &'a str, origin: Origin, key: &'a str) {
    for key in key.lines().map(str::trim).filter(|key| !key.is_empty()) {
        match holders.iter_mut().find(|holder| holder.name == name) {
            Some(holder) if holder.keys.contains(&key) => {}
            Some(holder) => holder.keys.push(key),
            None => holders.push(Holder { name, origin, keys: vec![key] }),
        }
    }
}

/// Whether a field of `passwd` names a directory that can be somebody's home.
fn is_home(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path != "/nonexistent"
        && !path.split('/').any(|part| part == "..")
}

/// The password's hash; an empty one would let everybody in.
fn hash(user: &User) -> Option<&str> {
    user.passwd.as_ref().map(|hash| hash.value.as_str()).filter(|hash| !hash.is_empty())
}

/// Whether more is asked for than an account of the image is given.
fn asks_for_more(user: &User) -> bool {
    user.gecos.is_some()
        || user.homedir.is_some()
        || user.primary_group.is_some()
        || !user.groups.is_empty()
        || user.shell.is_some()
        || user.no_user_group
        || user.no_create_home
        || user.system
}
