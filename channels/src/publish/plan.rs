//! What is to be written, in the order in which it must be written.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::PublishError;
use crate::client::Target;

/// Names of files that are being written begin so; what is left of them after a crash is removed.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A change of a repository: a publisher that dies after any of its steps leaves a repository
/// that clients accept. New files have names that nothing refers to yet; the timestamp, which
/// makes them visible, comes after them.
#[derive(Debug, Default)]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step. It is done or not done, whenever the power fails.
#[derive(Debug)]
pub enum Step {
    /// Writes a metadata file.
    Write {
        /// Its name.
        file: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Brings a target into the tree of targets.
    Place {
        /// Where it is now.
        from: PathBuf,
        /// Whether that is in this repository, so that a link will do.
        link: bool,
        /// The target.
        target: Target,
    },
}

impl Plan {
    /// Carries the plan out.
    pub fn apply(&self, repository: &Path) -> Result<(), PublishError> {
        self.steps.iter().try_for_each(|step| step.apply(repository))
    }
}

impl Step {
    /// Carries one step out.
    pub fn apply(&self, repository: &Path) -> Result<(), PublishError> {
        match self {
            Step::Write { file, bytes } => {
                let path = repository.join("metadata").join(file);
                create_parent(&path)?;
                host::durable::write(&path, bytes, 0o644)
                    .map_err(|error| PublishError::file("write", path)(error.source))
            }
            Step::Place { from, link, target } => {
                let Some(address) = target.address() else {
                    return Err(PublishError::Changed { path: from.clone() });
                };
                place(from, *link, target, &repository.join("targets").join(address))
            }
        }
    }
}

fn place(from: &Path, link: bool, target: &Target, to: &Path) -> Result<(), PublishError> {
    // An earlier attempt may have come this far.
    if is_intact(to, target)? {
        return Ok(());
    }
    create_parent(to)?;
    if link && is_intact(from, target)? && fs::hard_link(from, to).is_ok() {
        return sync_parent(to);
    }
    copy(from, target, to)
}

fn is_intact(path: &Path, target: &Target) -> Result<bool, PublishError> {
    match File::open(path) {
        Ok(file) => Ok(io::copy(&mut target.check(file), &mut io::sink()).is_ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(PublishError::file("read", path)(error)),
    }
}

/// Copies, checking on the way that the bytes are those that were hashed.
fn copy(from: &Path, target: &Target, to: &Path) -> Result<(), PublishError> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let temporary = to.with_file_name(format!("{TEMPORARY}{name}"));
    let source = File::open(from).map_err(PublishError::file("read", from))?;
    let write = || PublishError::file("write", to);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)
        .map_err(write())?;
    let copied = stream(target.check(source), &mut file)
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, to));
    if let Err(error) = copied {
        // What matters is told; a leftover is removed by the next publisher.
        let _ = fs::remove_file(&temporary);
        return Err(match error.kind() {
            io::ErrorKind::InvalidData => PublishError::Changed { path: from.to_owned() },
            _ => write()(error),
        });
    }
    sync_parent(to)
}

fn stream(mut from: impl Read, to: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn create_parent(path: &Path) -> Result<(), PublishError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if parent.is_dir() {
        return Ok(());
    }
    create_parent(parent)?;
    match fs::create_dir(parent) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(PublishError::file("create", parent)(error))
        }
        _ => sync_parent(parent),
    }
}

fn sync_parent(path: &Path) -> Result<(), PublishError> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(PublishError::file("write", parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Hashes, TargetFile};
    use sha2::{Digest, Sha256};

    fn target(content: &[u8]) -> Target {
        let hashes = Hashes::sha256(&Sha256::digest(content).into());
        let length = content.len() as u64;
        let file = TargetFile { length, hashes, custom: serde_json::Map::new() };
        Target::consistent("alpha/file", file)
    }

    fn step(from: &Path, link: bool) -> Step {
        Step::Place { from: from.to_owned(), link, target: target(b"content") }
    }

    #[test]
    fn a_target_is_placed_once_and_checked_on_the_way() {
        let home = tempfile::tempdir().unwrap();
        let (repository, from) = (home.path().join("repository"), home.path().join("file"));
        fs::write(&from, "content").unwrap();
        let to = repository.join("targets").join(target(b"content").address().unwrap());
        step(&from, false).apply(&repository).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"content");
        // Again without a source, as after a crash; and over a damaged file.
        let missing = home.path().join("missing");
        step(&missing, false).apply(&repository).unwrap();
        fs::write(&to, "damaged").unwrap();
        step(&from, true).apply(&repository).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"content");

        fs::remove_file(&to).unwrap();
        fs::write(&from, "CONTENT").unwrap();
        for link in [false, true] {
            let error = step(&from, link).apply(&repository).unwrap_err();
            assert!(matches!(error, PublishError::Changed { .. }), "{error}");
        }
        assert!(matches!(step(&missing, false).apply(&repository), Err(PublishError::File { .. })));
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_the_repository_is_linked() {
        use std::os::unix::fs::MetadataExt;
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("file");
        fs::write(&from, "content").unwrap();
        step(&from, true).apply(home.path()).unwrap();
        assert_eq!(fs::metadata(&from).unwrap().nlink(), 2);
    }
}
