//! Shell patterns over whole paths.
//!
//! `*`, `?` and `[a-z]` match inside a name, `**` as a whole name stands for any number of
//! names, none included. Nothing else is special. A pattern that names a directory is meant to
//! take what is below it too; that is for the caller to do.

use std::fmt;

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is empty.
    #[error("a path pattern must not be empty")]
    Empty,
    /// It begins or ends with a slash, or has an empty, `.` or `..` name.
    #[error("{0:?} must be a path relative to the root of the image, without `.` and `..`")]
    NotRelative(String),
    /// A `[` without its `]`.
    #[error("{0:?} has a `[` without `]`")]
    OpenBracket(String),
    /// `**` as a part of a name.
    #[error("{0:?} has `**` inside a name; it must stand alone between slashes")]
    PartialDoubleStar(String),
}

impl Glob {
    /// Checks a pattern.
    pub fn new(pattern: &str) -> Result<Glob, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        for name in pattern.split('/') {
            if matches!(name, "" | "." | "..") {
                return Err(GlobError::NotRelative(pattern.to_owned()));
            }
            if name != "**" && name.contains("**") {
                return Err(GlobError::PartialDoubleStar(pattern.to_owned()));
            }
            let mut rest = name;
            while let Some(open) = rest.find('[') {
                let (_, after) = class(&rest[open..], '\0')
                    .ok_or_else(|| GlobError::OpenBracket(pattern.to_owned()))?;
                rest = after;
            }
        }
        Ok(Glob(pattern.to_owned()))
    }

    /// Whether the whole of `path` matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        matches_names(&self.0, path)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for Glob {
    type Error = GlobError;
    fn try_from(pattern: String) -> Result<Glob, GlobError> {
        Glob::new(&pattern)
    }
}

/// Matches name by name.
fn matches_names(pattern: &str, path: &str) -> bool {
    let (name_pattern, rest) = match pattern.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (pattern, None),
    };
    if name_pattern == "**" {
        let Some(rest) = rest else { return true };
        let mut tail = path;
        loop {
            if matches_names(rest, tail) {
                return true;
            }
            match tail.split_once('/') {
                Some((_, after)) => tail = after,
                None => return false,
            }
        }
    }
    match (rest, path.split_once('/')) {
        (None, None) => matches_name(name_pattern, path),
        (Some(rest), Some((name, tail))) => {
            matches_name(name_pattern, name) && matches_names(rest, tail)
        }
        _ => false,
    }
}

/// Matches inside one name. Linear in practice: only the last `*` is ever tried again.
fn matches_name(mut pattern: &str, mut name: &str) -> bool {
    let mut retry: Option<(&str, &str)> = None;
    loop {
        if let Some(after) = pattern.strip_prefix('*') {
            retry = Some((after, name));
            pattern = after;
            continue;
        }
        let mut letters = name.chars();
        let step = match (pattern.chars().next(), letters.next()) {
            (None, None) => return true,
            (Some('?'), Some(_)) => Some(&pattern[1..]),
            (Some('['), Some(letter)) => match class(pattern, letter) {
                Some((true, after)) => Some(after),
                _ => None,
            },
            (Some(wanted), Some(letter)) if wanted == letter => Some(&pattern[wanted.len_utf8()..]),
            _ => None,
        };
        if let Some(after) = step {
            (pattern, name) = (after, letters.as_str());
            continue;
        }
        let Some((after_star, from)) = retry else { return false };
        let mut letters = from.chars();
        if letters.next().is_none() {
            return false;
        }
        retry = Some((after_star, letters.as_str()));
        (pattern, name) = (after_star, letters.as_str());
    }
}

/// Whether `letter` is in the class that `pattern` begins with, and the pattern behind it.
/// `None` if the class has no end.
fn class(pattern: &str, letter: char) -> Option<(bool, &str)> {
    let inside = pattern.strip_prefix('[')?;
    let (negated, inside) = match inside.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, inside),
    };
    // A `]` directly at the beginning is a letter like any other.
    let first = inside.chars().next()?.len_utf8();
    let end = first + inside[first..].find(']')?;
    let letters: Vec<char> = inside[..end].chars().collect();
    let mut found = false;
    let mut at = 0;
    while at < letters.len() {
        if at + 2 < letters.len() && letters[at + 1] == '-' {
            found |= (letters[at]..=letters[at + 2]).contains(&letter);
            at += 3;
        } else {
            found |= letters[at] == letter;
            at += 1;
        }
    }
    Some((found != negated, &inside[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, want) in [
            ("usr/share/doc", "usr/share/doc", true),
            ("usr/share/doc", "usr/share/doc/x", false),
            ("etc/rc?.d", "etc/rc0.d", true),
            ("etc/rc[0-6S].d", "etc/rcS.d", true),
            ("etc/rc[0-6S].d", "etc/rc7.d", false),
            ("etc/rc[!0-6].d", "etc/rcS.d", true),
            ("[]x]", "]", true),
            ("*.so", "a/b.so", false),
            ("**/*.so", "a/b.so", true),
            ("**/*.so", "b.so", true),
            ("usr/**", "usr/a/b", true),
            ("usr/**", "usr", false),
            ("usr/**/x", "usr/x", true),
            ("usr/**/x", "usr/a/b/x", true),
            ("usr/**/x", "usr/a/b/y", false),
            ("*a*b", "xaxaxb", true),
            ("*a*b", "xaxaxc", false),
            ("ü?", "üé", true),
            ("*", "", true),
            ("a.b", "aXb", false),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(path), want, "{pattern} on {path}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["", "/etc", "etc/", "a//b", "a/../b", "a[bc", "a**", "x/**y", "[!"] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }
}
