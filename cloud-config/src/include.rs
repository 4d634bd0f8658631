//! `#include`: addresses of more user-data, one in a line, each with or without its hash.

use crate::finding::{Mistake, quoted};
use crate::source::lines;
use crate::syntax::url;

/// An address to get user-data from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// `http` or `https`.
    pub url: String,
    /// The SHA-256 that the bytes must have, in lower-case hex.
    pub sha256: Option<String>,
}

impl Include {
    /// The address as findings and reports show it: without what may be secret in it.
    #[must_use]
    pub fn shown(&self) -> String {
        url::redacted(&self.url)
    }
}

/// The addresses in a text, each with its line from 1. Blank lines and comments are skipped.
pub(crate) fn includes(text: &str) -> Vec<(usize, Result<Include, Mistake>)> {
    (1..)
        .zip(lines(text))
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(number, line)| (number, include(line)))
        .collect()
}

/// `URL`, or `URL sha256=HEX`.
fn include(line: &str) -> Result<Include, Mistake> {
    let mut words = line.split_whitespace();
    let (address, hash) = (words.next().unwrap_or_default(), words.next());
    if let Err(why) = url::url(address) {
        let shown = quoted(&url::redacted(address));
        return Err(Mistake::new(format!("{shown} cannot be included: it {why}")));
    }
    if words.next().is_some() {
        return Err(Mistake::new("an address and its hash are two words")
            .with_hint("write `URL sha256=HEX`"));
    }
    let sha256 = match hash {
        Some(hash) => Some(sha256(hash)?),
        None if address.starts_with("http://") => {
            return Err(Mistake::new("what comes by plain `http` can be anybody's")
                .with_hint("write `URL sha256=HEX` with its hash, or use `https`"));
        }
        None => None,
    };
    Ok(Include { url: address.to_owned(), sha256 })
}

/// A SHA-256 in hex, after `sha256=`, `sha256-` or `sha256:`.
fn sha256(text: &str) -> Result<String, Mistake> {
    let digits =
        ["sha256=", "sha256-", "sha256:"].iter().find_map(|start| text.strip_prefix(start));
    let Some(digits) = digits else {
        return Err(Mistake::new(format!("{} is not a hash", quoted(text)))
            .with_hint("write `sha256=` and 64 hex digits"));
    };
    hex(digits).ok_or_else(|| {
        Mistake::new("a SHA-256 has 64 hex digits").with_hint("`sha256sum FILE` prints it")
    })
}

/// The 64 hex digits of a SHA-256, in lower case.
pub(crate) fn hex(digits: &str) -> Option<String> {
    let sound = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then(|| digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_their_line() {
        let hash = "ab".repeat(32);
        let text = format!(
            "#include\n\n# more\nhttps://a/b\r\nhttp://a/c sha256={}\n",
            hash.to_uppercase()
        );
        let include = |url: &str, sha256: Option<&str>| {
            Ok(Include { url: url.to_owned(), sha256: sha256.map(str::to_owned) })
        };
        assert_eq!(
            includes(&text),
            [(4, include("https://a/b", None)), (5, include("http://a/c", Some(&hash)))]
        );
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        for line in [
            "http://a/b",
            "ftp://a/b",
            "https://a/b md5=1",
            "https://a/b sha256=12",
            "https://a b c",
        ] {
            assert!(include(line).is_err(), "{line}");
        }
        let shown = include("http://me:s3cret@/").unwrap_err();
        assert!(!shown.message.contains("s3cret"), "{shown:?}");
    }
}
