//! The structures of EROFS as bytes. Names and values are those of the kernel's
//! `fs/erofs/erofs_fs.h`; all numbers are little-endian.

use super::compressed::PIECE;
use crate::tree::{Kind, Node};
use disk::erofs::{BLOCK, COMPRESSED, MAGIC, SUPERBLOCK_OFFSET};
use std::collections::BTreeMap;

/// Length of the superblock without extension slots.
pub(super) const SUPERBLOCK_SIZE: usize = 128;
/// A block address where there is no block.
pub(super) const NO_BLOCK: u32 = u32::MAX;

const FEATURE_COMPAT_SB_CHKSUM: u32 = 1;
const FEATURE_COMPAT_MTIME: u32 = 2;
const XATTR_HEADER: usize = 12;
/// The bit of LZ4 among the algorithms of an image.
const LZ4: u16 = 1;
/// How far back LZ4 may refer.
const LZ4_DISTANCE: u16 = u16::MAX;
/// Bytes that say so behind the superblock, with their length in front and filled up to where
/// inodes may begin.
pub(super) const CONFIGURATION_SIZE: usize = 32;

/// How the data of an inode lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataLayout {
    /// In whole blocks.
    Plain = 0,
    /// In compressed pieces, by an index behind the inode.
    Compressed = 1,
    /// In whole blocks, and what is left of it right behind the inode.
    Inline = 2,
}

/// What the superblock says.
#[derive(Debug)]
pub(super) struct Superblock<'a> {
    pub(super) root_inode: u16,
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) epoch: u64,
    pub(super) uuid: [u8; 16],
    /// At most 16 bytes.
    pub(super) volume_name: &'a str,
    /// Whether files may be compressed; [`CONFIGURATION_SIZE`] bytes behind it are then taken.
    pub(super) compressed: bool,
}

impl Superblock<'_> {
    /// Writes the superblock into the first block, then the checksum over that block.
    pub(super) fn seal(&self, first_block: &mut [u8]) {
        let mut raw = [0; SUPERBLOCK_SIZE];
        put(&mut raw, 0, &MAGIC.to_le_bytes());
        put(&mut raw, 8, &(FEATURE_COMPAT_SB_CHKSUM | FEATURE_COMPAT_MTIME).to_le_bytes());
        put(&mut raw, 12, &[BLOCK.trailing_zeros() as u8]);
        put(&mut raw, 14, &self.root_inode.to_le_bytes());
        put(&mut raw, 16, &self.inodes.to_le_bytes());
        put(&mut raw, 24, &self.epoch.to_le_bytes());
        put(&mut raw, 36, &self.blocks.to_le_bytes());
        put(&mut raw, 48, &self.uuid);
        put(&mut raw, 64, self.volume_name.as_bytes());
        if self.compressed {
            put(&mut raw, 80, &COMPRESSED.to_le_bytes());
            put(&mut raw, 84, &LZ4.to_le_bytes());
            let at = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE;
            put(first_block, at, &14_u16.to_le_bytes());
            put(first_block, at + 2, &LZ4_DISTANCE.to_le_bytes());
            put(first_block, at + 4, &((PIECE as u64 / BLOCK) as u16).to_le_bytes());
        }
        put(first_block, SUPERBLOCK_OFFSET, &raw);
        let checksum = crc32c(&first_block[SUPERBLOCK_OFFSET..BLOCK as usize]);
        put(first_block, SUPERBLOCK_OFFSET + 4, &checksum.to_le_bytes());
    }
}

/// What an inode says.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) number: u32,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) layout: DataLayout,
    /// The first block of the data, or the device number; of what is compressed, how many blocks
    /// it takes.
    pub(super) place: u32,
    /// Bytes of extended attributes behind the inode.
    pub(super) xattr_size: usize,
}

impl Inode {
    /// Whether the 64-byte form is needed. The other one has no time of its own: the
    /// superblock's counts, which is what every file has here.
    fn is_extended(&self) -> bool {
        let short = u32::from(u16::MAX);
        self.size > u64::from(u32::MAX)
            || self.uid > short
            || self.gid > short
            || self.links > short
    }

    /// Bytes this inode takes, its extended attributes not counted.
    pub(super) fn len(&self) -> u64 {
        if self.is_extended() { 64 } else { 32 }
    }

    /// The inode as it lies on the disk.
    pub(super) fn to_bytes(&self, epoch: u64) -> Vec<u8> {
        let extended = self.is_extended();
        let mut raw = vec![0; self.len() as usize];
        let format = u16::from(extended) | (self.layout as u16) << 1;
        let xattr_count = match self.xattr_size.checked_sub(XATTR_HEADER) {
            Some(size) => size / 4 + 1,
            None => 0,
        };
        put(&mut raw, 0, &format.to_le_bytes());
        put(&mut raw, 2, &(xattr_count as u16).to_le_bytes());
        put(&mut raw, 4, &self.mode.to_le_bytes());
        put(&mut raw, 16, &self.place.to_le_bytes());
        put(&mut raw, 20, &self.number.to_le_bytes());
        if extended {
            put(&mut raw, 8, &self.size.to_le_bytes());
            put(&mut raw, 24, &self.uid.to_le_bytes());
            put(&mut raw, 28, &self.gid.to_le_bytes());
            put(&mut raw, 32, &epoch.to_le_bytes());
            put(&mut raw, 44, &self.links.to_le_bytes());
        } else {
            put(&mut raw, 6, &(self.links as u16).to_le_bytes());
            put(&mut raw, 8, &(self.size as u32).to_le_bytes());
            put(&mut raw, 24, &(self.uid as u16).to_le_bytes());
            put(&mut raw, 26, &(self.gid as u16).to_le_bytes());
        }
        raw
    }
}

