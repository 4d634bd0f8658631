//! The hash tree: its shape, and how a block and the tree itself are checked
//! against the root hash.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use super::hasher::{BlockHasher, HASH};
use super::{BLOCK, RootHash, Superblock, VerityError};

/// Where the tree begins on the verity partition: after the superblock.
pub(super) const FIRST_BLOCK: u64 = 1;

/// More than any disk holds, and far from where byte offsets overflow.
pub(super) const MAX_DATA_BLOCKS: u64 = 1 << 48;

/// Hashes in one hash block.
const FANOUT: u64 = BLOCK / HASH as u64;

/// One level of the tree: its place on the verity partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) first_block: u64,
    pub(super) blocks: u64,
}

/// The levels over `data_blocks` blocks, the one nearest to the data first.
/// A single block needs none: its hash is the root hash.
pub(super) fn levels(data_blocks: u64) -> Vec<Level> {
    let mut levels = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(FANOUT);
        levels.push(Level { first_block: 0, blocks: below });
    }
    let mut next = FIRST_BLOCK;
    for level in levels.iter_mut().rev() {
        level.first_block = next;
        next += level.blocks;
    }
    levels
}

/// Bytes that the superblock and the tree over `data_blocks` blocks take.
pub fn partition_size(data_blocks: u64) -> u64 {
    let tree: u64 = levels(data_blocks).iter().map(|level| level.blocks).sum();
    (FIRST_BLOCK + tree).saturating_mul(BLOCK)
}

/// Where on the verity partition the hashes of the data blocks are, in bytes: those of block 0
/// first, one after the other. Empty for a single block, whose hash is the root hash.
pub fn leaves(data_blocks: u64) -> Range<u64> {
    let level = levels(data_blocks).into_iter().next();
    let start = level.map_or(FIRST_BLOCK, |level| level.first_block) * BLOCK;
    start..start + level.map_or(0, |_| data_blocks * HASH as u64)
}

