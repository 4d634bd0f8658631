//! A tar as a [`Tree`]: headers are read, contents stay where they are in the file.
//!
//! POSIX (pax) and GNU archives, uncompressed. Extended attributes are taken from
//! `SCHILY.xattr` records. Left out: sparse files, text ACLs, access and change times.

use super::{Content, Kind, Node, Tree, TreeError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tar::{Archive, EntryType, Header};

/// Everything in an archive begins at a multiple of this.
const BLOCK: usize = 512;
/// Longest name or pax record block that is read into memory.
const MAX_EXTENSION: u64 = 1 << 20;
/// Prefix of pax records that hold an extended attribute.
const XATTR_RECORD: &[u8] = b"SCHILY.xattr.";

/// Why a tar is not a tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file cannot be read, or not as a tar.
    #[error("cannot read the archive")]
    Read(#[from] io::Error),
    /// The contents of an entry go beyond the end of the file.
    #[error("the archive ends within {path}")]
    Truncated {
        /// The entry.
        path: String,
    },
    /// The two empty blocks at the end are missing.
    #[error("the archive has no end: it was cut short")]
    NoEnd,
    /// A field of an entry makes no sense or is of a kind that is left out.
    #[error("entry {path} of the archive: {reason}")]
    Entry {
        /// The entry, as far as its name is readable.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An entry contradicts the ones before it.
    #[error("the archive is not a file tree")]
    Tree(#[from] TreeError),
}

/// A tree, and what a [`Tree`] has no place for.
#[derive(Debug)]
pub struct FromTar {
    /// The files.
    pub tree: Tree,
    /// Modification times of regular files, in seconds since 1970.
    pub times: BTreeMap<String, u64>,
}

/// What the records before an entry say about it.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// Reads a tar. The file stays open for as long as any of the contents is kept.
    pub fn from_tar(file: File) -> Result<FromTar, ArchiveError> {
        let length = file.metadata()?.len();
        let file = Arc::new(file);
        let mut archive = Archive::new(&*file);
        let mut from = FromTar { tree: Tree::new(), times: BTreeMap::new() };
        let mut extensions = Extensions::default();
        let mut end = 0;
        // Raw, as the crate's own pax reader stops at the first newline of a binary value.
        for entry in archive.entries_with_seek()?.raw(true) {
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            end = entry
                .raw_file_position()
                .checked_add(entry.size())
                .and_then(|end| end.checked_next_multiple_of(BLOCK as u64))
                .ok_or(ArchiveError::NoEnd)?;
            match kind {
                EntryType::XHeader => extensions.read_pax(&read_extension(&mut entry)?)?,
                EntryType::GNULongName => {
                    extensions.path = Some(until_nul(read_extension(&mut entry)?));
                }
                EntryType::GNULongLink => {
                    extensions.target = Some(until_nul(read_extension(&mut entry)?));
                }
                EntryType::XGlobalHeader => {}
                _ => {
                    let extensions = std::mem::take(&mut extensions);
                    let path = entry_path(entry.header(), extensions.path.as_deref())?;
                    let offset = entry.raw_file_position();
                    let slice = Slice { file: &file, offset, len: entry.size(), length };
                    add(&mut from, path, entry.header(), extensions, &slice)?;
                }
            }
        }
        // Where a file is cut between two entries, only the missing end tells.
        let mut marker = [1; 2 * BLOCK];
        match file.read_exact_at(&mut marker, end) {
            Ok(()) if marker.iter().all(|byte| *byte == 0) => Ok(from),
            _ => Err(ArchiveError::NoEnd),
        }
    }
}

/// Where an entry's contents lie in the archive of `length` bytes.
struct Slice<'a> {
    file: &'a Arc<File>,
    offset: u64,
    len: u64,
    length: u64,
}

/// One file of an archive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its path as a tree has it; what is left of `..` is refused at insertion.
    pub path: String,
    /// What it is. The target of a hard link is the path that the archive has for it.
    pub node: Node,
    /// When it was changed, in seconds since 1970.
    pub time: u64,
}

