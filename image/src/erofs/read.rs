//! An EROFS image read back: names, owners, modes, and where the bytes of each file are.
//!
//! Reads what [`super::Image`] writes and what `mkfs.erofs` writes without compression: plain and
//! inline data, compact and extended inodes. Extended attributes are passed over. Nothing in an
//! image is believed: sizes and places are checked against the file, names against the format, and
//! no image makes the reader run longer than it has bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{BLOCK, INODE_SLOT, MAX_NAME, SUPERBLOCK_OFFSET};

const MAGIC: u32 = 0xe0f5_e1e2;
/// Deeper trees than any real one.
const DEEPEST: usize = 200;
/// Bytes of a directory entry before its name.
const ENTRY: usize = 12;
/// The largest directory or link that is read.
const LARGEST: u64 = 64 << 20;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file failed.
    #[error("cannot read the file system")]
    Io(#[from] io::Error),
    /// Something in it contradicts the format, or is not known here.
    #[error("the file system is damaged, or made by another program: {0}")]
    Damaged(&'static str),
}

/// A file of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// File type and permission bits, as `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file, or of a link's target.
    pub size: u64,
    /// Number of the inode: the same for all names of one file.
    pub inode: u64,
    /// Where its bytes are in the image: offset and length.
    pub data: Vec<(u64, u64)>,
}

impl Found {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }
}

/// Lists an image: every path, without a leading slash, but that of the root itself.
pub fn list(image: &File) -> Result<BTreeMap<String, Found>, ReadError> {
    let reader = Reader::open(image)?;
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(String::new(), reader.root, 0)];
    while let Some((path, number, depth)) = waiting.pop() {
        // A directory has one name; a loop would have two.
        if !seen.insert(number) || depth > DEEPEST {
            return Err(ReadError::Damaged("a directory is in itself"));
        }
        let directory = reader.inode(number)?;
        for (name, number) in reader.entries(&directory)? {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let node = reader.inode(number)?;
            if node.is_directory() {
                waiting.push((path.clone(), number, depth + 1));
            }
            found.insert(path, node);
        }
    }
    Ok(found)
}

/// Reads the bytes of a file or the target of a link, of at most `limit`.
pub fn content(image: &File, node: &Found, limit: u64) -> Result<Vec<u8>, ReadError> {
    if node.size > limit || !(node.is_file() || node.is_link() || node.is_directory()) {
        return Err(ReadError::Damaged("a file is larger than expected, or has no bytes"));
    }
    let mut bytes = vec![0; node.size as usize];
    let mut at = 0;
    for &(offset, length) in &node.data {
        image.read_exact_at(&mut bytes[at..at + length as usize], offset)?;
        at += length as usize;
    }
    Ok(bytes)
}

struct Reader<'a> {
    image: &'a File,
    size: u64,
    metadata: u64,
    root: u64,
}

impl<'a> Reader<'a> {
    fn open(image: &'a File) -> Result<Reader<'a>, ReadError> {
        let size = image.metadata()?.len();
        let mut raw = [0; 128];
        if size < BLOCK {
            return Err(ReadError::Damaged("it is shorter than a block"));
        }
        image.read_exact_at(&mut raw, SUPERBLOCK_OFFSET as u64)?;
        if word(&raw, 0) != MAGIC || u64::from(raw[12]) != u64::from(BLOCK.trailing_zeros()) {
            return Err(ReadError::Damaged("no superblock with blocks of 4096 bytes"));
        }
        // Every incompatible feature is a form of compression, or of many devices.
        if word(&raw, 80) != 0 {
            return Err(ReadError::Damaged("it is compressed"));
        }
        let metadata = u64::from(word(&raw, 40)) * BLOCK;
        Ok(Reader { image, size, metadata, root: u64::from(half(&raw, 14)) })
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(ReadError::Damaged("something lies behind its end"));
        }
        Ok(self.image.read_exact_at(buffer, offset)?)
    }

