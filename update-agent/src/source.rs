//! Where releases come from: a web server, or a directory on a disk that was carried here.
//!
//! Nothing that comes from there is trusted; what is bounded here is time and size.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use channels::fetch::{Area, Directory, Fetch, FetchError, Http};
use host::http::{self, Client};

/// The slowest transfer that is waited for, in bytes a second: who is slower does not want us to
/// finish.
const SLOWEST: u64 = 16 << 10;

/// What any transfer may take beside that.
const GRACE: Duration = Duration::from_secs(20);

/// The largest piece that is fetched at once, in bytes: the largest record of a pack.
pub const PIECE: u64 = (4 << 20) + (128 << 10);

/// A repository.
#[derive(Debug)]
pub struct Source {
    place: Place,
    /// Bytes fetched so far, metadata aside.
    fetched: AtomicU64,
}

#[derive(Debug)]
enum Place {
    Web { metadata: Box<Http>, targets: String, client: Client },
    Directory { metadata: Directory, root: PathBuf },
}

impl Source {
    /// A repository on a web server, by the address of its directory.
    pub fn web(address: &str) -> Result<Source, http::FetchError> {
        Source::web_with(address, http::Fetch::default())
    }

    /// The same, with other limits than usual on metadata; attempts and proxy count for all.
    pub fn web_with(address: &str, how: http::Fetch) -> Result<Source, http::FetchError> {
        let address = address.trim_end_matches('/');
        let seconds = PIECE / SLOWEST;
        let deadline = how.deadline.min(Duration::from_secs(seconds) + GRACE);
        let patient = http::Fetch { deadline, ..how.clone() };
        let client = Client::new(address, http::Fetch { limit: PIECE, ..patient })?;
        let place = Place::Web {
            metadata: Box::new(Http::new(address, how)),
            targets: format!("{address}/targets"),
            client,
        };
        Ok(Source { place, fetched: AtomicU64::new(0) })
    }

    /// A repository in a directory, the one above `metadata` and `targets`.
    pub fn directory(root: &Path) -> Source {
        let place = Place::Directory { metadata: Directory::new(root), root: root.join("targets") };
        Source { place, fetched: AtomicU64::new(0) }
    }

    /// Exactly the bytes `range` of the target at `path`, which is encoded as in an address.
    /// Parts longer than [`PIECE`] are refused.
    pub fn range(&self, path: &str, range: &Range<u64>) -> Result<Vec<u8>, FetchError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| FetchError {
            path: path.to_owned(),
            source,
        };
        let length = range.end.saturating_sub(range.start);
        if length > PIECE {
            return Err(failed(format!("a part of {length} bytes is too long").into()));
        }
        let bytes = match &self.place {
            Place::Web { targets, client, .. } => client
                .range(&format!("{targets}/{path}"), range)
                .map_err(|error| failed(error.into()))?,
            Place::Directory { root, .. } => {
                if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
                    return Err(failed("the path leaves the repository".into()));
                }
                let read = || -> io::Result<Vec<u8>> {
                    let mut bytes = vec![0; length as usize];
                    File::open(root.join(path))?.read_exact_at(&mut bytes, range.start)?;
                    Ok(bytes)
                };
                read().map_err(|error| failed(error.into()))?
            }
        };
        self.fetched.fetch_add(length, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Bytes of targets fetched so far.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }
}

impl Fetch for Source {
    fn get(&self, area: Area, path: &str, limit: u64) -> Result<Option<Vec<u8>>, FetchError> {
        match &self.place {
            Place::Web { metadata, .. } => metadata.get(area, path, limit),
            Place::Directory { metadata, .. } => metadata.get(area, path, limit),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Web { targets, .. } => {
                f.write_str(&http::redacted(targets.trim_end_matches("/targets")))
            }
            Place::Directory { root, .. } => {
                write!(f, "{}", root.parent().unwrap_or(root).display())
            }
        }
    }
}
