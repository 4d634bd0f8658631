//! Where a repository's files come from: the net, or a directory.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All that a part of an address may not contain as it is.
const NOT_PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The two trees of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Metadata of the roles.
    Metadata,
    /// The files that the metadata speaks of.
    Targets,
}

/// A repository that files can be had from. It is not trusted with anything.
pub trait Fetch {
    /// The file at `path`, which is encoded as in an address; `None` if there is no such file.
    /// It is an error, told as early as possible, if it is larger than `limit` bytes.
    fn get(&self, area: Area, path: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError>;
}

/// A file could not be had. Another attempt may go better.
#[derive(Debug, thiserror::Error)]
#[error("cannot get {path}")]
pub struct FetchError {
    /// The file, as it was asked for.
    pub path: String,
    /// What went wrong.
    pub source: Box<dyn Error + Send + Sync>,
}

/// One part of an address.
pub(crate) fn encode(part: &str) -> String {
    utf8_percent_encode(part, NOT_PLAIN).to_string()
}

/// A repository on a web server.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address of the metadata.
    metadata: String,
    /// Address of the targets.
    targets: String,
    how: host::http::Fetch,
}

impl Http {
    /// A repository by the address of its directory, the one above `metadata` and `targets`.
    pub fn new(address: &str, how: host::http::Fetch) -> Http {
        let address = address.trim_end_matches('/');
        Http::split(&format!("{address}/metadata"), &format!("{address}/targets"), how)
    }

    /// A repository by the addresses of its two trees.
    pub fn split(metadata: &str, targets: &str, how: host::http::Fetch) -> Http {
        let base = |address: &str| address.trim_end_matches('/').to_owned();
        Http { metadata: base(metadata), targets: base(targets), how }
    }
}

impl Fetch for Http {
    fn get(&self, area: Area, path: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError> {
        use host::http::FetchError as HttpError;
        let base = match area {
            Area::Metadata => &self.metadata,
            Area::Targets => &self.targets,
        };
        let how = host::http::Fetch { limit, ..self.how.clone() };
        match host::http::fetch(&format!("{base}/{path}"), &how) {
            Ok(bytes) => Ok(Some(bytes)),
            // Object stores say 403 of what does not exist.
            Err(HttpError::Status { status: 403 | 404 | 410, .. }) => Ok(None),
            Err(source) => Err(FetchError { path: path.to_owned(), source: source.into() }),
        }
    }
}

/// A repository in a directory, such as one on a disk that was carried to the machine.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// A repository by its directory, the one above `metadata` and `targets`.
    pub fn new(root: impl Into<PathBuf>) -> Directory {
        Directory { root: root.into() }
    }
}

impl Fetch for Directory {
    fn get(&self, area: Area, path: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let failed = |source| FetchError { path: path.to_owned(), source };
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(failed("the path leaves the repository".into()));
        }
        let tree = match area {
            Area::Metadata => "metadata",
            Area::Targets => "targets",
        };
        let file = match File::open(self.root.join(tree).join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| failed(error.into()))?;
        if bytes.len() as u64 > limit {
            return Err(failed(format!("larger than {limit} bytes").into()));
        }
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_within_its_trees_and_limits() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("metadata")).unwrap();
        std::fs::write(directory.path().join("metadata/1.root.json"), "root").unwrap();
        std::fs::write(directory.path().join("secret"), "secret").unwrap();
        let fetch = Directory::new(directory.path());
        let get = |path, limit| fetch.get(Area::Metadata, path, limit);
        assert_eq!(get("1.root.json", 4).unwrap().unwrap(), b"root");
        assert_eq!(get("2.root.json", 4).unwrap(), None);
        assert!(get("1.root.json", 3).unwrap_err().source.to_string().contains("larger than 3"));
        for path in ["../secret", "./1.root.json", "a/../../secret", "/etc/passwd", "", "a//b"] {
            assert!(get(path, 100).is_err(), "{path}");
        }
        assert_eq!(fetch.get(Area::Targets, "x", 1).unwrap(), None);
    }

    #[test]
    fn parts_of_addresses_are_encoded() {
        let cases = [("a-Z.0_~", "a-Z.0_~"), ("../x?#é", "..%2Fx%3F%23%C3%A9"), ("%", "%25")];
        for (part, encoded) in cases {
            assert_eq!(encode(part), encoded);
        }
    }
}
