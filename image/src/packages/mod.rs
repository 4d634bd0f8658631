//! Packages to one tar of the root file system they make.
//!
//! [`Packages`] → [`Inputs`] (everything the result depends on, and its digest) → cached tar,
//! or `mmdebstrap` → tar
//!
//! [`root_tar`] is the seam: what stands behind it may change, what comes out is a tar with
//! owners and extended attributes. The archive's signatures are always checked, against the
//! keyring of this machine. An interrupted or failed run leaves no file behind.

mod draft;
mod inputs;
mod memory;
mod mmdebstrap;

use crate::manifest::Packages;
use draft::Draft;
pub use inputs::Inputs;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Results that are kept for inputs that may come back.
const KEPT_RESULTS: usize = 3;
/// The file of a result.
const RESULT: &str = "root.tar";

/// What installs the packages on this machine.
#[derive(Debug, Clone)]
pub struct Installer {
    /// The program `mmdebstrap`.
    pub program: PathBuf,
    /// Whether this process may change owners; if not, a user namespace is used.
    pub as_root: bool,
    /// The keys that Debian's archives are signed with.
    pub keyring: PathBuf,
    /// Where the packages are installed before they are packed, if not in the directory for
    /// temporary files.
    pub workspace: Option<PathBuf>,
}

/// A tar of the installed packages.
#[derive(Debug, Clone)]
pub struct RootTar {
    /// Where it is.
    pub path: PathBuf,
    /// The digest of what it was made from, in hexadecimal.
    pub inputs: String,
    /// Whether it was there already.
    pub cached: bool,
}

/// Why the packages are not installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackagesError {
    /// The cache directory cannot be used.
    #[error("cannot use the package cache {path}", path = path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program or file that comes with a package of this machine's system is missing.
    #[error("{missing} is missing: install the package {package} on this machine")]
    NotInstalled {
        /// What is missing.
        missing: String,
        /// What brings it.
        package: &'static str,
    },
    /// The installer cannot be run.
    #[error("cannot run {program}", program = program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive does not have some of the packages.
    #[error("{suite} has no package {}: correct `install` of [packages] in the manifest", names.join(", "))]
    UnknownPackage {
        /// The release.
        suite: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Root owners cannot be kept, as user namespaces are not to be had.
    #[error("packages cannot be installed without root here: {reason}")]
    NoNamespace {
        /// Why, and what to do.
        reason: &'static str,
    },
    /// A disk is full.
    #[error("no space left on the disk of {cache} or of the directory for temporary files; the packages need 2 GB in each", cache = cache.display())]
    DiskFull {
        /// The cache directory.
        cache: PathBuf,
    },
    /// The installer failed for another reason.
    #[error("packages cannot be installed: {reason}")]
    Failed {
        /// The line of its output that tells most.
        reason: String,
    },
}

impl Installer {
    /// The installer of a Debian or Ubuntu system; it works in memory if there is enough.
    #[must_use]
    pub fn of_this_machine() -> Installer {
        Installer {
            program: "mmdebstrap".into(),
            as_root: nix::unistd::geteuid().is_root(),
            keyring: "/usr/share/keyrings/debian-archive-keyring.gpg".into(),
            workspace: memory::directory(),
        }
    }
}

/// Installs the packages, or finds the result of an earlier run with the same inputs in
/// `cache`; `refresh` asks for a new run all the same, as the archive may have changed.
/// `progress` gets a line for every step.
pub fn root_tar(
    packages: &Packages,
    installer: &Installer,
    cache: &Path,
    refresh: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<RootTar, PackagesError> {
    let unusable = |source| PackagesError::Cache { path: cache.to_owned(), source };
    let inputs = Inputs::new(packages);
    let key = inputs.digest();
    let directory = cache.join(&key);
    let path = directory.join(RESULT);
    fs::create_dir_all(cache).map_err(unusable)?;
    let _lock = lock(cache, progress).map_err(unusable)?;
    if path.exists() && !refresh {
        return Ok(RootTar { path, inputs: key, cached: true });
    }
    let draft = Draft::create(cache).map_err(unusable)?;
    mmdebstrap::install(&inputs, installer, cache, draft.file(), progress)?;
    progress("putting the result on the disk");
    fs::create_dir_all(&directory).map_err(unusable)?;
    draft.publish(&path).map_err(|source| PackagesError::Cache { path: path.clone(), source })?;
    prune(cache, &key).map_err(unusable)?;
    Ok(RootTar { path, inputs: key, cached: false })
}

/// Keeps a second build from doing the same work; the lock goes with the returned file.
fn lock(cache: &Path, progress: &mut dyn FnMut(&str)) -> io::Result<File> {
    let file = File::create(cache.join("lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress("waiting for another build to install packages");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// Removes all results but the newest ones and `current`.
fn prune(cache: &Path, current: &str) -> io::Result<()> {
    let mut others: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_result = name.len() == current.len() && name != current;
        if let (true, Ok(metadata)) = (is_result, fs::metadata(entry.path().join(RESULT))) {
            others.push((metadata.modified()?, entry.path()));
        }
    }
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(KEPT_RESULTS);
    others.iter().take(surplus).try_for_each(|(_, directory)| fs::remove_dir_all(directory))
}
