//! The packages on this machine's disk, each under the SHA-256 that the lock has for it.
//!
//! A package is there whole and right, or not at all: it is written under another name, checked,
//! put on the disk and then renamed. Several builds may share a store; of two that want the same
//! package one fetches it and the other waits. A file that was damaged later is fetched again.

use crate::archive::{CopyError, FetchError, Transport};
use crate::digest;
use crate::lock::{Lock, Package};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Fetches at the same time: enough to fill a line, few enough to be a polite guest.
const PARALLEL: usize = 6;

/// A directory of packages.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// Why a package is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory cannot be used.
    #[error("cannot use the package store {path}", path = path.display())]
    Store {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive does not have it any more.
    #[error("{package} has vanished from the archive; write a new lock with `image lock --update`")]
    Vanished {
        /// The package, with its version.
        package: String,
        /// What the archive said.
        source: FetchError,
    },
    /// It cannot be fetched.
    #[error("cannot fetch {package}")]
    Fetch {
        /// The package, with its version.
        package: String,
        /// Why.
        source: FetchError,
    },
    /// What the archive has under its name is something else.
    #[error("{url} is not {package} of the lock: its SHA-256 is {got}, not {want}")]
    WrongHash {
        /// The package, with its version.
        package: String,
        /// Where it was fetched from.
        url: String,
        /// The digest that it has.
        got: String,
        /// The digest in the lock.
        want: String,
    },
}