/// Takes in the contents of a file of the given size; it may change the path.
pub type Take<'a, E> = dyn FnMut(&mut String, &mut dyn Read, u64) -> Result<Content, E> + 'a;

/// Reads a tar that cannot be read twice, entry by entry.
pub fn read_entries<E: From<ArchiveError>>(
    reader: impl Read,
    take: &mut Take<'_, E>,
    visit: &mut dyn FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    let read = |error: io::Error| E::from(ArchiveError::Read(error));
    let mut archive = Archive::new(reader);
    let mut extensions = Extensions::default();
    for entry in archive.entries().map_err(read)?.raw(true) {
        let mut entry = entry.map_err(read)?;
        match entry.header().entry_type() {
            EntryType::XHeader => extensions.read_pax(&read_extension(&mut entry)?)?,
            EntryType::GNULongName => {
                extensions.path = Some(until_nul(read_extension(&mut entry)?));
            }
            EntryType::GNULongLink => {
                extensions.target = Some(until_nul(read_extension(&mut entry)?));
            }
            EntryType::XGlobalHeader => {}
            _ => {
                let extensions = std::mem::take(&mut extensions);
                let header = entry.header().clone();
                let path = entry_path(&header, extensions.path.as_deref())?;
                let size = entry.size();
                visit(make_entry(path, &header, extensions, |path| take(path, &mut entry, size))?)?;
            }
        }
    }
    Ok(())
}

/// Puts one entry into the tree.
fn add(
    from: &mut FromTar,
    path: String,
    header: &Header,
    extensions: Extensions,
    slice: &Slice<'_>,
) -> Result<(), ArchiveError> {
    let Entry { path, node, time } = make_entry(path, header, extensions, |path| {
        let Slice { file, offset, len, length } = *slice;
        if offset.checked_add(len).is_none_or(|end| end > length) {
            return Err(ArchiveError::Truncated { path: path.clone() });
        }
        Ok(Content::Slice { file: Arc::clone(file), offset, len })
    })?;
    if matches!(node.kind, Kind::File(_)) {
        from.times.insert(path.clone(), time);
    }
    from.tree.insert_entry(&path, node)
}

impl Tree {
    /// As [`Tree::insert`], where `""` is the root itself and the target of a hard link may be
    /// another hard link.
    pub fn insert_entry(&mut self, path: &str, mut node: Node) -> Result<(), ArchiveError> {
        if let Kind::HardLink(first) = &node.kind
            && let Some(Kind::HardLink(file)) = self.get(first).map(|node| &node.kind)
        {
            node.kind = Kind::HardLink(file.clone());
        }
        if !path.is_empty() {
            return Ok(self.insert(path, node)?);
        }
        match (node.is_directory(), self.get_mut("")) {
            (true, Some(root)) => *root = node,
            _ => {
                let reason = "is the root and not a directory";
                return Err(ArchiveError::Entry { path: String::new(), reason });
            }
        }
        Ok(())
    }
}

