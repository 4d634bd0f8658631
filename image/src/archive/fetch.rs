//! Files of an archive, over the network or from a directory of this machine.

use host::http::{self, Fetch};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::time::Duration;

/// How long a file may take; mirrors are slow at times.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// How archives are reached.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    fetch: Fetch,
}

/// Why a file is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The network or the server did not give it.
    #[error(transparent)]
    Http(#[from] http::FetchError),
    /// It cannot be read from this machine.
    #[error("cannot read {url}")]
    File {
        /// Its address.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// It is larger than it should be.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// Its address.
        url: String,
        /// The limit.
        limit: u64,
    },
}

/// Why a part of a file was not copied.
#[derive(Debug)]
pub enum CopyError {
    /// It is not to be had.
    Fetch(FetchError),
    /// It cannot be written.
    Write(io::Error),
}

impl From<FetchError> for CopyError {
    fn from(error: FetchError) -> CopyError {
        CopyError::Fetch(error)
    }
}

impl FetchError {
    /// Whether the archive does not have the file, so that asking again is in vain.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            FetchError::Http(http::FetchError::Status { status, .. }) => {
                matches!(status, 404 | 410)
            }
            FetchError::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

impl Transport {
    /// The whole file at an address of `http`, `https` or `file`, of at most `limit` bytes.
    pub fn read(&self, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let Some(path) = url.strip_prefix("file:") else {
            let how = Fetch { limit, deadline: DEADLINE, ..self.fetch.clone() };
            return Ok(http::fetch(url, &how)?);
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        let failed = |source| FetchError::File { url: url.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(FetchError::TooLarge { url: url.to_owned(), limit });
        }
        Ok(bytes)
    }

    /// Copies a part of the file at an address, which ends where the file should end, piece by
    /// piece: what was written before it is cut off can be gone on with.
    pub fn copy(&self, url: &str, part: Range<u64>, out: &mut dyn Write) -> Result<(), CopyError> {
        let Some(path) = url.strip_prefix("file:") else {
            let bytes = self.read(url, part.end)?;
            let start = usize::try_from(part.start).unwrap_or(usize::MAX).min(bytes.len());
            return out.write_all(&bytes[start..]).map_err(CopyError::Write);
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        let failed = |source| FetchError::File { url: url.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(part.start)).map_err(failed)?;
        let mut bytes = vec![0; 1 << 18];
        let mut limited = file.take(part.end - part.start);
        loop {
            match limited.read(&mut bytes).map_err(failed)? {
                0 => return Ok(()),
                count => out.write_all(&bytes[..count]).map_err(CopyError::Write)?,
            }
        }
    }
}
