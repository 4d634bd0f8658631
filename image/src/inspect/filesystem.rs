//! What the superblocks of a root file system and of a verity tree say.

use std::fmt;

use disk::erofs::{self, SUPERBLOCK_OFFSET};
use disk::guid::Guid;
use disk::verity::Superblock;
use serde::Serialize;

use super::Cause;
use crate::progress::Size;

const EROFS_MAGIC: [u8; 4] = erofs::MAGIC.to_le_bytes();

/// An EROFS file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erofs {
    /// Bytes in it.
    pub size: u64,
    /// Bytes in a block.
    pub block_size: u64,
    /// Files of every kind.
    pub inodes: u64,
    /// When it says it was made, in seconds since 1970.
    pub time: u64,
    /// Its identifier.
    pub uuid: String,
    /// Its name.
    pub volume_name: String,
    /// Whether its files are compressed, with LZ4 as this builder does.
    pub compressed: bool,
}

/// A verity tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verity {
    /// Bytes that it protects.
    pub data_size: u64,
    /// Its identifier.
    pub uuid: String,
    /// The salt, in hexadecimal.
    pub salt: String,
}

/// A fault in an EROFS superblock.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the superblock is cut off")]
    Short,
    #[error("a block of 2^{bits} bytes is not possible")]
    BlockSize { bits: u8 },
    #[error("it should have {size} bytes, the file has {found}")]
    Size { size: u64, found: u64 },
}

/// Whether a file that begins like this is EROFS.
pub(super) fn is_erofs(beginning: &[u8]) -> bool {
    beginning
        .get(SUPERBLOCK_OFFSET..)
        .is_some_and(|superblock| superblock.starts_with(&EROFS_MAGIC))
}

/// Reads the superblock of a file or partition of `found` bytes.
pub(super) fn erofs(beginning: &[u8], found: u64) -> Result<Erofs, Cause> {
    let bytes = beginning.get(SUPERBLOCK_OFFSET..SUPERBLOCK_OFFSET + 128).ok_or(Fault::Short)?;
    let word = |at: usize| u64::from(u32::from_le_bytes(*bytes[at..].first_chunk().expect("128")));
    let long = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("128"));
    let bits = bytes[12];
    if !(9..=16).contains(&bits) {
        return Err(Fault::BlockSize { bits }.into());
    }
    let block_size = 1 << bits;
    let size = word(36) * block_size;
    if size > found {
        return Err(Fault::Size { size, found }.into());
    }
    let name = &bytes[64..80];
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(Erofs {
        size,
        block_size,
        inodes: long(16),
        time: long(24),
        uuid: Guid::from_bytes(*bytes[48..].first_chunk().expect("128")).to_string(),
        volume_name: String::from_utf8_lossy(&name[..end]).into_owned(),
        compressed: word(80) == u64::from(erofs::COMPRESSED),
    })
}

/// Whether a file that begins like this is a verity tree.
pub(super) fn is_verity(beginning: &[u8]) -> bool {
    beginning.starts_with(b"verity\0\0")
}

/// Reads the superblock of a verity tree.
pub(super) fn verity(mut beginning: &[u8]) -> Result<Verity, Cause> {
    let superblock = Superblock::read(&mut beginning)?;
    Ok(Verity {
        data_size: superblock.data_size(),
        uuid: superblock.uuid.to_string(),
        salt: superblock.salt.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

impl fmt::Display for Erofs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.compressed { ", compressed with LZ4" } else { "" };
        writeln!(formatter, "root file system, EROFS, {}{how}", Size(self.size))?;
        writeln!(formatter, "  name    {}", self.volume_name)?;
        writeln!(formatter, "  uuid    {}", self.uuid)?;
        writeln!(formatter, "  files   {}", self.inodes)?;
        write!(formatter, "  blocks  {} of {} bytes", self.size / self.block_size, self.block_size)
    }
}

impl fmt::Display for Verity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "verity tree over {}", Size(self.data_size))?;
        writeln!(formatter, "  uuid    {}", self.uuid)?;
        write!(formatter, "  salt    {}", self.salt)
    }
}
