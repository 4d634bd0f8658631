//! Which blocks of a segment the old part has, and where.

use std::collections::HashMap;
use std::io;
use std::num::NonZero;

use sha2::{Digest, Sha256};

use super::workers;
use crate::payload::{BLOCK, ReadAt, SEGMENT};

/// Enough of a SHA-256 that two blocks of one image never share it by chance; a copy that is
/// wrong all the same is found when the record is tried.
type Hash = [u8; 16];

fn hash(block: &[u8]) -> Hash {
    Sha256::digest(block)[..16].try_into().expect("16 of 32 bytes")
}

/// The whole blocks of an old part by their hashes.
#[derive(Debug)]
pub(super) struct OldBlocks {
    hashes: Vec<Hash>,
    /// The first block of each hash.
    first: HashMap<Hash, u32>,
}

/// A row of blocks of a segment that are a row of the old part's as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    /// The first one's number in the segment.
    pub(super) at: u64,
    /// The first one's number in the old part.
    pub(super) source: u64,
    /// How many.
    pub(super) count: u64,
}

impl OldBlocks {
    /// Hashes the whole blocks of a file.
    pub(super) fn read(
        file: &(impl ReadAt + Sync),
        size: u64,
        threads: NonZero<usize>,
    ) -> io::Result<OldBlocks> {
        let whole = size / BLOCK as u64 * BLOCK as u64;
        let parts = whole.div_ceil(SEGMENT as u64) as usize;
        let hashes = workers::by_parts(parts, threads, |part| {
            let start = part as u64 * SEGMENT as u64;
            let mut bytes = vec![0; (whole - start).min(SEGMENT as u64) as usize];
            file.read_exact_at(start, &mut bytes)?;
            Ok(bytes.chunks_exact(BLOCK).map(hash).collect())
        })?;
        let mut first = HashMap::with_capacity(hashes.len());
        for (number, hash) in (0_u32..).zip(&hashes) {
            first.entry(*hash).or_insert(number);
        }
        Ok(OldBlocks { hashes, first })
    }

    /// The rows of a segment's whole blocks that can be copied. A row goes on as long as it can;
    /// where several old blocks are the same, the one at `likely` (by the block's number in the
    /// segment) comes before the first one.
    pub(super) fn copies(&self, segment: &[u8], likely: impl Fn(u64) -> Option<u64>) -> Vec<Copy> {
        let mut copies: Vec<Copy> = Vec::new();
        for (at, block) in (0_u64..).zip(segment.chunks_exact(BLOCK)) {
            let hash = hash(block);
            if let Some(last) = copies.last_mut()
                && last.at + last.count == at
                && self.is(last.source + last.count, &hash)
            {
                last.count += 1;
                continue;
            }
            let likely = likely(at).filter(|likely| self.is(*likely, &hash));
            let source = likely.or_else(|| self.first.get(&hash).map(|first| u64::from(*first)));
            copies.extend(source.map(|source| Copy { at, source, count: 1 }));
        }
        copies
    }

    fn is(&self, number: u64, hash: &Hash) -> bool {
        usize::try_from(number).ok().and_then(|number| self.hashes.get(number)) == Some(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_long_as_they_can_be() {
        let image = |blocks: &[u8]| -> Vec<u8> {
            blocks.iter().flat_map(|block| [*block; BLOCK]).collect()
        };
        let mut old = image(&[1, 2, 3, 0, 0, 5, 2, 9]);
        old.extend([7; 100]);
        let size = old.len() as u64;
        let blocks = OldBlocks::read(&&old[..], size, NonZero::<usize>::MIN).unwrap();
        let copy = |at, source, count| Copy { at, source, count };
        let new = image(&[8, 2, 3, 0, 0, 0, 2, 9, 7]);
        let expected = [copy(1, 1, 4), copy(5, 3, 1), copy(6, 1, 1), copy(7, 7, 1)];
        assert_eq!(blocks.copies(&new, |_| None), expected);
        // A hint makes one row of two.
        let hint = |at| (at == 6).then_some(6);
        let expected = [copy(1, 1, 4), copy(5, 3, 1), copy(6, 6, 2)];
        assert_eq!(blocks.copies(&new, hint), expected);
        assert!(blocks.copies(&[1; 100], |_| None).is_empty());
    }
}
