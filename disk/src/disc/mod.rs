//! Config discs: the ISO 9660 or FAT volumes that carry a machine's
//! configuration, read without the kernel's drivers.
//!
//! ```text
//! file → open → Disc → label, list, read
//! ```
//!
//! Of the names on an ISO 9660 disc, those of Rock Ridge are taken, else those
//! of Joliet, else the plain ones; FAT may be FAT12, FAT16 or FAT32, on the bare
//! disc or in a partition of it. The formats are `hadris-iso`'s and
//! `hadris-fat`'s. This module picks the volume, matches the names that discs
//! are made with, and bounds what a damaged disc can cost: every operation may
//! read so much, allocate no more than is really there, and then fails.

mod device; // what the drivers read from
mod names; // which name on a disc is the one asked for
mod partitions; // where volumes may begin
mod tree; // finding, listing, reading files

use std::fmt;
use std::io::{self, Read, Seek};

use hadris_fat::FatKind;
use hadris_fat::sync::FatFs;
use hadris_fs::{ErrorKind, MountOptions};
use hadris_iso::sync::IsoFs;
use hadris_iso::{IsoId, Namespace};
use thiserror::Error;

use device::{Allowance, Device};

/// What an operation may read beside the contents of a file. A config drive
/// with hundreds of files needs less than a hundredth.
const ALLOWANCE: u64 = 32 * 1024 * 1024;

/// Why a disc, or a file on it, cannot be read.
#[derive(Debug, Error)]
pub enum DiscError {
    /// The medium failed.
    #[error("cannot read the disc")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// There is no volume of a known format.
    #[error("the disc is neither ISO 9660 nor FAT")]
    Unknown,
    /// Something on it contradicts its format.
    #[error("the disc is damaged at `{path}`: {reason}")]
    Damaged {
        /// What was being read.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An operation took longer than on any sound disc.
    #[error("the disc is damaged, or holds far more than a configuration")]
    Excessive,
    /// A file is larger than its reader can use.
    #[error("`{path}` has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The file.
        path: String,
        /// Its length.
        size: u64,
        /// What was allowed.
        limit: u64,
    },
    /// A path leads to something that has no contents.
    #[error("`{path}` is not a file")]
    NotAFile {
        /// The path.
        path: String,
    },
}

/// What names a disc has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ISO 9660 with the names of Rock Ridge.
    RockRidge,
    /// ISO 9660 with the names of Joliet.
    Joliet,
    /// ISO 9660 with its own names: upper case, often cut short.
    PlainIso,
    /// FAT, with long names.
    Fat,
}

/// A name that was found cut short or changed, as discs without long names
/// have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortened {
    /// The name asked for.
    pub wanted: String,
    /// The name on the disc.
    pub found: String,
}

/// An open config disc.
pub struct Disc<R: Read + Seek> {
    volume: Volume<R>,
    label: String,
    format: Format,
    allowance: Allowance,
    shortened: Vec<Shortened>,
}

enum Volume<R: Read + Seek> {
    Iso(Box<IsoFs<Device<R>>>),
    Fat(Box<FatFs<Device<R>>>),
}

/// Opens the volume on a disc: ISO 9660, FAT, or the first partition with one
/// of them.
pub fn open<R: Read + Seek>(file: R) -> Result<Disc<R>, DiscError> {
    let allowance = Allowance::default();
    allowance.renew(ALLOWANCE);
    let read = |source| DiscError::Read { source };
    let whole = Device::new(file, allowance.clone()).map_err(read)?;
    let (mut reason, mut device) = match mount(whole)? {
        Mounted::Volume(volume) => return Disc::new(volume, allowance),
        Mounted::Refused(reason, device) => (reason, device),
    };
    for range in partitions::find(&mut device.file) {
        let whole = Device::new(device.file, allowance.clone()).map_err(read)?;
        device = match mount(whole.narrowed(&range))? {
            Mounted::Volume(volume) => return Disc::new(volume, allowance),
            Mounted::Refused(DiscError::Unknown, device) => device,
            Mounted::Refused(damaged, device) => {
                reason = damaged;
                device
            }
        };
    }
    Err(reason)
}

