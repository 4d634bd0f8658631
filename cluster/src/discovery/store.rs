//! Clusters as files: `FOLDER/ab/abcdef….json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::{Cluster, Token};

/// How long a token that nobody ever used is kept.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);
/// No file of ours is larger, in bytes.
const LARGEST: u64 = 64 << 20;

/// Something about the folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that cannot be read as a cluster.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let store = Self { folder: folder.to_owned() };
        store.probe()?;
        Ok(store)
    }

    /// Whether something could be written.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        write(&self.folder.join("probe"), b"")
    }

    pub(super) fn load(&self, token: &Token) -> Result<Option<Cluster>, StoreError> {
        let path = self.path(token);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LARGEST => {
                return Err(StoreError::Damaged { path, reason: "it is too large".to_owned() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path)(source)),
        }
        let json = fs::read(&path).map_err(failed("read", &path))?;
        match serde_json::from_slice(&json) {
            Ok(cluster) => Ok(Some(cluster)),
            Err(error) => Err(StoreError::Damaged { path, reason: error.to_string() }),
        }
    }

    pub(super) fn save(&self, token: &Token, cluster: &Cluster) -> Result<(), StoreError> {
        let path = self.path(token);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        write(&path, &serde_json::to_vec(cluster).unwrap_or_default())
    }

    /// Removes what has not been changed for `keep`, or was never used, and returns how many
    /// are left. What cannot be read stays.
    pub(super) fn sweep(&self, now: u64, keep: Duration) -> Result<usize, StoreError> {
        let mut left = 0;
        for folder in entries(&self.folder)?.iter().filter(|path| path.is_dir()) {
            for path in entries(folder)? {
                let token = path.file_stem().and_then(|name| Token::parse(name.to_str()?));
                let Some(Ok(Some(cluster))) = token.map(|token| self.load(&token)) else {
                    continue;
                };
                let age = Duration::from_secs(now.saturating_sub(cluster.changed));
                if age > if cluster.is_used() { keep } else { UNUSED.min(keep) } {
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                } else {
                    left += 1;
                }
            }
        }
        Ok(left)
    }

    fn path(&self, token: &Token) -> PathBuf {
        let name = token.as_str();
        self.folder.join(&name[..2]).join(format!("{name}.json"))
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = fs::read_dir(folder).map_err(failed("read", folder))?;
    list.map(|entry| entry.map(|entry| entry.path()).map_err(failed("read", folder))).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    host::durable::write(path, bytes, 0o644).map_err(|error| StoreError::File {
        action: "write",
        path: error.path,
        source: error.source,
    })
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { action, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::cluster::Demand;

    #[test]
    fn clusters_are_kept_until_they_are_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (unused, used) = (Token::from([1; 16]), Token::from([2; 16]));
        assert_eq!(store.load(&used).unwrap(), None);
        store.save(&unused, &Cluster::new(&unused, 3, 0)).unwrap();
        let mut cluster = Cluster::new(&used, 3, 0);
        cluster.put(&used, "1", "x", Demand::Absent, 0).unwrap();
        store.save(&used, &cluster).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.load(&used).unwrap(), Some(cluster));
        let (week, year) = (7 * 24 * 3600, 365 * 24 * 3600);
        let keep = Duration::from_secs(year);
        assert_eq!(store.sweep(week, keep).unwrap(), 2);
        assert_eq!(store.sweep(week + 1, keep).unwrap(), 1);
        assert_eq!(store.sweep(year + 1, keep).unwrap(), 0);
    }

    #[test]
    fn damage_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let token = Token::from([3; 16]);
        store.save(&token, &Cluster::new(&token, 3, 0)).unwrap();
        fs::write(store.path(&token), "{").unwrap();
        let error = store.load(&token).unwrap_err();
        assert!(error.to_string().contains("is damaged: EOF"), "{error}");
        store.sweep(u64::MAX, Duration::ZERO).unwrap();
        assert!(store.path(&token).exists());
    }
}
