//! Boot entries: the file names of unified kernel images on the ESP, in which
//! the boot loader counts the tries.
//!
//! ```text
//! coreos_<version>+3.efi → +2-1 → +1-2 → +0-3 (given up) | coreos_<version>.efi (kept)
//! ```
//!
//! The scheme is the Automatic Boot Assessment of systemd and the Boot Loader
//! Specification's boot counting.

use std::cmp::{Ordering, Reverse};
use std::fmt;

use crate::version::Version;

/// Where entries are, from the root of the ESP.
pub const DIRECTORY: &str = "EFI/Linux";

/// How often a release is tried before the boot loader gives it up.
pub const TRIES: u32 = 3;

const PREFIX: &str = "coreos_";
const SUFFIX: &str = ".efi";

/// A boot entry's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The release that it boots.
    pub version: Version,
    /// How its trial goes; none if it is kept for good.
    pub tries: Option<Tries>,
}

/// The count of an entry on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tries {
    /// How often it will still be tried.
    pub left: u32,
    /// How often it was tried.
    pub done: u32,
}

/// What is known about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assessment {
    /// It came up once.
    Good,
    /// It is on trial.
    Indeterminate,
    /// It was tried as often as allowed and never came up.
    Bad,
}

impl Entry {
    /// An entry for a release that was never tried.
    pub fn untried(version: Version) -> Entry {
        Entry { version, tries: Some(Tries { left: TRIES, done: 0 }) }
    }

    /// Takes a file name apart; none if it is not an entry of this system.
    /// Case does not matter where the file system may have changed it. Leading
    /// zeros of the counts are understood but not kept: to find the file
    /// again, use the name that was listed.
    pub fn parse(file_name: &str) -> Option<Entry> {
        let (prefix, rest) = file_name.split_at_checked(PREFIX.len())?;
        let (name, suffix) = rest.split_at_checked(rest.len().checked_sub(SUFFIX.len())?)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) || !suffix.eq_ignore_ascii_case(SUFFIX) {
            return None;
        }
        let (version, tries) = match name.split_once('+') {
            None => (name, None),
            Some((version, counts)) => (version, Some(Tries::parse(counts)?)),
        };
        Some(Entry { version: version.parse().ok()?, tries })
    }

    /// What is known about it.
    pub fn assessment(&self) -> Assessment {
        match self.tries {
            None => Assessment::Good,
            Some(Tries { left: 0, .. }) => Assessment::Bad,
            Some(_) => Assessment::Indeterminate,
        }
    }

    /// What the boot loader renames it to when it boots it; none if it does
    /// not count this entry, or has given it up.
    pub fn after_try(&self) -> Option<Entry> {
        let Tries { left, done } = self.tries?;
        let tries = Tries { left: left.checked_sub(1)?, done: done.saturating_add(1) };
        Some(Entry { version: self.version.clone(), tries: Some(tries) })
    }

    /// What it is renamed to when it has proven itself.
    pub fn kept(&self) -> Entry {
        Entry { version: self.version.clone(), tries: None }
    }

    /// The order in which the boot loader prefers entries: those that were
    /// given up last, newer releases first, then the one with more tries left.
    pub fn preference(&self, other: &Entry) -> Ordering {
        let key = |entry: &Entry| {
            let Tries { left, done } = entry.tries.unwrap_or(Tries { left: u32::MAX, done: 0 });
            (Reverse(left), done)
        };
        let given_up = |entry: &Entry| entry.assessment() == Assessment::Bad;
        given_up(self)
            .cmp(&given_up(other))
            .then_with(|| other.version.cmp(&self.version))
            .then_with(|| key(self).cmp(&key(other)))
    }
}

impl Tries {
    /// Reads `LEFT` or `LEFT-DONE`.
    fn parse(text: &str) -> Option<Tries> {
        let (left, done) = text.split_once('-').unwrap_or((text, "0"));
        Some(Tries { left: count(left)?, done: count(done)? })
    }
}

