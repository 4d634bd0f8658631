//! Where a configuration may write.

use crate::finding::{Mistake, quoted};

/// Why a directory of the root is not written to; nothing if it is.
const PLACES: &[(&str, Option<&str>)] = &[
    ("etc", None),
    ("var", None),
    ("home", None),
    ("root", None),
    ("opt", None),
    ("srv", None),
    ("run", None),
    ("tmp", None),
    ("usr", Some("is read-only")),
    ("bin", Some("is read-only")),
    ("sbin", Some("is read-only")),
    ("lib", Some("is read-only")),
    ("lib32", Some("is read-only")),
    ("lib64", Some("is read-only")),
    ("boot", Some("is written by updates only")),
    ("efi", Some("is written by updates only")),
    ("proc", Some("is the kernel's")),
    ("sys", Some("is the kernel's")),
    ("dev", Some("is the kernel's")),
];

/// An absolute path without `.`, `..` and repeated slashes. A relative one is taken from `/`.
pub(crate) fn normal(path: &str) -> Result<String, Mistake> {
    let mistake = |why: &str| Mistake::new(format!("{} is not a file's path: {why}", quoted(path)));
    if path.contains('\0') {
        return Err(mistake("it contains a NUL character"));
    }
    if path.ends_with('/') || path.ends_with("/.") {
        return Err(mistake("it names a directory"));
    }
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(mistake("`..` is not allowed").with_hint("write the path that is meant"));
    }
    if parts.is_empty() {
        return Err(mistake("it is empty"));
    }
    if let Some(part) = parts.iter().find(|part| part.len() > 255) {
        return Err(Mistake::new(format!("{} is too long for a file name", quoted(part))));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Whether a file can be at a normal path of a machine.
pub(crate) fn writable(path: &str) -> Result<(), Mistake> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (top, below) = (parts.next().unwrap_or_default(), parts.next());
    let reason = match PLACES.iter().find(|(place, _)| *place == top) {
        Some((_, Some(why))) => format!("/{top} {why}"),
        Some((_, None)) if below.is_some() => return Ok(()),
        Some((_, None)) => format!("/{top} is a directory"),
        None => "/ is read-only".to_owned(),
    };
    let writable: Vec<_> = PLACES
        .iter()
        .filter(|(_, why)| why.is_none())
        .map(|(place, _)| format!("/{place}"))
        .collect();
    Err(Mistake::new(format!("file cannot be written: {reason}"))
        .with_hint(format!("writable are {}", writable.join(", "))))
}

/// A path that a setting names: absolute and in one piece.
pub(crate) fn absolute(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("is not an absolute path");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("has `..` in its path");
    }
    if path.contains([':', '\n', '\0']) {
        return Err("has a character that no such path has");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_normal() {
        for (path, want) in [
            ("/etc/motd", "/etc/motd"),
            ("//etc/./a//b", "/etc/a/b"),
            ("etc/motd", "/etc/motd"),
            ("./x", "/x"),
            ("/etc/a..b", "/etc/a..b"),
            ("/home/é/a b", "/home/é/a b"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(want), "{path}");
        }
        let long = format!("/etc/{}", "a".repeat(256));
        for bad in ["", "/", ".", "/etc/", "/etc/.", "../etc/x", "/etc/../usr/x", "/a\0b", &long] {
            assert!(normal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_only_written_where_it_can_stay() {
        for good in ["/etc/motd", "/var/lib/x/y", "/home/core/.profile", "/run/x", "/opt/bin/x"] {
            assert_eq!(writable(good), Ok(()), "{good}");
        }
        for (bad, want) in [
            ("/usr/bin/x", "file cannot be written: /usr is read-only"),
            ("/usr", "file cannot be written: /usr is read-only"),
            ("/lib64/x", "file cannot be written: /lib64 is read-only"),
            ("/proc/sys/x", "file cannot be written: /proc is the kernel's"),
            ("/boot/x", "file cannot be written: /boot is written by updates only"),
            ("/data/x", "file cannot be written: / is read-only"),
            ("/x", "file cannot be written: / is read-only"),
            ("/etc", "file cannot be written: /etc is a directory"),
        ] {
            assert_eq!(writable(bad).unwrap_err().message, want, "{bad}");
        }
    }
}
