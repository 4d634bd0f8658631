//! What stands where on the disk, before any of it is written.
//!
//! Small parts are held in memory, large ones stay in their files; all the
//! rest is zeros. The formats ([`crate::raw`], [`crate::qcow2`]) are written
//! from this.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::sparse::{CHUNK, Sparse};

/// The contents of a whole disk.
#[derive(Debug)]
pub struct Contents {
    small: Sparse,
    large: Vec<Placed>,
}

#[derive(Debug)]
struct Placed {
    first_chunk: u64,
    len: u64,
    file: File,
}

impl Contents {
    /// A disk that holds what `small` does.
    pub fn new(small: Sparse) -> Contents {
        Contents { small, large: Vec::new() }
    }

    /// Places the whole of a file at `offset`, a multiple of [`CHUNK`].
    pub fn place(&mut self, offset: u64, file: File) -> io::Result<()> {
        let len = file.metadata()?.len();
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.size());
        if !fits || !offset.is_multiple_of(CHUNK as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.large.push(Placed { first_chunk: offset / CHUNK as u64, len, file });
        Ok(())
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.small.size()
    }

    /// The numbers of the chunks that may hold data, ascending.
    pub fn occupied(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.small.chunks().map(|(number, _)| number).collect();
        for placed in &self.large {
            numbers.extend(placed.first_chunk..placed.first_chunk + placed.chunks());
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Bytes in the chunks that may hold data.
    pub fn occupied_bytes(&self) -> u64 {
        self.occupied().len() as u64 * CHUNK as u64
    }

    /// Reads the chunk of that number into `buffer`, which has [`CHUNK`]
    /// bytes; past the end of the disk it is zeros.
    pub fn read_chunk(&self, number: u64, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(bytes) = self.small.chunk(number) {
            buffer.copy_from_slice(bytes);
            return Ok(());
        }
        buffer.fill(0);
        for placed in &self.large {
            let Some(index) = number.checked_sub(placed.first_chunk) else { continue };
            if index < placed.chunks() {
                let offset = index * CHUNK as u64;
                let length = (placed.len - offset).min(CHUNK as u64) as usize;
                return placed.file.read_exact_at(&mut buffer[..length], offset);
            }
        }
        Ok(())
    }
}

impl Placed {
    fn chunks(&self) -> u64 {
        self.len.div_ceil(CHUNK as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn memory_and_files_are_one_disk() {
        let mut small = Sparse::new(20 * CHUNK as u64);
        assert!(small.write_at(0, b"table"));
        assert!(small.write_at(19 * CHUNK as u64, b"backup"));
        let mut contents = Contents::new(small);
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&vec![9; CHUNK + 5]).expect("written");
        contents.place(4 * CHUNK as u64, file).expect("fits");
        assert_eq!(contents.occupied(), [0, 4, 5, 19]);

        let mut buffer = vec![1; CHUNK];
        for (number, begin) in
            [(0, &b"table\0"[..]), (5, b"\x09\x09\x09\x09\x09\0"), (7, b"\0"), (19, b"backup")]
        {
            contents.read_chunk(number, &mut buffer).expect("readable");
            assert!(buffer.starts_with(begin), "{number}");
        }
    }

    #[test]
    fn a_file_must_fit_and_begin_at_a_chunk() {
        let mut contents = Contents::new(Sparse::new(2 * CHUNK as u64));
        let file = || {
            let file = tempfile::tempfile().expect("temporary file");
            file.set_len(CHUNK as u64 + 1).expect("grown");
            file
        };
        assert!(contents.place(0, file()).is_ok());
        assert!(contents.place(CHUNK as u64, file()).is_err());
        assert!(contents.place(512, file()).is_err());
    }
}
