//! Users and groups, with the same numbers in every release.
//!
//! Package scripts number system accounts in the order in which they come. A machine keeps files
//! by number over all releases, so those numbers are replaced by the manifest's, in the account
//! files and on every file of the tree. No account has a password. One sysusers.d file replaces
//! those of the packages: by it a machine that has its own copy of `/etc/passwd` gets the
//! accounts of a later release.

mod files;

use super::{FinishError, text};
use crate::manifest::{self, AccountName};
use crate::tree::Tree;
use std::collections::BTreeMap;

/// Numbers from here on are given as accounts come; those below are the same everywhere.
const FIRST_DYNAMIC: u32 = 100;
/// `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

/// The number that each number becomes.
type Renumbering = BTreeMap<u32, u32>;

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";
const SYSUSERS: &str = "usr/lib/sysusers.d";

/// The accounts of an image.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// By number.
    pub users: Vec<User>,
    /// By number.
    pub groups: Vec<Group>,
}

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// What it is for.
    pub gecos: String,
    /// Its home directory.
    pub home: String,
    /// Its shell.
    pub shell: String,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// Users that belong to it besides those whose group it is.
    pub members: Vec<String>,
}

impl Accounts {
    /// Gives the accounts of a tree the manifest's numbers, adds its login accounts, locks all
    /// passwords and writes the account files.
    pub(super) fn fix(
        tree: &mut Tree,
        manifest: &manifest::Accounts,
    ) -> Result<Accounts, FinishError> {
        let mut accounts = Accounts {
            users: files::parse_passwd(&text::read(tree, PASSWD)?)?,
            groups: files::parse_group(&text::read(tree, GROUP)?)?,
        };
        let (uids, gids) = accounts.renumber(manifest)?;
        for login in &manifest.login {
            accounts.add_login(login)?;
        }
        accounts.sort_and_check()?;
        for (path, node) in tree.iter_mut() {
            let unknown = |id| FinishError::UnknownOwner { path: path.to_owned(), id };
            node.uid = *uids.get(&node.uid).ok_or_else(|| unknown(node.uid))?;
            node.gid = *gids.get(&node.gid).ok_or_else(|| unknown(node.gid))?;
        }
        accounts.write(tree)?;
        Ok(accounts)
    }

