//! Accounts, passwords, and the keys that log in.

use std::collections::BTreeSet;

use cloud_config::{Config, KeyForm, Spanned, User};

use super::setting::METADATA;
use super::{Content, Draft, Effect, Origin, Owner, at, in_entry};
use crate::accounts::{Account, Database, PrimaryGroup, Problem};
use crate::ledger::OwnedAccount;

/// The user that every machine has, for the people who own it.
const CORE: &str = "core";
const SHELL: &str = "/bin/bash";
/// Rules of sudo, where cloud-init has them.
const SUDOERS: &str = "/etc/sudoers.d/90-cloud-init-users";

impl Draft<'_> {
    /// Makes and updates accounts; with `removals`, those that are no longer named go.
    pub(super) fn accounts(&mut self, config: &Config, removals: bool) {
        if removals {
            self.remove_accounts(config);
        }
        self.make_groups(config);
        let made: Vec<bool> = config.users.iter().map(|user| self.account(user)).collect();
        // A group may be another new user's own, so all users come first.
        for (user, made) in config.users.iter().zip(made) {
            if made {
                self.groups(user);
            }
        }
        self.core(config);
        self.fill_groups(config);
        if removals {
            self.remove_groups(config);
        }
        self.passwords(config, removals);
        self.rights(config);
        self.note_homes();
        self.put_databases();
        for user in &config.users {
            if !user.no_create_home && self.is_ours(&user.name.value) {
                let origin = in_entry("users", user.name.span, user.span);
                self.home(&user.name.value, origin);
            }
        }
    }

    /// Whether a configuration made this account. One of another id is the image's own, of a
    /// release that came later.
    pub(super) fn is_ours(&self, name: &str) -> bool {
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
            uid: user.uid.as_ref().map(|uid| uid.value),
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
        if let (Some(uid), Some(entry)) = (&user.uid, self.accounts.user(name))
            && entry.uid != uid.value
        {
            let message = format!("user `{name}` has the id {} and keeps it", entry.uid);
            self.warn(uid.span, message);
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
            uid: None,
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
            let origin = Origin { section: "users", span: None, entry: None };
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
        let imported = self.imported(config);
        for user in &config.users {
            for key in &user.ssh_authorized_keys {
                let origin = in_entry("users", key.span, user.span);
                add_key(&mut holders, &user.name.value, origin, &key.value);
            }
        }
        for (name, origin, key) in &imported {
            add_key(&mut holders, name, *origin, key);
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

    /// The keys that come from elsewhere, each with whose it is.
    fn imported<'c>(&mut self, config: &'c Config) -> Vec<(&'c str, Origin, String)> {
        let mut keys = Vec::new();
        for user in &config.users {
            for source in &user.key_sources {
                let answer = match self.context.fetched.get(&source.url) {
                    Some(Ok(bytes)) => keys_in(bytes, source.form),
                    Some(Err(why)) => Err(why.clone()),
                    None => Err("it was not asked for".to_string()),
                };
                match answer {
                    Ok(found) => {
                        let origin = in_entry("users", source.span, user.span);
                        let name = user.name.value.as_str();
                        keys.extend(found.into_iter().map(|key| (name, origin, key)));
                    }
                    Err(why) => self.warn(source.span, format!("no keys come from there: {why}")),
                }
            }
        }
        keys
    }

    /// What `sudo` lets users do.
    fn rights(&mut self, config: &Config) {
        let mut text = String::new();
        let mut first = None;
        for user in config.users.iter().filter(|user| !user.sudo.is_empty()) {
            let name = &user.name.value;
            if self.accounts.user(name).is_none() {
                continue;
            }
            first.get_or_insert(in_entry("users", user.sudo[0].span, user.span));
            for rule in &user.sudo {
                text.push_str(&format!("{name} {}\n", rule.value));
            }
        }
        if let Some(origin) = first {
            let text = format!("# From `sudo` of `users` in the cloud-config.\n{text}");
            self.put_file(SUDOERS.into(), origin, text, 0o440);
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

/// The lines of `authorized_keys` in what an address answered.
fn keys_in(bytes: &[u8], form: KeyForm) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct Key {
        key: String,
    }
    let lines: Vec<String> = match form {
        KeyForm::Lines => String::from_utf8_lossy(bytes).lines().map(str::to_string).collect(),
        KeyForm::Json => serde_json::from_slice::<Vec<Key>>(bytes)
            .map_err(|_| "what it answers is no list of keys".to_string())?
            .into_iter()
            .map(|key| key.key)
            .collect(),
    };
    let lines = lines.into_iter().map(|line| line.trim().to_string());
    let sound = |line: &String| {
        !line.is_empty() && !line.starts_with('#') && !line.contains(char::is_control)
    };
    let keys: Vec<String> = lines.filter(sound).collect();
    // An answer may be anything: what does not begin as a key does is none.
    let is_key =
        |key: &String| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| key.starts_with(start));
    match keys.iter().all(is_key) {
        true => Ok(keys),
        false => Err("what it answers are no keys".to_string()),
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
        || user.uid.is_some()
        || user.inactive.is_some()
        || user.expires.is_some()
}
