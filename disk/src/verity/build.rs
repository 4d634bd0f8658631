//! Building the tree in one pass over the data, after an earlier one where there is one.

use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};

use super::hasher::{BlockHasher, CHUNK_BLOCKS, HASH, Hash, Known};
use super::tree::{check_tree, leaves, levels};
use super::{BLOCK, RootHash, Superblock, VerityError};

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

#[cfg(test)]
mod tests {
    use super::super::tree::tests::block;
    use super::*;
    use crate::guid::Guid;
    use std::io::Cursor;

    #[test]
    fn what_an_earlier_build_knows_changes_nothing_of_the_tree() {
        let data = |blocks: u64| (0..blocks).flat_map(block).collect::<Vec<u8>>();
        let old = Superblock::new(Guid::NIL, b"salt", 3000).unwrap();
        let mut tree = Cursor::new(Vec::new());
        let root = build(&old, &mut data(3000).as_slice(), &mut tree).unwrap();
        let tree = tree.into_inner();
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
