//! The language of units: names, unit files, and what `[X-Fleet]` in them asks for.
//!
//! bytes → [`UnitFile`] (every option with its line, the text itself untouched) →
//! [`Requirements`] (what placement needs to know), or every mistake with its line.
//!
//! The language is fleet's, as its last release understood it; keys that fleet did not have are
//! marked in [`KEYS`]. Two readers disagree with fleet on purpose: an unknown key or a malformed
//! value is an error ([`Mode::Strict`]), where fleet ignored it and placed the unit as if nothing
//! had been asked. [`Mode::Lenient`] reads old files exactly as fleet did, and says what it ignored.

mod file;
mod finding;
mod glob;
mod keys;
mod name;
mod requirements;
mod value;

pub use file::{MAX_BODY, UnitFile, UnitOption};
pub use finding::{Finding, Severity, has_errors};
pub use glob::Glob;
pub use keys::{KEYS, Key};
pub(crate) use name::group;
pub use name::{DEFAULT_TYPE, NameError, UnitName};
pub use requirements::{Mode, OnPartition, Requirements, Update, rejected};

/// The section that is fleet's.
pub const SECTION: &str = "X-Fleet";

#[cfg(test)]
mod tests;
