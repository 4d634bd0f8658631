//! A file that has no name until it is whole.

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tempfile::NamedTempFile;

/// A file being written.
#[derive(Debug)]
pub(super) enum Draft {
    /// The kernel frees it if this process ends, however it does.
    Unnamed(File),
    /// Where the file system has no such files: removed unless the process is killed.
    Named(NamedTempFile),
}

impl Draft {
    /// Begins a file in `directory`.
    pub(super) fn create(directory: &Path) -> io::Result<Draft> {
        let unnamed = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o644)
            .custom_flags(nix::libc::O_TMPFILE)
            .open(directory);
        match unnamed {
            Ok(file) => Ok(Draft::Unnamed(file)),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(nix::libc::EOPNOTSUPP | nix::libc::EISDIR | nix::libc::ENOENT)
                ) =>
            {
                NamedTempFile::new_in(directory).map(Draft::Named)
            }
            Err(error) => Err(error),
        }
    }

    /// The file, to write to.
    pub(super) fn file(&self) -> &File {
        match self {
            Draft::Unnamed(file) => file,
            Draft::Named(named) => named.as_file(),
        }
    }

    /// Gives the whole file its name, in place of another one; both are on the same disk.
    pub(super) fn publish(self, path: &Path) -> io::Result<()> {
        self.file().sync_all()?;
        match self {
            Draft::Named(named) => named.persist(path).map(|_| ()).map_err(|error| error.error),
            Draft::Unnamed(file) => {
                // A link cannot take the place of a file, a rename can.
                let beside = path.with_extension("new");
                match fs::remove_file(&beside) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
                let follow = AtFlags::AT_SYMLINK_FOLLOW;
                linkat(AT_FDCWD, descriptor.as_str(), AT_FDCWD, &beside, follow)?;
                fs::rename(&beside, path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn both_kinds_appear_whole_and_replace_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result");
        let named = Draft::Named(NamedTempFile::new_in(directory.path()).unwrap());
        let drafts = [(Draft::create(directory.path()).unwrap(), "first"), (named, "second")];
        for (draft, text) in drafts {
            draft.file().write_all(text.as_bytes()).unwrap();
            draft.publish(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().len(), text.len() as u64);
        }
        assert_eq!(names(directory.path()), ["result"]);
    }

    #[test]
    fn a_draft_that_is_dropped_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let unnamed = Draft::create(directory.path()).unwrap();
        let named = Draft::Named(NamedTempFile::new_in(directory.path()).unwrap());
        drop((unnamed, named));
        assert_eq!(names(directory.path()), [""; 0]);
    }
}
