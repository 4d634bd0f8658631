//! The lock: exactly which packages an image is made of.
//!
//! manifest + archives → [`Lock`] → file; [`change`] says what differs between two locks.
//!
//! A build uses the lock and nothing else of the archives, so it is the same today and in a year.
//! The file is TOML, written by `image lock` and kept under version control.

pub mod change;
pub mod update;

use crate::archive::index::Candidate;
use crate::archive::{Origin, Source, date};
use crate::manifest::{Manifest, Packages};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Mirrors of all that the archive of snapshots has.
const MIRRORS: [&str; 3] =
    ["http://deb.debian.org/", "https://deb.debian.org/", "http://security.debian.org/"];
/// Debian's archive of snapshots.
const SNAPSHOTS: &str = "http://snapshot.debian.org/archive";
/// Snapshots are taken a few times a day.
const SNAPSHOT_LAG: u64 = 24 * 60 * 60;
/// The form of the file that this program writes and reads.
const FORMAT: u32 = 1;
const HEAD: &str = "# The exact packages of the image. `image lock --update` writes this file; do not edit it.\n\n";

/// The exact packages of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The form of the file.
    pub format: u32,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// Names of the packages that the manifest asked for, sorted.
    pub asked: Vec<String>,
    /// Where the packages come from.
    #[serde(rename = "archive")]
    pub archives: Vec<Archive>,
    /// The packages, by name.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
}

