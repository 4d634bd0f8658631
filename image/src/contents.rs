//! What stands where on the disk, before any of it is written.
//!
//! Small parts are held in memory, large ones stay in their files; all the
//! rest is zeros. The formats ([`crate::raw`], [`crate::qcow2`]) are written
//! from this.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use disk::gpt::{GptError, Table};
use disk::layout::SECTOR;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::sparse::{CHUNK, Sparse};

/// The contents of a whole disk.
#[derive(Debug)]
pub struct Contents {
    small: Sparse,
    large: Vec<Placed>,
}

#[derive(Debug, Clone)]
struct Placed {
    first_chunk: u64,
    len: u64,
    /// Where in the file it begins.
    from: u64,
    file: Arc<File>,
    /// The chunks of it that seldom change from one build to the next.
    settled: Range<u64>,
}

impl Contents {
    /// A disk that holds what `small` does.
    pub fn new(small: Sparse) -> Contents {
        Contents { small, large: Vec::new() }
    }

    /// The disk that is in a raw image, whose holes are known to be empty.
    pub fn of_raw(file: File) -> io::Result<Contents> {
        let size = file.metadata()?.len();
        let mut contents = Contents::new(Sparse::new(size));
        let file = Arc::new(file);
        let chunk = CHUNK as u64;
        let mut at = 0;
        while let Some(data) = seek(&file, at, Whence::SeekData)? {
            let hole = seek(&file, data, Whence::SeekHole)?.unwrap_or(size);
            // Whole chunks: a hole in one reads as zeros.
            let (start, end) = (data / chunk * chunk, hole.next_multiple_of(chunk).min(size));
            let start = start.max(at);
            if start < end {
                let (first_chunk, len) = (start / chunk, end - start);
                let (from, file, settled) = (start, file.clone(), 0..0);
                contents.large.push(Placed { first_chunk, len, from, file, settled });
            }
            at = end;
        }
        Ok(contents)
    }

    /// The same disk with `size` bytes, and its partition table's backup at the new end.
    pub fn resized(&self, size: u64) -> Result<Contents, GptError> {
        let mut reader = Reader { contents: self, position: 0 };
        let mut table = Table::read(&mut reader)?;
        table.move_backup_to_end(size / SECTOR)?;
        let mut small = Sparse::new(size);
        for (number, bytes) in self.small.chunks() {
            small.write_at(number * CHUNK as u64, bytes);
        }
        let mut first = vec![0; CHUNK];
        self.read_chunk(0, &mut first).map_err(|source| GptError::Write { source })?;
        small.write_at(0, &first);
        table.write(&mut small)?;
        Ok(Contents { small, large: self.large.clone() })
    }

    /// Reads the disk as a stream.
    pub fn reader(&self) -> impl Read + Seek {
        Reader { contents: self, position: 0 }
    }

    /// Places the whole of a file at `offset`, a multiple of [`CHUNK`].
    pub fn place(&mut self, offset: u64, file: File) -> io::Result<()> {
        self.place_settled(offset, file, 0..0)
    }

    /// As [`Contents::place`]; the bytes `settled` of the file seldom change from one build to the
    /// next.
    pub fn place_settled(
        &mut self,
        offset: u64,
        file: File,
        settled: Range<u64>,
    ) -> io::Result<()> {
        let len = file.metadata()?.len();
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.size());
        if !fits || !offset.is_multiple_of(CHUNK as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let first_chunk = offset / CHUNK as u64;
        // Only whole chunks: what lies in one with something else changes with it.
        let settled = first_chunk + settled.start.div_ceil(CHUNK as u64)
            ..first_chunk + settled.end / CHUNK as u64;
        self.large.push(Placed { first_chunk, len, from: 0, file: Arc::new(file), settled });
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

    /// The same numbers; those of chunks that seldom change come first.
    pub fn settled_first(&self) -> Vec<u64> {
        let mut numbers = self.occupied();
        let settled = |number: &u64| {
            self.small.chunk(*number).is_none()
                && self.large.iter().any(|placed| placed.settled.contains(number))
        };
        numbers.sort_by_key(|number| !settled(number));
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
                return placed.file.read_exact_at(&mut buffer[..length], placed.from + offset);
            }
        }
        Ok(())
    }
}

/// Where the next data, or the next hole, begins; none if there is none.
fn seek(file: &File, at: u64, whence: Whence) -> io::Result<Option<u64>> {
    let at = i64::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
    match lseek(file, at, whence) {
        Ok(found) => Ok(u64::try_from(found).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// A disk read from front to end.
struct Reader<'a> {
    contents: &'a Contents,
    position: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.contents.size().saturating_sub(self.position);
        let start = (self.position % CHUNK as u64) as usize;
        let count = buffer.len().min(CHUNK - start).min(usize::try_from(left).unwrap_or(CHUNK));
        let mut chunk = vec![0; CHUNK];
        self.contents.read_chunk(self.position / CHUNK as u64, &mut chunk)?;
        buffer[..count].copy_from_slice(&chunk[start..start + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.contents.size().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
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
        assert_eq!(contents.settled_first(), [0, 4, 5, 19]);

        let mut buffer = vec![1; CHUNK];
        for (number, begin) in
            [(0, &b"table\0"[..]), (5, b"\x09\x09\x09\x09\x09\0"), (7, b"\0"), (19, b"backup")]
        {
            contents.read_chunk(number, &mut buffer).expect("readable");
            assert!(buffer.starts_with(begin), "{number}");
        }
    }

    #[test]
    fn whole_chunks_that_seldom_change_come_first() {
        let mut contents = Contents::new(Sparse::new(20 * CHUNK as u64));
        let file = tempfile::tempfile().expect("temporary file");
        file.set_len(5 * CHUNK as u64).expect("grown");
        contents.place_settled(4 * CHUNK as u64, file, 1..3 * CHUNK as u64 + 9).expect("fits");
        assert_eq!(contents.settled_first(), [5, 6, 4, 7, 8]);
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
