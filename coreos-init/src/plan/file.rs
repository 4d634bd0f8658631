//! `write_files`.

use cloud_config::Config;

use super::{Content, Draft, Effect, Owner, at};
use crate::accounts::Accounts;

impl Draft<'_> {
    pub(super) fn files(&mut self, config: &Config) {
        for file in &config.write_files {
            let owner = match &file.owner {
                None => Owner::ROOT,
                Some(given) => match owner(&self.accounts, &given.value) {
                    Ok(owner) => owner,
                    Err(problem) => {
                        self.error(given.span, problem);
                        continue;
                    }
                },
            };
            let content = Content(file.content.clone());
            let effect = Effect::File { content, mode: file.permissions, owner, owned: true };
            self.put(file.path.value.clone(), at("write_files", file.path.span), effect);
        }
    }
}

/// `user`, `user:`, `user:group` or `:group`, by name or number, as chown(1) takes it.
fn owner(accounts: &Accounts, given: &str) -> Result<Owner, String> {
    let (user, group) = match given.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (given, None),
    };
    let entry = accounts.user(user);
    let uid = match user {
        "" => 0,
        // Also where the databases are still to come.
        "root" => entry.map_or(0, |entry| entry.uid),
        _ => entry
            .map(|entry| entry.uid)
            .or_else(|| number(user))
            .ok_or_else(|| format!("there is no user `{user}` on this machine"))?,
    };
    let gid = match group {
        None => 0,
        Some("") if user.is_empty() => 0,
        Some("") if user == "root" => 0,
        Some("") => entry.map(|entry| entry.gid).ok_or_else(|| {
            format!("`{given}` asks for the login group of a user that is not on this machine")
        })?,
        Some("root") => accounts.group("root").unwrap_or(0),
        Some(group) => accounts
            .group(group)
            .or_else(|| number(group))
            .ok_or_else(|| format!("there is no group `{group}` on this machine"))?,
    };
    Ok(Owner { uid, gid })
}

/// An id by its number; the last one stands for "none" in chown(2).
fn number(id: &str) -> Option<u32> {
    id.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_resolved_as_chown_does() {
        let passwd = "root:x:0:0::/root:/bin/sh\ncore:x:500:501::/home/core:/bin/sh\n";
        let accounts = Accounts::parse(passwd, "core:x:501:\ndocker:x:7:\n", "", None);
        for (given, expected) in [
            ("core", Ok((500, 0))),
            ("core:", Ok((500, 501))),
            ("core:docker", Ok((500, 7))),
            (":docker", Ok((0, 7))),
            ("12:34", Ok((12, 34))),
            ("root:root", Ok((0, 0))),
            ("root:", Ok((0, 0))),
            (":", Ok((0, 0))),
            ("eve", Err("there is no user `eve` on this machine")),
            ("core:eve", Err("there is no group `eve` on this machine")),
            ("-1", Err("there is no user `-1` on this machine")),
            ("4294967295", Err("there is no user `4294967295` on this machine")),
            ("12:", Err("`12:` asks for the login group of a user that is not on this machine")),
        ] {
            let expected = expected.map(|(uid, gid)| Owner { uid, gid }).map_err(String::from);
            assert_eq!(owner(&accounts, given), expected, "{given}");
        }
    }
}
