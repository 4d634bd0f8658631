//! The packed image: a header, and the data that must hash to what the header says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use disk::packed::{Header, PackedError};
use sha2::{Digest as _, Sha256};

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be opened.
    #[error("cannot open the image {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no packed image.
    #[error("{path} is no installable image; make one with: image export --format install")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PackedError,
    },
    /// The data cannot be read or unpacked.
    #[error("the image is damaged or cannot be read")]
    Read(#[source] io::Error),
    /// The data are not what the header says.
    #[error("the image is damaged: its data are {got}, its header says {want}")]
    Digest {
        /// SHA-256 of what was read.
        got: String,
        /// SHA-256 that was expected.
        want: String,
    },
}

/// An image that is being read.
pub struct Image {
    /// What it is.
    pub header: Header,
    data: Box<dyn Read>,
    hasher: Sha256,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Image").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Image {
    /// Opens the image at `path`.
    pub fn open(path: &Path) -> Result<Image, ImageError> {
        let open = |source| ImageError::Open { path: path.to_owned(), source };
        let file = BufReader::with_capacity(1 << 20, File::open(path).map_err(open)?);
        Image::new(file).map_err(|error| match error {
            ImageError::Header { source, .. } => {
                ImageError::Header { path: path.to_owned(), source }
            }
            other => other,
        })
    }

    /// Reads the header of a stream.
    pub fn new(mut stream: impl BufRead + 'static) -> Result<Image, ImageError> {
        let header = |source| ImageError::Header { path: "the stream".into(), source };
        let header = Header::read(&mut stream).map_err(header)?;
        let data = zstd::Decoder::with_buffer(stream).map_err(ImageError::Read)?;
        Ok(Image { header, data: Box::new(data), hasher: Sha256::new() })
    }

    /// Fills `buffer` with the next bytes of the runs.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<(), ImageError> {
        self.data.read_exact(buffer).map_err(ImageError::Read)?;
        self.hasher.update(buffer);
        Ok(())
    }

    /// Checks what was read: all of it, and nothing else.
    pub fn finish(mut self) -> Result<Header, ImageError> {
        let got = hex(&self.hasher.finalize());
        let want = self.header.sha256.to_ascii_lowercase();
        let mut more = [0];
        let more = self.data.read(&mut more).map_err(ImageError::Read)?;
        if got != want || more != 0 {
            return Err(ImageError::Digest { got, want });
        }
        Ok(self.header)
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
