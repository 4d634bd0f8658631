//! The place where a build writes before anything of it can be seen.
//!
//! A directory inside the output directory, so that every result is moved
//! into place by a rename. It goes away with the build, whatever ends it;
//! one that a killed build has left is cleared by the next.
//!
//! Beside it stand the [`Spares`] that the next build writes over.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::spare::Spares;

const NAME: &str = ".building";
/// Attempts to clear a directory into which others may still write.
const CLEARINGS: usize = 20;

/// Why there is no place to build in, or nothing could be moved out of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The output directory, or the one in it, cannot be made or written to.
    #[error("cannot write to the output directory {path}")]
    Output {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Two builds would overwrite each other's results.
    #[error("another build is writing to {path}; wait for it or choose another --output")]
    Busy {
        /// The output directory.
        path: PathBuf,
    },
    /// A result could not be moved into place.
    #[error("cannot put {path} in place")]
    Publish {
        /// The result.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What must be removed if the program is told to stop: shared with the
/// thread that waits for signals.
#[derive(Debug, Clone, Default)]
pub struct Cleanup(Arc<Mutex<Option<Registered>>>);

#[derive(Debug)]
struct Registered {
    directory: PathBuf,
    /// The output directory, if it was not there before.
    new_output: Option<PathBuf>,
}

impl Cleanup {
    /// Removes what is registered and keeps the lock for good: no other
    /// thread publishes, or makes a place to build in, from here on.
    pub fn stop(&self) {
        let registered = self.lock();
        if let Some(registered) = registered.as_ref() {
            registered.clear();
        }
        std::mem::forget(registered);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A directory of its own for one build.
#[derive(Debug)]
pub struct Scratch {
    output: PathBuf,
    directory: PathBuf,
    spares: Spares,
    cleanup: Cleanup,
    /// Held while the directory is in use.
    _lock: File,
}

impl Scratch {
    /// Makes the output directory and the place to build in.
    pub fn open(output: &Path, cleanup: &Cleanup) -> Result<Scratch, Error> {
        let failed = |source| Error::Output { path: output.to_owned(), source };
        let mut registered = cleanup.lock();
        let new_output = (!output.exists()).then(|| output.to_owned());
        fs::create_dir_all(output).map_err(failed)?;
        let directory = output.join(NAME);
        let lock = loop {
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                _ => {}
            }
            let file = File::open(&directory).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Busy { path: output.to_owned() });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            // The build that had the lock may have removed the directory
            // between opening and locking it.
            let locked = file.metadata().map_err(failed)?;
            if fs::metadata(&directory).is_ok_and(|found| found.ino() == locked.ino()) {
                break file;
            }
        };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            remove(&entry.map_err(failed)?.path()).map_err(failed)?;
        }
        *registered = Some(Registered { directory: directory.clone(), new_output });
        drop(registered);
        let (output, spares) = (output.to_owned(), Spares::of(output));
        Ok(Scratch { output, directory, spares, cleanup: cleanup.clone(), _lock: lock })
    }

    /// Where the file of that name is written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file of that name that is written to; what is in it already is of no meaning.
    pub fn file(&self, name: &str) -> io::Result<File> {
        self.spares.open(&self.path(name))
    }

    /// Moves results to the output directory, after removing `obsolete`
    /// ones there. A signal waits until all of it is done. The last of
    /// `names` is the one that vouches for the others.
    pub fn publish(self, names: &[String], obsolete: &[String]) -> Result<(), Error> {
        let cleanup = self.cleanup.clone();
        let registered = cleanup.lock();
        let failed = |name: &str, source| Error::Publish { path: self.output.join(name), source };
        // What takes the place of an obsolete result is written over it the next time.
        let successor = |name: &String| {
            let kind = self.spares.place(Path::new(name))?;
            names.iter().find(|new| self.spares.place(Path::new(new)).as_ref() == Some(&kind))
        };
        for name in obsolete {
            // If it cannot be set aside, it goes; and if nothing takes its place, so does its spare.
            let _ = match (successor(name), self.spares.place(Path::new(name))) {
                (Some(new), _) => self.spares.set_aside(&self.output.join(name), Path::new(new)),
                (None, Some(spare)) => fs::remove_file(spare),
                (None, None) => Ok(()),
            };
        }
        for name in names.last().into_iter().chain(obsolete) {
            match fs::remove_file(self.output.join(name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(name, source));
                }
                _ => {}
            }
        }
        for name in names {
            self.spares
                .replace(&self.path(name), &self.output.join(name))
                .map_err(|source| failed(name, source))?;
        }
        drop(registered);
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(registered) = self.cleanup.lock().take() {
            registered.clear();
        }
    }
}

impl Registered {
    fn clear(&self) {
        for _ in 0..CLEARINGS {
            match fs::remove_dir_all(&self.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
        if let Some(output) = &self.new_output {
            // Stays if there are results, or something else, in it.
            let _ = fs::remove_dir(output);
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn results_appear_together_and_the_obsolete_go() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::write(root.path().join("old"), "1").expect("written");
        fs::write(root.path().join("a"), "old a").expect("written");
        let scratch = Scratch::open(root.path(), &Cleanup::default()).expect("writable");
        fs::write(scratch.path("a"), "new a").expect("written");
        fs::write(scratch.path("stamp"), "").expect("written");
        assert_eq!(names(root.path()), [".building", "a", "old"]);
        let published = ["a".to_owned(), "stamp".to_owned()];
        scratch.publish(&published, &["old".to_owned(), "gone".to_owned()]).expect("published");
        assert_eq!(names(root.path()), ["a", "stamp"]);
        assert_eq!(fs::read_to_string(root.path().join("a")).expect("there"), "new a");
    }

    #[test]
    fn a_build_that_ends_early_leaves_what_was_there() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::write(root.path().join("a"), "old a").expect("written");
        let scratch = Scratch::open(root.path(), &Cleanup::default()).expect("writable");
        fs::write(scratch.path("a"), "half").expect("written");
        drop(scratch);
        assert_eq!(names(root.path()), ["a"]);
        assert_eq!(fs::read_to_string(root.path().join("a")).expect("there"), "old a");
    }

    #[test]
    fn an_output_directory_made_for_nothing_goes_again() {
        let root = tempfile::tempdir().expect("temporary directory");
        let output = root.path().join("deep/er");
        drop(Scratch::open(&output, &Cleanup::default()).expect("writable"));
        assert!(!output.exists());
    }

    #[test]
    fn leftovers_of_a_killed_build_are_cleared() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(root.path().join(".building/x/y")).expect("made");
        fs::write(root.path().join(".building/half"), "").expect("written");
        let scratch = Scratch::open(root.path(), &Cleanup::default()).expect("writable");
        assert_eq!(names(&scratch.directory), [""; 0]);
    }

    #[test]
    fn two_builds_do_not_share_an_output() {
        let root = tempfile::tempdir().expect("temporary directory");
        let _first = Scratch::open(root.path(), &Cleanup::default()).expect("writable");
        let second = Scratch::open(root.path(), &Cleanup::default());
        assert!(matches!(second, Err(Error::Busy { .. })), "{second:?}");
    }

    #[test]
    fn stopping_removes_what_is_being_built() {
        let root = tempfile::tempdir().expect("temporary directory");
        let cleanup = Cleanup::default();
        let output = root.path().join("output");
        let scratch = Scratch::open(&output, &cleanup).expect("writable");
        fs::write(scratch.path("half"), "").expect("written");
        cleanup.stop();
        assert!(!output.exists());
        // It would wait for the lock that nobody gives back.
        std::mem::forget(scratch);
    }
}
