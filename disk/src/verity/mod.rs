//! dm-verity: the tree of SHA-256 hashes over a root, byte for byte as
//! `veritysetup format` writes it.
//!
//! ```text
//! Superblock (what is hashed, and how) + data → build → tree, RootHash
//! Superblock + RootHash → dm_table → the kernel
//! Superblock + RootHash + tree + one block → check
//! RootHash + tree + data → Checked → sound data
//! ```
//!
//! One format only: version 1, hash type 1 (salt before the block), SHA-256,
//! 4096-byte blocks. The verity partition holds the superblock in its block 0
//! and the tree from block 1 on, the top level first.

mod build;
mod checked; // data that are checked as they are read
mod hasher; // blocks to hashes
mod superblock; // the parameters, and the kernel's view of them
mod tree; // where each hash is; checking // data to tree

use std::fmt;
use std::io;
use std::str::FromStr;

use thiserror::Error;

pub use build::{Earlier, build, build_after};
pub use checked::Checked;
pub use hasher::{BlockHasher, Hash};
pub use superblock::{MAX_SALT, Superblock};
pub use tree::{check, check_tree, leaves, partition_size};

use crate::guid::from_hex;

/// Bytes in a data block and in a hash block.
pub const BLOCK: u64 = 4096;

/// The hash over the whole tree: who trusts it can trust every block.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootHash(pub [u8; 32]);

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RootHash {
    type Err = VerityError;

    fn from_str(text: &str) -> Result<RootHash, VerityError> {
        from_hex(text).map(RootHash).ok_or_else(|| VerityError::RootHash { text: text.to_string() })
    }
}

/// What can be wrong with a verity tree.
#[derive(Debug, Error)]
pub enum VerityError {
    /// A text is not a root hash.
    #[error("`{text}` is not a root hash: expected 64 hexadecimal digits")]
    RootHash {
        /// What was given.
        text: String,
    },
    /// The superblock could not be read.
    #[error("cannot read the verity superblock")]
    ReadSuperblock {
        /// Why.
        source: io::Error,
    },
    /// There is no verity superblock.
    #[error("no verity superblock found")]
    NoSuperblock,
    /// A field of the superblock has a value that this system does not write.
    #[error("the verity superblock has {field} {found}, expected {expected}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The salt does not fit the superblock.
    #[error("a verity salt of {length} bytes is too long, at most {MAX_SALT} fit")]
    SaltTooLong {
        /// Its length.
        length: usize,
    },
    /// There is nothing to protect, or more than any disk holds.
    #[error("a verity tree over {blocks} blocks is not possible")]
    DataSize {
        /// How many blocks were asked for.
        blocks: u64,
    },
    /// The data could not be read.
    #[error("cannot read the data below the verity tree")]
    ReadData {
        /// Why.
        source: io::Error,
    },
    /// The data ended before the number of blocks that the superblock names.
    #[error("the data ends before block {blocks}, the number that the superblock names")]
    DataTooShort {
        /// How many blocks there should be.
        blocks: u64,
    },
    /// A hash block could not be read.
    #[error("cannot read block {block} of the verity tree")]
    ReadTree {
        /// The block, counted from the superblock.
        block: u64,
        /// Why.
        source: io::Error,
    },
    /// The tree could not be written.
    #[error("cannot write the verity tree")]
    WriteTree {
        /// Why.
        source: io::Error,
    },
    /// A block was asked about that is not below the tree.
    #[error("block {index} is not among the {blocks} blocks below the verity tree")]
    NoSuchBlock {
        /// The block.
        index: u64,
        /// How many there are.
        blocks: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_hash_is_64_hexadecimal_digits() {
        let text = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";
        assert_eq!(text.parse::<RootHash>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<RootHash>().unwrap().to_string(), text);
        for wrong in ["", &text[1..], &text.replace('f', "g"), &format!("{text}0")] {
            let error = wrong.parse::<RootHash>().unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
        }
    }
}