/// One entry from its header and what was said before it.
fn make_entry<E: From<ArchiveError>>(
    mut path: String,
    header: &Header,
    extensions: Extensions,
    content: impl FnOnce(&mut String) -> Result<Content, E>,
) -> Result<Entry, E> {
    let name = path.clone();
    let bad = |reason| ArchiveError::Entry { path: name.clone(), reason };
    let device = || -> Result<(u32, u32), ArchiveError> {
        let number = |field: io::Result<Option<u32>>| {
            field.ok().flatten().ok_or_else(|| bad("has no device number"))
        };
        Ok((number(header.device_major())?, number(header.device_minor())?))
    };
    let target = || -> Result<String, ArchiveError> {
        let target = extensions.target.clone().or_else(|| header.link_name_bytes().map(Vec::from));
        target
            .and_then(|target| String::from_utf8(target).ok())
            .filter(|target| !target.is_empty())
            .ok_or_else(|| bad("its link target is missing or not UTF-8"))
    };
    let number = |extension: Option<u64>, field: io::Result<u64>| {
        let number = match extension {
            Some(number) => number,
            None => field?,
        };
        u32::try_from(number).map_err(|_| bad("its owner is out of range"))
    };
    let mode = header.mode().map_err(ArchiveError::from)? & 0o7777;
    let uid = number(extensions.uid, header.uid())?;
    let gid = number(extensions.gid, header.gid())?;
    let time = header.mtime().map_err(ArchiveError::from)?;
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => Kind::File(content(&mut path)?),
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => Kind::HardLink(strip(&target()?)),
        EntryType::Char => {
            let (major, minor) = device()?;
            Kind::CharDevice { major, minor }
        }
        EntryType::Block => {
            let (major, minor) = device()?;
            Kind::BlockDevice { major, minor }
        }
        EntryType::Fifo => Kind::Fifo,
        EntryType::GNUSparse => {
            return Err(bad("is a sparse file, which is not supported").into());
        }
        _ => return Err(bad("is of an unknown kind").into()),
    };
    let node = Node { mode, uid, gid, xattrs: extensions.xattrs, kind };
    Ok(Entry { path, node, time })
}

impl Extensions {
    /// Reads the records of a pax header: `LENGTH KEY=VALUE\n`, the length that of the whole
    /// record, the value any bytes.
    fn read_pax(&mut self, mut records: &[u8]) -> Result<(), ArchiveError> {
        let bad = || ArchiveError::Entry {
            path: "pax header".to_owned(),
            reason: "its records are malformed",
        };
        while !records.is_empty() {
            let digits = records.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length: usize = std::str::from_utf8(&records[..digits])
                .ok()
                .and_then(|digits| digits.parse().ok())
                .filter(|length| (digits + 2..=records.len()).contains(length))
                .ok_or_else(bad)?;
            let (record, rest) = records.split_at(length);
            let record = record[digits + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let number = || {
                std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)
            };
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.target = Some(value.to_vec()),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                // The size field of the header holds up to 8 GiB; beyond that it would not count.
                b"size" => return Err(bad()),
                _ if key.starts_with(b"GNU.sparse.") => return Err(bad()),
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR_RECORD) {
                        let name = String::from_utf8(name.to_vec()).map_err(|_| bad())?;
                        self.xattrs.insert(name, value.to_vec());
                    }
                }
            }
            records = rest;
        }
        Ok(())
    }
}

fn read_extension(entry: &mut impl Read) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_EXTENSION {
        let path = "extended header".to_owned();
        return Err(ArchiveError::Entry { path, reason: "is longer than 1 MiB" });
    }
    Ok(bytes)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// The path of an entry as a tree has it.
fn entry_path(header: &Header, extension: Option<&[u8]>) -> Result<String, ArchiveError> {
    let bytes = extension.map_or_else(|| header.path_bytes(), Into::into);
    match std::str::from_utf8(&bytes) {
        Ok(path) => Ok(strip(path)),
        Err(_) => Err(ArchiveError::Entry {
            path: String::from_utf8_lossy(&bytes).into_owned(),
            reason: "its name is not UTF-8",
        }),
    }
}

