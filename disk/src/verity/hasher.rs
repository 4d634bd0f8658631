//! Blocks to hashes, on both cores, without hashing again what is known.

use std::fmt;
use std::thread;

use ring::digest::{Context, SHA256};

use super::{BLOCK, Superblock};

pub(super) const HASH: usize = 32;

/// How many data blocks are read and hashed at a time: enough that starting
/// a thread for half of them costs nothing beside hashing them.
pub(super) const CHUNK_BLOCKS: usize = 1024;

/// The hash of one block.
pub type Hash = [u8; 32];

/// Blocks whose hashes are known.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    pub(super) data: &'a [u8],
    pub(super) hashes: &'a [Hash],
}

impl<'a> Known<'a> {
    fn split_at(self, blocks: usize) -> (Known<'a>, Known<'a>) {
        let blocks = blocks.min(self.hashes.len());
        let (first, second) = self.data.split_at(blocks * BLOCK as usize);
        let (first_hashes, second_hashes) = self.hashes.split_at(blocks);
        (Known { data: first, hashes: first_hashes }, Known { data: second, hashes: second_hashes })
    }
}

/// Hashes data blocks as the tree does.
#[derive(Clone)]
pub struct BlockHasher(Context);

impl fmt::Debug for BlockHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockHasher")
    }
}

impl BlockHasher {
    /// For the blocks below a tree.
    pub fn new(superblock: &Superblock) -> BlockHasher {
        let mut salted = Context::new(&SHA256);
        salted.update(&superblock.salt);
        BlockHasher(salted)
    }

    /// The hash of one block of [`BLOCK`] bytes.
    pub fn hash(&self, block: &[u8]) -> Hash {
        let mut context = self.0.clone();
        context.update(block);
        context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// The hashes of all blocks of `data`, many of them on two cores; `hashes` has one for each.
    pub fn hash_all(&self, data: &[u8], hashes: &mut [Hash]) {
        self.hash_unknown(data, Known::default(), hashes);
    }

    /// As [`BlockHasher::hash_all`], with the hashes taken from `known` where the data is the same.
    pub(super) fn hash_unknown(&self, data: &[u8], known: Known<'_>, hashes: &mut [Hash]) {
        let each = |data: &[u8], known: Known<'_>, hashes: &mut [Hash]| {
            let mut known = known.data.chunks_exact(BLOCK as usize).zip(known.hashes);
            for (hash, block) in hashes.iter_mut().zip(data.chunks_exact(BLOCK as usize)) {
                *hash = match known.next() {
                    Some((same, hash)) if same == block => *hash,
                    _ => self.hash(block),
                };
            }
        };
        if hashes.len() < CHUNK_BLOCKS {
            return each(data, known, hashes);
        }
        let half = hashes.len() / 2;
        let (first_data, second_data) = data.split_at(half * BLOCK as usize);
        let (first_known, second_known) = known.split_at(half);
        let (first, second) = hashes.split_at_mut(half);
        thread::scope(|scope| {
            scope.spawn(|| each(second_data, second_known, second));
            each(first_data, first_known, first);
        });
    }
}
