//! Names of hosts, users, groups and domains.

use crate::finding::{Mistake, quoted};

/// Longest name that the kernel takes for a host.
const LONGEST_HOST: usize = 64;
/// Longest login name that utmp can hold.
const LONGEST_USER: usize = 32;

/// A host name as RFC 1123 has it, short or fully qualified.
pub(crate) fn hostname(name: &str) -> Result<(), Mistake> {
    let mistake = |why: &str| Mistake::new(format!("{} is not a host name: {why}", quoted(name)));
    if name.is_empty() {
        return Err(Mistake::new("the host name is empty"));
    }
    if name.len() > LONGEST_HOST {
        return Err(mistake("it is longer than 64 characters"));
    }
    if name.contains('_') {
        return Err(mistake("`_` is not allowed")
            .with_hint(format!("did you mean `{}`?", name.replace('_', "-"))));
    }
    if name.ends_with('.') {
        return Err(mistake("it ends with a dot"));
    }
    domain(name).map_err(mistake)
}

/// A name of labels and dots.
pub(crate) fn domain(name: &str) -> Result<(), &'static str> {
    for label in name.split('.') {
        if label.is_empty() {
            return Err("a part between dots is empty");
        }
        if label.len() > 63 {
            return Err("a part is longer than 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a part begins or ends with `-`");
        }
        if !label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Err("only letters, digits, `-` and `.` are allowed");
        }
    }
    Ok(())
}

/// The name of a user or group, as useradd(8) takes it on this system.
pub(crate) fn user(name: &str) -> Result<(), Mistake> {
    let why = match name.chars().next() {
        None => "it is empty",
        Some(first) if !(first.is_ascii_alphabetic() || first == '_') => {
            "it must begin with a letter or `_`"
        }
        _ if name.len() > LONGEST_USER => "it is longer than 32 characters",
        _ if !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) => {
            "only letters, digits, `_`, `-` and `.` are allowed"
        }
        _ => return Ok(()),
    };
    Err(Mistake::new(format!("{} is not a user or group name: {why}", quoted(name))))
}

/// The owner of a file: `user`, `user:group` or `:group`, each a name or a number.
pub(crate) fn owner(text: &str) -> Result<(), Mistake> {
    let part = |part: &str| match part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
        true => part
            .parse::<u32>()
            .map(drop)
            .map_err(|_| Mistake::new(format!("{} is not a user or group number", quoted(part)))),
        false => user(part),
    };
    match text.split_once(':') {
        None => part(text),
        Some(("", group)) => part(group),
        Some((owner, group)) => part(owner).and_then(|()| part(group)),
    }
    .map_err(|mistake| mistake.with_hint("an owner is written `user`, `user:group` or `:group`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for good in ["a", "node-1", "node-1.example.com", "3com", "10", "UPPER"] {
            assert_eq!(hostname(good), Ok(()), "{good}");
        }
        let long = "a".repeat(64);
        let too_long = format!("{}.{}", "a".repeat(40), "b".repeat(40));
        for bad in ["", "a b", "-a", "a-", "a..b", "a.", "é", "a_b", "a/b", &long, &too_long] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
        let hint = hostname("my_host").unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("did you mean `my-host`?"));
    }

    #[test]
    fn user_names() {
        for good in ["core", "_apt", "www-data", "a.b", "Alice", "systemd-network"] {
            assert_eq!(user(good), Ok(()), "{good}");
        }
        let long = "a".repeat(33);
        for bad in ["", "1a", "-a", "a b", "a:b", "é", "a$", "a/b", "a\n", &long] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn owners() {
        for good in ["root", "root:root", ":docker", "0", "1000:1000", "core:0"] {
            assert_eq!(owner(good), Ok(()), "{good}");
        }
        for bad in ["", ":", "root:", "a b", "a:b:c", "99999999999"] {
            assert!(owner(bad).is_err(), "{bad}");
        }
    }
}
