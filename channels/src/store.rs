//! Where a client keeps the metadata that it trusts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::fetch::encode;

/// Trusted metadata, by the names of the roles.
///
/// What is saved must be there after a power cut, whole or as it was before. What cannot be read
/// is an error, never an absence: who confuses the two can be made to forget what it trusted.
pub trait Store {
    /// The metadata of a role; `None` if there is none.
    fn load(&self, role: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces the metadata of a role.
    fn save(&self, role: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Forgets the metadata of a role; it is no fault if there is none.
    fn remove(&self, role: &str) -> Result<(), StoreError>;
}

/// Trusted metadata could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the trusted metadata of {role} in {path}", path = path.display())]
pub struct StoreError {
    /// `read`, `write` or `remove`.
    pub action: &'static str,
    /// The role.
    pub role: String,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Metadata in a directory: a file `ROLE.json` each, written durably.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    directory: PathBuf,
}

impl DirectoryStore {
    /// A store in a directory, which must exist.
    pub fn new(directory: impl Into<PathBuf>) -> DirectoryStore {
        DirectoryStore { directory: directory.into() }
    }

    /// A role may have any name, but its file stays in the directory.
    fn path(&self, role: &str) -> PathBuf {
        self.directory.join(format!("{}.json", encode(role)))
    }

    fn error(&self, action: &'static str, role: &str, source: io::Error) -> StoreError {
        StoreError { action, role: role.to_owned(), path: self.path(role), source }
    }
}

impl Store for DirectoryStore {
    fn load(&self, role: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match fs::read(self.path(role)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("read", role, error)),
        }
    }

    fn save(&self, role: &str, bytes: &[u8]) -> Result<(), StoreError> {
        host::durable::write(&self.path(role), bytes, 0o644)
            .map_err(|error| self.error("write", role, error.source))
    }

    fn remove(&self, role: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(role)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", role, error))
            }
            _ => Ok(()),
        }
    }
}

/// Metadata that is kept for one run only.
#[derive(Debug, Default)]
pub struct Memory(RefCell<BTreeMap<String, Vec<u8>>>);

impl Store for Memory {
    fn load(&self, role: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.borrow().get(role).cloned())
    }

    fn save(&self, role: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.borrow_mut().insert(role.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, role: &str) -> Result<(), StoreError> {
        self.0.borrow_mut().remove(role);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_any_name_are_kept_in_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(directory.path());
        for role in ["root", "../up", "a/b", "?", "."] {
            assert_eq!(store.load(role).unwrap(), None);
            store.remove(role).unwrap();
            store.save(role, b"old").unwrap();
            store.save(role, role.as_bytes()).unwrap();
            assert_eq!(store.load(role).unwrap().unwrap(), role.as_bytes());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 5);
        store.remove("../up").unwrap();
        assert_eq!(store.load("../up").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_absent() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root.json")).unwrap();
        let store = DirectoryStore::new(directory.path());
        assert!(store.load("root").is_err());
        assert!(store.save("root", b"x").is_err());
        assert!(store.remove("root").is_err());
    }
}
