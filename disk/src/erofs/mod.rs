//! An EROFS file system, read: names, owners, modes, and where the bytes of each file are.
//!
//! ```text
//! root partition → Reader → Found (a file, a directory, a link) → entries | content
//! ```
//!
//! Reads what the image builder writes and what `mkfs.erofs` writes without compression: plain
//! and inline data, compact and extended inodes, and of files in [`compressed`] pieces those of
//! the builder. Names and values are those of the kernel's
//! `fs/erofs/erofs_fs.h`; all numbers are little-endian. Extended attributes are passed over.
//! Nothing in an image is believed: sizes and places are checked against its length, names
//! against the format, and no image makes [`list`] run longer than it has bytes.

pub mod compressed;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};

use compressed::Unpacker;

/// Bytes in a block; also the block size that dm-verity and the page cache use.
pub const BLOCK: u64 = 4096;
/// What a superblock begins with, as a little-endian number.
pub const MAGIC: u32 = 0xe0f5_e1e2;
/// Where the superblock lies in the first block.
pub const SUPERBLOCK_OFFSET: usize = 1024;
/// Inodes begin at multiples of this; an inode's number is its offset in these units.
pub const INODE_SLOT: u64 = 32;
/// Longest file name.
pub const MAX_NAME: usize = 255;

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
    /// Where its bytes are in the image: offset and length. Of a compressed file, where its index
    /// is.
    pub data: Vec<(u64, u64)>,
    /// Whether it is compressed.
    pub compressed: bool,
}

impl Found {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }
}

/// Incompatible features of a compressed image: padding in front of what is compressed, and
/// pieces of several blocks by a configuration behind the superblock.
pub const COMPRESSED: u32 = 3;

/// Lists an image: every path, without a leading slash, but that of the root itself.
///
/// # Errors
/// [`ReadError`].
pub fn list(image: impl Read + Seek) -> Result<BTreeMap<String, Found>, ReadError> {
    let mut reader = Reader::open(image)?;
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(String::new(), reader.root()?, 0)];
    // Names take bytes of their own; an image whose directories share theirs could name far more
    // files than it has bytes.
    let mut left = reader.size;
    while let Some((path, directory, depth)) = waiting.pop() {
        // A directory has one name; a loop would have two.
        if !seen.insert(directory.inode) || depth > DEEPEST {
            return Err(ReadError::Damaged("a directory is in itself"));
        }
        let shared = ReadError::Damaged("directories share their names");
        left = left.checked_sub(directory.size).ok_or(shared)?;
        for (name, number) in reader.entries(&directory)? {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let node = reader.node(number)?;
            if node.is_directory() {
                waiting.push((path.clone(), node.clone(), depth + 1));
            }
            found.insert(path, node);
        }
    }
    Ok(found)
}

/// Reads the bytes of a file or the target of a link, of at most `limit`.
///
/// # Errors
/// [`ReadError`]; also if there are more.
pub fn content(
    mut image: impl Read + Seek,
    node: &Found,
    limit: u64,
) -> Result<Vec<u8>, ReadError> {
    if node.size > limit || !(node.is_file() || node.is_link() || node.is_directory()) {
        return Err(ReadError::Damaged("a file is larger than expected, or has no bytes"));
    }
    let mut bytes = vec![0; node.size as usize];
    let mut at = 0;
    let mut stream = Stream::new(&mut image, node);
    while at < bytes.len() {
        match stream.read_some(&mut bytes[at..])? {
            0 => return Err(ReadError::Damaged("a file ends before its end")),
            count => at += count,
        }
    }
    Ok(bytes)
}

/// The bytes of a file, from its beginning to its end.
#[derive(Debug)]
pub struct Stream<R> {
    image: R,
    parts: Vec<(u64, u64)>,
    unpacker: Option<Unpacker>,
}

impl<R: Read + Seek> Stream<R> {
    /// Reads `node` of an image.
    pub fn new(image: R, node: &Found) -> Stream<R> {
        let index = node.data.first().filter(|_| node.compressed);
        let unpacker = index.map(|(index, _)| Unpacker::new(*index, node.size));
        let parts = node.data.iter().rev().copied().collect();
        Stream { image, parts, unpacker }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if let Some(unpacker) = &mut self.unpacker {
            return unpacker.read(&mut self.image, buffer);
        }
        let Some((offset, length)) = self.parts.last_mut() else { return Ok(0) };
        let count = (*length).min(buffer.len() as u64) as usize;
        self.image.seek(SeekFrom::Start(*offset))?;
        self.image.read_exact(&mut buffer[..count])?;
        *offset += count as u64;
        *length -= count as u64;
        if *length == 0 {
            self.parts.pop();
        }
        Ok(count)
    }
}

