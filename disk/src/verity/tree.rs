//! The hash tree: its shape, how it is built in one pass, how a block is
//! checked against it.

use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::thread;

use ring::digest::{Context, SHA256};

use super::{BLOCK, RootHash, Superblock, VerityError};

/// Where the tree begins on the verity partition: after the superblock.
pub(super) const FIRST_BLOCK: u64 = 1;

/// More than any disk holds, and far from where byte offsets overflow.
pub(super) const MAX_DATA_BLOCKS: u64 = 1 << 48;

/// Hashes in one hash block.
const FANOUT: u64 = BLOCK / HASH as u64;
const HASH: usize = 32;

/// How many data blocks are read and hashed at a time: enough that starting
/// a thread for half of them costs nothing beside hashing them.
const CHUNK_BLOCKS: usize = 1024;

/// The hash of one block.
pub type Hash = [u8; HASH];

/// One level of the tree: its place on the verity partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    first_block: u64,
    blocks: u64,
}

/// The levels over `data_blocks` blocks, the one nearest to the data first.
/// A single block needs none: its hash is the root hash.
fn levels(data_blocks: u64) -> Vec<Level> {
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

/// Hashes the data and writes tree and superblock, the superblock last.
///
/// Memory is constant: 4 MiB of data, and one block per level. `out` is the
/// verity partition, or a file as long as [`partition_size`] says.
pub fn build(
    superblock: &Superblock,
    data: &mut impl Read,
    out: &mut (impl Write + Seek),
) -> Result<RootHash, VerityError> {
    build_after(None, superblock, data, out)
}

/// As [`build`], with the same result; what is the same as `earlier` is not hashed again.
pub fn build_after(
    mut earlier: Option<Earlier<'_>>,
    superblock: &Superblock,
    data: &mut impl Read,
    out: &mut (impl Write + Seek),
) -> Result<RootHash, VerityError> {
    superblock.check()?;
    let hasher = BlockHasher::new(superblock);
    let mut tree = Builder::new(&hasher, superblock.data_blocks, out);
    let mut chunk = vec![0; CHUNK_BLOCKS * BLOCK as usize];
    let mut hashes = [[0; HASH]; CHUNK_BLOCKS];
    let mut left = superblock.data_blocks;
    while left > 0 {
        let blocks = left.min(CHUNK_BLOCKS as u64) as usize;
        let chunk = &mut chunk[..blocks * BLOCK as usize];
        data.read_exact(chunk).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                VerityError::DataTooShort { blocks: superblock.data_blocks }
            }
            _ => VerityError::ReadData { source },
        })?;
        let known = earlier.as_mut().map_or(Known::default(), |earlier| earlier.next(blocks));
        hasher.hash_unknown(chunk, known, &mut hashes[..blocks]);
        for hash in &hashes[..blocks] {
            tree.push(0, *hash)?;
        }
        left -= blocks as u64;
    }
    let root = tree.finish()?;
    let write = |source| VerityError::WriteTree { source };
    out.seek(SeekFrom::Start(0)).map_err(write)?;
    out.write_all(&superblock.to_block()).map_err(write)?;
    out.flush().map_err(write)?;
    Ok(root)
}

/// Data that was hashed before, and its hashes.
pub struct Earlier<'a> {
    data: &'a mut dyn Read,
    leaves: std::vec::IntoIter<Hash>,
    chunk: Vec<u8>,
    known: Vec<Hash>,
}

impl fmt::Debug for Earlier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Earlier({} blocks)", self.leaves.len())
    }
}

impl<'a> Earlier<'a> {
    /// What was under the `tree` with this root hash, if it was salted as `superblock` says; none
    /// if it was not, or if the tree is not whole. `data` is trusted to be what was hashed.
    pub fn new(
        superblock: &Superblock,
        root: &RootHash,
        data: &'a mut dyn Read,
        tree: &mut (impl Read + Seek),
    ) -> Option<Earlier<'a>> {
        tree.rewind().ok()?;
        let theirs = Superblock::read(tree).ok()?;
        if theirs.salt != superblock.salt || !check_tree(&theirs, root, tree).ok()? {
            return None;
        }
        let range = leaves(theirs.data_blocks);
        let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
        tree.seek(SeekFrom::Start(range.start)).and_then(|_| tree.read_exact(&mut bytes)).ok()?;
        let leaves: Vec<Hash> = bytes.as_chunks().0.to_vec();
        let (chunk, known) = (Vec::new(), Vec::new());
        Some(Earlier { data, leaves: leaves.into_iter(), chunk, known })
    }

    /// The next blocks, as many of these as there are.
    fn next(&mut self, blocks: usize) -> Known<'_> {
        self.known.clear();
        self.known.extend(self.leaves.by_ref().take(blocks));
        self.chunk.resize(self.known.len() * BLOCK as usize, 0);
        if self.data.read_exact(&mut self.chunk).is_err() {
            // Nothing is known of this nor of what follows.
            (self.known, self.chunk, self.leaves) = Default::default();
        }
        Known { data: &self.chunk, hashes: &self.known }
    }
}

/// Blocks whose hashes are known.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    data: &'a [u8],
    hashes: &'a [Hash],
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
    fn hash_unknown(&self, data: &[u8], known: Known<'_>, hashes: &mut [Hash]) {
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

/// A tree being built from its leaves upwards, one open block per level.
struct Builder<'a, W> {
    hasher: &'a BlockHasher,
    levels: Vec<OpenBlock>,
    /// Hash of the single block above everything, once known.
    root: Option<Hash>,
    out: &'a mut W,
    /// Block that `out` stands at, if known.
    position: Option<u64>,
}

