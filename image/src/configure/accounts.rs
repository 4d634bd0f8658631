//! Users and groups: Debian's fixed ones, those of sysusers.d, and those of the table.
//!
//! Everybody gets the number that the manifest has for the name. A name that it does not have
//! gets a number that no image keeps, so that finishing the tree complains of it by name.

use super::actions::Numbers;
use super::review::Reviewed;
use super::{ConfigureError, files_in, put, text};
use crate::manifest;
use crate::tree::{Node, Tree};
use std::collections::BTreeMap;

const MASTERS: &str = "usr/share/base-passwd";
const SYSUSERS: &str = "usr/lib/sysusers.d";
const NOLOGIN: &str = "/usr/sbin/nologin";
/// Where the numbers begin that are given to names without one.
const UNNUMBERED: u32 = 61_000;

#[derive(Debug, Default)]
struct Accounts {
    users: Vec<[String; 5]>,
    groups: Vec<(String, u32, Vec<String>)>,
    numbers: Numbers,
    fixed: Numbers,
    unnumbered: u32,
}

/// Writes passwd, group and their shadows; returns the numbers.
pub(super) fn write(
    tree: &mut Tree,
    known: &[&Reviewed],
    manifest: &manifest::Accounts,
) -> Result<Numbers, ConfigureError> {
    let table = |names: &BTreeMap<manifest::AccountName, u32>| {
        names.iter().map(|(name, id)| (name.to_string(), *id)).collect()
    };
    let fixed = Numbers { users: table(&manifest.users), groups: table(&manifest.groups) };
    let mut accounts = Accounts { fixed, ..Accounts::default() };
    if tree.contains(MASTERS) {
        accounts.read_masters(tree)?;
    }
    for path in files_in(tree, SYSUSERS, ".conf") {
        accounts.read_sysusers(&text(tree, &path)?, &path)?;
    }
    for known in known {
        known.groups.iter().for_each(|group| accounts.group(&group.name, None));
        for user in &known.users {
            accounts.user(&user.name, None, [&user.gecos, &user.home, NOLOGIN]);
        }
    }
    accounts.put(tree)?;
    Ok(accounts.numbers)
}

