//! A file that is named: on a workstation, or by an operator.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cloud_config::MAX_USER_DATA;

use super::{Found, MetaData, SourceName};

/// A named file cannot be the configuration.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is larger than any configuration.
    #[error("{path} is larger than {MAX_USER_DATA} bytes and cannot be a configuration", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// The file at `path` as the configuration.
pub fn from_file(path: &Path) -> Result<Found, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let user_data = read_limited(path, MAX_USER_DATA)
        .map_err(failed)?
        .ok_or_else(|| FileError::TooLarge { path: path.to_owned() })?;
    Ok(Found {
        source: SourceName::File,
        place: path.display().to_string(),
        name: path.display().to_string(),
        user_data,
        meta_data: MetaData::default(),
        network: None,
        notes: Vec::new(),
    })
}

/// The whole of a file, or `None` if it is larger than `limit`.
pub(super) fn read_limited(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_the_user_called_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.yaml");
        std::fs::write(&path, "#cloud-config\n").unwrap();
        let found = from_file(&path).unwrap();
        assert_eq!(found.name, path.display().to_string());
        assert_eq!(found.user_data, b"#cloud-config\n");
    }

    #[test]
    fn files_that_cannot_be_a_configuration_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large");
        std::fs::write(&large, vec![b' '; MAX_USER_DATA]).unwrap();
        assert_eq!(from_file(&large).unwrap().user_data.len(), MAX_USER_DATA);
        std::fs::write(&large, vec![b' '; MAX_USER_DATA + 1]).unwrap();
        assert!(matches!(from_file(&large), Err(FileError::TooLarge { .. })));
        for unreadable in [directory.path().to_owned(), directory.path().join("missing")] {
            assert!(matches!(from_file(&unreadable), Err(FileError::Read { .. })));
        }
    }
}