struct OpenBlock {
    /// Where it goes.
    block: u64,
    hashes: Vec<u8>,
}

impl<'a, W: Write + Seek> Builder<'a, W> {
    fn new(hasher: &'a BlockHasher, data_blocks: u64, out: &'a mut W) -> Self {
        let levels = levels(data_blocks)
            .iter()
            .map(|level| OpenBlock {
                block: level.first_block,
                hashes: Vec::with_capacity(BLOCK as usize),
            })
            .collect();
        Builder { hasher, levels, root: None, out, position: None }
    }

    /// Adds a hash to a level; the hash above the top level is the root.
    fn push(&mut self, level: usize, hash: Hash) -> Result<(), VerityError> {
        let Some(open) = self.levels.get_mut(level) else {
            self.root = Some(hash);
            return Ok(());
        };
        open.hashes.extend_from_slice(&hash);
        if open.hashes.len() == BLOCK as usize { self.close(level) } else { Ok(()) }
    }

    /// Writes the open block of a level and hands its hash to the next one.
    fn close(&mut self, level: usize) -> Result<(), VerityError> {
        let write = |source| VerityError::WriteTree { source };
        let open = &mut self.levels[level];
        open.hashes.resize(BLOCK as usize, 0);
        if self.position != Some(open.block) {
            self.out.seek(SeekFrom::Start(open.block * BLOCK)).map_err(write)?;
        }
        self.out.write_all(&open.hashes).map_err(write)?;
        open.block += 1;
        self.position = Some(open.block);
        let hash = self.hasher.hash(&open.hashes);
        open.hashes.clear();
        self.push(level + 1, hash)
    }

    fn finish(mut self) -> Result<RootHash, VerityError> {
        for level in 0..self.levels.len() {
            if !self.levels[level].hashes.is_empty() {
                self.close(level)?;
            }
        }
        Ok(RootHash(self.root.expect("the topmost block was closed: there is at least one block")))
    }
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
mod tests {
    use super::*;
    use crate::guid::Guid;
    use std::io::Cursor;

    /// Data whose blocks all differ, as a function of their number.
    fn block(index: u64) -> [u8; BLOCK as usize] {
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
    fn what_an_earlier_build_knows_changes_nothing_of_the_tree() {
        let data = |blocks: u64| (0..blocks).flat_map(block).collect::<Vec<u8>>();
        let (old, root, tree) = built(3000);
        for (blocks, changed) in [(3000, vec![]), (2500, vec![7, 1030]), (4200, vec![0, 2999])] {
            let mut new = data(blocks);
            changed.iter().for_each(|block| new[block * BLOCK as usize] ^= 1);
            let superblock = Superblock::new(Guid::NIL, b"salt", blocks).unwrap();
            let mut plain = Cursor::new(Vec::new());
            let wanted = build(&superblock, &mut new.as_slice(), &mut plain).unwrap();
            // The second one is cut short, which is less known and nothing else.
            for length in [3000, 1500] {
                let before = data(length);
                let mut before = before.as_slice();
                let tree = &mut Cursor::new(&tree);
                let earlier = Earlier::new(&superblock, &root, &mut before, tree).unwrap();
                let mut out = Cursor::new(Vec::new());
                let found =
                    build_after(Some(earlier), &superblock, &mut new.as_slice(), &mut out).unwrap();
                assert!(found == wanted && out.get_ref() == plain.get_ref(), "{blocks} blocks");
            }
        }
        let mut nothing = std::io::empty();
        let mut other = |salt: &[u8], root: &RootHash, tree: &[u8]| {
            let superblock = Superblock::new(Guid::NIL, salt, 3000).unwrap();
            Earlier::new(&superblock, root, &mut nothing, &mut Cursor::new(tree)).is_some()
        };
        let mut damaged = tree.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(other(&old.salt, &root, &tree));
        assert!(!other(b"pepper", &root, &tree), "another salt");
        assert!(!other(&old.salt, &RootHash([0; 32]), &tree), "another root hash");
        assert!(!other(&old.salt, &root, &damaged), "a damaged tree");
        assert!(!other(&old.salt, &root, &tree[..5000]), "half a tree");
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

    #[test]
    fn data_that_ends_early_is_refused() {
        let superblock = Superblock::new(Guid::NIL, &[], 3).unwrap();
        let data = [0; 2 * BLOCK as usize];
        let result = build(&superblock, &mut data.as_slice(), &mut Cursor::new(Vec::new()));
        assert!(matches!(result, Err(VerityError::DataTooShort { blocks: 3 })));
    }

    #[test]
    fn what_lies_behind_the_last_block_does_not_count() {
        let superblock = Superblock::new(Guid::NIL, &[], 1).unwrap();
        let mut data = [0; 2 * BLOCK as usize];
        let root =
            |data: &[u8]| build(&superblock, &mut &data[..], &mut Cursor::new(Vec::new())).unwrap();
        let before = root(&data);
        data[BLOCK as usize] = 1;
        assert_eq!(root(&data), before);
        data[0] = 1;
        assert_ne!(root(&data), before);
    }
}