    fn inode(&self, number: u64) -> Result<Found, ReadError> {
        let far = || ReadError::Damaged("something lies behind its end");
        let at = number.checked_mul(INODE_SLOT).and_then(|at| at.checked_add(self.metadata));
        let at = at.ok_or_else(far)?;
        let mut raw = [0; 64];
        self.read(at, &mut raw[..32])?;
        let format = half(&raw, 0);
        let extended = format & 1 == 1;
        if extended {
            self.read(at, &mut raw)?;
        }
        let layout = format >> 1 & 7;
        let xattrs = match u64::from(half(&raw, 2)) {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let (size, uid, gid) = if extended {
            (long(&raw, 8), word(&raw, 24), word(&raw, 28))
        } else {
            (u64::from(word(&raw, 8)), half(&raw, 24).into(), half(&raw, 26).into())
        };
        let mode = half(&raw, 4);
        let mut node = Found { mode, uid, gid, size, inode: number, data: Vec::new() };
        if !(node.is_file() || node.is_directory() || node.is_link()) || size == 0 {
            return Ok(node);
        }
        let blocks = u64::from(word(&raw, 16)).checked_mul(BLOCK).ok_or_else(far)?;
        let behind = at + if extended { 64 } else { 32 } + xattrs;
        node.data = match layout {
            0 => vec![(blocks, size)],
            2 => {
                let tail = size % BLOCK;
                let whole = size - tail;
                let parts = [(blocks, whole), (behind, tail)];
                parts.into_iter().filter(|(_, length)| *length > 0).collect()
            }
            _ => return Err(ReadError::Damaged("a file is compressed or in chunks")),
        };
        let inside = |&(offset, length): &(u64, u64)| {
            offset.checked_add(length).is_some_and(|end| end <= self.size)
        };
        if node.data.iter().all(inside) { Ok(node) } else { Err(far()) }
    }

    /// The names in a directory, and the numbers of their inodes.
    fn entries(&self, directory: &Found) -> Result<Vec<(String, u64)>, ReadError> {
        if !directory.is_directory() {
            return Err(ReadError::Damaged("its root is no directory"));
        }
        let bytes = content(self.image, directory, LARGEST)?;
        let mut entries = Vec::new();
        for block in bytes.chunks(BLOCK as usize) {
            let wrong = || ReadError::Damaged("a directory has no valid names");
            let first = block.get(8..10).ok_or_else(wrong)?;
            let names = usize::from(u16::from_le_bytes([first[0], first[1]]));
            if names < ENTRY || !names.is_multiple_of(ENTRY) || names > block.len() {
                return Err(wrong());
            }
            let starts: Vec<usize> = (0..names / ENTRY)
                .map(|index| usize::from(half(block, index * ENTRY + 8)))
                .chain([block.len()])
                .collect();
            for (index, pair) in starts.windows(2).enumerate() {
                let name = block.get(pair[0]..pair[1]).ok_or_else(wrong)?;
                // The last one of a block may be filled up with zeros.
                let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                let name = std::str::from_utf8(&name[..end]).map_err(|_| wrong())?;
                if name == "." || name == ".." {
                    continue;
                }
                if name.is_empty() || name.len() > MAX_NAME || name.contains('/') {
                    return Err(wrong());
                }
                entries.push((name.to_owned(), long(block, index * ENTRY)));
            }
        }
        Ok(entries)
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |field| u16::from_le_bytes([field[0], field[1]]))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erofs::{Image, Options};
    use crate::tree::{Kind, Node, Tree};
    use std::io::Write;

    fn tree() -> Tree {
        let mut tree = Tree::new();
        let mut put = |path: &str, node: Node| tree.insert(path, node).expect("a good path");
        put("etc", Node::directory(0o755).owned_by(7, 70_000));
        put("etc/empty", Node::file(0o600, Vec::new()));
        put("etc/small", Node::file(0o644, b"small".to_vec()));
        put("usr/large", Node::file(0o755, (0..20_000).map(|n| n as u8).collect::<Vec<_>>()));
        put("usr/link", Node::symlink("large"));
        put("usr/again", Node::new(0o644, Kind::HardLink("usr/large".to_owned())));
        put("dev/null", Node::new(0o666, Kind::CharDevice { major: 1, minor: 3 }));
        for number in 0..900 {
            put(&format!("many/file-with-a-longer-name-{number:04}"), Node::file(0o644, vec![1]));
        }
        tree
    }

    fn image() -> File {
        let tree = tree();
        let last = BTreeSet::new();
        let options = Options { uuid: [1; 16], volume_name: "root", epoch: 5, last: &last };
        let image = Image::plan(&tree, &options).expect("fits");
        let mut file = tempfile::tempfile().expect("temporary file");
        image.write(&mut file).expect("written");
        file.flush().expect("written");
        file
    }

    #[test]
    fn what_was_written_is_read_back() {
        let image = image();
        let found = list(&image).expect("readable");
        let tree = tree();
        let paths: Vec<&str> =
            tree.iter().map(|(path, _)| path).filter(|p| !p.is_empty()).collect();
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), paths);
        assert_eq!((found["etc"].uid, found["etc"].gid), (7, 70_000));
        assert_eq!(found["etc/small"].mode, 0o100_644);
        assert_eq!(found["usr/again"].inode, found["usr/large"].inode);
        let read = |path: &str| content(&image, &found[path], 1 << 20).expect("readable");
        assert_eq!(read("etc/small"), b"small");
        assert_eq!(read("etc/empty"), b"");
        assert_eq!(read("usr/link"), b"large");
        assert_eq!(Some(read("usr/large")), tree.read_file("usr/large").expect("readable"));
        assert!(content(&image, &found["usr/large"], 100).is_err());
    }

    #[test]
    fn no_damage_is_more_than_an_error() {
        let image = image();
        let size = image.metadata().expect("there").len();
        let mut original = [0; 1];
        // The metadata are at the front; every byte of their first blocks in turn.
        for at in (SUPERBLOCK_OFFSET as u64..SUPERBLOCK_OFFSET as u64 + 128)
            .chain((2048..9000).step_by(23))
        {
            image.read_exact_at(&mut original, at).expect("readable");
            for value in [!original[0], 0xff] {
                image.write_all_at(&[value], at).expect("written");
                if let Ok(found) = list(&image) {
                    for node in found.values().filter(|node| node.is_file()).take(5) {
                        let _ = content(&image, node, 1 << 20);
                    }
                }
            }
            image.write_all_at(&original, at).expect("written");
        }
        for length in [0, 100, 1024, 4096, size / 2] {
            image.set_len(length).expect("cut");
            let _ = list(&image);
        }
    }
}