/// A suite of an archive at the time of the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Its address.
    pub url: String,
    /// The suite.
    pub suite: String,
    /// Parts of it.
    pub components: Vec<String>,
    /// When the suite was made, in seconds since 1970.
    pub date: u64,
    /// SHA-256 of its signed Release text.
    pub release: String,
    /// Fingerprints of the keys that signed it.
    pub signers: Vec<String>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The source package that it was built from.
    pub source: String,
    /// The archive it is in, by its place in the list.
    pub archive: usize,
    /// Its path in that archive.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// There is no file.
    #[error("there is no lock {path}: write it with `image lock --manifest {manifest}`", path = path.display(), manifest = manifest.display())]
    Absent {
        /// The file.
        path: PathBuf,
        /// The manifest it would belong to.
        manifest: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the lock {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a lock.
    #[error("{path}:{line}: {message}; write it anew with `image lock --update`", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The manifest asks for something else.
    #[error("the lock {path} is not of this manifest: {reason}; write it anew with `image lock --update`", path = path.display())]
    Stale {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}

/// Where a manifest's lock is: beside it, `coreos.lock` for `coreos.toml`.
#[must_use]
pub fn path_for(manifest: &Path) -> PathBuf {
    manifest.with_extension("lock")
}

/// The names that a manifest asks for, sorted.
#[must_use]
pub fn asked(packages: &Packages) -> Vec<String> {
    let mut names: Vec<String> = packages.install.iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    names
}

impl Lock {
    /// The lock of packages that were chosen from some archives.
    #[must_use]
    pub fn new(
        architecture: &str,
        asked: Vec<String>,
        origins: &[Origin],
        chosen: &[Rc<Candidate>],
    ) -> Lock {
        let archives = origins.iter().map(|origin| Archive {
            url: origin.source.url.clone(),
            suite: origin.source.suite.clone(),
            components: origin.source.components.clone(),
            date: origin.date,
            release: origin.release.clone(),
            signers: origin.signers.clone(),
        });
        let packages = chosen.iter().map(|candidate| Package {
            name: candidate.name.clone(),
            version: candidate.version.clone(),
            architecture: candidate.architecture.clone(),
            source: candidate.source.clone(),
            archive: candidate.archive,
            path: candidate.path.clone(),
            size: candidate.size,
            sha256: candidate.sha256.clone(),
        });
        Lock {
            format: FORMAT,
            architecture: architecture.to_owned(),
            asked,
            archives: archives.collect(),
            packages: packages.collect(),
        }
    }

    /// Reads the lock at `path`, which must be there and be of this manifest.
    pub fn read_for(manifest: &Manifest, path: &Path, from: &Path) -> Result<Lock, LockError> {
        let lock = Lock::read(path)?.ok_or_else(|| LockError::Absent {
            path: path.to_owned(),
            manifest: from.to_owned(),
        })?;
        match lock.differs_from(&manifest.packages) {
            Some(reason) => Err(LockError::Stale { path: path.to_owned(), reason }),
            None => Ok(lock),
        }
    }

    /// Reads a lock, if there is one.
    pub fn read(path: &Path) -> Result<Option<Lock>, LockError> {
        match fs::read_to_string(path) {
            Ok(text) => Lock::parse(&text, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LockError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads the text of a lock; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Lock, LockError> {
        let invalid = |offset: usize, message: String| LockError::Invalid {
            path: path.to_owned(),
            line: text.get(..offset).unwrap_or(text).matches('\n').count() + 1,
            message: message.replace('\n', ", "),
        };
        let lock: Lock = toml::from_str(text).map_err(|error| {
            invalid(error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        if lock.format != FORMAT {
            return Err(invalid(0, format!("format {} is not {FORMAT}", lock.format)));
        }
        for package in &lock.packages {
            let hash = &package.sha256;
            let hexadecimal = hash.len() == 64
                && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let climbs = package.path.split('/').any(|part| part == "..");
            let place = text.find(&format!("name = \"{}\"", package.name)).unwrap_or(0);
            if !hexadecimal || climbs || lock.archives.len() <= package.archive {
                return Err(invalid(place, format!("{} is not described rightly", package.name)));
            }
        }
        Ok(lock)
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = toml::to_string(self).expect("plain tables");
        format!("{HEAD}{text}")
    }

    /// In what a manifest asks for something else than this lock was made for.
    #[must_use]
    pub fn differs_from(&self, packages: &Packages) -> Option<String> {
        if self.architecture != packages.architecture.as_str() {
            return Some(format!("it is for {}", self.architecture));
        }
        let asked = asked(packages);
        if let Some(name) = asked.iter().find(|name| !self.asked.contains(name)) {
            return Some(format!("it does not have {name}"));
        }
        if let Some(name) = self.asked.iter().find(|name| !asked.contains(name)) {
            return Some(format!("it was made for {name} as well"));
        }
        let same = |archive: &Archive, source: &Source| {
            archive.suite == source.suite && archive.components == source.components
        };
        let sources = crate::archive::sources(packages);
        let fits = sources.len() == self.archives.len()
            && self.archives.iter().zip(&sources).all(|(archive, source)| same(archive, source));
        (!fits).then(|| "its archives are others".to_owned())
    }

    /// When a suite was made, the last time it was seen.
    #[must_use]
    pub fn seen(&self, source: &Source) -> Option<u64> {
        let found = self.archives.iter().find(|archive| archive.suite == source.suite);
        found.map(|archive| archive.date)
    }

    /// Where a package is to be had, the first place first. Debian's mirrors drop a package when
    /// a newer one is there; the archive of snapshots keeps them all.
    #[must_use]
    pub fn urls(&self, package: &Package) -> Vec<String> {
        let Archive { url, date, .. } = &self.archives[package.archive];
        let mut urls = vec![format!("{url}/{}", package.path)];
        if let Some(name) = MIRRORS.iter().find_map(|mirror| url.strip_prefix(mirror)) {
            // The first snapshot that surely has what the suite had.
            let time = date::format_snapshot(date + SNAPSHOT_LAG);
            urls.push(format!("{SNAPSHOTS}/{name}/{time}/{}", package.path));
        }
        urls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = include_str!("../../coreos.lock");

    #[test]
    fn the_lock_of_the_project_is_one_and_fits_its_manifest() {
        let lock = Lock::parse(LOCK, Path::new("coreos.lock")).unwrap();
        assert_eq!(lock.to_text(), LOCK);
        let manifest = include_str!("../../coreos.toml");
        let manifest = Manifest::parse(manifest, Path::new("coreos.toml")).unwrap();
        assert_eq!(lock.differs_from(&manifest.packages), None);
        let names: Vec<&str> = lock.packages.iter().map(|package| package.name.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        let urls = lock.urls(&lock.packages[0]);
        assert!(urls[0].starts_with("http://deb.debian.org/debian/pool/main/"), "{urls:?}");
        assert!(urls[1].starts_with("http://snapshot.debian.org/archive/debian/2026"), "{urls:?}");
    }

    #[test]
    fn a_lock_that_was_edited_is_refused_with_its_line() {
        let refused = |from: &str, to: &str| {
            assert!(LOCK.contains(from), "{from}");
            let text = LOCK.replacen(from, to, 1);
            Lock::parse(&text, Path::new("x.lock")).unwrap_err().to_string()
        };
        for (from, to, wanted) in [
            ("format = 1", "format = 2", "x.lock:1: format 2 is not 1"),
            ("path = \"pool", "path = \"../pool", "adduser is not described rightly"),
            ("sha256 = \"", "sha256 = \"x", "adduser is not described rightly"),
            ("source = ", "sauce = ", "unknown field `sauce`"),
        ] {
            let message = refused(from, to);
            assert!(message.contains(wanted), "{message}");
        }
    }
}
