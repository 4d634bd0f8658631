//! Why a tree of packages is not the root of an image.

use crate::configure::ConfigureError;
use crate::tree::TreeError;
use crate::tree::overlay::OverlayError;
use std::io;

/// Why there is no root tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// The contents of a file of the tree cannot be read.
    #[error("cannot read {path} of the root tree")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file that every root tree has is not there.
    #[error("the packages bring no {path}")]
    Absent {
        /// The file.
        path: String,
    },
    /// A file of the tree is not as its format wants it.
    #[error("{path}:{line} of the root tree: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The modules that are left make no index.
    #[error("the kernel modules that the manifest leaves cannot be indexed")]
    Modules(#[from] ConfigureError),
    /// None or several kernels.
    #[error("the packages bring {count} kernels, one is needed: see `install` of [packages]")]
    Kernels {
        /// How many.
        count: usize,
    },
    /// Packages made accounts whose numbers are not fixed.
    #[error("packages make the {kind} {}: fix their numbers in [accounts.{kind}]", names.join(", "))]
    Unnumbered {
        /// `users` or `groups`.
        kind: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// Two accounts have the same number.
    #[error("{first} and {second} of [accounts] both have the number {id}")]
    SameNumber {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// The number.
        id: u32,
    },
    /// The manifest names an account that neither it nor a package makes.
    #[error("there is no user or group {name}")]
    UnknownAccount {
        /// Its name.
        name: String,
    },
    /// A file belongs to a number that is no account.
    #[error("{path} belongs to the number {id}, which is no account")]
    UnknownOwner {
        /// The file.
        path: String,
        /// The number.
        id: u32,
    },
    /// A program of the manifest was not built.
    #[error("the program {name} of the manifest is not among those that were built")]
    NotBuilt {
        /// Its name.
        name: String,
    },
    /// A unit of the manifest is not in the tree.
    #[error("the unit {unit} is to be enabled, but no package and no overlay brings it")]
    NoUnit {
        /// Its name.
        unit: String,
    },
    /// A unit cannot be enabled.
    #[error("the unit {unit} cannot be enabled: {reason}")]
    Unit {
        /// Its name.
        unit: String,
        /// Why.
        reason: &'static str,
    },
    /// The project's files do not fit.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// A file cannot be put into the tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}
