//! Files that are either the old one or the new one, even after a power cut.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file could not be written; what was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}", path = path.display())]
pub struct WriteError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Replaces the file at `path` by `bytes`, with exactly the mode bits `mode`.
///
/// When this returns, the new content is on the disk; when it fails or the power does, the old
/// file is untouched. A symbolic link at `path` is replaced, not followed. The directory must
/// exist.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    replace(path, bytes, mode).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let temporary = Temporary::create(directory)?;
    let mut file = &temporary.file;
    // Not by the mode of open(2), which the umask would take bits from.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    temporary.rename(path)?;
    File::open(directory)?.sync_all()
}

/// A new file beside the one to be replaced; removed again unless it is renamed.
struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    fn create(directory: &Path) -> io::Result<Temporary> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".tmp-{}-{number}", std::process::id()));
        // Only a process that is gone can have left a file of this name: the first program of a
        // machine has the same number at every boot.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Temporary { path, file, renamed: false })
    }

    fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing can be done about a failure here, and the error that led here is told.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_content_and_mode_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings");
        for (content, mode) in [("one", 0o600), ("two", 0o666), ("", 0o400)] {
            write(&path, content.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(names(directory.path()), ["settings"]);
        }
    }

    #[test]
    fn replaces_a_symbolic_link_instead_of_following_it() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        let link = directory.path().join("link");
        fs::write(&target, "untouched").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write(&link, b"new", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/such/file");
        let error = write(&missing, b"x", 0o644).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", missing.display()));
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);

        // Renaming a file over a directory fails after the temporary file was written.
        let occupied = directory.path().join("occupied");
        fs::create_dir(&occupied).unwrap();
        assert!(write(&occupied, b"x", 0o644).is_err());
        assert!(write(&directory.path().join(".."), b"x", 0o644).is_err());
        assert_eq!(names(directory.path()), ["occupied"]);
    }

    #[test]
    fn what_an_earlier_process_left_under_our_number_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..200 {
            let name = format!(".tmp-{}-{number}", std::process::id());
            fs::write(directory.path().join(name), "left over").unwrap();
        }
        let path = directory.path().join("settings");
        write(&path, b"new", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}
