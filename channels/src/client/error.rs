//! Why metadata or a target was not trusted.

use crate::fetch::FetchError;
use crate::metadata::{MalformedError, UnsignedError};
use crate::store::StoreError;
use crate::time::Time;

/// Why metadata or a target was not trusted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file could not be had; another attempt or another mirror may go better.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What is trusted could not be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to begin with.
    #[error("no trusted root metadata, neither kept nor built in")]
    NoRoot,
    /// A file that must be there is not.
    #[error("the repository has no {file}")]
    Missing {
        /// The file.
        file: String,
    },
    /// A file is larger than it may be.
    #[error("{file} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        file: String,
        /// The size that is signed for it, or else the bound for such files.
        limit: u64,
    },
    /// A file is not what it should be.
    #[error("{file} is malformed")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: MalformedError,
    },
    /// A file is not signed by those who may.
    #[error("{file} cannot be trusted")]
    Unsigned {
        /// The file.
        file: String,
        /// Whose signatures are missing.
        source: UnsignedError,
    },
    /// A file is of another version than the one that its name or a signed list says.
    #[error("{file} is version {found}, not {expected}")]
    Version {
        /// The file.
        file: String,
        /// The version it should be.
        expected: u64,
        /// The version it is.
        found: u64,
    },
    /// A file is older than one that was seen before.
    #[error("{file} is version {found}, older than version {known} that was seen before")]
    Rollback {
        /// The file.
        file: String,
        /// The version that was seen before.
        known: u64,
        /// The version offered.
        found: u64,
    },
    /// A file that snapshots listed is no longer listed.
    #[error("{file} was in an earlier snapshot and is not in this one")]
    Removed {
        /// The file.
        file: String,
    },
    /// A file has another hash than the one that is signed for it.
    #[error("{file} does not have the hash that is signed for it")]
    Hash {
        /// The file.
        file: String,
    },
    /// A file has another size than the one that is signed for it.
    #[error("{file} does not have the {expected} bytes that are signed for it")]
    Length {
        /// The file.
        file: String,
        /// The size that is signed.
        expected: u64,
    },
    /// A file is too old to be trusted.
    #[error("{file} expired at {expires}, now is {now}")]
    Expired {
        /// The file.
        file: String,
        /// When it expired.
        expires: Time,
        /// The time of the update.
        now: Time,
    },
    /// A role is delegated to but not in the snapshot.
    #[error("{file} is not in the snapshot")]
    Unlisted {
        /// The role's file.
        file: String,
    },
    /// The top-level role does not delegate to a role.
    #[error("the repository does not delegate to {role}")]
    NoRole {
        /// The role.
        role: String,
    },
    /// No role vouches for a target.
    #[error("no role offers {path}")]
    NoTarget {
        /// The path of the target.
        path: String,
    },
    /// A target was not found in as many roles as are searched.
    #[error("{path} was not found in {visits} roles")]
    TooManyRoles {
        /// The path of the target.
        path: String,
        /// How many were searched.
        visits: usize,
    },
}
