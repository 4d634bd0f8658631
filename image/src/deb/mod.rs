//! Packages as files: what is in a `.deb`, without dpkg and without running anything in it.
//!
//! file → [`ar`] members → decompressed → control records, and the files as tree entries whose
//! contents go to a [`Spool`](spool::Spool) while they are unpacked
//!
//! The format is deb(5). A package is untrusted until its SHA-256 is the lock's, and even then it
//! writes nowhere but into the spool: paths are names in a tree in memory.

pub mod ar;
pub mod control;
pub mod package;
pub mod spool;
pub mod store;

use std::io;

/// Why a package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebError {
    /// The file cannot be read, or its compression is broken.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is not laid out as a package.
    #[error("it is not a Debian package: {0}")]
    Format(&'static str),
    /// It unpacks to more than any package does.
    #[error("it unpacks to more than {limit} bytes: not a package but a bomb")]
    Bomb {
        /// The limit.
        limit: u64,
    },
    /// A file of the package cannot be one of a tree.
    #[error("its file {path}: {reason}")]
    Entry {
        /// The path as the package has it.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// The tar in it is broken.
    #[error("its files cannot be read")]
    Tar(#[from] crate::tree::archive::ArchiveError),
    /// The spool cannot be written.
    #[error("what it unpacks to cannot be written")]
    Spool(#[source] io::Error),
}
