//! The hashes of single blocks, from a verity tree: what a slot has, and whether a block is the
//! right one.

use std::io::{self, Read, Seek, SeekFrom};

use disk::verity::{Superblock, partition_size};
use sha2::{Digest, Sha256};

use super::BLOCK;

const HASH: usize = 32;

/// The hashes of all blocks below a verity tree, 32 bytes for each block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaves {
    salt: Vec<u8>,
    hashes: Vec<[u8; HASH]>,
}

impl Leaves {
    /// Reads the lowest level of a tree, which must be trusted: checked against its signed hash,
    /// or on the verity partition of the running system.
    pub fn read(tree: &mut (impl Read + Seek)) -> io::Result<Leaves> {
        let superblock = Superblock::read(tree)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let blocks = superblock.data_blocks;
        if blocks < 2 {
            // A single block has no tree: its hash is the root hash.
            return Ok(Leaves { salt: superblock.salt, hashes: Vec::new() });
        }
        let hash_blocks = blocks.div_ceil((BLOCK / HASH) as u64);
        // The level nearest to the data comes last.
        let start = partition_size(blocks).saturating_sub(hash_blocks * BLOCK as u64);
        tree.seek(SeekFrom::Start(start))?;
        let mut reader = io::BufReader::new(tree);
        let mut hashes = Vec::new();
        for _ in 0..blocks {
            let mut hash = [0; HASH];
            reader.read_exact(&mut hash)?;
            hashes.push(hash);
        }
        Ok(Leaves { salt: superblock.salt, hashes })
    }

    /// What is hashed before every block. Hashes compare only between trees with the same salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The hashes, that of block 0 first; none if there is only one block.
    pub fn hashes(&self) -> &[[u8; HASH]] {
        &self.hashes
    }

    /// The hash that a block has in this tree.
    pub fn hash(&self, block: &[u8]) -> [u8; HASH] {
        Sha256::new().chain_update(&self.salt).chain_update(block).finalize().into()
    }

    /// Whether these bytes are the block with this number.
    pub fn check(&self, number: u64, block: &[u8]) -> bool {
        let expected = usize::try_from(number).ok().and_then(|number| self.hashes.get(number));
        block.len() == BLOCK && expected.is_some_and(|expected| *expected == self.hash(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::guid::Guid;
    use disk::verity;
    use std::io::Cursor;

    #[test]
    fn every_block_is_known_by_its_hash() {
        for blocks in [1_u8, 2, 128, 129, 200] {
            let data: Vec<u8> = (0..blocks).flat_map(|number| [number; BLOCK]).collect();
            let superblock = Superblock::new(Guid::NIL, &[9; 32], u64::from(blocks)).unwrap();
            let mut tree = Cursor::new(Vec::new());
            verity::build(&superblock, &mut &data[..], &mut tree).unwrap();
            tree.set_position(0);
            let leaves = Leaves::read(&mut tree).unwrap();
            assert_eq!(leaves.salt(), [9; 32]);
            let listed = if blocks == 1 { 0 } else { usize::from(blocks) };
            assert_eq!(leaves.hashes().len(), listed, "{blocks}");
            for (number, block) in data.chunks(BLOCK).enumerate().take(listed) {
                assert!(leaves.check(number as u64, block), "{number} of {blocks}");
                assert!(!leaves.check(number as u64 + 1, block), "{number} of {blocks}");
                assert!(!leaves.check(number as u64, &block[1..]), "{number} of {blocks}");
            }
        }
    }

    #[test]
    fn a_damaged_tree_is_an_error() {
        assert!(Leaves::read(&mut Cursor::new(vec![0; 5000])).is_err());
        let superblock = Superblock::new(Guid::NIL, &[], 1 << 40).unwrap();
        let tree = superblock.to_block().to_vec();
        assert!(Leaves::read(&mut Cursor::new(tree)).is_err());
    }
}
