//! One package, unpacked.

use super::DebError;
use super::ar::{self, Limit};
use super::control::Control;
use super::spool::{Spool, SpoolError};
use crate::tree::Content;
use crate::tree::archive::{self, ArchiveError, Entry};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most that a package may unpack to.
const MAX_UNPACKED: u64 = 4 << 30;
/// A package that unpacks to more than this times its own size, and to more than
/// [`SMALL`] bytes, holds nothing that is worth its space.
const MAX_RATIO: u64 = 200;
/// Below this size no ratio is suspicious.
const SMALL: u64 = 64 << 20;
/// The largest kernel module that is unpacked, so that it fits memory.
const MAX_MODULE: u64 = 256 << 20;

/// A package and its files, in the order in which it has them.
#[derive(Debug)]
pub struct Unpacked {
    /// Its records.
    pub control: Control,
    /// Its files.
    pub entries: Vec<Entry>,
}

/// Reads the records of a package only.
pub fn control(file: &File) -> Result<Control, DebError> {
    let members = ar::members(file)?;
    check_version(file, &members)?;
    Control::read(ar::open(file, &members, "control.tar")?)
}

/// Unpacks a package. Contents go to the spool; kernel modules are decompressed, so that an
/// update finds their unchanged blocks.
pub fn unpack(file: &File, spool: &Spool) -> Result<Unpacked, DebError> {
    let control = control(file)?;
    let members = ar::members(file)?;
    let packed = file.metadata()?.len();
    let limit = (packed * MAX_RATIO).clamp(SMALL, MAX_UNPACKED);
    let data = Limit::new(ar::open(file, &members, "data.tar")?, limit);
    let mut entries = Vec::new();
    let outcome = archive::read_entries(
        io::BufReader::with_capacity(1 << 16, data),
        &mut |path, content, size| take(path, content, size, spool),
        &mut |entry| {
            check_path(&entry.path)?;
            entries.push(entry);
            Ok(())
        },
    );
    match outcome {
        Ok(()) => Ok(Unpacked { control, entries }),
        Err(DebError::Tar(ArchiveError::Read(error)) | DebError::Read(error)) => {
            Err(match error.kind() {
                io::ErrorKind::FileTooLarge => DebError::Bomb { limit },
                _ => DebError::Read(error),
            })
        }
        Err(error) => Err(error),
    }
}

/// Takes in a file's content; a compressed kernel module gets its plain name.
fn take(
    path: &mut String,
    content: &mut dyn Read,
    size: u64,
    spool: &Spool,
) -> Result<Content, DebError> {
    let failed = |error| match error {
        SpoolError::Read(error) => DebError::Read(error),
        SpoolError::Write(error) => DebError::Spool(error),
    };
    if !(path.contains("lib/modules/") && path.ends_with(".ko.xz")) {
        return spool.take(content, size).map_err(failed);
    }
    let mut bytes = Vec::new();
    let plain = liblzma::read::XzDecoder::new(content.take(size));
    Limit::new(plain, MAX_MODULE).read_to_end(&mut bytes)?;
    path.truncate(path.len() - ".xz".len());
    spool.put(&bytes).map_err(DebError::Spool)
}

/// Refuses paths that lead out of a tree.
fn check_path(path: &str) -> Result<(), DebError> {
    let entry = |reason| DebError::Entry { path: path.to_owned(), reason };
    if path.starts_with('/') {
        return Err(entry("its path is absolute"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(entry("its path leads out of the system"));
    }
    if path.contains('\n') || Path::new(path).components().count() > 100 {
        return Err(entry("its path is no sensible one"));
    }
    Ok(())
}

fn check_version(file: &File, members: &[ar::Member]) -> Result<(), DebError> {
    let mut version = String::new();
    ar::open(file, members, "debian-binary")?.take(16).read_to_string(&mut version)?;
    match version.starts_with("2.") {
        true => Ok(()),
        false => Err(DebError::Format("it is of another version than 2")),
    }
}
