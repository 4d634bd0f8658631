//! Fills the other slot's root by a patch: every segment is made of the running slot's blocks and
//! a small record, and checked against the signed index before it is written.
//!
//! No verity tree is fetched: it is made of what was written, and must come out with the signed
//! root hash.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use channels::payload::{Decoder, Index, SEGMENT};
use disk::verity::{self, BLOCK, RootHash, Superblock, VerityError};

use crate::blocks::{BlocksError, SYNC_EVERY, Tally, disk_error};
use crate::device::{Aligned, Region};
use crate::payload::Payload;

/// Segments that are made at the same time. Each takes some 15 MB of memory.
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

/// A segment that is as it must be.
struct Done {
    blocks: u64,
    how: How,
}

enum How {
    Present,
    Patched,
    /// The patch did not do, a larger form did.
    Mended,
}

/// What the workers share.
#[derive(Default)]
struct Progress {
    next: AtomicUsize,
    /// Bytes written so far.
    written: AtomicU64,
    /// Set when one has failed.
    over: AtomicBool,
}

impl Patch<'_> {
    /// Writes all segments and makes them durable. `progress` is told how many blocks are done.
    ///
    /// Segments do not depend on each other, so several are fetched, made, checked and written at
    /// a time.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Tally, BlocksError> {
        let mut tally = Tally::default();
        let shared = Progress::default();
        let mut failure = None;
        thread::scope(|scope| {
            let (sender, results) = mpsc::channel();
            for _ in 0..WORKERS {
                let (sender, shared) = (sender.clone(), &shared);
                scope.spawn(move || self.work(shared, &sender));
            }
            drop(sender);
            for result in results {
                match result {
                    Ok(Done { blocks, how }) => {
                        match how {
                            How::Present => tally.present += blocks,
                            How::Patched => tally.patched += blocks,
                            How::Mended => {
                                tally.fallbacks += 1;
                                tally.fetched += blocks;
                            }
                        }
                        progress(tally.present + tally.fetched + tally.patched);
                    }
                    Err(error) => {
                        shared.over.store(true, Ordering::Relaxed);
                        failure.get_or_insert(error);
                    }
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        self.target.flush().map_err(disk_error("write", "other"))?;
        Ok(tally)
    }

    /// Does one segment after the other until there is none left or something has gone wrong.
    fn work(&self, shared: &Progress, results: &Sender<Result<Done, BlocksError>>) {
        let mut buffer = Aligned::new(SEGMENT);
        let mut decoder = Decoder::new();
        while !shared.over.load(Ordering::Relaxed) {
            let segment = shared.next.fetch_add(1, Ordering::Relaxed);
            if segment >= self.index.len() {
                return;
            }
            let done = match self.stop.load(Ordering::Relaxed) {
                true => Err(BlocksError::Interrupted),
                false => self.fill(segment, &mut buffer, &mut decoder, shared),
            };
            // Nobody listens only if `run` is over.
            if results.send(done).is_err() {
                return;
            }
        }
    }

    /// Sees to it that one segment is there.
    fn fill(
        &self,
        segment: usize,
        buffer: &mut Aligned,
        decoder: &mut Decoder,
        shared: &Progress,
    ) -> Result<Done, BlocksError> {
        let blocks = self.blocks_of(segment);
        if self.resume && self.is_there(segment, buffer)? {
            return Ok(Done { blocks, how: How::Present });
        }
        let record = self.payload.fetch_record(segment);
        let out = &mut buffer.bytes()[..self.payload.segment_length(segment)];
        let mended = self
            .payload
            .patched(segment, record, self.running, decoder, out)
            .map_err(|source| BlocksError::Segment { segment, source })?;
        self.target
            .write_at(out, (segment * SEGMENT) as u64)
            .map_err(disk_error("write", "other"))?;
        let length = out.len() as u64;
        let before = shared.written.fetch_add(length, Ordering::Relaxed);
        if before / SYNC_EVERY != (before + length) / SYNC_EVERY {
            self.target.flush().map_err(disk_error("write", "other"))?;
        }
        Ok(Done { blocks, how: if mended { How::Mended } else { How::Patched } })
    }

    fn blocks_of(&self, segment: usize) -> u64 {
        self.payload.segment_length(segment) as u64 / BLOCK
    }

    fn is_there(&self, segment: usize, buffer: &mut Aligned) -> Result<bool, BlocksError> {
        let bytes = &mut buffer.bytes()[..self.payload.segment_length(segment)];
        self.target
            .read_at(bytes, (segment * SEGMENT) as u64)
            .map_err(disk_error("read", "other"))?;
        Ok(self.index.check_segment(segment, bytes).is_ok())
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
