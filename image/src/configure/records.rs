//! dpkg's records of the packages: the status file, and which file is whose.

use super::{ConfigureError, Diversion, put};
use crate::archive::control::Paragraph;
use crate::deb::control::Control;
use crate::tree::{Kind, Tree};
use md5::{Digest, Md5};
use std::fmt::Write;

const DATABASE: &str = "var/lib/dpkg";
/// The fields of a status paragraph in dpkg's order; others follow as the package has them.
const ORDER: [&str; 25] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
];

/// A package that is in the tree.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its records.
    pub control: Control,
    /// Its paths as it has them, without a leading slash; `""` is the root.
    pub paths: Vec<String>,
}

/// Writes which files stand elsewhere, and for whom; nothing if there are none.
pub(super) fn write_diversions<'a>(
    tree: &mut Tree,
    diversions: impl Iterator<Item = (&'a Diversion, &'a Installed)>,
) -> Result<(), ConfigureError> {
    let text: String = diversions
        .map(|(Diversion { path, to }, package)| format!("/{path}\n/{to}\n{}\n", package.name))
        .collect();
    if text.is_empty() {
        return Ok(());
    }
    put(tree, &format!("{DATABASE}/diversions"), text)
}

/// Writes the records as dpkg would have.
pub(super) fn write(tree: &mut Tree, packages: &[Installed]) -> Result<(), ConfigureError> {
    let mut status = String::new();
    for package in packages {
        status += &paragraph(tree, package)?;
        status.push('\n');
        let list: String = package
            .paths
            .iter()
            .map(|path| {
                format!(
                    "/{}\n",
                    match path.as_str() {
                        "" => ".",
                        path => path,
                    }
                )
            })
            .collect();
        put(tree, &format!("{DATABASE}/info/{}.list", package.name), list)?;
    }
    put(tree, &format!("{DATABASE}/status"), status)
}

fn paragraph(tree: &Tree, package: &Installed) -> Result<String, ConfigureError> {
    let control = Paragraph::first(&package.control.paragraph);
    let mut conffiles = String::new();
    for path in &package.control.conffiles {
        if let Some(Kind::File(content)) = tree.lookup(path).map(|node| &node.kind) {
            let read = |source| ConfigureError::Read { path: path.clone(), source };
            let hash = Md5::digest(content.to_vec().map_err(read)?);
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = write!(conffiles, "\n /{path} {hash}");
        }
    }
    let mut text = String::new();
    for name in ORDER {
        let value = match name {
            "Status" => Some("install ok installed"),
            "Conffiles" => Some(conffiles.as_str()).filter(|list| !list.is_empty()),
            _ => control.get(name),
        };
        match value {
            Some(value) if value.starts_with('\n') => text += &format!("{name}:{value}\n"),
            Some(value) => text += &format!("{name}: {value}\n"),
            None => {}
        }
    }
    for (name, value) in control.fields() {
        if !ORDER.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            text += &format!("{name}: {value}\n");
        }
    }
    Ok(text)
}
