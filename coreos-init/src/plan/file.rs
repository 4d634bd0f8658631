//! `write_files`.

use cloud_config::{Config, File, Spanned};

use super::{Content, Draft, Effect, Owner, in_entry};
use crate::accounts::Accounts;

/// Mode of a file that says nothing of it.
const MODE: u32 = 0o644;

impl Draft<'_> {
    pub(super) fn files(&mut self, config: &Config) {
        for file in config.write_files.iter().filter(|file| !file.append) {
            let owner = match &file.owner {
                None => Some(Owner::ROOT),
                Some(given) => self.owner_of(given),
            };
            let (Some(owner), Some(content)) = (owner, self.content_of(file)) else { continue };
            let mode = file.permissions.unwrap_or(MODE);
            let effect = Effect::File { content: Content(content), mode, owner, owned: true };
            let origin = in_entry("write_files", file.path.span, file.span);
            self.put(file.path.value.clone(), origin, effect);
        }
        self.appends(config);
    }

    /// What is in a file: given, or fetched.
    fn content_of(&mut self, file: &File) -> Option<Vec<u8>> {
        let Some(source) = &file.source else { return Some(file.content.clone()) };
        match self.context.fetched.get(&source.url) {
            Some(Ok(bytes)) => Some(bytes.clone()),
            Some(Err(why)) => {
                let message = format!("`{}` has no content: {why}", file.path.value);
                self.error(source.span, message);
                None
            }
            None => {
                self.error(source.span, format!("`{}` has not been fetched", file.path.value));
                None
            }
        }
    }

    /// The numbers of an owner; a finding where there are none.
    pub(super) fn owner_of(&mut self, given: &Spanned<String>) -> Option<Owner> {
        owner(&self.accounts, &given.value).map_err(|problem| self.error(given.span, problem)).ok()
    }

    /// A file that is planned already: content, mode, owner, and whether it is ours alone.
    pub(super) fn planned_file(&self, path: &str) -> Option<(Vec<u8>, u32, Owner, bool)> {
        let action = self.actions.get(*self.by_path.get(path)?)?.as_ref()?;
        match &action.effect {
            Effect::File { content, mode, owner, owned } => {
                Some((content.0.clone(), *mode, *owner, *owned))
            }
            _ => None,
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
