//! What the file system drivers read from: a stretch of a disc, with an
//! allowance.
//!
//! A damaged directory can make a driver read the same blocks over and over.
//! Nothing it does goes on without reading, so an allowance on what is read in
//! one operation bounds how long that operation takes, whatever is on the disc.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hadris_io::{Error, ErrorKind, ErrorType};
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

/// Unit that the drivers read in.
const BLOCK: u64 = 512;

/// What an operation may still read, in bytes; shared with the device that a
/// driver has taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    /// Begins a new operation.
    pub(super) fn renew(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Takes a read of so many bytes off; false if there is not enough left.
    fn take(&self, bytes: u64) -> bool {
        let rest = self.0.load(Ordering::Relaxed).checked_sub(bytes.max(BLOCK));
        self.0.store(rest.unwrap_or(0), Ordering::Relaxed);
        rest.is_some()
    }
}

/// Why a block cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    /// The disc does not let it be read.
    #[error("cannot read the disc")]
    Io(#[source] io::Error),
    /// The operation has read more than any sound disc needs.
    #[error("the allowance is used up")]
    Exhausted,
}

/// A disc, or one partition of it.
#[derive(Debug)]
pub(super) struct Device<R> {
    /// The disc itself.
    pub(super) file: R,
    range: Range<u64>,
    allowance: Allowance,
}

impl<R: Read + Seek> Device<R> {
    /// The whole of `file`.
    pub(super) fn new(mut file: R, allowance: Allowance) -> io::Result<Device<R>> {
        let end = file.seek(SeekFrom::End(0))?;
        Ok(Device { file, range: 0..end, allowance })
    }

    /// Cuts it down to a stretch of bytes, as far as that exists.
    pub(super) fn narrowed(self, range: &Range<u64>) -> Device<R> {
        let end = range.end.min(self.range.end);
        Device { range: range.start.min(end)..end, ..self }
    }

    /// Whether not even one block is there.
    pub(super) fn is_empty(&self) -> bool {
        self.range.end - self.range.start < BLOCK
    }

    /// Whether an ISO 9660 volume begins here: its descriptors come after
    /// sixteen sectors of 2048 bytes.
    pub(super) fn has_iso9660(&mut self) -> io::Result<bool> {
        const IDENTIFIER: u64 = 16 * 2048 + 1;
        let mut identifier = [0; 5];
        if self.range.end - self.range.start < IDENTIFIER + 5 {
            return Ok(false);
        }
        self.file.seek(SeekFrom::Start(self.range.start + IDENTIFIER))?;
        self.file.read_exact(&mut identifier)?;
        Ok(&identifier == b"CD001")
    }
}

impl<R> ErrorType for Device<R> {
    type Error = DeviceError;
}

impl<R: Read + Seek> BlockDevice for Device<R> {
    fn block_size(&self) -> BlockSize {
        BlockSize::new(BLOCK as u32).expect("512 is a power of two")
    }

    fn block_count(&self) -> u64 {
        (self.range.end - self.range.start) / BLOCK
    }

    fn read_blocks(&mut self, first: BlockIndex, out: &mut [u8]) -> Result<(), Error<DeviceError>> {
        let length = out.len() as u64;
        let start = first.get().saturating_mul(BLOCK).saturating_add(self.range.start);
        if start.saturating_add(length) > self.range.end {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "something lies behind the end of the disc",
            ));
        }
        if !self.allowance.take(length) {
            return Err(Error::device(DeviceError::Exhausted, "the allowance is used up"));
        }
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(out))
            .map_err(|error| Error::device(DeviceError::Io(error), "cannot read the disc"))
    }
}
