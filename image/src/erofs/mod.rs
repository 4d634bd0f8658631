//! Writes a [`Tree`] as an EROFS image.
//!
//! tree → [`Image::plan`] (every inode and block has its place) → [`Image::write`] (a stream)
//!
//! ```text
//! block 0: 1024 zeros, superblock, inodes ...  | directories' whole blocks | files, what changes last
//! `------------------- metadata ------------------------------------------'
//! ```
//!
//! The image is made to be compared block by block with the next release: all metadata is at
//! the front, the contents of every file begin on a block of their own, nothing is compressed
//! unless that is asked for ([`Image::plan_compressed`]), and the same tree gives the same bytes. Tails of directories and symbolic links lie behind
//! their inodes; those of files do not, as a file that changes would then move all metadata.
//!
//! Left out: compression with anything but LZ4, chunks, shared extended attributes, several devices, block sizes
//! other than 4 KiB. It is read back by `disk::erofs`.

mod compressed;
mod directory;
mod format;
mod plan;

pub use disk::erofs::BLOCK;
pub use plan::Image;
use std::collections::BTreeSet;
use std::io;

/// What identifies an image beside its files.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Of the file system.
    pub uuid: [u8; 16],
    /// At most 16 bytes.
    pub volume_name: &'a str,
    /// The time of every file and of the image, in seconds since 1970. It is only in the
    /// superblock: images that differ in nothing else differ in one block.
    pub epoch: u64,
    /// Files whose contents lie behind those of all others: what differs from build to build,
    /// so that all the rest keeps its place.
    pub last: &'a BTreeSet<String>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The volume name is longer than the field for it.
    #[error("volume name {name:?} is longer than 16 bytes")]
    VolumeName {
        /// The name.
        name: String,
    },
    /// A file name is too long.
    #[error("{path}: a name in it is longer than 255 bytes")]
    NameTooLong {
        /// The whole path.
        path: String,
    },
    /// A symbolic link's target is empty or too long for the kernel.
    #[error("{path}: the target of the symbolic link is empty or longer than 4095 bytes")]
    LinkTarget {
        /// The link.
        path: String,
    },
    /// A hard link to what is not a file of its own.
    #[error("{path}: the hard link leads to no file")]
    HardLink {
        /// The link, or what it leads to.
        path: String,
    },
    /// An extended attribute of an unknown class or of a size the format has no room for.
    #[error("{path}: the extended attribute {name} cannot be stored")]
    Xattr {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
    },
    /// More than 16 TiB.
    #[error("the image would have more than 2^32 blocks")]
    TooLarge,
    /// The contents of a file cannot be read.
    #[error("cannot read the contents of {path}")]
    Read {
        /// The path in the tree.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The image cannot be written.
    #[error("cannot write the file system image")]
    Write(#[source] io::Error),
}
