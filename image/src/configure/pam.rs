//! The common files of PAM, put together from the profiles of packages as pam-auth-update does.
//!
//! A profile has a module for some of the types, either as a primary one, of which one success is
//! enough, or as an additional one. Profiles that are not on by default stay off.

use super::{ConfigureError, files_in, put, text};
use crate::tree::Tree;
use std::collections::BTreeMap;

const PROFILES: &str = "usr/share/pam-configs";
const TEMPLATES: &str = "usr/share/pam";
/// File, type in the file, and type in profiles.
const FILES: [(&str, &str, &str); 5] = [
    ("common-account", "account", "Account"),
    ("common-auth", "auth", "Auth"),
    ("common-password", "password", "Password"),
    ("common-session", "session", "Session"),
    ("common-session-noninteractive", "session", "Session"),
];

/// The fields of a profile; a value is its lines.
type Profile = BTreeMap<String, Vec<String>>;

/// Writes the common files, if the packages have templates and profiles.
pub(super) fn write(tree: &mut Tree) -> Result<(), ConfigureError> {
    let mut profiles = Vec::new();
    for path in files_in(tree, PROFILES, "") {
        let profile = parse(&text(tree, &path)?);
        if profile.get("Default").is_some_and(|value| value.concat() == "yes") {
            let priority = profile.get("Priority").map(|value| value.concat());
            let priority: i64 = priority.and_then(|value| value.parse().ok()).unwrap_or(0);
            profiles.push((std::cmp::Reverse(priority), path, profile));
        }
    }
    profiles.sort();
    for (file, kind, field) in FILES {
        let template = format!("{TEMPLATES}/{file}");
        if !tree.contains(&template) {
            continue;
        }
        let interactive = file != "common-session-noninteractive";
        let taking_part = profiles.iter().map(|(_, _, profile)| profile).filter(|profile| {
            let only = profile.get(&format!("{field}-Interactive-Only"));
            interactive || only.is_none_or(|value| value.concat() != "yes")
        });
        let taking_part: Vec<&Profile> = taking_part.collect();
        let mut primary = block(&taking_part, kind, field, "Primary");
        if primary.is_empty() {
            primary = format!("{kind}\t[default=1]\t\t\tpam_permit.so\n");
        }
        let additional = block(&taking_part, kind, field, "Additional");
        let (primary_mark, additional_mark) =
            (format!("${kind}_primary"), format!("${kind}_additional"));
        let source = text(tree, &template)?;
        let lines = source.lines().map(|line| match line.trim() {
            mark if mark == primary_mark || mark == format!("${kind}_nonint_primary") => {
                primary.clone()
            }
            mark if mark == additional_mark || mark == format!("${kind}_nonint_additional") => {
                additional.clone()
            }
            _ => format!("{line}\n"),
        });
        let common = lines.collect::<String>();
        put(tree, &format!("etc/pam.d/{file}"), common)?;
    }
    Ok(())
}

/// The lines of one block. Where success ends a primary block, it jumps over the modules that
/// follow and the one that denies.
fn block(profiles: &[&Profile], kind: &str, field: &str, block: &str) -> String {
    let mut lines: Vec<&String> = Vec::new();
    for profile in profiles {
        if profile.get(&format!("{field}-Type")).is_none_or(|value| value.concat() != block) {
            continue;
        }
        let initial = profile.get(&format!("{field}-Initial")).filter(|_| lines.is_empty());
        lines.extend(initial.or_else(|| profile.get(field)).into_iter().flatten());
    }
    let count = lines.len();
    let line = |(index, line): (usize, &&String)| {
        let line = line.replace("=end", &format!("={}", count - index));
        let (control, module) = match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((control, module)) => (format!("[{control}]"), module.trim().to_owned()),
            None => {
                let (control, module) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
                (control.to_owned(), module.trim().to_owned())
            }
        };
        let (name, options) = module.split_once(char::is_whitespace).unwrap_or((&module, ""));
        format!("{kind}\t{control}\t{name} {}\n", options.trim())
    };
    lines.iter().enumerate().map(line).collect()
}

/// Reads a profile: `Field: value`, or lines of a value that begin with a blank.
fn parse(text: &str) -> Profile {
    let mut profile = Profile::new();
    let mut current: Option<&mut Vec<String>> = None;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let (Some(value), false) = (current.as_mut(), line.trim().is_empty()) {
                value.push(line.trim().to_owned());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let lines = profile.entry(name.to_owned()).or_default();
            if !value.trim().is_empty() {
                lines.push(value.trim().to_owned());
            }
            current = Some(lines);
        }
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    #[test]
    fn profiles_are_put_in_their_places() {
        let mut tree = Tree::new();
        for (path, text) in [
            (
                "usr/share/pam-configs/unix",
                "Name: Unix\nDefault: yes\nPriority: 256\nAuth-Type: Primary\nAuth:\n\
                 \t[success=end default=ignore]\tpam_unix.so try_first_pass\nAuth-Initial:\n\
                 \t[success=end default=ignore]\tpam_unix.so\n",
            ),
            (
                "usr/share/pam-configs/other",
                "Name: Other\nDefault: yes\nPriority: 0\nAuth-Type: Primary\nAuth:\n\
                 \t[success=end default=ignore]\tpam_other.so a b\n",
            ),
            ("usr/share/pam-configs/off", "Default: no\nAuth-Type: Primary\nAuth:\n\trequired x\n"),
            (
                "usr/share/pam-configs/log",
                "Default: yes\nSession-Type: Additional\nSession-Interactive-Only: yes\nSession:\n\
                 \toptional\tpam_log.so\n",
            ),
            (
                "usr/share/pam/common-auth",
                "# auth\n$auth_primary\nauth requisite pam_deny.so\n$auth_additional\n",
            ),
            ("usr/share/pam/common-session", "$session_primary\n$session_additional\n"),
            (
                "usr/share/pam/common-session-noninteractive",
                "$session_nonint_primary\n$session_nonint_additional\n",
            ),
        ] {
            tree.insert(path, Node::file(0o644, text)).unwrap();
        }
        write(&mut tree).unwrap();
        assert_eq!(
            text(&tree, "etc/pam.d/common-auth").unwrap(),
            "# auth\nauth\t[success=2 default=ignore]\tpam_unix.so \n\
             auth\t[success=1 default=ignore]\tpam_other.so a b\nauth requisite pam_deny.so\n"
        );
        assert_eq!(
            text(&tree, "etc/pam.d/common-session").unwrap(),
            "session\t[default=1]\t\t\tpam_permit.so\nsession\toptional\tpam_log.so \n"
        );
    }
}
