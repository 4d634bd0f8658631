//! A large, mostly empty disk in memory: only what was written takes space.
//!
//! Serves the partition table (as `Read + Write + Seek`) and the FAT
//! formatter (as a block device) alike, and knows afterwards which parts
//! hold data.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read, Seek, SeekFrom, Write};

use hadris_io::{Error, ErrorKind, ErrorType};
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

/// Bytes that are kept or left out together. Partitions start at multiples
/// of it, so a chunk never belongs to two of them.
pub const CHUNK: usize = 64 * 1024;

/// A disk of zeros until written to.
#[derive(Debug, Clone, Default)]
pub struct Sparse {
    len: u64,
    chunks: BTreeMap<u64, Box<[u8]>>,
    position: u64,
}

impl Sparse {
    /// An empty disk of `len` bytes.
    pub fn new(len: u64) -> Sparse {
        Sparse { len, ..Sparse::default() }
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// The chunks that hold data, by their number: byte offset / [`CHUNK`].
    pub fn chunks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.chunks.iter().map(|(&number, bytes)| (number, &**bytes))
    }

    /// The chunk of that number, if it holds data.
    pub fn chunk(&self, number: u64) -> Option<&[u8]> {
        self.chunks.get(&number).map(|bytes| &**bytes)
    }

    /// Puts another disk's content into this one from byte `offset`, which
    /// must be a multiple of [`CHUNK`].
    pub fn place(&mut self, offset: u64, part: Sparse) -> io::Result<()> {
        let fits = offset.checked_add(part.len).is_some_and(|end| end <= self.len);
        if !fits || !offset.is_multiple_of(CHUNK as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let first = offset / CHUNK as u64;
        self.chunks.extend(part.chunks.into_iter().map(|(number, bytes)| (first + number, bytes)));
        Ok(())
    }

    /// Reads at `offset`; what lies past the end is not read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < length {
            let (number, start) = locate(offset + done as u64);
            let count = (CHUNK - start).min(length - done);
            let part = &mut buffer[done..done + count];
            match self.chunks.get(&number) {
                Some(chunk) => part.copy_from_slice(&chunk[start..start + count]),
                None => part.fill(0),
            }
            done += count;
        }
        length
    }

    /// Writes at `offset`. The disk does not grow: false, and nothing
    /// written, if the bytes do not fit. Zeros over zeros take no space.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> bool {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len) {
            return false;
        }
        let mut done = 0;
        while done < bytes.len() {
            let (number, start) = locate(offset + done as u64);
            let count = (CHUNK - start).min(bytes.len() - done);
            let part = &bytes[done..done + count];
            if self.chunks.contains_key(&number) || !is_zero(part) {
                let chunk =
                    self.chunks.entry(number).or_insert_with(|| vec![0; CHUNK].into_boxed_slice());
                chunk[start..start + count].copy_from_slice(part);
            }
            done += count;
        }
        true
    }
}

/// Whether every byte is zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // A comparison of slices is `memcmp`, far quicker than a loop over bytes.
    let Some((&first, rest)) = bytes.split_first() else { return true };
    first == 0 && *rest == bytes[..rest.len()]
}

fn locate(offset: u64) -> (u64, usize) {
    (offset / CHUNK as u64, (offset % CHUNK as u64) as usize)
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, buffer);
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.write_at(self.position, bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

const BLOCK: u64 = 512;

impl ErrorType for Sparse {
    type Error = Infallible;
}

impl BlockDevice for Sparse {
    fn block_size(&self) -> BlockSize {
        BlockSize::new(BLOCK as u32).expect("512 is not zero")
    }

    fn block_count(&self) -> u64 {
        self.len / BLOCK
    }

    fn writable(&self) -> bool {
        true
    }

    fn read_blocks(
        &mut self,
        first: BlockIndex,
        buffer: &mut [u8],
    ) -> Result<(), Error<Infallible>> {
        let offset = first.get().saturating_mul(BLOCK);
        if self.read_at(offset, buffer) == buffer.len() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::InvalidInput, "read past the end of the disk"))
        }
    }

    fn write_blocks(&mut self, first: BlockIndex, bytes: &[u8]) -> Result<(), Error<Infallible>> {
        if self.write_at(first.get().saturating_mul(BLOCK), bytes) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::NoSpace, "write past the end of the disk"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: usize = 5 * CHUNK / 2;

    proptest! {
        #[test]
        fn a_sparse_disk_reads_as_a_plain_one(
            writes in proptest::collection::vec((0..SIZE + 100, 0..CHUNK + 100, 0..3_u8), 0..12)
        ) {
            let mut plain = vec![0; SIZE];
            let mut sparse = Sparse::new(SIZE as u64);
            for (offset, length, byte) in writes {
                let bytes = vec![byte; length];
                let fits = offset + length <= SIZE;
                prop_assert_eq!(sparse.write_at(offset as u64, &bytes), fits);
                if fits {
                    plain[offset..offset + length].copy_from_slice(&bytes);
                }
            }
            let mut read = Vec::new();
            sparse.rewind()?;
            sparse.read_to_end(&mut read)?;
            prop_assert!(read == plain);
        }
    }

    #[test]
    fn zeros_take_no_space() {
        let mut disk = Sparse::new(1 << 40);
        assert!(disk.write_at(1 << 30, &vec![0; 10 * CHUNK]));
        assert_eq!(disk.chunks().count(), 0);
        assert!(disk.write_at((1 << 30) + 5, b"x"));
        assert_eq!(disk.chunks().count(), 1);
    }

    #[test]
    fn a_part_is_placed_where_it_is_said() {
        let mut part = Sparse::new(2 * CHUNK as u64);
        assert!(part.write_at(CHUNK as u64 + 3, b"here"));
        let mut disk = Sparse::new(8 * CHUNK as u64);
        assert!(disk.place(100, Sparse::new(CHUNK as u64)).is_err());
        assert!(disk.place(7 * CHUNK as u64, Sparse::new(2 * CHUNK as u64)).is_err());
        disk.place(4 * CHUNK as u64, part).expect("fits");
        let mut found = [0; 4];
        disk.read_at(5 * CHUNK as u64 + 3, &mut found);
        assert_eq!(&found, b"here");
    }

    #[test]
    fn only_zeros_are_zero() {
        for (bytes, want) in
            [(&b""[..], true), (b"\0\0\0", true), (b"\x01", false), (b"\0\0\x01", false)]
        {
            assert_eq!(is_zero(bytes), want, "{bytes:?}");
        }
    }
}
