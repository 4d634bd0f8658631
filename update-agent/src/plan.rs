//! Which blocks of a segment come from where. Plain arithmetic on hashes.
//!
//! hashes that must be, hashes that are there, index of the running slot → [`SegmentPlan`]

use std::ops::Range;

use disk::verity::Hash;

use crate::tree::Index;

/// Blocks in a segment: 4 MiB, the unit of downloads, checks and writes.
pub const SEGMENT: u64 = 1024;

/// A gap of so many blocks between two parts that are fetched is fetched with them: a request
/// costs more than 64 KiB.
const GAP: u64 = 16;

/// Blocks of one segment, by their number within it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentPlan {
    /// Blocks of the running slot to copy: where they go, and where they are there.
    pub copies: Vec<Copy>,
    /// Blocks that must be fetched.
    pub missing: Vec<u64>,
}

/// A run of blocks that follow one another in both places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The first block within the segment.
    pub to: u64,
    /// The first block of the running slot.
    pub from: u64,
    /// How many.
    pub count: u64,
}

impl SegmentPlan {
    /// Plans a segment: `wanted` are the hashes of its blocks, `present` those that are in the
    /// slot already, if that is known.
    pub fn new(wanted: &[Hash], present: &[Option<Hash>], index: &Index) -> SegmentPlan {
        let mut plan = SegmentPlan::default();
        for (to, hash) in (0..).zip(wanted) {
            if present.get(to as usize) == Some(&Some(*hash)) {
                continue;
            }
            let Some(from) = index.find(hash) else {
                plan.missing.push(to);
                continue;
            };
            match plan.copies.last_mut() {
                Some(run) if run.to + run.count == to && run.from + run.count == from => {
                    run.count += 1;
                }
                _ => plan.copies.push(Copy { to, from, count: 1 }),
            }
        }
        plan
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        self.copies.is_empty() && self.missing.is_empty()
    }
}

/// The parts to fetch so that all of `blocks`, which are in order, come.
pub fn runs(blocks: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for &block in blocks {
        match runs.last_mut() {
            Some(run) if block <= run.end + GAP => run.end = block + 1,
            _ => runs.push(block..block + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_that_are_close_are_fetched_together() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[3, 4, 5]), vec![3..6]);
        assert_eq!(runs(&[0, 17, 35]), [0..18, 35..36]);
    }

    proptest! {
        #[test]
        fn all_blocks_are_in_the_parts_and_the_parts_in_order(
            blocks in prop::collection::btree_set(0..1024_u64, 0..200),
        ) {
            let blocks: Vec<_> = blocks.into_iter().collect();
            let runs = runs(&blocks);
            prop_assert!(blocks.iter().all(|block| runs.iter().any(|run| run.contains(block))));
            prop_assert!(runs.windows(2).all(|pair| pair[0].end + GAP < pair[1].start));
        }
    }
}