impl Accounts {
    fn read_masters(&mut self, tree: &Tree) -> Result<(), ConfigureError> {
        let path = format!("{MASTERS}/group.master");
        for line in text(tree, &path)?.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let (Some(name), Some(Ok(gid))) =
                (fields.first(), fields.get(2).map(|gid| gid.parse()))
            else {
                return Err(malformed(&path, line));
            };
            self.add_group(name, gid);
        }
        let path = format!("{MASTERS}/passwd.master");
        for line in text(tree, &path)?.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, gecos, home, shell] = fields.as_slice() else {
                return Err(malformed(&path, line));
            };
            let number = uid.parse().map_err(|_| malformed(&path, line))?;
            self.numbers.users.insert((*name).to_owned(), number);
            self.users.push([name, gid, gecos, home, shell].map(|field| (*field).to_owned()));
        }
        Ok(())
    }

    /// Reads a file of sysusers.d(5).
    fn read_sysusers(&mut self, text: &str, path: &str) -> Result<(), ConfigureError> {
        for line in text.lines() {
            let fields = fields(line);
            let field =
                |index: usize| fields.get(index).map(String::as_str).filter(|field| *field != "-");
            let Some(kind) = field(0).filter(|kind| !kind.starts_with('#')) else { continue };
            let name = field(1).unwrap_or_default();
            let number = field(2).map(|id| id.split(':').next().unwrap_or(id));
            let number = number.and_then(|id| id.parse().ok());
            match kind.trim_end_matches(['!', '$', '+']) {
                "u" => {
                    if let Some((_, group)) = field(2).and_then(|id| id.split_once(':')) {
                        self.user_of_group(name, number, group, [field(3), field(4), field(5)]);
                    } else {
                        let [gecos, home, shell] = [field(3), field(4), field(5)];
                        let rest =
                            [gecos.unwrap_or(""), home.unwrap_or("/"), shell.unwrap_or(NOLOGIN)];
                        self.user(name, number, rest);
                    }
                }
                "g" => self.group(name, number),
                "m" => {
                    let group = field(2).unwrap_or_default();
                    self.user(name, None, ["", "/", NOLOGIN]);
                    self.group(group, None);
                    if let Some((_, _, members)) =
                        self.groups.iter_mut().find(|(known, _, _)| known == group)
                        && !members.iter().any(|member| member == name)
                    {
                        members.push(name.to_owned());
                    }
                }
                // Ranges of numbers; here every number is the manifest's.
                "r" => {}
                _ => return Err(malformed(path, line)),
            }
        }
        Ok(())
    }

    fn user(&mut self, name: &str, number: Option<u32>, [gecos, home, shell]: [&str; 3]) {
        if self.numbers.users.contains_key(name) {
            return;
        }
        self.group(name, number);
        let gid = self.numbers.groups[name].to_string();
        self.add_user(name, number, gid, [gecos, home, shell]);
    }

    /// A user whose group has another name.
    fn user_of_group(
        &mut self,
        name: &str,
        number: Option<u32>,
        group: &str,
        [gecos, home, shell]: [Option<&str>; 3],
    ) {
        if self.numbers.users.contains_key(name) {
            return;
        }
        let gid = match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => {
                self.group(group, None);
                self.numbers.groups[group]
            }
        };
        let rest = [gecos.unwrap_or(""), home.unwrap_or("/"), shell.unwrap_or(NOLOGIN)];
        self.add_user(name, number, gid.to_string(), rest);
    }

    fn add_user(&mut self, name: &str, number: Option<u32>, gid: String, rest: [&str; 3]) {
        let fixed = self.fixed.users.get(name).copied().or(number);
        let uid = fixed.unwrap_or_else(|| self.next());
        self.numbers.users.insert(name.to_owned(), uid);
        let [gecos, home, shell] = rest.map(str::to_owned);
        self.users.push([name.to_owned(), gid, gecos, home, shell]);
    }

    fn group(&mut self, name: &str, number: Option<u32>) {
        if self.numbers.groups.contains_key(name) {
            return;
        }
        let fixed = self.fixed.groups.get(name).copied().or(number);
        let gid = fixed.unwrap_or_else(|| self.next());
        self.add_group(name, gid);
    }

    fn add_group(&mut self, name: &str, gid: u32) {
        self.numbers.groups.insert(name.to_owned(), gid);
        self.groups.push((name.to_owned(), gid, Vec::new()));
    }

    fn next(&mut self) -> u32 {
        self.unnumbered += 1;
        UNNUMBERED + self.unnumbered
    }

    fn put(&self, tree: &mut Tree) -> Result<(), ConfigureError> {
        let passwd = self.users.iter().map(|[name, gid, gecos, home, shell]| {
            let uid = self.numbers.users[name];
            format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n")
        });
        put(tree, "etc/passwd", passwd.collect::<String>())?;
        let group = self.groups.iter();
        let group =
            group.map(|(name, gid, members)| format!("{name}:x:{gid}:{}\n", members.join(",")));
        put(tree, "etc/group", group.collect::<String>())?;
        let shadow = self.numbers.groups.get("shadow").copied().unwrap_or(0);
        let users = self.users.iter().map(|[name, ..]| format!("{name}:*:::::::\n"));
        let groups = self.groups.iter().map(|(name, ..)| format!("{name}:*::\n"));
        for (path, text) in
            [("etc/shadow", users.collect::<String>()), ("etc/gshadow", groups.collect())]
        {
            tree.insert(path, Node::file(0o640, text).owned_by(0, shadow))?;
        }
        Ok(())
    }
}

/// The words of a line; quotes keep blanks in them.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                field.get_or_insert_default();
            }
            (None, ' ' | '\t') => fields.extend(field.take()),
            _ => field.get_or_insert_default().push(letter),
        }
    }
    fields.extend(field);
    fields
}

fn malformed(path: &str, line: &str) -> ConfigureError {
    ConfigureError::Malformed { path: path.to_owned(), reason: format!("{line:?} is no account") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_all_kinds_are_written() {
        let mut tree = Tree::new();
        for (path, text) in [
            ("usr/share/base-passwd/passwd.master", "root::0:0:root:/root:/bin/bash\n"),
            ("usr/share/base-passwd/group.master", "root::0:\nshadow::42:\nnogroup::65534:\n"),
            (
                "usr/lib/sysusers.d/a.conf",
                "# comment\ng input - -\nu root 0\nu! bus - \"System Bus\" /run/bus\n\
                 u sshd -:65534 \"sshd user\" /run/sshd\nm bus input\n",
            ),
        ] {
            put(&mut tree, path, text).unwrap();
        }
        let numbers = |pairs: &[(&str, u32)]| {
            pairs.iter().map(|(name, id)| (name.parse().unwrap(), *id)).collect()
        };
        let manifest = manifest::Accounts {
            users: numbers(&[("bus", 201), ("sshd", 206)]),
            groups: numbers(&[("bus", 201)]),
            login: Vec::new(),
        };
        let written = write(&mut tree, &[], &manifest).unwrap();
        assert_eq!(written.groups["input"], UNNUMBERED + 1);
        assert_eq!(
            text(&tree, "etc/passwd").unwrap(),
            "root:x:0:0:root:/root:/bin/bash\n\
             bus:x:201:201:System Bus:/run/bus:/usr/sbin/nologin\n\
             sshd:x:206:65534:sshd user:/run/sshd:/usr/sbin/nologin\n"
        );
        assert_eq!(
            text(&tree, "etc/group").unwrap(),
            "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\ninput:x:61001:bus\nbus:x:201:\n"
        );
    }
}
