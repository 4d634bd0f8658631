//! The account databases as texts: `passwd`, `group`, `shadow`, `gshadow` in, the same out.
//!
//! texts → [`Accounts`] → edits → the texts that changed
//!
//! The rules are those of useradd(8) with user groups: ids from 1000 upward (system accounts
//! from 999 downward), a group of the user's own unless another is asked for, no password
//! unless one is given. Nothing here reads or writes a file, and the same edits of the same
//! texts give the same result everywhere.

mod table;

use std::collections::BTreeSet;

use table::{Table, members};

/// Ids of accounts that people log in to.
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=59_999;
/// Ids of accounts that belong to services.
const SERVICES: std::ops::RangeInclusive<u32> = 100..=999;
/// The group of users who have none of their own, where the databases do not name it.
const USERS_GID: u32 = 100;

/// Why an account cannot be made as asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// The primary or a further group does not exist.
    #[error("there is no group `{0}` on this machine")]
    NoGroup(String),
    /// The user's own group would take the name of a group that exists.
    #[error("a group `{0}` exists already: set `primary_group` to use it")]
    GroupExists(String),
    /// A field would break the line it is written to.
    #[error("{field} must not contain a colon, a line break or other control characters")]
    Unwritable {
        /// What the field is to the user.
        field: &'static str,
    },
    /// The name is no login name.
    #[error("`{0}` cannot be a login name")]
    Name(String),
    /// The home or the shell is no absolute path.
    #[error("{field} `{value}` is not an absolute path")]
    NotAbsolute {
        /// What the field is to the user.
        field: &'static str,
        /// What was given.
        value: String,
    },
    /// The id that was asked for is another account's.
    #[error("the user id {0} is taken")]
    IdTaken(u32),
    /// All ids of the range are taken.
    #[error("no user id is left in the range for this account")]
    NoId,
}

/// The group a new account's files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryGroup<'a> {
    /// One of the account's own name.
    Own,
    /// The common group `users`.
    Users,
    /// An existing group, by name or number.
    Named(&'a str),
}

/// An account as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account<'a> {
    /// Login name.
    pub name: &'a str,
    /// A crypt(5) hash; none is no login by password.
    pub password: Option<&'a str>,
    /// The comment field.
    pub comment: &'a str,
    /// The home directory.
    pub home: &'a str,
    /// The login shell.
    pub shell: &'a str,
    /// The primary group.
    pub group: PrimaryGroup<'a>,
    /// An id below 1000.
    pub system: bool,
    /// The id to have, instead of the next that is free.
    pub uid: Option<u32>,
}

/// When an account stops working, as shadow(5) has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aging {
    /// Days after which an expired password locks the account.
    pub inactive: Option<u32>,
    /// The day on which the account expires, from 1970-01-01.
    pub expires: Option<u32>,
}

/// An account as the databases have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// The home directory.
    pub home: &'a str,
}

/// One of the four databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is the file of that name in /etc
pub enum Database {
    Group,
    Gshadow,
    Shadow,
    Passwd,
}

/// The four databases.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    passwd: Table,
    group: Table,
    shadow: Table,
    gshadow: Option<Table>,
}

impl Accounts {
    /// Takes the texts; a machine without `gshadow` does not get one.
    pub fn parse(passwd: &str, group: &str, shadow: &str, gshadow: Option<&str>) -> Accounts {
        Accounts {
            passwd: Table::parse(passwd),
            group: Table::parse(group),
            shadow: Table::parse(shadow),
            gshadow: gshadow.map(Table::parse),
        }
    }

    /// The texts that changed, in the order they are to be written: a name appears in `passwd`
    /// only when the others know it.
    pub fn changed(&self) -> Vec<(Database, String)> {
        [
            (Database::Group, self.group.text()),
            (Database::Gshadow, self.gshadow.as_ref().and_then(Table::text)),
            (Database::Shadow, self.shadow.text()),
            (Database::Passwd, self.passwd.text()),
        ]
        .into_iter()
        .filter_map(|(database, text)| Some((database, text?)))
        .collect()
    }