    /// The number of a user.
    #[must_use]
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().find(|user| user.name == name).map(|user| user.uid)
    }

    /// The number of a group.
    #[must_use]
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.name == name).map(|group| group.gid)
    }

    /// The name of a user, or its number if it has none.
    #[must_use]
    pub fn user_name(&self, uid: u32) -> String {
        let user = self.users.iter().find(|user| user.uid == uid);
        user.map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// The name of a group, or its number if it has none.
    #[must_use]
    pub fn group_name(&self, gid: u32) -> String {
        let group = self.groups.iter().find(|group| group.gid == gid);
        group.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }

    /// Changes the numbers; returns which user and which group number became which.
    fn renumber(
        &mut self,
        manifest: &manifest::Accounts,
    ) -> Result<(Renumbering, Renumbering), FinishError> {
        let users = self.users.iter().map(|user| (user.name.as_str(), user.uid));
        let uids = new_numbers("users", users, &manifest.users)?;
        let groups = self.groups.iter().map(|group| (group.name.as_str(), group.gid));
        let gids = new_numbers("groups", groups, &manifest.groups)?;
        for user in &mut self.users {
            let name = || FinishError::UnknownAccount { name: format!("number {}", user.gid) };
            user.uid = uids[&user.uid];
            user.gid = *gids.get(&user.gid).ok_or_else(name)?;
        }
        for group in &mut self.groups {
            group.gid = gids[&group.gid];
        }
        Ok((uids, gids))
    }

    fn add_login(&mut self, login: &manifest::Login) -> Result<(), FinishError> {
        let name = login.name.to_string();
        for group in &login.groups {
            let known = self.groups.iter_mut().find(|known| known.name == group.as_str());
            let known =
                known.ok_or_else(|| FinishError::UnknownAccount { name: group.to_string() })?;
            known.members.push(name.clone());
        }
        self.groups.push(Group { name: name.clone(), gid: login.id, members: Vec::new() });
        self.users.push(User {
            name,
            uid: login.id,
            gid: login.id,
            gecos: String::new(),
            home: format!("/{}", login.home),
            shell: format!("/{}", login.shell),
        });
        Ok(())
    }

    /// Sorts by number; no two may have the same name or number.
    fn sort_and_check(&mut self) -> Result<(), FinishError> {
        self.users.sort_by_key(|user| user.uid);
        self.groups.sort_by_key(|group| group.gid);
        let users = self.users.iter().map(|user| (user.uid, &user.name)).collect::<Vec<_>>();
        let groups = self.groups.iter().map(|group| (group.gid, &group.name)).collect::<Vec<_>>();
        for pair in users.windows(2).chain(groups.windows(2)) {
            let [(id, first), (other, second)] = pair else { continue };
            if id == other {
                let (first, second) = (first.to_string(), second.to_string());
                return Err(FinishError::SameNumber { first, second, id: *id });
            }
        }
        Ok(())
    }

    /// Writes the account files and the sysusers.d file.
    fn write(&self, tree: &mut Tree) -> Result<(), FinishError> {
        text::write(tree, PASSWD, files::passwd(self))?;
        text::write(tree, GROUP, files::group(self))?;
        for (path, contents) in
            [("etc/shadow", files::shadow(self)), ("etc/gshadow", files::gshadow(self))]
        {
            text::write(tree, path, contents)?;
            if let Some(node) = tree.get_mut(path) {
                node.mode = 0o640;
                node.gid = self.gid("shadow").unwrap_or(0);
            }
        }
        tree.remove(SYSUSERS);
        text::write(tree, &format!("{SYSUSERS}/coreos.conf"), files::sysusers(self))
    }
}

