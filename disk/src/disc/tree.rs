//! Finding, listing and reading files, whatever the file system.

use std::collections::HashSet;

use hadris_fs::sync::FileSystem;
use hadris_fs::{DirCursor, DirEntry, Error, ErrorKind, FileType, Name, NodeId, OpenMode, Resolve};

use super::device::DeviceError;
use super::names::{self, Match};
use super::{DiscError, Shortened};

/// More files than any config disc has.
const MAX_FILES: usize = 10_000;
/// Deeper than any config disc goes.
const MAX_DEPTH: usize = 32;
/// Bytes that hold a label of any file system.
const LABEL: usize = 384;
/// How much of a file is read at a time, so that memory follows what is really
/// there and not what a directory claims.
const CHUNK: usize = 64 * 1024;

/// A file system on one of our devices.
pub(super) trait Tree: FileSystem<DeviceError = DeviceError> {}
impl<F: FileSystem<DeviceError = DeviceError>> Tree for F {}

/// What was read, and the names that were cut short on the way.
pub(super) struct Contents {
    pub(super) bytes: Vec<u8>,
    pub(super) shortened: Vec<Shortened>,
}

/// A file or directory that was found, and the names that were cut short on
/// the way.
struct Found {
    node: NodeId,
    shortened: Vec<Shortened>,
}

/// The file system's label, without the spaces that pad it.
pub(super) fn label(fs: &mut impl Tree) -> Result<String, DiscError> {
    let mut buffer = [0; LABEL];
    let label = fs.label(&mut buffer).map_err(|error| damaged("/", error))?;
    Ok(label.unwrap_or_default().trim_end().to_string())
}

/// The file at `path`, or none if there is no such file.
pub(super) fn read(
    fs: &mut impl Tree,
    path: &str,
    limit: u64,
) -> Result<Option<Contents>, DiscError> {
    let Some(found) = find(fs, path)? else { return Ok(None) };
    let bytes = contents(fs, found.node, path, limit);
    fs.forget(found.node, 1);
    Ok(Some(Contents { bytes: bytes?, shortened: found.shortened }))
}

/// All files with their lengths, by path.
pub(super) fn list(fs: &mut impl Tree) -> Result<Vec<(String, u64)>, DiscError> {
    let mut files = Vec::new();
    let mut seen = HashSet::from([fs.root()]);
    let mut open = vec![(String::new(), fs.root(), 0)];
    while let Some((path, directory, depth)) = open.pop() {
        let mut subdirectories = Vec::new();
        entries(fs, directory, &path, |entry| {
            let path = joined(&path, &name(entry));
            match entry.file_type() {
                // A directory that contains itself is listed once.
                FileType::Dir if seen.insert(entry.node()) => {
                    subdirectories.push((path, entry.name().as_bytes().to_vec()));
                }
                FileType::File => files.push((path, entry.metadata().len())),
                _ => {}
            }
            if files.len() + seen.len() > MAX_FILES { Err(DiscError::Excessive) } else { Ok(()) }
        })?;
        for (path, name) in subdirectories {
            if depth == MAX_DEPTH {
                return Err(DiscError::Excessive);
            }
            let node =
                fs.lookup(directory, Name::new(&name)).map_err(|error| damaged(&path, error))?;
            open.push((path, node, depth + 1));
        }
        fs.forget(directory, 1);
    }
    files.sort();
    Ok(files)
}

/// Looks a path up as it is written; then, name by name, as it may have been
/// changed on the way to the disc.
fn find(fs: &mut impl Tree, path: &str) -> Result<Option<Found>, DiscError> {
    match fs.resolve(path.as_bytes(), Resolve::Follow) {
        Ok(node) => return Ok(Some(Found { node, shortened: Vec::new() })),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {}
            ErrorKind::NameTooLong | ErrorKind::InvalidInput => return Ok(None),
            _ => return Err(damaged(path, error)),
        },
    }
    let mut node = fs.root();
    let mut shortened = Vec::new();
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(wanted) = names.next() {
        let kind = if names.peek().is_some() { FileType::Dir } else { FileType::File };
        let Some((how, name)) = best_match(fs, node, path, wanted, kind)? else {
            return Ok(None);
        };
        let next = fs.lookup(node, Name::new(&name)).map_err(|error| damaged(path, error))?;
        fs.forget(std::mem::replace(&mut node, next), 1);
        if how == Match::Plain {
            let found = String::from_utf8_lossy(&name).into_owned();
            shortened.push(Shortened { wanted: wanted.to_string(), found });
        }
    }
    Ok(Some(Found { node, shortened }))
}

/// The entry of a directory that matches `wanted` best, by its own name.
fn best_match(
    fs: &mut impl Tree,
    directory: NodeId,
    path: &str,
    wanted: &str,
    kind: FileType,
) -> Result<Option<(Match, Vec<u8>)>, DiscError> {
    let mut best: Option<(Match, Vec<u8>)> = None;
    entries(fs, directory, path, |entry| {
        if let Some(how) = names::compare(wanted, &name(entry))
            && entry.file_type() == kind
            && best.as_ref().is_none_or(|(before, _)| how < *before)
        {
            best = Some((how, entry.name().as_bytes().to_vec()));
        }
        Ok(())
    })?;
    Ok(best)
}

/// Hands every entry of a directory to `visit`.
fn entries(
    fs: &mut impl Tree,
    directory: NodeId,
    path: &str,
    mut visit: impl FnMut(&DirEntry) -> Result<(), DiscError>,
) -> Result<(), DiscError> {
    let mut cursor = DirCursor::START;
    while let Some(entry) = fs.readdir(directory, cursor).map_err(|error| damaged(path, error))? {
        visit(&entry)?;
        cursor = entry.next_cursor();
    }
    Ok(())
}

fn contents(
    fs: &mut impl Tree,
    node: NodeId,
    path: &str,
    limit: u64,
) -> Result<Vec<u8>, DiscError> {
    let metadata = fs.stat(node).map_err(|error| damaged(path, error))?;
    if metadata.file_type() != FileType::File {
        return Err(DiscError::NotAFile { path: path.to_string() });
    }
    let size = metadata.len();
    if size > limit {
        return Err(DiscError::TooLarge { path: path.to_string(), size, limit });
    }
    fs.open(node, OpenMode::Read).map_err(|error| damaged(path, error))?;
    let mut contents = Vec::new();
    while (contents.len() as u64) < size {
        let start = contents.len();
        let left = (size - start as u64).min(CHUNK as u64) as usize;
        contents.resize(start + left, 0);
        let read = fs
            .read(node, start as u64, &mut contents[start..])
            .map_err(|error| damaged(path, error))?;
        contents.truncate(start + read);
        if read == 0 {
            let reason = format!("it ends after {start} of {size} bytes");
            return Err(DiscError::Damaged { path: path.to_string(), reason });
        }
    }
    fs.close(node).map_err(|error| damaged(path, error))?;
    Ok(contents)
}

fn name(entry: &DirEntry) -> String {
    String::from_utf8_lossy(entry.name().as_bytes()).into_owned()
}

fn joined(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_string() } else { format!("{directory}/{name}") }
}

/// What a driver says about `path`, in the words of this module.
pub(super) fn damaged(path: &str, error: Error<DeviceError>) -> DiscError {
    let reason = error.to_string();
    match error.into_device_error() {
        Some(DeviceError::Io(source)) => DiscError::Read { source },
        Some(DeviceError::Exhausted) => DiscError::Excessive,
        None => DiscError::Damaged { path: path.to_string(), reason },
    }
}
