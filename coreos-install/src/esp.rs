//! The configuration's place on the new disk: the directory `coreos` of its EFI partition, where
//! the machine looks for it at every boot.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use hadris_fat::sync::FatFs;
use hadris_fs::sync::Volume;
use hadris_fs::{MountOptions, OpenOptions};
use hadris_io::{Error, ErrorKind, ErrorType};
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

use crate::config::Config;

/// The directory, as the machine knows it.
pub const DIRECTORY: &str = "coreos";
const SECTOR: u64 = 512;

/// Why the configuration is not on the disk.
#[derive(Debug, thiserror::Error)]
#[error("cannot put the configuration on the EFI partition: {reason}")]
pub struct EspError {
    reason: String,
}

/// Writes the files of `config` into the EFI partition at `place` of `disk`.
pub fn place<D: Read + Write + Seek + Send>(
    disk: &mut D,
    place: Range<u64>,
    config: &Config,
) -> Result<(), EspError> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| EspError { reason: format!("{what}: {error}") };
    let window = Window { disk, place };
    let fs = FatFs::mount(window, MountOptions::new())
        .map_err(|error| failed("it cannot be read", &error))?;
    let volume = Volume::new(fs);
    if volume.metadata(DIRECTORY).is_err() {
        volume.create_dir(DIRECTORY).map_err(|error| failed(DIRECTORY, &error))?;
    }
    for (name, bytes) in &config.files {
        let path = format!("{DIRECTORY}/{name}");
        let options = OpenOptions::new().write().create().truncate();
        let mut file = volume.open(&path, options).map_err(|error| failed(&path, &error))?;
        file.write_all(bytes).map_err(|error| failed(&path, &error))?;
        file.close().map_err(|error| failed(&path, &error))?;
    }
    let mut locked = volume.lock().map_err(|error| failed("it cannot be closed", &error))?;
    hadris_fs::sync::FileSystem::sync(&mut *locked)
        .map_err(|error| failed("it cannot be closed", &error))
}

/// A part of a disk as a block device.
struct Window<'a, D> {
    disk: &'a mut D,
    place: Range<u64>,
}

impl<D> ErrorType for Window<'_, D> {
    type Error = io::Error;
}

impl<D> Window<'_, D> {
    fn at(&self, first: BlockIndex, length: usize) -> Result<u64, Error<io::Error>> {
        let at = self.place.start.saturating_add(first.get().saturating_mul(SECTOR));
        if at.saturating_add(length as u64) > self.place.end {
            return Err(Error::new(ErrorKind::InvalidInput, "outside of the partition"));
        }
        Ok(at)
    }
}

impl<D: Read + Write + Seek + Send> BlockDevice for Window<'_, D> {
    fn block_size(&self) -> BlockSize {
        BlockSize::new(SECTOR as u32).expect("512 is not zero")
    }

    fn block_count(&self) -> u64 {
        (self.place.end - self.place.start) / SECTOR
    }

    fn writable(&self) -> bool {
        true
    }

    fn read_blocks(
        &mut self,
        first: BlockIndex,
        buffer: &mut [u8],
    ) -> Result<(), Error<io::Error>> {
        let at = self.at(first, buffer.len())?;
        let read = self.disk.seek(SeekFrom::Start(at)).and_then(|_| self.disk.read_exact(buffer));
        read.map_err(|error| Error::device(error, "cannot read the disk"))
    }

    fn write_blocks(&mut self, first: BlockIndex, bytes: &[u8]) -> Result<(), Error<io::Error>> {
        let at = self.at(first, bytes.len())?;
        let written = self.disk.seek(SeekFrom::Start(at)).and_then(|_| self.disk.write_all(bytes));
        written.map_err(|error| Error::device(error, "cannot write the disk"))
    }
}
