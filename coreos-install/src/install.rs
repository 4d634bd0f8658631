//! One installation, from the checks to a disk that boots.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;

use crate::config::Config;
use crate::esp::{self, EspError};
use crate::image::Image;
use crate::judge::{Refusal, judge};
use crate::survey::Disk;
use crate::write::{self, Step, Target, WriteError};

/// The number of the EFI partition.
const ESP: u32 = 1;

mod request {
    nix::ioctl_none!(reread_table, 0x12, 95);
}

/// Why there is no installation.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is the wrong disk.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk cannot be opened for this program alone.
    #[error("cannot open {path} for writing; does something use it?")]
    Open {
        /// Its node.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system is not on the disk.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The configuration is not on the disk.
    #[error(transparent)]
    Config(#[from] EspError),
}

/// Installs `image` on `disk`, with `config` for the machine if there is one. `said` is the name
/// under which somebody agreed that the disk is erased.
pub fn install(
    image: Image,
    disk: &Disk,
    config: Option<&Config>,
    said: Option<&str>,
    progress: &mut dyn FnMut(Step, u64),
) -> Result<(), InstallError> {
    judge(disk, image.header.size, said)?;
    let open = |source| InstallError::Open { path: disk.node.clone(), source };
    // Exclusive: a file system that is mounted meanwhile is an error here, and the other way round.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_EXCL)
        .open(&disk.node)
        .map_err(open)?;
    let mut device = Device(file);
    onto(image, &mut device, disk.size, config, progress)?;
    // The kernel reads the new table; one that will not is not needed before the reboot.
    // SAFETY: the request takes no argument and the descriptor is open.
    let _ = unsafe { request::reread_table(device.0.as_raw_fd()) };
    Ok(())
}

/// Installs on anything that can be written, of `size` bytes.
pub fn onto<T: Target + Send>(
    image: Image,
    target: &mut T,
    size: u64,
    config: Option<&Config>,
    progress: &mut dyn FnMut(Step, u64),
) -> Result<(), InstallError> {
    let written = write::write(image, target, size, progress)?;
    if let Some(config) = config
        && let Some(place) = written.partition(ESP)
    {
        esp::place(target, place, config)?;
    }
    written.finish(target, size)?;
    Ok(())
}

/// A disk's node.
struct Device(File);

impl Read for Device {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Device {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Target for Device {
    fn settle(&mut self) -> io::Result<()> {
        self.0.sync_all()?;
        // Best effort: what stays in memory is read from there, which checks less.
        let _ = posix_fadvise(&self.0, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        Ok(())
    }
}
