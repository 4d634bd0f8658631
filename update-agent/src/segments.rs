//! Several segments of the other slot at a time: they do not depend on each other, so each worker
//! fetches, makes, checks and writes one after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use channels::payload::{Decoder, SEGMENT};

use crate::blocks::{BlocksError, Tally, disk_error};
use crate::device::{Aligned, Region};

/// After so many bytes the disk is made to write: what is dirty stays bounded, and so does what
/// other programs wait for.
const SYNC_EVERY: u64 = 64 << 20;

/// All segments of a slot's root, to be filled.
pub(crate) struct Segments<'a> {
    /// How many.
    pub(crate) count: usize,
    /// The root to be written.
    pub(crate) target: &'a Region,
    /// Segments that are made at the same time. Each takes some 15 MB of memory.
    pub(crate) workers: usize,
    /// Set to make it stop.
    pub(crate) stop: &'a AtomicBool,
}

/// What a worker keeps from one segment to the next.
pub(crate) struct Scratch {
    /// Room for a segment.
    pub(crate) buffer: Aligned,
    pub(crate) decoder: Decoder,
}

/// A segment that is as it must be.
pub(crate) struct Done {
    /// Where its blocks came from.
    pub(crate) tally: Tally,
    /// Bytes that were written.
    pub(crate) written: u64,
}

/// What the workers share.
#[derive(Default)]
struct Shared {
    next: AtomicUsize,
    /// Bytes written so far.
    written: AtomicU64,
    /// Set when one has failed.
    over: AtomicBool,
}

impl Segments<'_> {
    /// Has `fill` see to every segment, and makes all durable. `progress` is told how many blocks
    /// are done. The first failure ends it.
    pub(crate) fn fill(
        &self,
        fill: &(impl Fn(usize, &mut Scratch) -> Result<Done, BlocksError> + Sync),
        progress: &mut dyn FnMut(u64),
    ) -> Result<Tally, BlocksError> {
        let mut tally = Tally::default();
        let shared = Shared::default();
        let mut failure = None;
        thread::scope(|scope| {
            let (sender, results) = mpsc::channel();
            for _ in 0..self.workers {
                let (sender, shared) = (sender.clone(), &shared);
                scope.spawn(move || self.work(fill, shared, &sender));
            }
            drop(sender);
            for result in results {
                match result {
                    Ok(more) => {
                        tally += more;
                        progress(tally.done());
                    }
                    Err(error) => {
                        shared.over.store(true, Ordering::Relaxed);
                        failure.get_or_insert(error);
                    }
                }
            }
        });
        match failure {
            Some(error) => Err(error),
            None => self.flush().map(|()| tally),
        }
    }

    /// Does one segment after the other until there is none left or something has gone wrong.
    fn work(
        &self,
        fill: &(impl Fn(usize, &mut Scratch) -> Result<Done, BlocksError> + Sync),
        shared: &Shared,
        results: &Sender<Result<Tally, BlocksError>>,
    ) {
        let mut scratch = Scratch { buffer: Aligned::new(SEGMENT), decoder: Decoder::new() };
        while !shared.over.load(Ordering::Relaxed) {
            let segment = shared.next.fetch_add(1, Ordering::Relaxed);
            if segment >= self.count {
                return;
            }
            let done = match self.stop.load(Ordering::Relaxed) {
                true => Err(BlocksError::Interrupted),
                false => fill(segment, &mut scratch),
            };
            let done = done.and_then(|done| self.sync(&done, shared).map(|()| done.tally));
            // Nobody listens only if `fill` is over.
            if results.send(done).is_err() {
                return;
            }
        }
    }

    /// Makes the disk write, now and then.
    fn sync(&self, done: &Done, shared: &Shared) -> Result<(), BlocksError> {
        let before = shared.written.fetch_add(done.written, Ordering::Relaxed);
        match before / SYNC_EVERY == (before + done.written) / SYNC_EVERY {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&self) -> Result<(), BlocksError> {
        self.target.flush().map_err(disk_error("write", "other"))
    }
}
