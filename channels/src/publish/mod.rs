//! The publisher: a repository as plain files, changed by signed plans.
//!
//! ```text
//! Repository → State → operation → Draft → seal (Keyring) → Plan → steps on the disk
//! root → Staged → signatures, here and elsewhere → Plan
//! ```
//!
//! Operations decide and touch nothing; [`Draft::seal`] signs; [`Plan::apply`] writes, in an
//! order that leaves a good repository whenever it stops. What a publisher finds it verifies
//! before it signs anything that builds upon it.

pub mod key_file; // keys as PEM files
mod keyring; // the directory of the keys; signing

pub mod packs; // parts as frames and patches

pub mod packing; // which of them a release has

pub mod payload; // the image builder's directory → a release
mod repository; // the directory → the newest metadata

pub mod operations; // publish, promote, roll out, halt, refresh

pub mod ceremony; // the root, in steps

mod draft; // what changes → signed files

mod plan; // the files, in order, onto the disk

pub mod retire; // out of the channels, then off the disk

pub mod audit; // everything checked, offline
pub mod diff; // one release against another
pub mod overview;
mod pack_audit; // and every pack taken apart // what there is

mod error;

pub use draft::{Draft, Lifetimes};
pub use error::PublishError;
pub use keyring::{Ask, KeyEntry, Keyring, Protection, Secret};
pub use plan::{Plan, Step};
pub use repository::{Lock, Repository, State};
