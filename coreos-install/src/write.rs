//! The image onto the disk: verified as it goes, read back, and the first MiB last.
//!
//! zero the edges → runs (all but the first MiB) → digest → old traces off the gaps → read back →
//! partition table to the disk's end → first MiB

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use disk::gpt::{GptError, Table};
use disk::packed::Header;
use sha2::{Digest as _, Sha256};

use crate::image::{Image, ImageError, hex};

/// What is written last: partition table and boot code, without which nothing boots.
pub const FIRST: u64 = 1 << 20;
/// Bytes that are read, hashed and written at a time.
const PIECE: usize = 1 << 20;
const _: () = assert!(PIECE as u64 == FIRST);

/// Why the disk does not hold the system.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The image is not good.
    #[error("{0}; the disk holds nothing that boots")]
    Image(#[source] ImageError),
    /// The disk fails.
    #[error("cannot write to the disk at byte {at}; it holds nothing that boots")]
    Write {
        /// Where.
        at: u64,
        /// Why not.
        source: io::Error,
    },
    /// What was written cannot be read.
    #[error("cannot read the disk back at byte {at}; it holds nothing that boots")]
    Read {
        /// Where.
        at: u64,
        /// Why not.
        source: io::Error,
    },
    /// The disk has other bytes than were written.
    #[error(
        "the disk does not keep what is written to it: {got} was read back, {want} was written; \
         replace the disk"
    )]
    ReadBack {
        /// SHA-256 of what was read.
        got: String,
        /// SHA-256 of the image.
        want: String,
    },
    /// The image has no partition table of this system.
    #[error("the image's partition table does not fit the disk")]
    Table(#[from] GptError),
}

/// A disk to write to: a device, or in a test a file or memory.
pub trait Target: Read + Write + Seek {
    /// Makes what was written durable, and forgets what was read: the next read comes from the disk.
    fn settle(&mut self) -> io::Result<()>;
}

/// Where the installation is, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bytes are written.
    Writing,
    /// Bytes are read back.
    Checking,
}

/// A disk that holds everything but its first MiB, which is kept here.
#[derive(Debug)]
pub struct Written {
    /// What the image is.
    pub header: Header,
    first: Vec<u8>,
}

/// Writes and reads back all but the first MiB, which is zero on the disk. `disk_size` is that of
/// the disk in bytes.
pub fn write(
    mut image: Image,
    target: &mut impl Target,
    disk_size: u64,
    progress: &mut dyn FnMut(Step, u64),
) -> Result<Written, WriteError> {
    // From here on nothing old boots, and no backup of an old partition table is found.
    for start in [0, disk_size.saturating_sub(FIRST)] {
        zero(target, start, FIRST.min(disk_size))?;
    }
    settle(target, 0)?;

    let mut first = vec![0; FIRST as usize];
    let mut piece = vec![0; PIECE];
    let runs = image.header.runs.clone();
    for part in pieces(&runs) {
        let buffer = &mut piece[..(part.end - part.start) as usize];
        image.read(buffer).map_err(WriteError::Image)?;
        if part.start < FIRST {
            first[part.start as usize..part.end as usize].copy_from_slice(buffer);
        } else {
            put(target, part.start, buffer)?;
        }
        progress(Step::Writing, buffer.len() as u64);
    }
    let header = image.finish().map_err(WriteError::Image)?;
    for partition in Table::read(&mut io::Cursor::new(&first))?.partitions() {
        let start = partition.first_lba * disk::layout::SECTOR;
        let end = (partition.last_lba + 1) * disk::layout::SECTOR;
        // An old file system must not be taken for the new partition's.
        if !runs.iter().any(|&(at, length)| at < end && start < at + length) {
            zero(target, start, FIRST.min(end - start))?;
        }
    }
    settle(target, header.size)?;
    check(&header, &first, target, progress)?;
    Ok(Written { header, first })
}

impl Written {
    /// Stretches the table to the disk's end, and writes the first MiB: now the disk boots.
    pub fn finish(mut self, target: &mut impl Target, disk_size: u64) -> Result<(), WriteError> {
        let mut table = Table::read(&mut io::Cursor::new(&self.first))?;
        table.grow_last_to_end(disk_size / disk::layout::SECTOR)?;
        table.write_backup(target)?;
        table.write_primary(&mut io::Cursor::new(&mut self.first[..]))?;
        settle(target, disk_size)?;
        put(target, 0, &self.first)?;
        settle(target, 0)?;
        let mut read = vec![0; self.first.len()];
        get(target, 0, &mut read)?;
        if read != self.first {
            let digest = |bytes: &[u8]| hex(&Sha256::digest(bytes));
            return Err(WriteError::ReadBack { got: digest(&read), want: digest(&self.first) });
        }
        Ok(())
    }

    /// Where a partition is on the disk, in bytes.
    pub fn partition(&self, number: u32) -> Option<Range<u64>> {
        let table = Table::read(&mut io::Cursor::new(&self.first)).ok()?;
        table.partition(number).map(|partition| table.byte_range(&partition))
    }
}

/// Reads everything back and compares it with the image's digest.
fn check(
    header: &Header,
    first: &[u8],
    target: &mut impl Target,
    progress: &mut dyn FnMut(Step, u64),
) -> Result<(), WriteError> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    for part in pieces(&header.runs) {
        let buffer = &mut piece[..(part.end - part.start) as usize];
        if part.start < FIRST {
            buffer.copy_from_slice(&first[part.start as usize..part.end as usize]);
        } else {
            get(target, part.start, buffer)?;
        }
        hasher.update(&buffer);
        progress(Step::Checking, buffer.len() as u64);
    }
    let (got, want) = (hex(&hasher.finalize()), header.sha256.to_ascii_lowercase());
    if got == want { Ok(()) } else { Err(WriteError::ReadBack { got, want }) }
}

/// The runs in pieces, none of which crosses a multiple of [`FIRST`].
fn pieces(runs: &[(u64, u64)]) -> impl Iterator<Item = Range<u64>> {
    runs.iter().flat_map(|&(offset, length)| {
        let mut at = offset;
        std::iter::from_fn(move || {
            let end = ((at / FIRST + 1) * FIRST).min(offset + length);
            let part = at..end;
            at = end;
            (!part.is_empty()).then_some(part)
        })
    })
}

fn put(target: &mut impl Target, at: u64, bytes: &[u8]) -> Result<(), WriteError> {
    let written = target.seek(SeekFrom::Start(at)).and_then(|_| target.write_all(bytes));
    written.map_err(|source| WriteError::Write { at, source })
}

fn get(target: &mut impl Target, at: u64, bytes: &mut [u8]) -> Result<(), WriteError> {
    let read = target.seek(SeekFrom::Start(at)).and_then(|_| target.read_exact(bytes));
    read.map_err(|source| WriteError::Read { at, source })
}

fn zero(target: &mut impl Target, at: u64, length: u64) -> Result<(), WriteError> {
    put(target, at, &vec![0; length as usize])
}

fn settle(target: &mut impl Target, at: u64) -> Result<(), WriteError> {
    target.settle().map_err(|source| WriteError::Write { at, source })
}