impl<R: Read + Seek> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(|error| match error {
            ReadError::Io(error) => error,
            damaged @ ReadError::Damaged(_) => io::Error::new(io::ErrorKind::InvalidData, damaged),
        })
    }
}

/// An open file system.
#[derive(Debug)]
pub struct Reader<R> {
    image: R,
    size: u64,
    metadata: u64,
    root: u64,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// [`ReadError`]; also for one that is compressed otherwise than with LZ4, or has other blocks
    /// than of [`BLOCK`].
    pub fn open(mut image: R) -> Result<Reader<R>, ReadError> {
        let size = image.seek(SeekFrom::End(0))?;
        let mut raw = [0; 128];
        if size < BLOCK {
            return Err(ReadError::Damaged("it is shorter than a block"));
        }
        image.seek(SeekFrom::Start(SUPERBLOCK_OFFSET as u64))?;
        image.read_exact(&mut raw)?;
        if word(&raw, 0) != MAGIC || u64::from(raw[12]) != u64::from(BLOCK.trailing_zeros()) {
            return Err(ReadError::Damaged("no superblock with blocks of 4096 bytes"));
        }
        // Every incompatible feature is a form of compression, or of many devices.
        let lz4 = half(&raw, 84) == 1;
        match word(&raw, 80) {
            0 => {}
            COMPRESSED if lz4 => {}
            _ => return Err(ReadError::Damaged("it is compressed in an unknown way")),
        }
        let metadata = u64::from(word(&raw, 40)) * BLOCK;
        Ok(Reader { image, size, metadata, root: u64::from(half(&raw, 14)) })
    }

    /// The root directory.
    ///
    /// # Errors
    /// As of [`Reader::node`].
    pub fn root(&mut self) -> Result<Found, ReadError> {
        self.node(self.root)
    }

    /// The bytes of a file or the target of a link, of at most `limit`.
    ///
    /// # Errors
    /// As of [`content`].
    pub fn content(&mut self, node: &Found, limit: u64) -> Result<Vec<u8>, ReadError> {
        content(&mut self.image, node, limit)
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(ReadError::Damaged("something lies behind its end"));
        }
        self.image.seek(SeekFrom::Start(offset))?;
        Ok(self.image.read_exact(buffer)?)
    }

    /// The file with this number.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn node(&mut self, number: u64) -> Result<Found, ReadError> {
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
        let mut node =
            Found { mode, uid, gid, size, inode: number, data: Vec::new(), compressed: false };
        if !(node.is_file() || node.is_directory() || node.is_link()) || size == 0 {
            return Ok(node);
        }
        let blocks = u64::from(word(&raw, 16)).checked_mul(BLOCK).ok_or_else(far)?;
        let behind = at + if extended { 64 } else { 32 } + xattrs;
        node.data = match layout {
            0 => vec![(blocks, size)],
            1 if node.is_file() => {
                node.compressed = true;
                let index = compressed::index_start(behind);
                vec![(index, size.div_ceil(BLOCK).saturating_mul(compressed::ENTRY))]
            }
            2 => {
                let tail = size % BLOCK;
                let whole = size - tail;
                let parts = [(blocks, whole), (behind, tail)];
                parts.into_iter().filter(|(_, length)| *length > 0).collect()
            }
            _ => {
                return Err(ReadError::Damaged(
                    "a file is compressed in an unknown way, or in chunks",
                ));
            }
        };
        let inside = |&(offset, length): &(u64, u64)| {
            offset.checked_add(length).is_some_and(|end| end <= self.size)
        };
        if node.data.iter().all(inside) { Ok(node) } else { Err(far()) }
    }

    /// The names in a directory, and the numbers of their inodes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entries(&mut self, directory: &Found) -> Result<Vec<(String, u64)>, ReadError> {
        if !directory.is_directory() {
            return Err(ReadError::Damaged("what should be a directory is none"));
        }
        let bytes = self.content(directory, LARGEST)?;
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
