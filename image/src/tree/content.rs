//! The bytes of a regular file, in memory or still in the file they came in.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The bytes of a regular file. Cloning shares them.
#[derive(Clone)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// A part of an open file, read when asked for.
    Slice {
        /// The file; reads carry their own offset, so it may be shared.
        file: Arc<File>,
        /// Where the part begins.
        offset: u64,
        /// Its length.
        len: u64,
    },
}

impl Content {
    /// The whole of a file on disk, whose length is taken now.
    pub fn from_file(file: File) -> io::Result<Content> {
        let len = file.metadata()?.len();
        Ok(Content::Slice { file: Arc::new(file), offset: 0, len })
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Slice { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is the very same content: shared, not only equal.
    #[must_use]
    pub fn is_same(&self, other: &Content) -> bool {
        match (self, other) {
            (Content::Bytes(own), Content::Bytes(other)) => Arc::ptr_eq(own, other),
            (
                Content::Slice { file, offset, len },
                Content::Slice { file: other_file, offset: other_offset, len: other_len },
            ) => Arc::ptr_eq(file, other_file) && (offset, len) == (other_offset, other_len),
            _ => false,
        }
    }

    /// Reads at `position` of this content; 0 means its end. A file that has become shorter
    /// than it was is an error, never a short content.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let left = self.len().saturating_sub(position);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        match self {
            Content::Bytes(bytes) => {
                let start = usize::try_from(position).expect("below the length of a slice");
                buffer[..wanted].copy_from_slice(&bytes[start..start + wanted]);
                Ok(wanted)
            }
            Content::Slice { file, offset, .. } => {
                match file.read_at(&mut buffer[..wanted], offset + position)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    count => Ok(count),
                }
            }
        }
    }

    /// Reads from the beginning to the end.
    #[must_use]
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader { content: self, position: 0 }
    }

    /// All of it in memory.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.len()).unwrap_or(0));
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Content {
        Content::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Content {
        text.as_bytes().into()
    }
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        text.into_bytes().into()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Content({} bytes)", self.len())
    }
}

/// See [`Content::reader`].
#[derive(Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    position: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_slice_reads_its_part_only() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let content = Content::Slice { file: Arc::new(file), offset: 3, len: 4 };
        assert_eq!(content.to_vec().unwrap(), b"3456");
        let mut buffer = [0; 8];
        assert_eq!(content.read_at(&mut buffer, 2).unwrap(), 2);
        assert_eq!(&buffer[..2], b"56");
        assert_eq!(content.read_at(&mut buffer, 9).unwrap(), 0);
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123").unwrap();
        let content = Content::Slice { file: Arc::new(file), offset: 0, len: 5 };
        assert_eq!(content.to_vec().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
