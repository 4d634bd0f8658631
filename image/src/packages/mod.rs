//! The packages of a lock as one tree of files, and that tree kept for the next build.
//!
//! [`Lock`] → key of everything the tree depends on → kept tree, or [`native`] → tree
//!
//! A kept tree is a directory with the contents of all files in one file and a list of the
//! files. It gets its name when it is whole, so a build that is killed leaves nothing that
//! another one would take for a tree. Builds that share a cache take turns.

pub mod kept;
pub mod native;

use crate::archive::Transport;
use crate::configure::review::Table;
use crate::deb::spool::Spool;
use crate::deb::store::{Store, StoreError};
use crate::lock::{Lock, update};
use crate::manifest::Manifest;
use crate::progress::Progress;
use crate::tree::archive::FromTar;
use native::UnpackError;
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

/// Trees that are kept for inputs that may come back.
const KEPT_TREES: usize = 3;
/// Raised when a tree of the same packages would be another one.
const FORMAT: u32 = 1;
/// How the names of trees begin that are not whole yet.
const UNFINISHED: &str = ".new-";
/// Where, in one of these, scripts run that are to run.
const SANDBOX: &str = "sandbox";

/// What a tree is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The packages.
    pub lock: &'a Lock,
    /// What the image is made of.
    pub manifest: &'a Manifest,
    /// Where packages and trees are kept.
    pub cache: &'a Path,
    /// The digest of the program that builds: another one may make another tree.
    pub builder: &'a str,
}

/// The files of the packages.
#[derive(Debug)]
pub struct PackageTree {
    /// The files, and when they were made.
    pub files: FromTar,
    /// The digest of what it was made from, in hexadecimal.
    pub inputs: String,
    /// Whether it was there already.
    pub kept: bool,
    /// Puts it on the disk and gives it its name, while others go on with the files.
    keeping: Option<Keeping>,
}

type Keeping = JoinHandle<Result<(), PackagesError>>;

impl PackageTree {
    /// Waits until the tree is kept for the next build.
    pub fn keep(&mut self) -> Result<(), PackagesError> {
        self.keeping.take().map_or(Ok(()), |thread| thread.join().expect("it returns its errors"))
    }
}

impl Drop for PackageTree {
    fn drop(&mut self) {
        // A build that failed later need not unpack again. What fails here was not asked for.
        let _ = self.keep();
    }
}

/// Why there is no tree.
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
    /// The disk of the cache is full.
    #[error("no space left for the package cache {path}; a build needs about 1.5 GB there", path = path.display())]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
    },
    /// A package is not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The packages make no tree.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl PackagesError {
    fn cache(path: &Path, source: io::Error) -> PackagesError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                PackagesError::DiskFull { path }
            }
            _ => PackagesError::Cache { path, source },
        }
    }
}

/// The tree of the packages of a lock. Packages that are not there yet are fetched.
pub fn tree(request: &Request<'_>, progress: &Progress) -> Result<PackageTree, PackagesError> {
    let cache = request.cache;
    let failed = |source| PackagesError::cache(cache, source);
    let trees = cache.join("trees");
    fs::create_dir_all(&trees).map_err(failed)?;
    let turn = turn(cache, progress).map_err(failed)?;
    sweep(&trees).map_err(failed)?;
    let inputs = key(request);
    let directory = trees.join(&inputs);
    if let Some(files) = kept::read(&directory) {
        return Ok(PackageTree { files, inputs, kept: true, keeping: None });
    }
    let store = Store::open(&cache.join("debs"))?;
    update::fetch(request.lock, &store, &Transport::default(), progress)?;

    let unfinished = trees.join(format!("{UNFINISHED}{inputs}"));
    fs::create_dir(&unfinished).map_err(failed)?;
    let outcome = make(request, &store, &unfinished, progress).and_then(|files| {
        kept::write(&unfinished, &files).map_err(failed)?;
        Ok(files)
    });
    if outcome.is_err() {
        // What stays is swept by the next build.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let files = outcome?;
    let name = inputs.clone();
    let keeping = thread::spawn(move || {
        keep(&trees, &unfinished, &name).map_err(|source| PackagesError::cache(&trees, source))?;
        // The next build may come.
        drop(turn);
        Ok(())
    });
    Ok(PackageTree { files, inputs, kept: false, keeping: Some(keeping) })
}

/// Gives a whole tree its name.
fn keep(trees: &Path, unfinished: &Path, name: &str) -> io::Result<()> {
    kept::sync(unfinished)?;
    let directory = trees.join(name);
    // In place of one that was damaged.
    let _ = fs::remove_dir_all(&directory);
    fs::rename(unfinished, &directory)?;
    prune(trees, name)
}

fn make(
    request: &Request<'_>,
    store: &Store,
    directory: &Path,
    progress: &Progress,
) -> Result<FromTar, PackagesError> {
    let path = directory.join(kept::DATA);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|source| PackagesError::cache(&path, source))?;
    let spool = Spool::new(file);
    let Request { lock, manifest, .. } = request;
    let table = Table::of(manifest);
    let sandbox = directory.join(SANDBOX);
    let accounts = &manifest.accounts;
    let mut files = native::tree(lock, store, &table, accounts, &spool, &sandbox, progress)?;
    if sandbox.exists() {
        fs::remove_dir_all(&sandbox).map_err(|source| PackagesError::cache(&sandbox, source))?;
    }
    kept::take_in(&mut files, &spool).map_err(|source| PackagesError::cache(&path, source))?;
    Ok(files)
}

/// The SHA-256 of everything that a tree depends on, in hexadecimal.
fn key(request: &Request<'_>) -> String {
    let mut hash = Sha256::new();
    let mut line = |name: &str, value: &str| {
        hash.update(format!("{name} {} {value}\n", value.len()));
    };
    line("format", &FORMAT.to_string());
    line("builder", request.builder);
    line("architecture", &request.lock.architecture);
    for package in &request.lock.packages {
        line("package", &package.sha256);
    }
    for (name, id) in &request.manifest.accounts.users {
        line("user", &format!("{name} {id}"));
    }
    for (name, id) in &request.manifest.accounts.groups {
        line("group", &format!("{name} {id}"));
    }
    for script in &request.manifest.scripts {
        line("script", &format!("{script:?}"));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits for other builds; the turn ends with the returned file.
fn turn(cache: &Path, progress: &Progress) -> io::Result<File> {
    let file = File::create(cache.join("lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.note("waiting for another build that uses the same cache");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// Removes what builds that were killed have left.
fn sweep(trees: &Path) -> io::Result<()> {
    for entry in fs::read_dir(trees)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Removes all trees but the newest ones and `current`.
fn prune(trees: &Path, current: &str) -> io::Result<()> {
    let mut others: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(trees)? {
        let entry = entry?;
        if entry.file_name() != current {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(KEPT_TREES);
    others.iter().take(surplus).try_for_each(|(_, directory)| fs::remove_dir_all(directory))
}
