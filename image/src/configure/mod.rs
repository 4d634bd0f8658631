//! What installing would have done to the unpacked packages, without running anything of theirs.
//!
//! unpacked tree → accounts → actions of the [`review`] table → finishers → dpkg's records
//!
//! A finisher looks at the whole tree, as a trigger of dpkg would, and writes what is computed
//! from it: the loader's cache, the index of kernel modules, the bundle of certificates, the
//! common files of PAM, the hardware database. Everything is a function of the tree, the table
//! and the numbers of accounts in the manifest.
//!
//! Left out, as the image does without: message catalogues of the journal, catalogues of
//! document types, the index of info pages, compiled settings of desktops, links of manual pages
//! to their alternatives, and every file that a script fills with comments only.

mod accounts;
mod actions;
mod certificates;
mod elf;
mod hwdb;
mod loader;
mod modules;
mod pam;
mod records;
pub mod review;
mod shells;
mod tmpfiles;
mod trie;
mod x509;

pub use actions::Diversion;
pub use modules::index as index_modules;
pub use records::Installed;

use crate::manifest;
use crate::tree::{Kind, Node, Tree, TreeError};
use review::Table;
use std::io;

/// Why the packages cannot be made a system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// The table names an account that nobody makes.
    #[error("what is done for {package} needs the account {name}, which no package makes")]
    UnknownAccount {
        /// The package.
        package: String,
        /// The account.
        name: String,
    },
    /// The table names a file that is not there.
    #[error("what is done for {package} needs {path}, which no package brings")]
    NoFile {
        /// The package.
        package: String,
        /// The file.
        path: String,
    },
    /// A file is not as its format wants it.
    #[error("{path} of the packages: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The contents of a file cannot be read.
    #[error("cannot read {path} of the packages")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be put into the tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Makes a tree of unpacked packages what their installation would have made of it.
pub fn configure(
    tree: &mut Tree,
    packages: &[Installed],
    table: &Table,
    numbers: &manifest::Accounts,
) -> Result<(), ConfigureError> {
    let names = packages.iter().map(|package| package.name.as_str());
    let known: Vec<&review::Reviewed> = names.filter_map(|name| table.get(name)).collect();
    let numbers = accounts::write(tree, &known, numbers)?;
    for known in &known {
        actions::apply(tree, known, &numbers)?;
    }
    actions::alternatives(tree, known.iter().flat_map(|known| &known.alternatives))?;
    tmpfiles::apply(tree, &numbers)?;
    shells::write(tree)?;
    pam::write(tree)?;
    certificates::write(tree)?;
    modules::index(tree)?;
    hwdb::write(tree)?;
    loader::write(tree)?;
    let diversions = packages.iter().flat_map(|package| {
        let known = table.get(&package.name);
        known.into_iter().flat_map(|known| &known.diversions).map(move |made| (made, package))
    });
    records::write_diversions(tree, diversions)?;
    records::write(tree, packages)
}

/// The text of a file that must be there; bytes that are not UTF-8 are replaced.
fn text(tree: &Tree, path: &str) -> Result<String, ConfigureError> {
    let bytes = bytes(tree, path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes of a file that must be there.
fn bytes(tree: &Tree, path: &str) -> Result<Vec<u8>, ConfigureError> {
    match tree.read_file(path) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => {
            let reason = "it is missing".to_owned();
            Err(ConfigureError::Malformed { path: path.to_owned(), reason })
        }
        Err(source) => Err(ConfigureError::Read { path: path.to_owned(), source }),
    }
}

/// The paths of the files right in a directory whose names end so, in byte order.
fn files_in(tree: &Tree, directory: &str, end: &str) -> Vec<String> {
    let Some(real) = tree.resolve(directory) else { return Vec::new() };
    tree.children(&real)
        .filter(|(name, node)| name.ends_with(end) && !matches!(node.kind, Kind::Directory))
        .map(|(name, _)| format!("{real}/{name}"))
        .collect()
}

/// Puts a file with a text into the tree.
fn put(
    tree: &mut Tree,
    path: &str,
    text: impl Into<crate::tree::Content>,
) -> Result<(), ConfigureError> {
    Ok(tree.insert(path, Node::file(0o644, text))?)
}
