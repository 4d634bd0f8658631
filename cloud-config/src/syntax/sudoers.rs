//! Rules of sudoers(5), as far as a mistake in one would keep sudo from reading the rest.

/// Whether a rule without its user's name can stand in sudoers: `HOSTS=(RUNAS) TAGS:COMMANDS`.
pub(crate) fn rule(text: &str) -> Result<(), &'static str> {
    if text.contains('#') {
        return Err("has a `#`, which begins a comment");
    }
    if text.ends_with('\\') {
        return Err("ends with a backslash");
    }
    let Some((hosts, rest)) = text.split_once('=') else {
        return Err("has no `=` between hosts and commands");
    };
    let word = |c: char| c.is_ascii_alphanumeric() || "_.-%+!,*:/".contains(c);
    if hosts.trim().is_empty() || !hosts.trim().chars().all(|c| word(c) || c == ' ') {
        return Err("does not begin with hosts, such as `ALL`");
    }
    let mut rest = rest.trim();
    if let Some(run_as) = rest.strip_prefix('(') {
        let Some((run_as, commands)) = run_as.split_once(')') else {
            return Err("has a `(` that is not closed");
        };
        if !run_as.chars().all(|c| word(c) || c == ' ' || c == '#') {
            return Err("has something in its parentheses that is no user or group");
        }
        rest = commands.trim();
    }
    const TAGS: [&str; 16] = [
        "EXEC",
        "NOEXEC",
        "FOLLOW",
        "NOFOLLOW",
        "INTERCEPT",
        "NOINTERCEPT",
        "LOG_INPUT",
        "NOLOG_INPUT",
        "LOG_OUTPUT",
        "NOLOG_OUTPUT",
        "MAIL",
        "NOMAIL",
        "PASSWD",
        "NOPASSWD",
        "SETENV",
        "NOSETENV",
    ];
    while let Some((tag, commands)) = rest.split_once(':') {
        if !TAGS.contains(&tag.trim()) {
            break;
        }
        rest = commands.trim();
    }
    if rest.is_empty() {
        return Err("allows no commands");
    }
    for command in rest.split(',').map(|command| command.trim().trim_start_matches('!').trim()) {
        let first = command.split(' ').next().unwrap_or_default();
        let alias = first.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let edit = ["sudoedit", "list"].contains(&first);
        if first.is_empty() || !(alias || edit || first.starts_with(['/', '^'])) {
            return Err("has a command without its whole path");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_from_what_would_break_sudo() {
        for good in [
            "ALL=(ALL) NOPASSWD:ALL",
            "ALL=(ALL:ALL) ALL",
            "ALL=NOPASSWD: /usr/bin/systemctl restart app, !/usr/bin/su",
            "ALL = (root) SETENV:NOPASSWD: /bin/ls -l",
            "web1,web2=(www) sudoedit /etc/x",
        ] {
            assert_eq!(rule(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "ALL",
            "ALL=",
            "=ALL",
            "ALL=(ALL ALL",
            "ALL=(ALL) NOPASSWD:",
            "ALL=ls",
            "ALL=(ALL) NOPASWD:ALL",
            "ALL=ALL # all",
            "ALL=ALL,",
            "ALL=/bin/ls \\",
        ] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }
}
