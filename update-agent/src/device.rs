//! The disk as the agent writes it: regions of block devices, with every flush explicit.
//!
//! file or partition node → [`Device`] → [`Region`] → [`Cursor`] for what wants to seek
//!
//! What is read back after writing is read past the page cache, so that it is the disk that
//! answers and not the memory.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;

/// What a read past the page cache must be aligned to, in memory and on the disk.
pub const ALIGNMENT: usize = 4096;

/// Something with numbered bytes that outlive a power cut once they are flushed.
pub trait Device: Debug + Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> u64;
    /// Reads exactly `buffer.len()` bytes.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Reads them from the medium itself. Offset, length and address of the buffer are multiples
    /// of [`ALIGNMENT`].
    fn read_medium_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes`. They may be lost until [`Device::flush`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes durable what was written.
    fn flush(&self) -> io::Result<()>;
}

/// A block device, or a file that stands for one.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    /// The same, past the page cache; none where the file system cannot.
    direct: Option<File>,
    size: u64,
}

impl FileDevice {
    /// Opens a device for reading, and for writing if `writable`.
    pub fn open(path: &Path, writable: bool) -> io::Result<FileDevice> {
        let mut file = OpenOptions::new().read(true).write(writable).open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).ok();
        Ok(FileDevice { file, direct, size })
    }
}

impl Device for FileDevice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn read_medium_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && direct.read_exact_at(buffer, offset).is_ok()
        {
            return Ok(());
        }
        let length = buffer.len() as i64;
        posix_fadvise(
            &self.file,
            i64::try_from(offset).map_err(io::Error::other)?,
            length,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        )?;
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// A part of a device, such as a partition. Nothing outside it can be touched.
#[derive(Debug, Clone)]
pub struct Region {
    device: Arc<dyn Device>,
    start: u64,
    size: u64,
}

impl Region {
    /// All of a device.
    pub fn whole(device: Arc<dyn Device>) -> Region {
        let size = device.size();
        Region { device, start: 0, size }
    }

    /// The bytes `start..end` of it.
    pub fn part(&self, start: u64, end: u64) -> io::Result<Region> {
        if start > end || end > self.size {
            return Err(outside(start, end - start.min(end), self.size));
        }
        let device = Arc::clone(&self.device);
        Ok(Region { device, start: self.start + start, size: end - start })
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// As [`Device::read_at`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.device.read_at(buffer, self.place(offset, buffer.len())?)
    }

    /// As [`Device::read_medium_at`].
    pub fn read_medium_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.device.read_medium_at(buffer, self.place(offset, buffer.len())?)
    }

    /// As [`Device::write_at`].
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.device.write_at(bytes, self.place(offset, bytes.len())?)
    }

    /// As [`Device::flush`].
    pub fn flush(&self) -> io::Result<()> {
        self.device.flush()
    }

    /// For what reads, writes and seeks.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { region: self, position: 0 }
    }

    fn place(&self, offset: u64, length: usize) -> io::Result<u64> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.size => Ok(self.start + offset),
            _ => Err(outside(offset, length as u64, self.size)),
        }
    }
}

fn outside(offset: u64, length: u64, size: u64) -> io::Error {
    let text = format!("bytes {offset} + {length} are outside a region of {size}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// A place in a region.
#[derive(Debug)]
pub struct Cursor<'a> {
    region: &'a Region,
    position: u64,
}

impl Cursor<'_> {
    fn step(&self, length: usize) -> usize {
        let left = self.region.size.saturating_sub(self.position);
        length.min(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.step(buffer.len());
        self.region.read_at(&mut buffer[..count], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Cursor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.step(bytes.len());
        self.region.write_at(&bytes[..count], self.position)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // durable is what the region's own flush makes it
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.region.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Memory whose address is a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// So many bytes of zeros.
    pub fn new(length: usize) -> Aligned {
        let memory = vec![0; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Aligned { memory, start, length }
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_and_written_within_its_bounds_only() {
        let file = tempfile::NamedTempFile::new_in(".").unwrap();
        file.as_file().set_len(5 * 4096).unwrap();
        let device: Arc<dyn Device> = Arc::new(FileDevice::open(file.path(), true).unwrap());
        let whole = Region::whole(device);
        let part = whole.part(4096, 3 * 4096).unwrap();
        assert_eq!(part.size(), 8192);
        part.write_at(&[7; 4096], 4096).unwrap();
        part.flush().unwrap();
        let mut memory = Aligned::new(4096);
        whole.read_medium_at(memory.bytes(), 8192).unwrap();
        assert!(memory.bytes().iter().all(|&byte| byte == 7));
        assert!(part.write_at(&[1; 2], 8191).is_err());
        assert!(part.read_at(&mut [0; 1], 8192).is_err());
        assert!(part.read_at(&mut [0; 1], u64::MAX).is_err());
        assert!(whole.part(0, 5 * 4096 + 1).is_err());

        let mut cursor = part.cursor();
        cursor.seek(SeekFrom::End(-1)).unwrap();
        cursor.write_all(&[9]).unwrap();
        assert!(cursor.write_all(&[9]).is_err(), "the end of the region is the end");
        let mut byte = [0; 2];
        whole.read_at(&mut byte, 3 * 4096 - 1).unwrap();
        assert_eq!(byte, [9, 0]);
    }
}