/// The file type bits of `st_mode`.
pub(super) fn mode_type(kind: &Kind) -> u16 {
    match kind {
        Kind::Fifo => 0o010_000,
        Kind::CharDevice { .. } => 0o020_000,
        Kind::Directory => 0o040_000,
        Kind::BlockDevice { .. } => 0o060_000,
        Kind::File(_) | Kind::HardLink(_) => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Socket => 0o140_000,
    }
}

/// The file type of a directory entry.
pub(super) fn entry_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) | Kind::HardLink(_) => 1,
        Kind::Directory => 2,
        Kind::CharDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}

/// A device number as the kernel's `new_encode_dev` has it; zero for what is no device.
pub(super) fn device_number(node: &Node) -> u32 {
    match node.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
        }
        _ => 0,
    }
}

/// The extended attributes as they follow an inode, or the name of the first that EROFS cannot
/// hold. No attributes take no bytes.
pub(super) fn xattrs(attributes: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, &str> {
    let mut raw = Vec::new();
    if attributes.is_empty() {
        return Ok(raw);
    }
    raw.resize(XATTR_HEADER, 0);
    for (name, value) in attributes {
        let (index, suffix) = xattr_index(name).ok_or(name.as_str())?;
        let name_len = u8::try_from(suffix.len()).map_err(|_| name.as_str())?;
        let value_len = u16::try_from(value.len()).map_err(|_| name.as_str())?;
        raw.extend([name_len, index]);
        raw.extend(value_len.to_le_bytes());
        raw.extend(suffix.as_bytes());
        raw.extend(value);
        raw.resize(raw.len().next_multiple_of(4), 0);
        if (raw.len() - XATTR_HEADER) / 4 + 1 > usize::from(u16::MAX) {
            return Err(name);
        }
    }
    Ok(raw)
}

/// The index that stands for an attribute name's prefix, and the rest of the name.
fn xattr_index(name: &str) -> Option<(u8, &str)> {
    const PREFIXES: [(&str, u8); 3] = [("user.", 1), ("trusted.", 4), ("security.", 6)];
    match name {
        "system.posix_acl_access" => Some((2, "")),
        "system.posix_acl_default" => Some((3, "")),
        _ => PREFIXES
            .iter()
            .find_map(|(prefix, index)| Some((*index, name.strip_prefix(prefix)?)))
            .filter(|(_, suffix)| !suffix.is_empty()),
    }
}

/// CRC-32C without the final inversion, as the kernel computes it for the superblock.
fn crc32c(bytes: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82F6_3B78;
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (REVERSED_POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

/// Copies `bytes` to `offset` of `raw`.
fn put(raw: &mut [u8], offset: usize, bytes: &[u8]) {
    raw[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_matches_the_published_vector() {
        // RFC 3720, B.4: 32 bytes of zeros give 0xAA36918A after the final inversion.
        assert_eq!(!crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(!crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn xattr_names_have_their_index() {
        for (name, want) in [
            ("security.capability", Some((6, "capability"))),
            ("user.a.b", Some((1, "a.b"))),
            ("trusted.overlay.opaque", Some((4, "overlay.opaque"))),
            ("system.posix_acl_access", Some((2, ""))),
            ("system.posix_acl_default", Some((3, ""))),
            ("system.other", None),
            ("user.", None),
        ] {
            assert_eq!(xattr_index(name), want, "{name}");
        }
    }

    #[test]
    fn xattrs_that_do_not_fit_are_named() {
        let long = format!("user.{}", "n".repeat(256));
        for (name, size) in [("user.big", 65_536), (long.as_str(), 1), ("btrfs.x", 1)] {
            let attributes = BTreeMap::from([(name.to_owned(), vec![0; size])]);
            assert_eq!(xattrs(&attributes), Err(name));
        }
    }

    #[test]
    fn device_numbers_survive_the_packing() {
        let node = |major, minor| Node::new(0o600, Kind::BlockDevice { major, minor });
        assert_eq!(device_number(&node(8, 1)), 0x0801);
        assert_eq!(device_number(&node(259, 300)), 0x0011_032c);
    }

    #[test]
    fn only_what_needs_it_is_extended() {
        let inode = |uid, size, links| Inode {
            number: 1,
            mode: 0o100_644,
            uid,
            gid: 0,
            links,
            size,
            layout: DataLayout::Plain,
            place: 0,
            xattr_size: 0,
        };
        assert_eq!(inode(65_535, u64::from(u32::MAX), 65_535).len(), 32);
        assert_eq!(inode(65_536, 0, 1).len(), 64);
        assert_eq!(inode(0, 1 << 32, 1).len(), 64);
        assert_eq!(inode(0, 0, 65_536).len(), 64);
    }
}