/// `./usr/lib/` as `usr/lib`. What is left of `.` and `..` is refused at insertion.
fn strip(path: &str) -> String {
    let mut path = path.trim_end_matches('/');
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    if path == "." { String::new() } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};
    use tar::Builder;

    fn header(kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(3);
        header.set_gid(4);
        header.set_mtime(77);
        header
    }

    fn read(bytes: &[u8]) -> Result<FromTar, ArchiveError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Tree::from_tar(file)
    }

    fn archive(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        fill(&mut builder);
        builder.into_inner().unwrap()
    }

    #[test]
    fn every_kind_arrives() {
        let bytes = archive(|tar| {
            let mut add = |kind, path: &str, content: &[u8]| {
                let mut header = header(kind, 0o1755, content.len() as u64);
                tar.append_data(&mut header, path, content).unwrap();
            };
            add(EntryType::Directory, "./", b"");
            add(EntryType::Regular, "./usr/file", b"content");
            add(EntryType::Fifo, "./fifo", b"");
            for (kind, path, target) in [
                (EntryType::Symlink, "./link", "usr"),
                (EntryType::Link, "./hard", "./usr/file"),
                (EntryType::Link, "./harder", "./hard"),
            ] {
                tar.append_link(&mut header(kind, 0o777, 0), path, target).unwrap();
            }
            let mut null = header(EntryType::Char, 0o666, 0);
            null.set_device_major(1).unwrap();
            null.set_device_minor(3).unwrap();
            tar.append_data(&mut null, "./null", &b""[..]).unwrap();
        });
        let FromTar { tree, times } = read(&bytes).unwrap();
        let file = tree.get("usr/file").unwrap();
        assert_eq!((file.mode, file.uid, file.gid), (0o1755, 3, 4));
        assert_eq!(tree.read_file("link/file").unwrap().unwrap(), b"content");
        assert_eq!(tree.get("").unwrap().uid, 3);
        assert!(matches!(&tree.get("harder").unwrap().kind, Kind::HardLink(t) if t == "usr/file"));
        assert!(matches!(tree.get("fifo").unwrap().kind, Kind::Fifo));
        assert!(matches!(tree.get("null").unwrap().kind, Kind::CharDevice { major: 1, minor: 3 }));
        assert_eq!(times, BTreeMap::from([("usr/file".to_owned(), 77)]));
    }

    #[test]
    fn pax_records_count_even_with_newlines_in_them() {
        let long = format!("usr/{}", "n".repeat(200));
        let bytes = archive(|tar| {
            let records: [(&str, &[u8]); 4] = [
                ("SCHILY.xattr.security.capability", b"\x01\n\0\x02"),
                ("path", long.as_bytes()),
                ("uid", b"3000000"),
                ("mtime", b"1.5"),
            ];
            tar.append_pax_extensions(records).unwrap();
            let mut header = header(EntryType::Regular, 0o755, 1);
            tar.append_data(&mut header, "short", &b"x"[..]).unwrap();
            let mut next = self::header(EntryType::Regular, 0o755, 0);
            tar.append_data(&mut next, "next", &b""[..]).unwrap();
        });
        let tree = read(&bytes).unwrap().tree;
        let file = tree.get(&long).unwrap();
        assert_eq!(file.uid, 3_000_000);
        assert_eq!(file.xattrs["security.capability"], b"\x01\n\0\x02");
        assert!(tree.get("next").unwrap().xattrs.is_empty());
    }

    #[test]
    fn gnu_long_names_are_read() {
        let long = format!("usr/{}", "n".repeat(200));
        let bytes = archive(|tar| {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(1);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            tar.append_data(&mut header, &long, &b"x"[..]).unwrap();
        });
        assert_eq!(read(&bytes).unwrap().tree.read_file(&long).unwrap().unwrap(), b"x");
    }

    #[test]
    fn damaged_archives_are_errors() {
        let whole = archive(|tar| {
            let mut header = header(EntryType::Regular, 0o644, 5000);
            tar.append_data(&mut header, "file", &[7; 5000][..]).unwrap();
        });
        for length in (0..whole.len()).step_by(256) {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(read(b"not a tar at all, but long enough? ".repeat(40).as_slice()).is_err());
        let climbing = archive(|tar| {
            let mut header = header(EntryType::Regular, 0o644, 0);
            header.as_mut_bytes()[..9].copy_from_slice(b"../escape");
            header.set_cksum();
            tar.append(&header, &b""[..]).unwrap();
        });
        assert!(matches!(read(&climbing), Err(ArchiveError::Tree(TreeError::BadPath { .. }))));
        let pax = |records: &[u8]| Extensions::default().read_pax(records);
        for records in [&b"x"[..], b"5 a=b", b"99 a=b\n", b"3 \n", b"1 a=b\n", b"6 a=b\n9"] {
            assert!(pax(records).is_err(), "{records:?}");
        }
    }
}
