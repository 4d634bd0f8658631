//! Archives whose signature, time or contents are not as they should be. The files were made by
//! `fixtures/archive/gen.sh`.

use image::archive::index::Index;
use image::archive::signature::Keyring;
use image::archive::{ArchiveError, Origin, Source, Transport, read, solve};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/archive");
/// 5 March 2026, four days after everything was signed.
const NOW: u64 = 1_772_668_800;
const DAY: u64 = 24 * 60 * 60;

/// An archive in a directory of its own.
struct Archive {
    directory: TempDir,
}

impl Archive {
    fn signed_by(who: &str) -> Archive {
        let archive = Archive { directory: TempDir::new().unwrap() };
        for (from, to) in [
            (format!("InRelease.{who}"), "dists/trixie/InRelease"),
            ("Packages".to_owned(), "dists/trixie/main/binary-amd64/Packages"),
        ] {
            let to = archive.directory.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(Path::new(FIXTURES).join(from), to).unwrap();
        }
        archive
    }

    fn change(&self, path: &str, from: &str, to: &str) {
        let path = self.directory.path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn source(&self) -> Source {
        let url = format!("file:{}", self.directory.path().display());
        Source { url, suite: "trixie".to_owned(), components: vec!["main".to_owned()] }
    }

    fn read(&self, now: u64, seen: Option<u64>) -> Result<(Vec<Origin>, Index), ArchiveError> {
        let keyring = fs::read(Path::new(FIXTURES).join("keyring.gpg")).unwrap();
        let keyring = Keyring::parse(&keyring);
        assert_eq!(keyring.len(), 3);
        let transport = Transport::default();
        let sources = [self.source()];
        read(&sources, "amd64", &keyring, now, &transport, |_| seen, &mut |_| {})
    }

    /// The error of reading it and its causes.
    fn complaint(&self, now: u64, seen: Option<u64>) -> String {
        let error = self.read(now, seen).unwrap_err();
        host::error::chain(&error)
    }
}

#[test]
fn a_signed_archive_is_read() {
    let (origins, index) = Archive::signed_by("good").read(NOW, None).unwrap();
    assert_eq!(origins[0].date, NOW - DAY * 4 + DAY / 2);
    assert_eq!(origins[0].signers.len(), 1);
    let chosen = solve::resolve(&index, &["app".to_owned()]).unwrap();
    let names: Vec<&str> = chosen.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["app", "base"]);
}

#[test]
fn a_signature_that_does_not_count_is_named() {
    for (who, wanted) in [
        ("stranger", "the keyring has none of the keys that signed it"),
        ("expired", "expired on 2026-03-03; install a newer debian-archive-keyring"),
        ("revoked", "was revoked"),
    ] {
        let complaint = Archive::signed_by(who).complaint(NOW, None);
        assert!(complaint.contains("InRelease is not trusted"), "{complaint}");
        assert!(complaint.contains(wanted), "{complaint}");
    }
    // Before it expired the key counted.
    assert!(Archive::signed_by("expired").read(NOW - 3 * DAY, None).is_ok());
    let complaint = Archive::signed_by("good").complaint(NOW - 30 * DAY, None);
    assert!(complaint.contains("of the future"), "{complaint}");
}

#[test]
fn what_was_changed_is_refused() {
    let archive = Archive::signed_by("good");
    archive.change("dists/trixie/InRelease", "Suite: stable", "Suite: unstable");
    assert!(archive.complaint(NOW, None).contains("it was changed after the key"));

    let archive = Archive::signed_by("good");
    archive.change("dists/trixie/main/binary-amd64/Packages", "2.0-1", "2.0-0");
    let complaint = archive.complaint(NOW, None);
    assert!(complaint.contains("Packages is not what the archive signed"), "{complaint}");

    let archive = Archive::signed_by("good");
    archive.change("dists/trixie/main/binary-amd64/Packages", "app", "longer-name");
    let complaint = archive.complaint(NOW, None);
    assert!(complaint.contains("is larger than"), "{complaint}");

    let archive = Archive::signed_by("good");
    let path = archive.directory.path().join("dists/trixie/InRelease");
    fs::write(path, "Origin: nobody signed this\n").unwrap();
    assert!(archive.complaint(NOW, None).contains("it is not a signed text"));
}

#[test]
fn updates_that_are_held_back_are_noticed() {
    let archive = Archive::signed_by("good");
    let complaint = archive.complaint(NOW + 10 * DAY, None);
    assert!(complaint.contains("counted until 2026-03-08 only"), "{complaint}");
    let complaint = archive.complaint(NOW, Some(NOW));
    assert!(
        complaint.contains("is of 2026-03-01, older than the one of 2026-03-05"),
        "{complaint}"
    );
}

#[test]
fn what_is_not_there_is_named() {
    let archive = Archive::signed_by("good");
    let mut source = archive.source();
    source.components.push("contrib".to_owned());
    let keyring = Keyring::parse(&fs::read(Path::new(FIXTURES).join("keyring.gpg")).unwrap());
    let transport = Transport::default();
    let outcome = read(&[source], "amd64", &keyring, NOW, &transport, |_| None, &mut |_| {});
    let message = outcome.unwrap_err().to_string();
    assert!(message.ends_with("has no packages of contrib for amd64"), "{message}");
    let mut source = archive.source();
    source.suite = "sid".to_owned();
    let outcome = read(&[source], "amd64", &keyring, NOW, &transport, |_| None, &mut |_| {});
    assert!(outcome.unwrap_err().to_string().contains("cannot read file:"));
}
