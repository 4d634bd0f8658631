//! What the last configuration owned: so that what the next one no longer names can go, and
//! what somebody changed since can stay.
//!
//! It is written twice by every apply that changes something. First, before anything else,
//! joined from old and new: whatever moment the power fails at, every file that may be there
//! is known. Last, the new one alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The record kept on the machine. Paths under `/run` are not in it: they go with the boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Whole files and links, by path, and every form each may have: two after an apply that
    /// was interrupted.
    pub files: BTreeMap<String, Vec<Trace>>,
    /// Lines `KEY=value` in files that others write too: the values, by path and key.
    pub lines: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Accounts that a configuration made, also those that are gone: their ids stay reserved
    /// for their files.
    pub accounts: BTreeMap<String, OwnedAccount>,
    /// Groups that a configuration made, and who of them was put there by it. Also those that
    /// are gone: their ids stay reserved.
    pub groups: BTreeMap<String, OwnedGroup>,
    /// What a configuration added to files that others write too, by path: the forms of the
    /// added text.
    pub appended: BTreeMap<String, Vec<Trace>>,
    /// Accounts whose password a configuration set, with the SHA-256 of the hash it set.
    pub passwords: BTreeMap<String, Vec<String>>,
    /// While an apply is under way: the directories its temporary files are in.
    pub staging: Vec<Place>,
}

/// A directory, and how its path is walked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Absolute path.
    pub path: String,
    /// The home directory it lies in, below which no symbolic link is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
}

/// What a path was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trace {
    /// A file, as the size and hex SHA-256 of its content.
    File {
        /// Bytes.
        size: u64,
        /// Hex digits.
        sha256: String,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
}

impl Trace {
    /// The trace of a file's content.
    pub fn file(content: &[u8]) -> Trace {
        Trace::File { size: content.len() as u64, sha256: sha256(content) }
    }

    /// The trace of a link.
    pub fn link(target: &str) -> Trace {
        Trace::Link { target: target.to_string() }
    }
}

/// An account that a configuration made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedAccount {
    /// User id.
    pub uid: u32,
    /// Further groups that it was put into.
    pub groups: Vec<String>,
    /// Whether the configuration still names it.
    pub present: bool,
}

/// A group that a configuration made or put somebody into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnedGroup {
    /// Its id, if a configuration made it.
    pub gid: Option<u32>,
    /// Who was put into it.
    pub members: Vec<String>,
    /// Whether the configuration still names it.
    pub present: bool,
}

impl Ledger {
    /// Where it is kept.
    pub const PATH: &'static str = "/var/lib/coreos-init/ledger.json";

    /// Reads the record.
    ///
    /// # Errors
    /// The text is not a ledger.
    pub fn parse(text: &str) -> serde_json::Result<Ledger> {
        serde_json::from_str(text)
    }

    /// The record as it is stored.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("maps with string keys");
        text.push('\n');
        text
    }

    /// What may be on the machine while it goes from this record's state to `next`'s.
    pub fn joined(&self, next: &Ledger, staging: Vec<Place>) -> Ledger {
        let mut joined = self.clone();
        join(&mut joined.files, &next.files);
        join(&mut joined.passwords, &next.passwords);
        join(&mut joined.appended, &next.appended);
        for (name, group) in &next.groups {
            let known = joined.groups.entry(name.clone()).or_default();
            known.gid = group.gid.or(known.gid);
            known.present |= group.present;
            let new = group.members.iter().filter(|member| !known.members.contains(member));
            let new: Vec<String> = new.cloned().collect();
            known.members.extend(new);
        }
        for (path, lines) in &next.lines {
            join(joined.lines.entry(path.clone()).or_default(), lines);
        }
        for (name, account) in &next.accounts {
            let known = joined.accounts.entry(name.clone()).or_insert_with(|| account.clone());
            known.uid = account.uid;
            known.present |= account.present;
            let new = account.groups.iter().filter(|group| !known.groups.contains(group));
            let new: Vec<String> = new.cloned().collect();
            known.groups.extend(new);
        }
        joined.staging = staging;
        joined
    }
}

/// Adds to every key's forms those it does not have yet.
fn join<T: Clone + PartialEq>(
    into: &mut BTreeMap<String, Vec<T>>,
    from: &BTreeMap<String, Vec<T>>,
) {
    for (key, forms) in from {
        let known = into.entry(key.clone()).or_default();
        for form in forms {
            if !known.contains(form) {
                known.push(form.clone());
            }
        }
    }
}

/// Hex SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(files: &[(&str, Trace)]) -> Ledger {
        let files = files.iter().map(|(path, trace)| ((*path).to_string(), vec![trace.clone()]));
        Ledger { files: files.collect(), ..Ledger::default() }
    }

    #[test]
    fn survives_being_stored() {
        let mut record =
            ledger(&[("/etc/hostname", Trace::file(b"a\n")), ("/etc/l", Trace::link("/dev/null"))]);
        record.accounts.insert(
            "bob".into(),
            OwnedAccount { uid: 1000, groups: vec!["docker".into()], present: true },
        );
        record.staging.push(Place { path: "/etc".into(), home: None });
        assert_eq!(Ledger::parse(&record.text()).unwrap(), record);
    }

    #[test]
    fn fields_unknown_to_one_of_two_releases_are_no_damage() {
        assert_eq!(Ledger::parse(r#"{"version": 9, "files": {}}"#).unwrap(), Ledger::default());
        assert!(Ledger::parse("{").is_err());
    }

    #[test]
    fn joining_knows_old_and_new() {
        let old = ledger(&[("/a", Trace::file(b"1")), ("/b", Trace::file(b"1"))]);
        let new = ledger(&[("/b", Trace::file(b"2")), ("/c", Trace::link("/x"))]);
        let joined = old.joined(&new, Vec::new());
        assert_eq!(joined.files["/a"], [Trace::file(b"1")]);
        assert_eq!(joined.files["/b"], [Trace::file(b"1"), Trace::file(b"2")]);
        assert_eq!(joined.files["/c"], [Trace::link("/x")]);
        assert_eq!(joined.joined(&new, Vec::new()), joined);
    }

    #[test]
    fn an_account_that_is_leaving_is_still_known() {
        let account = |present, groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_string()).collect();
            let account = OwnedAccount { uid: 1000, groups, present };
            Ledger { accounts: [("bob".to_string(), account)].into(), ..Ledger::default() }
        };
        let joined = account(true, &["a"]).joined(&account(false, &[]), Vec::new());
        assert_eq!(joined, account(true, &["a"]));
        let joined = account(true, &["a"]).joined(&account(true, &["b", "a"]), Vec::new());
        assert_eq!(joined, account(true, &["a", "b"]));
    }

    #[test]
    fn hashes_are_hex() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
