//! An archive's Release file: which index files it has, and how long it counts.

use super::control::Paragraph;
use super::date;
use std::collections::BTreeMap;

/// What a signed Release file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Names of the release, such as `trixie` and `stable`.
    pub names: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub date: u64,
    /// Until when it counts, if it says so.
    pub valid_until: Option<u64>,
    /// Whether index files are also to be had by their hash.
    pub by_hash: bool,
    /// Size and SHA-256 of the files of the release, by path.
    pub files: BTreeMap<String, (u64, String)>,
}

impl Release {
    /// Reads the text that was signed.
    pub fn parse(text: &str) -> Result<Release, &'static str> {
        let fields = Paragraph::first(text);
        let names = ["Codename", "Suite"].iter().filter_map(|name| fields.get(name));
        let time = |name: &str| match fields.get(name) {
            Some(text) => date::parse(text).map(Some).ok_or("a time in it is malformed"),
            None => Ok(None),
        };
        let mut files = BTreeMap::new();
        for line in fields.get("SHA256").ok_or("it has no SHA256 list")?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [hash, size, path] = words.as_slice() else {
                if words.is_empty() {
                    continue;
                }
                return Err("its SHA256 list is malformed");
            };
            let size = size.parse().map_err(|_| "its SHA256 list is malformed")?;
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err("its SHA256 list is malformed");
            }
            files.insert((*path).to_owned(), (size, hash.to_ascii_lowercase()));
        }
        Ok(Release {
            names: names.map(str::to_owned).collect(),
            date: time("Date")?.ok_or("it has no date")?,
            valid_until: time("Valid-Until")?,
            by_hash: fields.get("Acquire-By-Hash") == Some("yes"),
            files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_list_and_the_times_are_read() {
        let text = format!(
            "Origin: Debian\nSuite: stable-security\nCodename: trixie-security\n\
             Date: Wed, 25 Nov 2026 02:22:31 UTC\nValid-Until: Wed, 02 Dec 2026 02:22:31 UTC\n\
             Acquire-By-Hash: yes\nMD5Sum:\n 1 2 x\nSHA256:\n {HASH}        7 main/binary-amd64/Packages\n"
        );
        let release = Release::parse(&text).unwrap();
        assert_eq!(release.names, ["trixie-security", "stable-security"]);
        assert_eq!(release.valid_until.unwrap() - release.date, 7 * 24 * 60 * 60);
        assert_eq!(release.files["main/binary-amd64/Packages"], (7, HASH.to_owned()));
        assert!(release.by_hash);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, why) in [
            ("Date: Wed, 25 Nov 2026 02:22:31 UTC\n", "it has no SHA256 list"),
            ("SHA256:\n x 1 y\n", "its SHA256 list is malformed"),
            ("SHA256:\n", "it has no date"),
            ("SHA256:\nDate: yesterday\n", "a time in it is malformed"),
        ] {
            assert_eq!(Release::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
