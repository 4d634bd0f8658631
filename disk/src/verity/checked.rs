//! A root that is checked as it is read, as the kernel does it.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use super::tree::check;
use super::{BLOCK, RootHash, Superblock, VerityError};

/// Reads protected data and gives only what the root hash answers for. A block that is something
/// else cannot be read; all others can.
pub struct Checked<D, T> {
    superblock: Superblock,
    root: RootHash,
    data: D,
    tree: T,
    position: u64,
    /// The block that was read last, and its number.
    block: Box<[u8; BLOCK as usize]>,
    number: Option<u64>,
}

impl<D, T> fmt::Debug for Checked<D, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("root", &self.root).finish_non_exhaustive()
    }
}

impl<D: Read + Seek, T: Read + Seek> Checked<D, T> {
    /// The data below `root`. `tree` is the verity partition, superblock and all; both are read
    /// from their beginning on.
    ///
    /// # Errors
    /// There is no superblock, or one that this system does not write.
    pub fn new(data: D, mut tree: T, root: RootHash) -> Result<Checked<D, T>, VerityError> {
        tree.rewind().map_err(|source| VerityError::ReadSuperblock { source })?;
        let superblock = Superblock::read(&mut tree)?;
        let block = Box::new([0; BLOCK as usize]);
        Ok(Checked { superblock, root, data, tree, position: 0, block, number: None })
    }

    /// Makes a block the one at hand.
    fn load(&mut self, number: u64) -> io::Result<()> {
        if self.number == Some(number) {
            return Ok(());
        }
        self.number = None;
        self.data.seek(SeekFrom::Start(number * BLOCK))?;
        self.data.read_exact(&mut *self.block)?;
        let sound = check(&self.superblock, &self.root, &mut self.tree, number, &self.block)
            .map_err(io::Error::other)?;
        if !sound {
            let reason = format!("block {number} is not what the root hash {} says", self.root);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.number = Some(number);
        Ok(())
    }
}

impl<D: Read + Seek, T: Read + Seek> Read for Checked<D, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.superblock.data_size() {
            return Ok(0);
        }
        self.load(self.position / BLOCK)?;
        let rest = &self.block[(self.position % BLOCK) as usize..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl<D: Read + Seek, T: Read + Seek> Seek for Checked<D, T> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.superblock.data_size().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::super::tree::tests::block;
    use super::*;
    use crate::guid::Guid;
    use std::io::Cursor;

    /// So many blocks, with their tree and its root.
    fn built(blocks: u64) -> (Vec<u8>, Vec<u8>, RootHash) {
        let superblock = Superblock::new(Guid::NIL, b"salt", blocks).unwrap();
        let data: Vec<u8> = (0..blocks).flat_map(block).collect();
        let mut tree = Cursor::new(Vec::new());
        let root = build(&superblock, &mut data.as_slice(), &mut tree).unwrap();
        (data, tree.into_inner(), root)
    }

    fn open(data: &[u8], tree: &[u8], root: RootHash) -> Checked<Cursor<Vec<u8>>, Cursor<Vec<u8>>> {
        Checked::new(Cursor::new(data.to_vec()), Cursor::new(tree.to_vec()), root).unwrap()
    }

    #[test]
    fn sound_data_are_read_as_they_are() {
        for blocks in [1, 2, 128, 130] {
            let (data, tree, root) = built(blocks);
            let mut checked = open(&[&data[..], b"behind it"].concat(), &tree, root);
            let mut read = Vec::new();
            checked.read_to_end(&mut read).unwrap();
            assert!(read == data, "{blocks}");
            // Across a border, and from its end.
            let at = data.len() as u64 - 1;
            assert_eq!(checked.seek(SeekFrom::End(-1)).unwrap(), at);
            assert_eq!(checked.read(&mut [0; 8]).unwrap(), 1);
            if blocks > 1 {
                let mut part = [0; 10];
                checked.seek(SeekFrom::Start(BLOCK - 5)).unwrap();
                checked.read_exact(&mut part).unwrap();
                assert_eq!(part, data[BLOCK as usize - 5..][..10]);
            }
        }
    }

    #[test]
    fn a_changed_block_cannot_be_read_and_others_can() {
        let (mut data, tree, root) = built(130);
        data[BLOCK as usize * 3 + 17] ^= 1;
        let mut checked = open(&data, &tree, root);
        let mut byte = [0];
        for (number, sound) in [(2, true), (3, false), (4, true), (3, false)] {
            checked.seek(SeekFrom::Start(number * BLOCK)).unwrap();
            assert_eq!(checked.read_exact(&mut byte).is_ok(), sound, "{number}");
        }
        checked.seek(SeekFrom::Start(3 * BLOCK)).unwrap();
        let told = checked.read(&mut byte).unwrap_err().to_string();
        assert_eq!(told, format!("block 3 is not what the root hash {root} says"));
    }

    #[test]
    fn a_tree_that_was_changed_along_with_the_data_is_found_out() {
        let (data, _, root) = built(130);
        let (_, other, _) = built(129);
        let mut checked = open(&data, &other, root);
        assert!(checked.read(&mut [0]).is_err());
        assert!(matches!(
            Checked::new(Cursor::new(data), Cursor::new(vec![0; 9000]), root),
            Err(VerityError::NoSuperblock)
        ));
    }
}
