//! Fills the other slot's root: block by block what the signed tree says, from wherever it comes.
//! This is the way from any release to any other; [`crate::patched`] is the one between two that
//! the publisher made a patch for.
//!
//! ```text
//! per segment of 4 MiB:  plan → copy what the running slot has → fetch the rest
//!                        → every block hashed and compared → written
//! ```
//!
//! No block is written that does not have the hash of the tree. What the running slot gives is
//! checked like what the net gives: a rotten block is fetched instead. Memory is bounded by the
//! number of segments in flight, whatever the size of the image.

use std::io;
use std::ops::{AddAssign, Range};
use std::sync::atomic::{AtomicBool, Ordering};

use channels::fetch::FetchError;
use disk::verity::{BLOCK, Hash, VerityError};

use crate::device::{Aligned, Region};
use crate::payload::{Payload, SegmentError};
use crate::plan::{SEGMENT, SegmentPlan};
use crate::segments::{Done, Scratch, Segments};
use crate::tree::{Index, VerifiedTree};

/// Segments that are fetched and checked at the same time: one more than there are processors on
/// a small machine, for what is on the net.
const WORKERS: usize = 3;

/// Why the root could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// A part could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A segment could not be had in any form.
    #[error("cannot get segment {segment} of the root")]
    Segment {
        /// Its number.
        segment: usize,
        /// Why.
        source: SegmentError,
    },
    /// The server gave other blocks than the signed ones.
    #[error("block {block} that was fetched is not the one that is signed")]
    WrongBlock {
        /// Its number.
        block: u64,
    },
    /// The disk could not be read or written.
    #[error("cannot {action} the {what} slot")]
    Disk {
        /// `read` or `write`.
        action: &'static str,
        /// Which slot.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The tree could not be read.
    #[error("cannot read the verity tree")]
    Tree(#[source] io::Error),
    /// The running slot's tree is not one.
    #[error("cannot read the verity tree of the running slot")]
    Running(#[source] VerityError),
    /// What was written reads back differently.
    #[error(
        "block {block} reads back from the disk other than it was written; the disk is failing"
    )]
    ReadBack {
        /// Its number.
        block: u64,
    },
    /// The root, or its tree, reads back differently.
    #[error("the slot reads back from the disk other than it was written; the disk is failing")]
    ReadBackRoot,
    /// Somebody asked us to stop.
    #[error("interrupted; what is written is kept and used next time")]
    Interrupted,
}

/// What filled the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Blocks that were there from an earlier attempt.
    pub present: u64,
    /// Blocks copied from the running slot.
    pub copied: u64,
    /// Blocks that came from the repository, in whatever form.
    pub fetched: u64,
    /// Blocks of segments that were made by a patch.
    pub patched: u64,
    /// Segments for which a smaller form failed and a larger one was used.
    pub fallbacks: u64,
}

/// What the slot is filled from and where it is.
#[derive(Debug)]
pub struct Fill<'a> {
    /// The judge.
    pub tree: &'a VerifiedTree,
    /// The running slot's root.
    pub running: &'a Region,
    /// What it has.
    pub index: &'a Index,
    /// The root to be written.
    pub target: &'a Region,
    /// What the repository has.
    pub payload: &'a Payload<'a>,
    /// Whether an earlier attempt has begun to write the same.
    pub resume: bool,
    /// Set to make it stop.
    pub stop: &'a AtomicBool,
}

impl Tally {
    /// Blocks that are as they must be.
    pub(crate) fn done(&self) -> u64 {
        self.present + self.copied + self.fetched + self.patched
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.present += more.present;
        self.copied += more.copied;
        self.fetched += more.fetched;
        self.patched += more.patched;
        self.fallbacks += more.fallbacks;
    }
}

