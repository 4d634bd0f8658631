//! Results of the build before the last one, over which the next one is written.
//!
//! Most bytes of a large result are the ones that the last build has left. The file whose place a
//! new result takes is therefore set aside, and the result after that is written over it, as far
//! as it differs ([`crate::patch`]). What is in a spare is never trusted. A file that anybody
//! else has, by another name or open, is left to them.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;

/// Name of the directory in the output directory.
pub const DIRECTORY: &str = ".spare";
/// Results that are large enough, by how their names end.
const KINDS: [&str; 3] = ["qcow2", "raw", "root"];
/// The command of fcntl that chooses a signal, which libc has no name for.
const F_SETSIG: libc::c_int = 10;

/// The spares of an output directory, at most one of a kind.
#[derive(Debug, Clone)]
pub struct Spares {
    directory: PathBuf,
}

impl Spares {
    /// The spares of an output directory.
    pub fn of(output: &Path) -> Spares {
        Spares { directory: output.join(DIRECTORY) }
    }

    /// A file at `path`, where nothing is: the spare of its kind, or a new one. It can be read
    /// and written.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        if let Some(spare) = self.place(path)
            && fs::rename(spare, path).is_ok()
        {
            match open_unshared(path) {
                Some(file) => return Ok(file),
                None => fs::remove_file(path)?,
            }
        }
        File::options().read(true).write(true).create_new(true).open(path)
    }

    /// Puts a result in its place; what was there becomes the spare, if it is of a kind of which
    /// there are spares.
    pub fn replace(&self, new: &Path, place: &Path) -> io::Result<()> {
        let exchanged = self.place(place).is_some()
            && place.exists()
            && renameat2(AT_FDCWD, new, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE).is_ok();
        if !exchanged {
            return fs::rename(new, place);
        }
        self.set_aside(new, place).or_else(|_| fs::remove_file(new))
    }

    /// Makes the file at `path` the spare for results such as `like`.
    pub fn set_aside(&self, path: &Path, like: &Path) -> io::Result<()> {
        let spare = self.place(like).ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(&self.directory)?;
        fs::rename(path, spare)
    }

    /// Where the spare for a result is, if there may be one.
    pub fn place(&self, result: &Path) -> Option<PathBuf> {
        let kind = result.extension()?.to_str()?;
        KINDS.contains(&kind).then(|| self.directory.join(kind))
    }
}

/// Opens a file that nobody else has, by another name or open.
fn open_unshared(path: &Path) -> Option<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).write(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && metadata.nlink() == 1 && is_unopened(&file)).then_some(file)
}

/// Whether nobody else has the file open: only then does the kernel lease it for writing
/// (fcntl(2), F_SETLEASE). Where it does not say, somebody may have.
fn is_unopened(file: &File) -> bool {
    let descriptor = file.as_raw_fd();
    // SAFETY: these commands of fcntl take integers, and the descriptor is open.
    unsafe {
        // Who opens the file meanwhile waits, and has this signal sent, which does nothing.
        libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_WRLCK) == 0
            && libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lab(tempfile::TempDir);

    impl Lab {
        /// An output directory whose coreos.raw was built twice.
        fn new() -> Lab {
            let lab = Lab(tempfile::tempdir().expect("temporary directory"));
            lab.build("one");
            lab.build("two");
            lab
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn build(&self, text: &str) {
            fs::write(self.path("new"), text).expect("written");
            let spares = Spares::of(self.0.path());
            spares.replace(&self.path("new"), &self.path("coreos.raw")).expect("replaced");
        }

        /// What is in the file that the next build gets.
        fn next(&self) -> String {
            let path = self.path("next.raw");
            drop(Spares::of(self.0.path()).open(&path).expect("opened"));
            fs::read_to_string(&path).expect("readable")
        }
    }

    #[test]
    fn a_result_that_was_replaced_is_written_over_once() {
        let lab = Lab::new();
        assert_eq!(fs::read_to_string(lab.path("coreos.raw")).expect("there"), "two");
        assert!(!lab.path("new").exists());
        assert_eq!(lab.next(), "one");
        fs::remove_file(lab.path("next.raw")).expect("removed");
        assert_eq!(lab.next(), "");
    }

    #[test]
    fn what_somebody_else_has_is_left_to_them() {
        let lab = Lab::new();
        fs::hard_link(lab.path(".spare/raw"), lab.path("a copy")).expect("linked");
        assert_eq!(lab.next(), "");
        assert_eq!(fs::read_to_string(lab.path("a copy")).expect("there"), "one");

        let lab = Lab::new();
        let reader = File::open(lab.path(".spare/raw")).expect("there");
        assert_eq!(lab.next(), "");
        assert_eq!(io::read_to_string(reader).expect("readable"), "one");

        let lab = Lab::new();
        fs::rename(lab.path(".spare/raw"), lab.path("elsewhere")).expect("moved");
        std::os::unix::fs::symlink(lab.path("elsewhere"), lab.path(".spare/raw")).expect("linked");
        assert_eq!(lab.next(), "");
        assert_eq!(fs::read_to_string(lab.path("elsewhere")).expect("there"), "one");
    }

    #[test]
    fn small_results_are_not_set_aside() {
        let lab = Lab::new();
        for text in ["one", "two"] {
            fs::write(lab.path("new"), text).expect("written");
            let place = lab.path("coreos.manifest.json");
            Spares::of(lab.0.path()).replace(&lab.path("new"), &place).expect("replaced");
        }
        let kept: Vec<_> = fs::read_dir(lab.path(".spare")).expect("there").collect();
        assert_eq!(kept.len(), 1);
    }
}
