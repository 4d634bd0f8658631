//! TUF metadata: what the files say, exactly which bytes were signed, and by whom.
//!
//! bytes → [`canonical`] JSON → [`Document`] → the one verification, [`Authority::verify`] →
//! [`Trusted`]
//!
//! Follows version 1.0 of the TUF specification, its section 4. Members that we do not know are
//! passed over, and are part of what is signed. Key ids need not be hashes of the keys: what is
//! counted towards a threshold is the key itself. Patterns of paths know `*` and `?` and no more.
//! Left out: mirrors.json, and hashed bins that are described by their number (TAP 15).

pub mod canonical;
mod document;
mod key;
mod roles;
mod targets;

pub use document::{
    Authority, Document, MalformedError, Role, RoleKeys, Signature, Trusted, UnsignedError,
    assemble, signing_bytes,
};
pub use key::{Key, PublicKey};
pub use roles::{FileMeta, Hasher, Hashes, Root, Snapshot, TOP_LEVEL, Timestamp};
pub use targets::{Delegation, Delegations, TargetFile, Targets};

pub(crate) use roles::SNAPSHOT_FILE;
