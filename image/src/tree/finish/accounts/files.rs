//! The texts that accounts are kept in.

use super::{Accounts, FinishError, GROUP, Group, PASSWD, User};

/// Reads passwd(5).
pub(super) fn parse_passwd(text: &str) -> Result<Vec<User>, FinishError> {
    parse(PASSWD, text, |fields| {
        let [name, _, uid, gid, gecos, home, shell] = fields else {
            return Err("not seven fields");
        };
        let [name, gecos, home, shell] = [*name, *gecos, *home, *shell].map(str::to_owned);
        Ok(User { name, uid: number(uid)?, gid: number(gid)?, gecos, home, shell })
    })
}

/// Reads group(5).
pub(super) fn parse_group(text: &str) -> Result<Vec<Group>, FinishError> {
    parse(GROUP, text, |fields| {
        let [name, _, gid, members] = fields else {
            return Err("not four fields");
        };
        let members = members.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(Group { name: (*name).to_owned(), gid: number(gid)?, members: members.collect() })
    })
}

fn parse<T>(
    path: &str,
    text: &str,
    line: impl Fn(&[&str]) -> Result<T, &'static str>,
) -> Result<Vec<T>, FinishError> {
    text.lines()
        .enumerate()
        .filter(|(_, text)| !text.is_empty())
        .map(|(index, text)| {
            line(&text.split(':').collect::<Vec<_>>()).map_err(|reason| FinishError::Malformed {
                path: path.to_owned(),
                line: index + 1,
                reason,
            })
        })
        .collect()
}

fn number(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "not a number")
}

/// passwd(5); the passwords are in shadow(5).
pub(super) fn passwd(accounts: &Accounts) -> String {
    let line = |user: &User| {
        let User { name, uid, gid, gecos, home, shell } = user;
        format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n")
    };
    accounts.users.iter().map(line).collect()
}

/// group(5).
pub(super) fn group(accounts: &Accounts) -> String {
    let line = |group: &Group| {
        let Group { name, gid, members } = group;
        format!("{name}:x:{gid}:{}\n", members.join(","))
    };
    accounts.groups.iter().map(line).collect()
}

/// shadow(5): no password fits, none ever expires. `*` and not `!`, so that keys still log in.
pub(super) fn shadow(accounts: &Accounts) -> String {
    accounts.users.iter().map(|user| format!("{}:*:::::::\n", user.name)).collect()
}

/// gshadow(5).
pub(super) fn gshadow(accounts: &Accounts) -> String {
    let line = |group: &Group| format!("{}:*::{}\n", group.name, group.members.join(","));
    accounts.groups.iter().map(line).collect()
}

/// sysusers.d(5).
pub(super) fn sysusers(accounts: &Accounts) -> String {
    let groups = accounts.groups.iter().map(|group| format!("g {} {}\n", group.name, group.gid));
    let users = accounts.users.iter().map(|user| {
        let User { name, uid, gid, gecos, home, shell } = user;
        let gecos = match gecos.as_str() {
            "" => "-".to_owned(),
            text => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        };
        format!("u {name} {uid}:{gid} {gecos} {home} {shell}\n")
    });
    let members = accounts.groups.iter().flat_map(|group| {
        group.members.iter().map(move |member| format!("m {member} {}\n", group.name))
    });
    let head = "# Every account of the image, with the number it has in all releases.\n".to_owned();
    std::iter::once(head).chain(groups).chain(users).chain(members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lines_are_named() {
        for (result, wanted) in [
            (parse_passwd("root:x:0:0:r:/root:/bin/sh\nx:y\n").map(|_| ()), "etc/passwd:2 "),
            (parse_passwd("root:x:zero:0:r:/root:/bin/sh\n").map(|_| ()), "not a number"),
            (parse_group("root:x:0\n").map(|_| ()), "etc/group:1 "),
        ] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let passwd_text = "root:x:0:0:root:/root:/bin/bash\nx:x:5:6:a b,,:/:/bin/sh\n";
        let group_text = "root:x:0:\nx:x:6:root,x\n";
        let accounts = Accounts {
            users: parse_passwd(passwd_text).unwrap(),
            groups: parse_group(group_text).unwrap(),
        };
        assert_eq!(passwd(&accounts), passwd_text);
        assert_eq!(group(&accounts), group_text);
        assert_eq!(gshadow(&accounts), "root:*::\nx:*::root,x\n");
    }
}
