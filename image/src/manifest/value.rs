//! The words of a manifest, each checked when it is read.

use crate::tree::glob::Glob;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Why a word of the manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not an identifier.
    #[error("{0:?} is not an identifier: lower-case letters, digits, `.`, `_` and `-`")]
    Id(String),
    /// Not a version.
    #[error("{0:?} is not a version: digits and letters in parts separated by `.`, `~` or `-`")]
    Version(String),
    /// Not a package name.
    #[error("{0:?} is not a package name: lower-case letters, digits, `+`, `-` and `.`")]
    Package(String),
    /// Not a user or group name.
    #[error("{0:?} is not a user or group name")]
    Account(String),
    /// Not a unit name.
    #[error("{0:?} is not the name of a unit, such as `name.service`")]
    Unit(String),
    /// Not a path in the image.
    #[error("{0:?} must be a path relative to the root of the image, without `.` and `..`")]
    Path(String),
    /// Not an address of an archive.
    #[error("{0:?} is not an address that begins with http://, https:// or file:/")]
    Mirror(String),
    /// Not the time of a snapshot.
    #[error("{0:?} is not the time of a snapshot, such as \"20261126T120000Z\"")]
    Snapshot(String),
    /// Not a size.
    #[error("{0:?} is not a size, such as \"512 MiB\" or \"1 GiB\"")]
    Size(String),
}

/// Makes a checked string with the usual conversions.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $error:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;
            fn try_from(text: String) -> Result<$name, ValueError> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok($name(text)) } else { Err(ValueError::$error(text)) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ValueError;
            fn from_str(text: &str) -> Result<$name, ValueError> {
                text.to_owned().try_into()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                word(deserializer)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

checked_string!(
    /// An identifier as os-release and apt allow it.
    Id, Id, |text| made_of(text, "._-", false)
);
checked_string!(
    /// A version that can be a part of file names, partition labels and boot entries.
    Version, Version, |text| {
        made_of(&text.to_ascii_lowercase(), ".~-", false) && text.len() <= 32
    }
);
checked_string!(
    /// The name of a Debian package.
    PackageName, Package, |text| text.len() >= 2 && made_of(text, "+-.", false)
);
checked_string!(
    /// The name of a user or group.
    AccountName, Account, |text| text.len() <= 31 && made_of(text, "_-", true)
);
checked_string!(
    /// The name of a systemd unit.
    UnitName, Unit, |text| {
        const KINDS: [&str; 9] = [
            "service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice",
        ];
        text.rsplit_once('.').is_some_and(|(name, kind)| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
                && KINDS.contains(&kind)
        })
    }
);
checked_string!(
    /// A path in the image, without its leading slash.
    TreePath, Path, |text| {
        !text.contains('\0') && text.split('/').all(|name| !matches!(name, "" | "." | ".."))
    }
);

checked_string!(
    /// The address of a package archive.
    Mirror, Mirror, |text| {
        ["http://", "https://", "file:/"]
            .iter()
            .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
            && text.chars().all(|c| c.is_ascii_graphic() && !"[]".contains(c))
    }
);

checked_string!(
    /// The time of a snapshot of the archives.
    Snapshot, Snapshot, |text| crate::archive::date::parse_snapshot(text).is_some()
);

/// Whether a text is lower-case letters, digits and some signs, and begins with no sign.
fn made_of(text: &str, signs: &str, underscore_first: bool) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let first = |c: char| plain(c) || (underscore_first && c == '_');
    text.starts_with(first) && text.chars().all(|c| plain(c) || signs.contains(c))
}

/// A number of bytes, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// The number of bytes, a multiple of 1 MiB.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<String> for Size {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Size, ValueError> {
        let parse = || {
            let (number, unit) = text.split_once(' ')?;
            let shift = match unit {
                "MiB" => 20,
                "GiB" => 30,
                _ => return None,
            };
            number
                .parse::<u64>()
                .ok()
                .filter(|number| (1..1 << 30).contains(number))?
                .checked_shl(shift)
        };
        match parse() {
            Some(bytes) => Ok(Size(bytes)),
            None => Err(ValueError::Size(text)),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        word(deserializer)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Glob, D::Error> {
        word(deserializer)
    }
}

/// Reads a word and checks it while the reader still knows its place: the error of serde's
/// `try_from` comes too late and has the place of the list around the word.
fn word<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<String, Error: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Word<T>(PhantomData<T>);
    impl<T: TryFrom<String, Error: fmt::Display>> Visitor<'_> for Word<T> {
        type Value = T;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::try_from(text.to_owned()).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Word(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T: TryFrom<String>>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(T::try_from((*text).to_owned()).is_ok(), "{text:?} should be accepted");
        }
        for text in bad {
            assert!(T::try_from((*text).to_owned()).is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn words_are_checked() {
        accepts::<Id>(&["coreos-rs", "trixie", "x86_64"], &["", "CoreOS", "a b", "-a"]);
        accepts::<Version>(&["0.1.0", "1.2~Rc1", "2026-01"], &["", "1_2", "1+3", ".1", "1 2"]);
        accepts::<PackageName>(&["libstdc++6", "0ad", "g++"], &["a", "A", "a_b", "a=1", "-a"]);
        accepts::<AccountName>(&["core", "_ssh", "www-data"], &["", "a:b", "Core", "-x"]);
        accepts::<UnitName>(
            &["a.service", "getty@tty1.service", "dev-disk\\x2d1.mount"],
            &["a", ".service", "a b.service", "a/b.service", "a.exe", "a.device"],
        );
        accepts::<Mirror>(&["http://a/b", "file:/srv"], &["", "http://", "a", "http://a [x] b"]);
        accepts::<TreePath>(&["usr/bin/x", "x"], &["", "/usr", "usr/", "a/../b", "a\0b"]);
    }

    #[test]
    fn sizes_have_their_unit() {
        let size = |text: &str| Size::try_from(text.to_owned()).map(Size::bytes).ok();
        assert_eq!(size("16 MiB"), Some(16 << 20));
        assert_eq!(size("1 GiB"), Some(1 << 30));
        for text in ["", "1", "1GiB", "0 MiB", "-1 MiB", "1 GB", "99999999999999 GiB", "1.5 GiB"] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }
}
