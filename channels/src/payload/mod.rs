//! The bytes of a release in the form in which machines fetch them: packs of segments.
//!
//! ```text
//! pack's index, checked against what is signed → Index
//! record, checked against the index → Decoder → segment, checked against the index → slot
//! ```
//!
//! A file is cut into segments of [`SEGMENT`] bytes. A *pack of frames* has every segment as one
//! zstd frame; a *patch* has every segment as one record that makes it of the old file's blocks.
//! Records do not depend on each other: fetch, check, decode, write, sync, forget, in any order
//! and as often as need be. Nothing that was not signed reaches the decompressor, no length from
//! the wire is allocated before it is checked, and one [`Decoder`] needs 8 MiB beside the record
//! and the segment, however large the file is. The format is specified in `docs/repository.md`.

mod index; // which record makes which segment
mod record; // one record → what is to be done

mod decode; // doing it

mod leaves; // the hashes of single blocks

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use decode::Decoder;
pub use index::{Entry, Index, IndexInfo, Segment, index_length};
pub use leaves::Leaves;

#[cfg(feature = "publisher")]
pub(crate) use record::write_varint;

/// Bytes in a block: of dm-verity, of EROFS and of what a patch copies.
pub const BLOCK: usize = 4096;
/// Bytes in a segment; the last one of a file may be shorter.
pub const SEGMENT: usize = 4 << 20;
/// Bytes of old blocks that a record's dictionary has at most.
pub const MAX_DICTIONARY: usize = 8 << 20;
/// Bytes of a record at most: an incompressible segment, its frame and its lists.
pub const MAX_RECORD: usize = SEGMENT + (128 << 10);
/// Segments of a file at most: 64 GiB.
pub const MAX_SEGMENTS: u32 = 1 << 14;

/// The old file that a patch builds upon: a slot, a kernel image on the ESP, or a file.
pub trait ReadAt {
    /// Fills `buffer` with the bytes from `offset` on.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        let range = start.zip(end).and_then(|(start, end)| self.get(start..end));
        buffer.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_exact_at(offset, buffer)
    }
}

/// What is wrong with a pack, a record, or the old file.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The index is not the one that is signed.
    #[error("the index of the pack is not the one that is signed")]
    IndexHash,
    /// The index says what cannot be.
    #[error("the index of the pack is malformed: {reason}")]
    Index {
        /// What is wrong.
        reason: String,
    },
    /// There is no such segment.
    #[error("there is no segment {segment}")]
    NoSegment {
        /// The segment that was asked for.
        segment: usize,
    },
    /// A record is not the one that is signed.
    #[error("the record of segment {segment} is not the one that is signed")]
    RecordHash {
        /// The segment.
        segment: usize,
    },
    /// A record says what cannot be.
    #[error("the record of segment {segment} is malformed: {reason}")]
    Record {
        /// The segment.
        segment: usize,
        /// What is wrong.
        reason: String,
    },
    /// The old file cannot be read.
    #[error("cannot read the old blocks for segment {segment}")]
    Old {
        /// The segment.
        segment: usize,
        /// Why.
        source: io::Error,
    },
    /// What came out is not what is signed: for a patch, the old file is not the one that the
    /// patch is for, or has rotted.
    #[error("segment {segment} is not the one that is signed")]
    SegmentHash {
        /// The segment.
        segment: usize,
    },
}