impl Fill<'_> {
    /// Writes all blocks and makes them durable. `progress` is told how many are done.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Tally, BlocksError> {
        let count = self.tree.blocks().div_ceil(SEGMENT) as usize;
        let segments = Segments { count, target: self.target, workers: WORKERS, stop: self.stop };
        segments.fill(&|segment, scratch| self.fill(segment as u64, scratch), progress)
    }

    fn blocks_of(&self, segment: u64) -> Range<u64> {
        let first = segment * SEGMENT;
        first..self.tree.blocks().min(first + SEGMENT)
    }

    /// Puts a segment together, checks it, and writes what is not there.
    fn fill(&self, number: u64, scratch: &mut Scratch) -> Result<Done, BlocksError> {
        let Scratch { buffer, decoder } = scratch;
        let blocks = self.blocks_of(number);
        let (first, count) = (blocks.start, (blocks.end - blocks.start) as usize);
        let wanted = self.tree.hashes(first, count).map_err(BlocksError::Tree)?;
        let bytes = &mut buffer.bytes()[..count * BLOCK as usize];
        let mut present = Vec::new();
        if self.resume {
            self.target.read_at(bytes, first * BLOCK).map_err(disk_error("read", "other"))?;
            let mut hashes = vec![[0; 32]; count];
            self.tree.hasher().hash_all(bytes, &mut hashes);
            present = hashes.into_iter().map(Some).collect();
        }
        let plan = SegmentPlan::new(&wanted, &present, self.index);
        let copied: u64 = plan.copies.iter().map(|copy| copy.count).sum();
        let fetched = plan.missing.len() as u64;
        let present = count as u64 - copied - fetched;
        let mut tally = Tally { present, copied, fetched, ..Tally::default() };
        if plan.is_done() {
            return Ok(Done { tally, written: 0 });
        }
        // What is in the buffer and must be right.
        let mut filled = vec![false; wanted.len()];
        for copy in &plan.copies {
            let place = (copy.to * BLOCK) as usize..((copy.to + copy.count) * BLOCK) as usize;
            match self.running.read_at(&mut bytes[place], copy.from * BLOCK) {
                Ok(()) => mark(&mut filled, copy.to..copy.to + copy.count),
                Err(error) => log::warn!("the running slot cannot be read: {error}"),
            }
        }
        let from_net = plan.missing;
        let mut needed: Vec<u64> = from_net.clone();
        needed.extend(plan.copies.iter().flat_map(|copy| copy.to..copy.to + copy.count));
        needed.sort_unstable();

        if !from_net.is_empty() {
            let fetched = self.payload.fetch(number, &from_net)?;
            let placed = self.payload.place(fetched, number, decoder, bytes, &mut filled);
            if let Err(reason) = placed {
                log::warn!("segment {number}: {reason}");
            }
        }
        let mut wrong = self.wrong(bytes, &wanted, &needed, &filled);
        let rotten = wrong.iter().filter(|block| !from_net.contains(block)).count() as u64;
        if rotten > 0 {
            log::warn!("{rotten} blocks of the running slot are damaged; they are fetched instead");
            tally.copied = tally.copied.saturating_sub(rotten);
            tally.fetched += rotten;
        }
        // Whatever was wrong with the smaller forms, the plain image has no more to get wrong
        // than its bytes.
        if !wrong.is_empty() {
            tally.fallbacks += 1;
            let plain = self.payload.fetch_plain(number, &wrong)?;
            let placed = self.payload.place(plain, number, decoder, bytes, &mut filled);
            placed.map_err(|_| BlocksError::WrongBlock { block: first + wrong[0] })?;
            wrong = self.wrong(bytes, &wanted, &needed, &filled);
            if let Some(block) = wrong.first() {
                return Err(BlocksError::WrongBlock { block: first + block });
            }
        }
        for run in contiguous(&needed) {
            let place = (run.start * BLOCK) as usize..(run.end * BLOCK) as usize;
            self.target
                .write_at(&bytes[place], (first + run.start) * BLOCK)
                .map_err(disk_error("write", "other"))?;
        }
        Ok(Done { tally, written: needed.len() as u64 * BLOCK })
    }

    /// The blocks among `needed` that are not in the buffer as they must be.
    fn wrong(&self, bytes: &[u8], wanted: &[Hash], needed: &[u64], filled: &[bool]) -> Vec<u64> {
        let mut hashes = vec![[0; 32]; wanted.len()];
        if needed.len() == wanted.len() {
            self.tree.hasher().hash_all(bytes, &mut hashes);
        } else {
            for &block in needed {
                let at = (block * BLOCK) as usize;
                hashes[block as usize] = self.tree.hasher().hash(&bytes[at..at + BLOCK as usize]);
            }
        }
        let right = |block: usize| filled[block] && hashes[block] == wanted[block];
        needed.iter().copied().filter(|&block| !right(block as usize)).collect()
    }
}

/// Reads all of a root from the medium and compares it with its tree.
pub fn read_back(
    tree: &VerifiedTree,
    root: &Region,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(u64),
) -> Result<(), BlocksError> {
    let mut buffer = Aligned::new((SEGMENT * BLOCK) as usize);
    let mut hashes = vec![[0; 32]; SEGMENT as usize];
    let mut block = 0;
    while block < tree.blocks() {
        if stop.load(Ordering::Relaxed) {
            return Err(BlocksError::Interrupted);
        }
        let count = (tree.blocks() - block).min(SEGMENT) as usize;
        let bytes = &mut buffer.bytes()[..count * BLOCK as usize];
        root.read_medium_at(bytes, block * BLOCK).map_err(disk_error("read", "other"))?;
        tree.hasher().hash_all(bytes, &mut hashes[..count]);
        let wanted = tree.hashes(block, count).map_err(BlocksError::Tree)?;
        if let Some(at) = (0..count).find(|&at| hashes[at] != wanted[at]) {
            return Err(BlocksError::ReadBack { block: block + at as u64 });
        }
        block += count as u64;
        progress(block);
    }
    Ok(())
}

pub(crate) fn disk_error(
    action: &'static str,
    what: &'static str,
) -> impl Fn(io::Error) -> BlocksError {
    move |source| BlocksError::Disk { action, what, source }
}

fn mark(filled: &mut [bool], blocks: Range<u64>) {
    filled[blocks.start as usize..blocks.end as usize].fill(true);
}

/// The runs of numbers that follow one another.
fn contiguous(blocks: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for &block in blocks {
        match runs.last_mut() {
            Some(run) if run.end == block => run.end += 1,
            _ => runs.push(block..block + 1),
        }
    }
    runs
}