/// What became of a device.
enum Mounted<R: Read + Seek> {
    Volume(Volume<R>),
    /// It holds no volume, for this reason.
    Refused(DiscError, Device<R>),
}

fn mount<R: Read + Seek>(mut device: Device<R>) -> Result<Mounted<R>, DiscError> {
    if device.is_empty() {
        return Ok(Mounted::Refused(DiscError::Unknown, device));
    }
    let options = MountOptions::new().read_only();
    let (error, device) = if device.has_iso9660().map_err(|source| DiscError::Read { source })? {
        match IsoFs::mount(device, options) {
            Ok(fs) => return Ok(Mounted::Volume(Volume::Iso(Box::new(fs)))),
            Err(refused) => refused.into_parts(),
        }
    } else {
        match FatFs::mount(device, options) {
            Ok(fs) => return Ok(Mounted::Volume(Volume::Fat(Box::new(fs)))),
            Err(refused) => refused.into_parts(),
        }
    };
    let reason = match error.kind() {
        ErrorKind::NotRecognized => DiscError::Unknown,
        _ => tree::damaged("/", error),
    };
    Ok(Mounted::Refused(reason, device))
}

impl<R: Read + Seek> Disc<R> {
    fn new(mut volume: Volume<R>, allowance: Allowance) -> Result<Disc<R>, DiscError> {
        let (label, format) = match &mut volume {
            Volume::Iso(fs) => {
                let format = match fs.namespace() {
                    Namespace::RockRidge => Format::RockRidge,
                    Namespace::Joliet => Format::Joliet,
                    _ => Format::PlainIso,
                };
                (text(fs.info().id(IsoId::Volume)), format)
            }
            Volume::Fat(fs) => (fat_label(fs)?, Format::Fat),
        };
        Ok(Disc { volume, label, format, allowance, shortened: Vec::new() })
    }

    /// The volume's label, as it is on the disc: FAT often has it in upper
    /// case.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether the label is `wanted`, be it in upper or lower case.
    pub fn has_label(&self, wanted: &str) -> bool {
        self.label.eq_ignore_ascii_case(wanted)
    }

    /// What names the disc has.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The names of files that were read so far and found cut short.
    pub fn truncated(&self) -> &[Shortened] {
        &self.shortened
    }

    /// The contents of the file at `path`, of at most `limit` bytes, or none
    /// if there is no such file. Names match exactly, else but for upper and
    /// lower case, else as a disc without long names has them.
    pub fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, DiscError> {
        self.allowance.renew(ALLOWANCE.saturating_add(limit.saturating_mul(2)));
        let found = match &mut self.volume {
            Volume::Iso(fs) => tree::read(&mut **fs, path, limit)?,
            Volume::Fat(fs) => tree::read(&mut **fs, path, limit)?,
        };
        let Some(tree::Contents { bytes, shortened }) = found else { return Ok(None) };
        for name in shortened {
            if !self.shortened.contains(&name) {
                self.shortened.push(name);
            }
        }
        Ok(Some(bytes))
    }

    /// The paths and lengths of all files, by path.
    pub fn list(&mut self) -> Result<Vec<(String, u64)>, DiscError> {
        self.allowance.renew(ALLOWANCE);
        match &mut self.volume {
            Volume::Iso(fs) => tree::list(&mut **fs),
            Volume::Fat(fs) => tree::list(&mut **fs),
        }
    }
}

impl<R: Read + Seek> fmt::Debug for Disc<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disc")
            .field("label", &self.label)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// The label in the root directory, else the one in the boot sector, where
/// some tools leave it.
fn fat_label<R: Read + Seek>(fs: &mut FatFs<Device<R>>) -> Result<String, DiscError> {
    let label = tree::label(fs)?;
    if !label.is_empty() {
        return Ok(label);
    }
    let at = match fs.info().kind() {
        FatKind::Fat32 => 71,
        _ => 43,
    };
    let mut label = [0; 11];
    fs.read_raw(at, &mut label).map_err(|error| tree::damaged("/", error))?;
    Ok(if &label == b"NO NAME    " { String::new() } else { text(&label) })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_string()
}
