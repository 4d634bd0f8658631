//! Writing a lock: what the archives have today, chosen, fetched and looked through.

use super::{Lock, LockError};
use crate::archive::index::Index;
use crate::archive::{self, ArchiveError, Origin, Transport, date, signature::Keyring, solve};
use crate::configure::review::{Finding, Table};
use crate::deb::control::Control;
use crate::deb::store::{Store, StoreError};
use crate::deb::{DebError, package};
use crate::manifest::Manifest;
use crate::progress::{Progress, Size};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a lock is written from.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the image is made of.
    pub manifest: &'a Manifest,
    /// The lock that there is.
    pub old: Option<&'a Lock>,
    /// The file of the keys that the archives are signed with.
    pub keyring: &'a Path,
    /// Where packages are kept.
    pub cache: &'a Path,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// Why no lock can be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The lock that there is cannot be read.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The keys cannot be read.
    #[error("cannot read the keys of the archives, {path}: install debian-archive-keyring or name another file with --keyring", path = path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are no keys in the file.
    #[error("{path} holds no key", path = path.display())]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// An archive is not used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The packages do not go together.
    #[error(transparent)]
    Solve(#[from] solve::SolveError),
    /// A package is not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A package is not one.
    #[error("the package {name} is broken")]
    Package {
        /// Its name.
        name: String,
        /// Why.
        source: DebError,
    },
    /// Scripts of packages do something that nobody has looked at.
    #[error("{}", tell(findings))]
    Unreviewed {
        /// Which.
        findings: Vec<Finding>,
    },
}

fn tell(findings: &[Finding]) -> String {
    let texts: String = findings.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = findings.iter().map(|finding| finding.package.as_str()).collect();
    let name = names[0];
    format!(
        "{texts}scripts of {} have not been reviewed; no script runs in a build, so what they do must be done otherwise.\n\
         Say in the manifest what to do instead, with the digests shown above:\n  \
         [[script]]\n  package = \"{name}\"\n  reviewed = [\"…\"]\n  does = \"…\"\n\
         and what does it: users, directories, files, links, … (see docs/image.md)\n\
         Or let them run in a sandbox, which the build reports:\n  \
         [[script]]\n  package = \"{name}\"\n  scripts = \"sandboxed\"",
        names.join(", ")
    )
}

/// What the archives of a manifest have, as far as it is signed and not older than what the lock saw.
pub fn read_archives(
    request: &Request<'_>,
    transport: &Transport,
    progress: &Progress,
) -> Result<(Vec<Origin>, Index), UpdateError> {
    let packages = &request.manifest.packages;
    let path = request.keyring.to_owned();
    let bytes =
        fs::read(&path).map_err(|source| UpdateError::Keyring { path: path.clone(), source })?;
    let keyring = Keyring::parse(&bytes);
    if keyring.is_empty() {
        return Err(UpdateError::NoKeys { path });
    }
    let stage = progress.stage("archives");
    let sources = archive::sources(packages);
    let now = match &packages.snapshot {
        // What has run out since then was good at that time.
        Some(time) => date::parse_snapshot(time.as_str()).unwrap_or(request.now).min(request.now),
        None => request.now,
    };
    let seen = |source: &archive::Source| match &packages.snapshot {
        Some(_) => None,
        None => request.old.and_then(|lock| lock.seen(source)),
    };
    let architecture = packages.architecture.as_str();
    let (origins, index) = archive::read(
        &sources,
        architecture,
        &keyring,
        now,
        transport,
        seen,
        &mut |step: &str| stage.detail(step),
    )?;
    let newest = origins.iter().map(|origin| origin.date).max().unwrap_or(0);
    stage.finish(&format!("{} packages, as of {}", index.len(), date::format(newest)));
    Ok((origins, index))
}

/// Chooses the packages that a manifest asks for and makes sure that a build can do without their
/// scripts.
pub fn update(request: &Request<'_>, progress: &Progress) -> Result<Lock, UpdateError> {
    let packages = &request.manifest.packages;
    let architecture = packages.architecture.as_str();
    let transport = Transport::default();
    let (origins, index) = read_archives(request, &transport, progress)?;

    let stage = progress.stage("choice");
    let asked = super::asked(packages);
    let chosen = solve::resolve(&index, &asked)?;
    let lock = Lock::new(architecture, asked, &origins, &chosen);
    let size: u64 = lock.packages.iter().map(|package| package.size).sum();
    stage.finish(&format!("{} packages, {}", lock.packages.len(), Size(size)));

    let store = Store::open(&request.cache.join("debs"))?;
    fetch(&lock, &store, &transport, progress)?;
    review(&lock, &store, request, progress)?;
    Ok(lock)
}

/// Fetches what the store lacks of a lock.
pub fn fetch(
    lock: &Lock,
    store: &Store,
    transport: &Transport,
    progress: &Progress,
) -> Result<(), StoreError> {
    let missing = store.missing(lock);
    if missing.is_empty() {
        return Ok(());
    }
    let (count, size) = (missing.len(), missing.iter().map(|package| package.size).sum());
    let stage = progress.stage("fetch");
    stage.expect(size);
    store.fill(lock, transport, &|bytes| stage.advance(bytes))?;
    stage.finish(&format!("{count} packages, {}", Size(size)));
    Ok(())
}

/// The records of the package of that name in the lock that there is, if it is still to be had.
fn older(lock: Option<&Lock>, name: &str, store: &Store) -> Option<Control> {
    let lock = lock?;
    let locked = lock.packages.iter().find(|package| package.name == name)?;
    let file = store.get(locked, &lock.urls(locked), &Transport::default()).ok()?;
    package::control(&file).ok()
}

/// Looks at the scripts of every package.
fn review(
    lock: &Lock,
    store: &Store,
    request: &Request<'_>,
    progress: &Progress,
) -> Result<(), UpdateError> {
    let stage = progress.stage("scripts");
    let table = Table::of(request.manifest);
    let (mut findings, mut scripts) = (Vec::new(), 0);
    for locked in &lock.packages {
        let file = store.get(locked, &lock.urls(locked), &Transport::default())?;
        let control = package::control(&file)
            .map_err(|source| UpdateError::Package { name: locked.name.clone(), source })?;
        scripts += control.scripts.len();
        let mut found = table.check(&locked.name, &control, None);
        if !found.is_empty()
            && let Some(older) = older(request.old, &locked.name, store)
        {
            found = table.check(&locked.name, &control, Some(&older));
        }
        findings.extend(found);
    }
    if !findings.is_empty() {
        return Err(UpdateError::Unreviewed { findings });
    }
    stage.finish(&format!("{scripts} scripts, all reviewed"));
    Ok(())
}