/// The number that each number becomes: itself if it is the same everywhere, else the fixed one.
fn new_numbers<'a>(
    kind: &'static str,
    accounts: impl Iterator<Item = (&'a str, u32)>,
    fixed: &BTreeMap<AccountName, u32>,
) -> Result<Renumbering, FinishError> {
    let fixed: BTreeMap<&str, u32> = fixed.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    let mut numbers = BTreeMap::new();
    let mut unnumbered = Vec::new();
    for (name, id) in accounts {
        let new = match fixed.get(name) {
            _ if id < FIRST_DYNAMIC || id == NOBODY => id,
            Some(new) => *new,
            None => {
                unnumbered.push(name.to_owned());
                continue;
            }
        };
        numbers.insert(id, new);
    }
    if unnumbered.is_empty() {
        Ok(numbers)
    } else {
        Err(FinishError::Unnumbered { kind, names: unnumbered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    const PASSWD_TEXT: &str = "root:x:0:0:root:/root:/bin/bash\n\
        etcd:x:997:996::/var/lib/etcd:/usr/sbin/nologin\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    const GROUP_TEXT: &str = "root:x:0:\nsudo:x:27:\nshadow:x:42:\netcd:x:996:\n\
        nogroup:x:65534:\n";

    fn tree() -> Tree {
        let mut tree = Tree::new();
        for (path, text) in [
            (PASSWD, PASSWD_TEXT),
            (GROUP, GROUP_TEXT),
            ("etc/shadow", "root:secret:20000::::::\n"),
            ("usr/lib/sysusers.d/basic.conf", "u root 0\n"),
        ] {
            tree.insert(path, Node::file(0o644, text)).unwrap();
        }
        tree.insert("var/lib/etcd", Node::directory(0o700).owned_by(997, 996)).unwrap();
        tree
    }

    fn manifest(users: &[(&str, u32)], groups: &[(&str, u32)]) -> manifest::Accounts {
        let table = |entries: &[(&str, u32)]| {
            entries.iter().map(|(name, id)| (name.parse().unwrap(), *id)).collect()
        };
        let login = manifest::Login {
            name: "core".parse().unwrap(),
            id: 500,
            home: "home/core".parse().unwrap(),
            shell: "bin/bash".parse().unwrap(),
            groups: vec!["sudo".parse().unwrap()],
        };
        manifest::Accounts { users: table(users), groups: table(groups), login: vec![login] }
    }

    #[test]
    fn numbers_are_the_manifest_s_in_files_and_on_files() {
        let mut tree = tree();
        let manifest = manifest(&[("etcd", 232), ("later", 240)], &[("etcd", 233)]);
        let accounts = Accounts::fix(&mut tree, &manifest).unwrap();
        assert_eq!((accounts.uid("etcd"), accounts.gid("etcd")), (Some(232), Some(233)));
        assert_eq!(accounts.user_name(500), "core");
        let node = tree.get("var/lib/etcd").unwrap();
        assert_eq!((node.uid, node.gid), (232, 233));
        assert_eq!(
            text::read(&tree, PASSWD).unwrap(),
            "root:x:0:0:root:/root:/bin/bash\n\
             etcd:x:232:233::/var/lib/etcd:/usr/sbin/nologin\n\
             core:x:500:500::/home/core:/bin/bash\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        );
        assert_eq!(
            text::read(&tree, GROUP).unwrap(),
            "root:x:0:\nsudo:x:27:core\nshadow:x:42:\netcd:x:233:\ncore:x:500:\nnogroup:x:65534:\n"
        );
    }

    #[test]
    fn no_account_has_a_password() {
        let mut tree = tree();
        Accounts::fix(&mut tree, &manifest(&[("etcd", 232)], &[("etcd", 232)])).unwrap();
        let shadow = text::read(&tree, "etc/shadow").unwrap();
        assert_eq!(shadow.lines().count(), 4);
        assert!(shadow.lines().all(|line| line.split(':').nth(1) == Some("*")), "{shadow}");
        assert!(shadow.lines().all(|line| line.split(':').count() == 9), "{shadow}");
        for path in ["etc/shadow", "etc/gshadow"] {
            let node = tree.get(path).unwrap();
            assert_eq!((node.mode, node.uid, node.gid), (0o640, 0, 42), "{path}");
        }
    }

    #[test]
    fn one_sysusers_file_has_them_all() {
        let mut tree = tree();
        Accounts::fix(&mut tree, &manifest(&[("etcd", 232)], &[("etcd", 232)])).unwrap();
        let files: Vec<&str> = tree.children(SYSUSERS).map(|(name, _)| name).collect();
        assert_eq!(files, ["coreos.conf"]);
        let text = text::read(&tree, "usr/lib/sysusers.d/coreos.conf").unwrap();
        for line in [
            "g etcd 232",
            "u root 0:0 \"root\" /root /bin/bash",
            "u etcd 232:232 - /var/lib/etcd /usr/sbin/nologin",
            "m core sudo",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn accounts_without_a_fixed_number_are_named() {
        let error = |users: &[(&str, u32)], groups: &[(&str, u32)]| {
            Accounts::fix(&mut tree(), &manifest(users, groups)).unwrap_err().to_string()
        };
        assert_eq!(
            error(&[], &[("etcd", 232)]),
            "packages make the users etcd: fix their numbers in [accounts.users]"
        );
        assert!(error(&[("etcd", 232)], &[]).contains("[accounts.groups]"));
        assert_eq!(
            error(&[("etcd", 500)], &[("etcd", 232)]),
            "etcd and core of [accounts] both have the number 500"
        );
    }

    #[test]
    fn files_of_nobody_known_are_named() {
        let mut tree = tree();
        tree.insert("srv/x", Node::file(0o644, "").owned_by(1234, 0)).unwrap();
        let manifest = manifest(&[("etcd", 232)], &[("etcd", 232)]);
        let error = Accounts::fix(&mut tree, &manifest).unwrap_err();
        assert_eq!(error.to_string(), "srv/x belongs to the number 1234, which is no account");
    }
}