impl Store {
    /// The store in a directory, which is made if it is not there.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        let unusable = |source| StoreError::Store { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(unusable)?;
        Ok(Store { directory: directory.to_owned() })
    }

    /// The package, if it is there and whole.
    pub fn find(&self, package: &Package) -> Result<Option<File>, StoreError> {
        let path = self.path(package);
        let unusable = |source| StoreError::Store { path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error)),
        };
        let whole = file.metadata().map_err(unusable)?.len() == package.size
            && digest::of_reader(&file, |_| ()).map_err(unusable)? == package.sha256;
        file.rewind().map_err(unusable)?;
        Ok(whole.then_some(file))
    }

    /// Whether the package seems to be there, by its name and size.
    #[must_use]
    pub fn has(&self, package: &Package) -> bool {
        fs::metadata(self.path(package)).is_ok_and(|metadata| metadata.len() == package.size)
    }

    /// The package, fetched if it is not there, from the first of these places that has it.
    pub fn get(
        &self,
        package: &Package,
        urls: &[String],
        transport: &Transport,
    ) -> Result<File, StoreError> {
        if let Some(file) = self.find(package)? {
            return Ok(file);
        }
        let path = self.path(package);
        let part = path.with_extension("part");
        let unusable = |source| StoreError::Store { path: part.clone(), source };
        let mut draft = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&part)
            .map_err(unusable)?;
        // Another build that fetches it has the lock, and lets go of it when it ends.
        draft.lock().map_err(unusable)?;
        if let Some(file) = self.find(package)? {
            return Ok(file);
        }
        let mut outcome = Ok(());
        for url in urls {
            let next = self.fetch(package, url, transport, &mut draft, &part);
            // What the first place says of a package that no place has is what counts.
            outcome = match (outcome, next) {
                (Err(first), Err(_)) => Err(first),
                (_, next) => next,
            };
            if !matches!(outcome, Err(StoreError::Vanished { .. })) {
                break;
            }
        }
        outcome?;
        draft.sync_all().map_err(unusable)?;
        fs::rename(&part, &path).map_err(unusable)?;
        draft.rewind().map_err(unusable)?;
        Ok(draft)
    }

    /// Fetches a package into `draft`, going on where an earlier run was cut off.
    fn fetch(
        &self,
        package: &Package,
        url: &str,
        transport: &Transport,
        draft: &mut File,
        part: &Path,
    ) -> Result<(), StoreError> {
        let unusable = |source| StoreError::Store { path: part.to_owned(), source };
        let named = format!("{} {}", package.name, package.version);
        let have = draft.metadata().map_err(unusable)?.len();
        // What an earlier run left may be damaged: then once more, from the beginning.
        let starts = [have.min(package.size), 0];
        for start in starts.into_iter().skip(usize::from(have == 0)) {
            draft.set_len(start).map_err(unusable)?;
            draft.seek(io::SeekFrom::Start(start)).map_err(unusable)?;
            match transport.copy(url, start..package.size, draft) {
                Ok(()) => {}
                Err(CopyError::Write(source)) => return Err(unusable(source)),
                Err(CopyError::Fetch(source)) if source.is_gone() => {
                    return Err(StoreError::Vanished { package: named, source });
                }
                Err(CopyError::Fetch(source)) => {
                    return Err(StoreError::Fetch { package: named, source });
                }
            }
            draft.rewind().map_err(unusable)?;
            let got = digest::of_reader(&*draft, |_| ()).map_err(unusable)?;
            if got == package.sha256 {
                return Ok(());
            }
            if start == 0 {
                // Nothing of it is worth going on with.
                draft.set_len(0).map_err(unusable)?;
                let (url, want) = (url.to_owned(), package.sha256.clone());
                return Err(StoreError::WrongHash { package: named, url, got, want });
            }
        }
        Ok(())
    }

    /// Fetches all packages of a lock that are not there. `progress` is told bytes as they come.
    pub fn fill(
        &self,
        lock: &Lock,
        transport: &Transport,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), StoreError> {
        let missing = self.missing(lock);
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..PARALLEL.min(missing.len()) {
                scope.spawn(|| {
                    while let Some(package) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match self.get(package, &lock.urls(package), transport) {
                            Ok(_) => progress(package.size),
                            Err(error) => {
                                // No new one is begun once one has failed.
                                next.store(missing.len(), Ordering::Relaxed);
                                failure.lock().expect("no thread panics").get_or_insert(error);
                            }
                        }
                    }
                });
            }
        });
        failure.into_inner().expect("no thread panics").map_or(Ok(()), Err)
    }

    /// The packages of a lock that are not there, the largest first.
    #[must_use]
    pub fn missing<'a>(&self, lock: &'a Lock) -> Vec<&'a Package> {
        let mut missing: Vec<&Package> =
            lock.packages.iter().filter(|package| !self.has(package)).collect();
        missing.sort_by_key(|package| std::cmp::Reverse(package.size));
        missing
    }

    fn path(&self, package: &Package) -> PathBuf {
        self.directory.join(format!("{}.deb", package.sha256))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(bytes: &[u8]) -> Package {
        let text = || String::from("x");
        Package {
            name: text(),
            version: text(),
            architecture: text(),
            source: text(),
            archive: 0,
            path: text(),
            size: bytes.len() as u64,
            sha256: crate::digest::of_bytes(bytes),
        }
    }

    #[test]
    fn a_package_is_fetched_once_from_the_first_place_that_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let (there, package) = (directory.path().join("there"), package(b"contents"));
        fs::write(&there, "contents").unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let urls = [
            format!("file:{}/gone", directory.path().display()),
            format!("file:{}", there.display()),
        ];
        let transport = Transport::default();
        // What an earlier run left is gone on with, or thrown away if it is damaged.
        for left in ["", "cont", "damaged!"] {
            fs::write(store.path(&package).with_extension("part"), left).unwrap();
            store.get(&package, &urls, &transport).unwrap();
            assert!(store.find(&package).unwrap().is_some(), "{left}");
            fs::remove_file(store.path(&package)).unwrap();
        }
        store.get(&package, &urls, &transport).unwrap();
        fs::remove_file(&there).unwrap();
        store.get(&package, &urls, &transport).unwrap();
        fs::remove_file(store.path(&package)).unwrap();
        let error = store.get(&package, &urls, &transport).unwrap_err();
        assert!(error.to_string().starts_with("x x has vanished from the archive"), "{error}");
    }

    #[test]
    fn something_else_is_refused_and_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other");
        fs::write(&other, "otherwise").unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let url = format!("file:{}", other.display());
        let package = package(b"contents!");
        let error = store.get(&package, &[url], &Transport::default()).unwrap_err();
        assert!(matches!(error, StoreError::WrongHash { .. }), "{error}");
        assert!(store.find(&package).unwrap().is_none());
    }
}
