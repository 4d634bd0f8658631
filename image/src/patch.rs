//! A file that takes the place of an older one, of which only what differs is written.
//!
//! What is to be written is compared with what is there, so that nothing needs to be known of the
//! older file: whatever it holds, what comes out is what was to be written. Reading from memory
//! what an earlier build has left costs a fraction of writing it to a disk.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use crate::sparse::is_zero;

/// How much is compared at a time.
const PIECE: usize = 1 << 18;
/// What is written if any byte of it differs.
const BLOCK: usize = 4096;

/// A file that is being written, over what is in it.
#[derive(Debug)]
pub struct Patch<'a> {
    file: &'a File,
    /// Bytes that were in it.
    before: u64,
    /// Where [`Write`] goes on.
    position: u64,
    there: RefCell<Vec<u8>>,
}

impl<'a> Patch<'a> {
    /// Writes over whatever is in `file`, which can be read too unless it is empty.
    pub fn new(file: &'a File) -> io::Result<Patch<'a>> {
        let before = file.metadata()?.len();
        Ok(Patch { file, before, position: 0, there: RefCell::default() })
    }

    /// Makes every byte zero that is in none of `written`, ranges in ascending order.
    pub fn clear_but(&self, written: impl IntoIterator<Item = (u64, u64)>) -> io::Result<()> {
        let mut at = 0;
        for (start, end) in written.into_iter().chain([(self.before, self.before)]) {
            self.clear(at, start.min(self.before))?;
            at = end;
        }
        Ok(())
    }

    /// Makes `start..end` zeros, by a hole where there is something.
    fn clear(&self, start: u64, end: u64) -> io::Result<()> {
        if start >= end {
            return Ok(());
        }
        let offset = i64::try_from(start).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let length = i64::try_from(end - start).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if end - start <= PIECE as u64 {
            let mut there = vec![0; (end - start) as usize];
            self.file.read_exact_at(&mut there, start)?;
            if is_zero(&there) {
                return Ok(());
            }
        }
        // Most of a disk is holes already. Past the last data there is nothing to be found.
        match lseek(self.file, offset, Whence::SeekData) {
            Ok(data) if data >= offset + length => return Ok(()),
            Err(nix::errno::Errno::ENXIO) => return Ok(()),
            _ => {}
        }
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if fallocate(self.file, hole, offset, length).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; PIECE];
        let mut at = start;
        while at < end {
            let count = zeros.len().min(usize::try_from(end - at).unwrap_or(PIECE));
            self.write_all_at(&zeros[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }

    /// Gives the file its length.
    pub fn finish(self, length: u64) -> io::Result<()> {
        match self.file.metadata()?.len() == length {
            true => Ok(()),
            false => self.file.set_len(length),
        }
    }

    /// As [`Patch::finish`], with the length that [`Write`] has reached.
    pub fn finish_here(self) -> io::Result<()> {
        let length = self.position;
        self.finish(length)
    }

    fn write_differing(&self, bytes: &[u8], there: &[u8], offset: u64) -> io::Result<()> {
        let differs = |at: usize| {
            let end = (at + BLOCK).min(bytes.len());
            there.get(at..end) != Some(&bytes[at..end])
        };
        let mut at = 0;
        while at < bytes.len() {
            let begin = at;
            let differing = differs(at);
            while at < bytes.len() && differs(at) == differing {
                at += BLOCK;
            }
            if differing {
                let part = &bytes[begin..at.min(bytes.len())];
                self.file.write_all_at(part, offset + begin as u64)?;
            }
        }
        Ok(())
    }
}

impl FileExt for Patch<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(PIECE)];
        if offset >= self.before {
            return self.file.write_at(bytes, offset);
        }
        let mut there = self.there.borrow_mut();
        there.resize(PIECE, 0);
        let mut found = 0;
        while found < bytes.len() {
            match self.file.read_at(&mut there[found..bytes.len()], offset + found as u64)? {
                0 => break,
                count => found += count,
            }
        }
        if there[..found] != *bytes {
            self.write_differing(bytes, &there[..found], offset)?;
        }
        Ok(bytes.len())
    }
}

impl Write for Patch<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.write_at(bytes, self.position)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(bytes).expect("written");
        file
    }

    fn bytes_of(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().expect("metadata").len() as usize];
        file.read_exact_at(&mut bytes, 0).expect("readable");
        bytes
    }

    proptest! {
        #[test]
        fn whatever_was_there_what_is_written_stands(
            old in proptest::collection::vec(0..3_u8, 0..40),
            new in proptest::collection::vec(0..3_u8, 0..40),
            cut in 0..BLOCK,
            step in 1..3 * BLOCK,
        ) {
            let wide = |blocks: &[u8]| -> Vec<u8> {
                blocks.iter().flat_map(|&byte| [byte; BLOCK]).collect()
            };
            let mut new = wide(&new);
            new.truncate(new.len().saturating_sub(cut));
            let file = file_of(&wide(&old));
            let mut patch = Patch::new(&file).expect("a file");
            for part in new.chunks(step) {
                patch.write_all(part).expect("written");
            }
            patch.finish_here().expect("finished");
            prop_assert!(bytes_of(&file) == new);
        }

        #[test]
        fn what_is_not_written_is_cleared(
            old in proptest::collection::vec(0..3_u8, 0..40),
            new in proptest::collection::vec(0..3_u8, 0..40),
        ) {
            let wide = |blocks: &[u8]| -> Vec<u8> {
                blocks.iter().flat_map(|&byte| [byte; BLOCK]).collect()
            };
            let file = file_of(&wide(&old));
            let patch = Patch::new(&file).expect("a file");
            let parts = new.iter().enumerate().filter(|(_, byte)| **byte != 0);
            let place = |at: usize| (at * BLOCK) as u64;
            let written: Vec<(u64, u64)> =
                parts.clone().map(|(at, _)| (place(at), place(at + 1))).collect();
            for (at, &byte) in parts {
                patch.write_all_at(&[byte; BLOCK], place(at)).expect("written");
            }
            patch.clear_but(written).expect("cleared");
            patch.finish(place(new.len())).expect("finished");
            prop_assert!(bytes_of(&file) == wide(&new));
        }
    }

    #[test]
    fn what_is_the_same_is_not_written() {
        let bytes: Vec<u8> = (0..PIECE * 3 / 2).map(|at| (at / 1000) as u8).collect();
        let file = file_of(&bytes);
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(7);
        file.set_modified(old).expect("set");
        let mut patch = Patch::new(&file).expect("a file");
        patch.write_all(&bytes).expect("written");
        patch.finish_here().expect("finished");
        assert_eq!(file.metadata().expect("metadata").mtime(), 7);
    }
}
