//! Versions of the system, and which of two is the newer one.
//!
//! The order is that of the UAPI Group's Version Format Specification, so that
//! the boot loader, `systemd-analyze compare-versions` and this crate agree:
//! `1~rc1 < 1 < 1-2 < 1^1 < 1.1 < 1.10`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest version, in characters: a boot entry's file name must fit.
const LONGEST: usize = 64;

/// A version: ASCII letters, digits and `.` `-` `_` `~` `^`, beginning with a
/// letter or digit. `+` is kept out: in the name of a boot entry it begins the
/// count of tries.
///
/// Its order is total: versions that the specification takes for equal, such as
/// `1.0` and `1.00`, are ordered by their text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(String);

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a version: expected 1 to {LONGEST} letters, digits, `.`, `-`, `_`, `~` or `^`, \
     beginning with a letter or digit"
)]
pub struct ParseVersionError {
    text: String,
}

impl Version {
    /// The version as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Version, ParseVersionError> {
        let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        let allowed = |char: char| char.is_ascii_alphanumeric() || "._-~^".contains(char);
        if begins_well && text.len() <= LONGEST && text.chars().all(allowed) {
            Ok(Version(text.to_string()))
        } else {
            Err(ParseVersionError { text: text.to_string() })
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        compare(self.0.as_bytes(), other.0.as_bytes()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares segment by segment, until one is older.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        (a, b) = (skip_separators(a), skip_separators(b));
        // A pre-release is older than everything, even than nothing.
        if let Some(order) = marker(b'~', &mut a, &mut b) {
            return order;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        for mark in [b'-', b'^', b'.'] {
            if let Some(order) = marker(mark, &mut a, &mut b) {
                return order;
            }
        }
        let digits = starts_with_digit(a) || starts_with_digit(b);
        let class = if digits { u8::is_ascii_digit } else { u8::is_ascii_alphabetic };
        let (a_segment, a_rest) = split(a, class);
        let (b_segment, b_rest) = split(b, class);
        let order = if digits { numbers(a_segment, b_segment) } else { a_segment.cmp(b_segment) };
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
}

/// Takes `mark` off both; if only one has it, that one is older.
fn marker(mark: u8, a: &mut &[u8], b: &mut &[u8]) -> Option<Ordering> {
    match (a.strip_prefix(&[mark]), b.strip_prefix(&[mark])) {
        (Some(a_rest), Some(b_rest)) => {
            (*a, *b) = (a_rest, b_rest);
            None
        }
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (None, None) => None,
    }
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let counts = |byte: &u8| byte.is_ascii_alphanumeric() || b"~-^.".contains(byte);
    &text[text.iter().position(counts).unwrap_or(text.len())..]
}

fn starts_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

fn split(text: &[u8], class: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !class(byte)).unwrap_or(text.len()))
}

/// Compares digits of any length by value; no digits are less than any.
fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| {
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits[zeros..].to_vec()
    };
    let (value_a, value_b) = (significant(a), significant(b));
    (!a.is_empty())
        .cmp(&!b.is_empty())
        .then(value_a.len().cmp(&value_b.len()))
        .then_with(|| value_a.cmp(&value_b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_in_the_order_of_the_specification() {
        let ascending = [
            "0~rc1",
            "0",
            "1~",
            "1~~",
            "1~rc1",
            "1~rc2",
            "1",
            "1-1",
            "1-2",
            "1^1",
            "1.0",
            "1.1",
            "1.1.1",
            "1.1a",
            "1.1b",
            "1.2",
            "1.10",
            "2",
            "10",
            "2024.1.0",
            "2024.1.10",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn equal_segments_are_ordered_by_their_text() {
        for (a, b) in [("1.0", "1.00"), ("1_0", "1__0"), ("01", "1")] {
            assert_eq!(compare(a.as_bytes(), b.as_bytes()), Ordering::Equal, "{a} {b}");
            assert_ne!(version(a).cmp(&version(b)), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn numbers_of_any_length_compare_by_value() {
        let huge = "9".repeat(40);
        assert!(version(&huge) < version(&format!("1{}", "0".repeat(40))));
        assert!(version(&format!("{}5", "0".repeat(50))) < version("6"));
    }

    #[test]
    fn what_would_not_survive_a_file_name_is_refused() {
        for text in ["", ".1", "-1", "~1", "1+2", "1 2", "1/2", "1\n", "ü", &"1".repeat(65)] {
            let error = text.parse::<Version>().unwrap_err().to_string();
            assert!(error.contains("is not a version"), "{error}");
        }
        assert_eq!(version(&"1".repeat(64)).as_str().len(), 64);
    }

    proptest! {
        #[test]
        fn the_order_is_total(
            a in "[0-9a-b][0-9a-b.~^_-]{0,6}",
            b in "[0-9a-b][0-9a-b.~^_-]{0,6}",
            c in "[0-9a-b][0-9a-b.~^_-]{0,6}",
        ) {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b).is_eq());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
