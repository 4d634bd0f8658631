//! Fills the other slot's root by a patch: every segment is made of the running slot's blocks and
//! a small record, and checked against the signed index before it is written.
//!
//! No verity tree is fetched: it is made of what was written, and must come out with the signed
//! root hash.

use std::io::{self, Read};
use std::sync::atomic::AtomicBool;

use channels::payload::{Index, SEGMENT};
use disk::verity::{self, BLOCK, RootHash, Superblock, VerityError};

use crate::blocks::{BlocksError, Tally, disk_error};
use crate::device::{Aligned, Region};
use crate::payload::Payload;
use crate::segments::{Done, Scratch, Segments};

/// Segments that are made at the same time.
const WORKERS: usize = 2;

/// What the slot is filled from and where it is.
#[derive(Debug)]
pub struct Patch<'a> {
    /// What the repository has.
    pub payload: &'a Payload<'a>,
    /// The index of the patch.
    pub index: &'a Index,
    /// The running slot's root.
    pub running: &'a Region,
    /// The root to be written.
    pub target: &'a Region,
    /// Whether an earlier attempt has begun to write the same.
    pub resume: bool,
    /// Set to make it stop.
    pub stop: &'a AtomicBool,
}

impl Patch<'_> {
    /// Writes all segments and makes them durable. `progress` is told how many blocks are done.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Tally, BlocksError> {
        let (count, target, stop) = (self.index.len(), self.target, self.stop);
        let segments = Segments { count, target, workers: WORKERS, stop };
        segments.fill(&|segment, scratch| self.fill(segment, scratch), progress)
    }

    /// Sees to it that one segment is there.
    fn fill(&self, segment: usize, scratch: &mut Scratch) -> Result<Done, BlocksError> {
        let Scratch { buffer, decoder } = scratch;
        let out = &mut buffer.bytes()[..self.payload.segment_length(segment)];
        let (place, length) = ((segment * SEGMENT) as u64, out.len() as u64);
        let blocks = length / BLOCK;
        if self.resume {
            self.target.read_at(out, place).map_err(disk_error("read", "other"))?;
            if self.index.check_segment(segment, out).is_ok() {
                let tally = Tally { present: blocks, ..Tally::default() };
                return Ok(Done { tally, written: 0 });
            }
        }
        let record = self.payload.fetch_record(segment);
        let mended = self
            .payload
            .patched(segment, record, self.running, decoder, out)
            .map_err(|source| BlocksError::Segment { segment, source })?;
        self.target.write_at(out, place).map_err(disk_error("write", "other"))?;
        let tally = match mended {
            true => Tally { fallbacks: 1, fetched: blocks, ..Tally::default() },
            false => Tally { patched: blocks, ..Tally::default() },
        };
        Ok(Done { tally, written: length })
    }
}

/// Makes the verity tree of what the medium has of a root, and writes it to its partition. Returns
/// the root hash that it has.
pub fn make_tree(
    superblock: &Superblock,
    root: &Region,
    partition: &Region,
    progress: &mut dyn FnMut(u64),
) -> Result<RootHash, VerityError> {
    let buffer = Aligned::new(SEGMENT);
    let mut medium = Medium { region: root, position: 0, buffer, held: 0..0, progress };
    let hash = verity::build(superblock, &mut medium, &mut partition.cursor())?;
    partition.flush().map_err(|source| VerityError::WriteTree { source })?;
    Ok(hash)
}

/// A region as its medium has it, from the start on.
pub struct Medium<'a> {
    region: &'a Region,
    position: u64,
    buffer: Aligned,
    held: std::ops::Range<usize>,
    progress: &'a mut dyn FnMut(u64),
}

impl std::fmt::Debug for Medium<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Medium").field("position", &self.position).finish_non_exhaustive()
    }
}

impl<'a> Medium<'a> {
    /// A region, of which `progress` is told how many blocks were read.
    pub fn new(region: &'a Region, progress: &'a mut dyn FnMut(u64)) -> Medium<'a> {
        Medium { region, position: 0, buffer: Aligned::new(SEGMENT), held: 0..0, progress }
    }
}

impl Read for Medium<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            let left = self.region.size().saturating_sub(self.position);
            let count = left.min(SEGMENT as u64) as usize;
            self.region.read_medium_at(&mut self.buffer.bytes()[..count], self.position)?;
            self.position += count as u64;
            self.held = 0..count;
            (self.progress)(self.position / BLOCK);
        }
        let count = out.len().min(self.held.len());
        let start = self.held.start;
        out[..count].copy_from_slice(&self.buffer.bytes()[start..start + count]);
        self.held.start += count;
        Ok(count)
    }
}