/// Whether the whole tree is what the root hash says. Reads it once, with constant memory; what
/// is below it is not looked at.
pub fn check_tree(
    superblock: &Superblock,
    root: &RootHash,
    tree: &mut (impl Read + Seek),
) -> Result<bool, VerityError> {
    superblock.check()?;
    let hasher = BlockHasher::new(superblock);
    let levels = levels(superblock.data_blocks);
    let mut read = |block: u64, node: &mut [u8; BLOCK as usize]| {
        tree.seek(SeekFrom::Start(block * BLOCK))
            .and_then(|_| tree.read_exact(node))
            .map_err(|source| VerityError::ReadTree { block, source })
    };
    let (mut node, mut above) = ([0; BLOCK as usize], [0; BLOCK as usize]);
    for (level, parent) in levels.iter().zip(levels.iter().skip(1).map(Some).chain([None])) {
        for index in 0..level.blocks {
            read(level.first_block + index, &mut node)?;
            let hash = hasher.hash(&node);
            let Some(parent) = parent else {
                if hash != root.0 {
                    return Ok(false);
                }
                continue;
            };
            if index % FANOUT == 0 {
                read(parent.first_block + index / FANOUT, &mut above)?;
            }
            let at = (index % FANOUT) as usize * HASH;
            if above[at..at + HASH] != hash {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether `data`, block `index` of the protected data, is what the tree
/// says, and the tree what the root hash says.
pub fn check(
    superblock: &Superblock,
    root: &RootHash,
    tree: &mut (impl Read + Seek),
    index: u64,
    data: &[u8; BLOCK as usize],
) -> Result<bool, VerityError> {
    superblock.check()?;
    let blocks = superblock.data_blocks;
    if index >= blocks {
        return Err(VerityError::NoSuchBlock { index, blocks });
    }
    let hasher = BlockHasher::new(superblock);
    let mut hash = hasher.hash(data);
    let mut index = index;
    let mut node = [0; BLOCK as usize];
    for level in levels(blocks) {
        let block = level.first_block + index / FANOUT;
        tree.seek(SeekFrom::Start(block * BLOCK))
            .and_then(|_| tree.read_exact(&mut node))
            .map_err(|source| VerityError::ReadTree { block, source })?;
        let at = (index % FANOUT) as usize * HASH;
        if node[at..at + HASH] != hash {
            return Ok(false);
        }
        hash = hasher.hash(&node);
        index /= FANOUT;
    }
    Ok(hash == root.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::build;
    use super::*;
    use crate::guid::Guid;
    use std::io::Cursor;

    /// Data whose blocks all differ, as a function of their number.
    pub(in super::super) fn block(index: u64) -> [u8; BLOCK as usize] {
        let mut block = [index as u8; BLOCK as usize];
        block[..8].copy_from_slice(&index.to_le_bytes());
        block
    }

    fn built(blocks: u64) -> (Superblock, RootHash, Vec<u8>) {
        let superblock = Superblock::new(Guid::NIL, b"salt", blocks).unwrap();
        let data: Vec<u8> = (0..blocks).flat_map(block).collect();
        let mut out = Cursor::new(Vec::new());
        let root = build(&superblock, &mut data.as_slice(), &mut out).unwrap();
        (superblock, root, out.into_inner())
    }

    #[test]
    fn the_top_level_comes_first() {
        let level = |first_block, blocks| Level { first_block, blocks };
        for (data_blocks, expected) in [
            (1, vec![]),
            (2, vec![level(1, 1)]),
            (128, vec![level(1, 1)]),
            (129, vec![level(2, 2), level(1, 1)]),
            (128 * 128, vec![level(2, 128), level(1, 1)]),
            (128 * 128 + 1, vec![level(4, 129), level(2, 2), level(1, 1)]),
        ] {
            assert_eq!(levels(data_blocks), expected, "{data_blocks} blocks");
        }
    }

    #[test]
    fn the_partition_size_is_what_gets_written() {
        for blocks in [1, 2, 128, 129, 3000] {
            let (_, _, written) = built(blocks);
            assert_eq!(written.len() as u64, partition_size(blocks), "{blocks} blocks");
        }
        assert_eq!(partition_size(1 << 19), 4130 * BLOCK);
        assert_eq!(partition_size(u64::MAX), u64::MAX);
    }

    #[test]
    fn every_block_checks_and_no_other_block_in_its_place() {
        for blocks in [1, 2, 129, 1025] {
            let (superblock, root, tree) = built(blocks);
            let mut tree = Cursor::new(tree);
            for index in 0..blocks {
                assert!(check(&superblock, &root, &mut tree, index, &block(index)).unwrap());
            }
            assert!(!check(&superblock, &root, &mut tree, 0, &block(1)).unwrap());
            assert!(matches!(
                check(&superblock, &root, &mut tree, blocks, &block(0)),
                Err(VerityError::NoSuchBlock { .. })
            ));
        }
    }

    #[test]
    fn a_changed_tree_no_longer_agrees_with_the_root_hash() {
        let (superblock, root, tree) = built(129);
        for at in [BLOCK, 2 * BLOCK] {
            let mut changed = tree.clone();
            changed[at as usize] ^= 1;
            let mut changed = Cursor::new(changed);
            assert!(!check(&superblock, &root, &mut changed, 0, &block(0)).unwrap());
        }
        let truncated = &tree[..BLOCK as usize];
        assert!(matches!(
            check(&superblock, &root, &mut Cursor::new(truncated), 0, &block(0)),
            Err(VerityError::ReadTree { block: 2, .. })
        ));
    }

    #[test]
    fn the_leaves_are_the_hashes_of_the_blocks_in_order() {
        for blocks in [2, 129, 128 * 128 + 1] {
            let (superblock, _, tree) = built(blocks);
            let hasher = BlockHasher::new(&superblock);
            let leaves = leaves(blocks);
            assert_eq!(leaves.end - leaves.start, blocks * 32);
            let leaves = &tree[leaves.start as usize..leaves.end as usize];
            for (index, leaf) in leaves.chunks(32).enumerate() {
                assert_eq!(leaf, hasher.hash(&block(index as u64)), "{index} of {blocks}");
            }
        }
        assert!(leaves(1).is_empty());
    }

    #[test]
    fn a_tree_with_any_changed_block_is_found_out() {
        for blocks in [1, 2, 129, 128 * 128 + 1] {
            let (superblock, root, tree) = built(blocks);
            let check =
                |tree: &[u8]| check_tree(&superblock, &root, &mut Cursor::new(tree)).unwrap();
            assert!(check(&tree), "{blocks} blocks");
            for at in (BLOCK..tree.len() as u64).step_by(BLOCK as usize) {
                let mut changed = tree.clone();
                changed[at as usize + 4095] ^= 1;
                assert!(!check(&changed), "{blocks} blocks, changed at {at}");
            }
            let other = RootHash([7; 32]);
            let same = check_tree(&superblock, &other, &mut Cursor::new(&tree)).unwrap();
            assert_eq!(same, blocks == 1, "nothing is above the data of a single block");
        }
    }
}
