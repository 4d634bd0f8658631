//! A part of a file as if it were a file: a partition of a disk image.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The bytes of a file in a range. Each window has a position of its own, so that one file may
/// have several.
#[derive(Debug)]
pub struct Window<F> {
    file: F,
    range: Range<u64>,
    position: u64,
}

impl<F: Borrow<File>> Window<F> {
    /// The bytes of `file` in `range`; what of it is behind the file's end cannot be read.
    pub fn new(file: F, range: Range<u64>) -> Window<F> {
        Window { file, range, position: 0 }
    }

    fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

impl<F: Borrow<File>> Read for Window<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len().saturating_sub(self.position);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let offset = self.range.start + self.position;
        let count = self.file.borrow().read_at(&mut buffer[..length], offset)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<F: Borrow<File>> Seek for Window<F> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_the_range_is_seen() {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(b"0123456789").expect("written");
        let mut window = Window::new(&file, 3..7);
        let mut text = String::new();
        window.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "3456");
        assert_eq!(window.seek(SeekFrom::End(-1)).expect("inside"), 3);
        text.clear();
        window.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "6");
        assert_eq!(window.seek(SeekFrom::Start(99)).expect("allowed"), 99);
        assert_eq!(window.read(&mut [0; 4]).expect("the end"), 0);
        assert!(window.seek(SeekFrom::Current(-100)).is_err());
    }
}