/// Digits only: `parse` alone would take a sign.
fn count(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Entry {
    /// The file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.version)?;
        match self.tries {
            None => {}
            Some(Tries { left, done: 0 }) => write!(f, "+{left}")?,
            Some(Tries { left, done }) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(SUFFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(version: &str, tries: Option<(u32, u32)>) -> Entry {
        let tries = tries.map(|(left, done)| Tries { left, done });
        Entry { version: version.parse().unwrap(), tries }
    }

    #[test]
    fn names_are_taken_apart_and_put_together() {
        for (name, expected, assessment) in [
            ("coreos_1.2.0.efi", entry("1.2.0", None), Assessment::Good),
            ("coreos_1.2.0+3.efi", entry("1.2.0", Some((3, 0))), Assessment::Indeterminate),
            (
                "coreos_1.2.0-rc1+2-1.efi",
                entry("1.2.0-rc1", Some((2, 1))),
                Assessment::Indeterminate,
            ),
            ("coreos_1.2.0+0-3.efi", entry("1.2.0", Some((0, 3))), Assessment::Bad),
        ] {
            assert_eq!(Entry::parse(name).as_ref(), Some(&expected), "{name}");
            assert_eq!(expected.to_string(), name);
            assert_eq!(expected.assessment(), assessment, "{name}");
        }
    }

    #[test]
    fn names_as_others_write_them_are_understood() {
        for name in ["COREOS_1.0+3.EFI", "coreos_1.0+3-0.efi", "coreos_1.0+03-00.efi"] {
            assert_eq!(Entry::parse(name), Some(entry("1.0", Some((3, 0)))), "{name}");
        }
    }

    #[test]
    fn other_names_are_no_entries() {
        for name in [
            "",
            "coreos_",
            "coreos_.efi",
            "coreos_+3.efi",
            "coreos_1.0",
            "coreos_1.0.conf",
            "coreos_1.0+.efi",
            "coreos_1.0+3-.efi",
            "coreos_1.0+-1.efi",
            "coreos_1.0++3.efi",
            "coreos_1.0+3-1-2.efi",
            "coreos_1.0+99999999999.efi",
            "coreos_1/0.efi",
            "debian_1.0+3.efi",
            "coreös_1.0.efi",
            "coreos_1.0é.ef",
        ] {
            assert_eq!(Entry::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_release_is_tried_three_times() {
        let mut entry = Entry::untried("7".parse().unwrap());
        let mut names = vec![entry.to_string()];
        while let Some(next) = entry.after_try() {
            names.push(next.to_string());
            entry = next;
        }
        assert_eq!(
            names,
            ["coreos_7+3.efi", "coreos_7+2-1.efi", "coreos_7+1-2.efi", "coreos_7+0-3.efi"]
        );
        assert_eq!(entry.kept().to_string(), "coreos_7.efi");
        assert_eq!(entry.kept().after_try(), None);
    }

    #[test]
    fn the_boot_loader_prefers_the_newest_that_may_still_be_tried() {
        let mut names = [
            "coreos_3+0-3.efi",
            "coreos_1.efi",
            "coreos_10+1-2.efi",
            "coreos_10+3.efi",
            "coreos_10.efi",
            "coreos_2~rc1.efi",
            "coreos_2.efi",
        ]
        .map(|name| Entry::parse(name).unwrap());
        names.sort_by(Entry::preference);
        assert_eq!(
            names.map(|entry| entry.to_string()),
            [
                "coreos_10.efi",
                "coreos_10+3.efi",
                "coreos_10+1-2.efi",
                "coreos_2.efi",
                "coreos_2~rc1.efi",
                "coreos_1.efi",
                "coreos_3+0-3.efi",
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_an_entry_or_none(name in "\\PC{0,40}") {
            if let Some(entry) = Entry::parse(&name) {
                prop_assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
            }
        }
    }
}
