//! Says what a file is that this program, or another like it, has made.
//!
//! file → [`inspect`] (by content, never by name) → [`Report`] → text or JSON
//!
//! - [`drive`]: a disk image, its partitions, slots and boot entries;
//! - [`uki`]: a unified kernel image;
//! - [`disc`]: a config disc, and whether a machine would accept it;
//! - [`filesystem`]: a root file system, or a verity tree over one.

pub mod disc;
pub mod drive;
pub mod filesystem;
pub mod uki;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What was found in a file.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    /// A whole disk.
    Disk(drive::Drive),
    /// A unified kernel image.
    Uki(uki::Uki),
    /// A config disc.
    ConfigDisc(disc::ConfigDisc),
    /// A root file system.
    Root(filesystem::Erofs),
    /// A verity tree.
    Verity(filesystem::Verity),
}

/// Why nothing can be said of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is in QEMU's format.
    #[error(
        "{path} is a qcow2 image; look at the raw disk beside it, or make one: \
         qemu-img convert -O raw {path} disk.raw"
    )]
    Qcow2 {
        /// The file.
        path: PathBuf,
    },
    /// It is none of the things known here.
    #[error("{path} is no disk image, boot image, config disc, root file system or verity tree")]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// It is one of them, but broken.
    #[error("{path}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Bytes at the start of a file that tell what it is.
const BEGINNING: usize = 4096;

/// Looks into a file.
pub fn inspect(path: &Path) -> Result<Report, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    if file.metadata().map_err(read)?.is_dir() {
        return Err(read(io::ErrorKind::IsADirectory.into()));
    }
    let mut beginning = vec![0; BEGINNING];
    let length = read_up_to(&file, &mut beginning).map_err(read)?;
    let beginning = &beginning[..length];

    let damaged = |what, source| Error::Damaged { path: path.to_owned(), what, source };
    if beginning.starts_with(b"QFI\xfb") {
        return Err(Error::Qcow2 { path: path.to_owned() });
    }
    if filesystem::is_verity(beginning) {
        let verity = filesystem::verity(beginning);
        return verity.map(Report::Verity).map_err(|error| damaged("damaged verity tree", error));
    }
    if filesystem::is_erofs(beginning) {
        let size = file.metadata().map_err(read)?.len();
        let root = filesystem::erofs(beginning, size);
        return root.map(Report::Root).map_err(|error| damaged("damaged root file system", error));
    }
    if beginning.starts_with(b"MZ") {
        let image = uki::read(&file).map_err(read)?;
        return image.map(Report::Uki).map_err(|error| damaged("damaged EFI program", error));
    }
    match drive::read(&file) {
        Ok(Some(drive)) => return Ok(Report::Disk(drive)),
        Ok(None) => {}
        Err(error) => return Err(damaged("damaged disk image", error)),
    }
    match disc::read(&file) {
        Ok(Some(disc)) => Ok(Report::ConfigDisc(disc)),
        Ok(None) => Err(Error::Unknown { path: path.to_owned() }),
        Err(error) => Err(damaged("damaged config disc", error)),
    }
}

fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Disk(drive) => drive.fmt(formatter),
            Report::Uki(uki) => uki.fmt(formatter),
            Report::ConfigDisc(disc) => disc.fmt(formatter),
            Report::Root(erofs) => erofs.fmt(formatter),
            Report::Verity(verity) => verity.fmt(formatter),
        }
    }
}

/// What each module returns of a thing that is recognised but broken.
type Cause = Box<dyn std::error::Error + Send + Sync>;