    /// The account of that name.
    pub fn user(&self, name: &str) -> Option<Entry<'_>> {
        entry(&self.passwd.row(name)?)
    }

    /// Every account's home directory and id.
    pub fn homes(&self) -> impl Iterator<Item = Entry<'_>> {
        self.passwd.rows().filter_map(|row| entry(&row))
    }

    /// The id of the group of that name.
    pub fn group(&self, name: &str) -> Option<u32> {
        self.group.row(name)?.get(2)?.parse().ok()
    }

    /// The hash of an account's password.
    pub fn password(&self, name: &str) -> Option<String> {
        self.shadow.row(name)?.get(1).map(|hash| (*hash).to_string())
    }

    /// Makes an account that does not exist. `again` is the id it had in an earlier life;
    /// `reserved` are ids whose files may still lie about and that nobody else may get.
    ///
    /// # Errors
    /// [`Problem`], and then nothing is changed.
    pub fn create(
        &mut self,
        account: &Account<'_>,
        again: Option<u32>,
        reserved: &BTreeSet<u32>,
    ) -> Result<(), Problem> {
        check(account)?;
        let name = account.name;
        let gid = match account.group {
            PrimaryGroup::Own if self.group.row(name).is_some() => {
                // Only an interrupted earlier run leaves a group of ours without its user.
                let left_over = again.and(self.group(name));
                Some(left_over.ok_or_else(|| Problem::GroupExists(name.to_string()))?)
            }
            PrimaryGroup::Own => None,
            PrimaryGroup::Users => Some(self.group("users").unwrap_or(USERS_GID)),
            PrimaryGroup::Named(group) => Some(self.group_or_id(group)?),
        };
        let uid = match (account.uid, again.filter(|uid| !self.uids().contains(uid))) {
            (Some(uid), _) if self.uids().contains(&uid) => return Err(Problem::IdTaken(uid)),
            (Some(uid), _) | (None, Some(uid)) => uid,
            (None, None) => self.free_id(account.system, gid.is_none(), reserved)?,
        };
        let gid = match gid {
            Some(gid) => gid,
            None => self.add_group(name, uid)?,
        };
        let (uid, gid) = (uid.to_string(), gid.to_string());
        self.passwd.push(&[name, "x", &uid, &gid, account.comment, account.home, account.shell]);
        self.shadow.remove(name);
        self.add_shadow(name, account.password.unwrap_or("*"));
        self.complete_group(name);
        Ok(())
    }

    /// Brings an account made by [`Accounts::create`] to what is asked for now. Ids stay: files
    /// belong to them.
    ///
    /// # Errors
    /// [`Problem`], and then nothing is changed.
    pub fn update(&mut self, account: &Account<'_>) -> Result<(), Problem> {
        check(account)?;
        self.passwd.set(account.name, 4, account.comment);
        self.passwd.set(account.name, 5, account.home);
        self.passwd.set(account.name, 6, account.shell);
        if self.shadow.row(account.name).is_none() {
            self.add_shadow(account.name, "*");
        }
        // An earlier run may have written one of the files and not the other.
        let gid = self.user(account.name).map(|user| user.gid);
        if let (PrimaryGroup::Own, Some(gid)) = (&account.group, gid)
            && self.group.row(account.name).is_none()
            && !self.gids().contains(&gid)
        {
            self.push_group(account.name, gid);
        }
        self.complete_group(account.name);
        Ok(())
    }

    /// Sets the hash of an account's password; `*` is none.
    ///
    /// # Errors
    /// [`Problem::Unwritable`].
    pub fn set_password(&mut self, name: &str, hash: &str) -> Result<(), Problem> {
        writable("passwd", hash)?;
        if self.shadow.row(name).is_some() {
            self.shadow.set(name, 1, hash);
        } else {
            self.add_shadow(name, hash);
        }
        // A hash in passwd itself, or an empty field, would win over the one in shadow.
        self.passwd.set(name, 1, "x");
        Ok(())
    }

    /// Sets when an account stops working.
    pub fn set_aging(&mut self, name: &str, aging: Aging) {
        let text = |days: Option<u32>| days.map_or(String::new(), |days| days.to_string());
        self.shadow.set(name, 6, &text(aging.inactive));
        self.shadow.set(name, 7, &text(aging.expires));
    }

    /// Lets an account choose a new password at its next login.
    pub fn expire_password(&mut self, name: &str) {
        self.shadow.set(name, 2, "0");
    }

    /// Makes a group that does not exist, with the id it had in an earlier life or the next one
    /// that is free.
    ///
    /// # Errors
    /// [`Problem::NoId`].
    pub fn create_group(&mut self, name: &str, again: Option<u32>) -> Result<u32, Problem> {
        let taken = self.gids();
        let next = taken
            .iter()
            .rev()
            .find(|&&id| PEOPLE.contains(&id))
            .map_or(*PEOPLE.start(), |id| id + 1);
        // A user's own group should get the user's number: both are kept free for it.
        let users = self.uids();
        let free = |id: &u32| !taken.contains(id) && !users.contains(id);
        let mut people = PEOPLE;
        let gid = again
            .filter(|gid| !taken.contains(gid))
            .or_else(|| (next..=*PEOPLE.end()).find(free))
            .or_else(|| people.find(free))
            .ok_or(Problem::NoId)?;
        self.push_group(name, gid);
        Ok(gid)
    }

    /// Removes a group unless it is somebody's primary one. Whether it is gone.
    pub fn remove_group(&mut self, name: &str, gid: u32) -> bool {
        let used = self.homes().any(|user| user.gid == gid);
        if self.group(name) == Some(gid) && !used {
            self.group.remove(name);
        }
        self.forget_group(name);
        !used
    }

    /// Gives a group that there is its entry among those of passwords.
    pub fn complete_group(&mut self, name: &str) {
        if let Some(gshadow) = &mut self.gshadow
            && self.group.row(name).is_some()
            && gshadow.row(name).is_none()
        {
            gshadow.push(&[name, "!", "", ""]);
        }
    }

    /// Removes the entry of a group that there is not, or not any more.
    fn forget_group(&mut self, name: &str) {
        if let Some(gshadow) = &mut self.gshadow
            && self.group.row(name).is_none()
        {
            gshadow.remove(name);
        }
    }

    /// Puts an account into a further group.
    ///
    /// # Errors
    /// [`Problem::NoGroup`].
    pub fn join(&mut self, group: &str, user: &str) -> Result<(), Problem> {
        if self.group.row(group).is_none() {
            return Err(Problem::NoGroup(group.to_string()));
        }
        self.group.add_member(group, user);
        if let Some(gshadow) = &mut self.gshadow {
            gshadow.add_member(group, user);
        }
        Ok(())
    }

    /// Takes an account out of a further group.
    pub fn leave(&mut self, group: &str, user: &str) {
        self.group.remove_member(group, user);
        if let Some(gshadow) = &mut self.gshadow {
            gshadow.remove_member(group, user);
        }
    }

    /// Whether an account is listed as a member of a further group.
    pub fn is_member(&self, group: &str, user: &str) -> bool {
        self.group.has_member(group, user)
    }

    /// Removes an account, its memberships, and the group of its name if nobody else is in it.
    /// An account that only an interrupted run began to make is known by the id it was to have.
    pub fn remove(&mut self, name: &str, uid: u32) {
        let gid = self.user(name).map_or(uid, |user| user.gid);
        let groups: Vec<String> = self.group.rows().map(|row| row[0].to_string()).collect();
        for group in groups {
            self.leave(&group, name);
        }
        self.passwd.remove(name);
        self.shadow.remove(name);
        let own = self.group.row(name).filter(|row| members(row).next().is_none());
        let own = own.and_then(|row| row.get(2)?.parse::<u32>().ok());
        let shared = self.homes().any(|user| Some(user.gid) == own);
        if own == Some(gid) && !shared {
            self.group.remove(name);
        }
        self.forget_group(name);
    }

    fn add_shadow(&mut self, name: &str, hash: &str) {
        // No date of the last change: it would differ from run to run, and nothing ages here.
        self.shadow.push(&[name, hash, "", "0", "99999", "7", "", "", ""]);
    }

    /// Makes a user's own group, with the user's id if no other group has it.
    fn add_group(&mut self, name: &str, uid: u32) -> Result<u32, Problem> {
        let taken = self.gids();
        let gid = if taken.contains(&uid) {
            let range = if SERVICES.contains(&uid) { SERVICES } else { PEOPLE };
            let mut free = range.filter(|gid| !taken.contains(gid));
            free.next().ok_or(Problem::NoId)?
        } else {
            uid
        };
        self.push_group(name, gid);
        Ok(gid)
    }

    fn push_group(&mut self, name: &str, gid: u32) {
        self.group.push(&[name, "x", &gid.to_string(), ""]);
        if let Some(gshadow) = &mut self.gshadow {
            gshadow.remove(name);
            gshadow.push(&[name, "!", "", ""]);
        }
    }

    fn group_or_id(&self, group: &str) -> Result<u32, Problem> {
        let by_id = || group.parse().ok().filter(|gid| self.gids().contains(gid));
        self.group(group).or_else(by_id).ok_or_else(|| Problem::NoGroup(group.to_string()))
    }

    /// A free user id, and one that is a free group id too if the account gets its own group.
    ///
    /// People get the next above all others, so that an id is used again as late as possible.
    fn free_id(
        &self,
        system: bool,
        group_too: bool,
        reserved: &BTreeSet<u32>,
    ) -> Result<u32, Problem> {
        let mut taken = self.uids();
        taken.extend(reserved);
        let next = taken
            .iter()
            .rev()
            .find(|&&id| PEOPLE.contains(&id))
            .map_or(*PEOPLE.start(), |id| id + 1);
        if group_too {
            taken.extend(self.gids());
        }
        let free = |id: &u32| !taken.contains(id);
        let (mut people, mut services) = (PEOPLE, SERVICES.rev());
        let found = if system {
            services.find(free)
        } else {
            (next..=*PEOPLE.end()).find(free).or_else(|| people.find(free))
        };
        found.ok_or(Problem::NoId)
    }

    fn uids(&self) -> BTreeSet<u32> {
        self.homes().map(|user| user.uid).collect()
    }

    fn gids(&self) -> BTreeSet<u32> {
        self.group.rows().filter_map(|row| row.get(2)?.parse().ok()).collect()
    }
}

fn entry<'a>(row: &[&'a str]) -> Option<Entry<'a>> {
    Some(Entry {
        uid: row.get(2)?.parse().ok()?,
        gid: row.get(3)?.parse().ok()?,
        home: row.get(5).copied().unwrap_or(""),
    })
}

fn check(account: &Account<'_>) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name = account.name;
    if name.is_empty() || name.starts_with(['-', '.']) || !name.chars().all(fits) {
        return Err(Problem::Name(name.to_string()));
    }
    writable("gecos", account.comment)?;
    writable("homedir", account.home)?;
    writable("shell", account.shell)?;
    if let Some(hash) = account.password {
        writable("passwd", hash)?;
    }
    for (field, value) in [("homedir", account.home), ("shell", account.shell)] {
        if !value.starts_with('/') {
            return Err(Problem::NotAbsolute { field, value: value.to_string() });
        }
    }
    Ok(())
}

fn writable(field: &'static str, value: &str) -> Result<(), Problem> {
    if value.chars().any(|c| c == ':' || c.is_control()) {
        return Err(Problem::Unwritable { field });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
