//! Whether systemd laid the extensions over the system, once it runs.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Store;

/// The service that merges them.
pub const SERVICE: &str = "systemd-sysext.service";

/// An extension that is to be merged, as it is stored between the initrd and the running system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// The line of the user data that names it.
    pub line: Option<usize>,
    /// The hash under which the store has its image, if it has.
    pub sha256: Option<String>,
    /// The root hash that its blocks are checked against.
    pub root_hash: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Its name.
    pub name: String,
    /// The line of the user data that names it.
    pub line: Option<usize>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is merged, and the kernel checks every block.
    Verified,
    /// It is merged.
    Unverified,
    /// It is not, for this reason.
    Failed(String),
}

/// Looks at the running system in `root`.
pub fn look(expected: &[Expected], root: &Path) -> Vec<Merged> {
    let devices = devices(root);
    let of = |one: &Expected| Merged {
        name: one.name.clone(),
        line: one.line,
        outcome: outcome(one, root, &devices),
    };
    expected.iter().map(of).collect()
}

fn outcome(expected: &Expected, root: &Path, devices: &[String]) -> Outcome {
    let name = &expected.name;
    let release = format!("usr/lib/extension-release.d/extension-release.{name}");
    if fs::symlink_metadata(root.join(release)).is_ok() {
        let verity = expected.root_hash.as_ref().map(|hash| format!("{hash}-verity"));
        return match verity {
            Some(device) if devices.contains(&device) => Outcome::Verified,
            Some(_) => Outcome::Failed("it is merged, but not checked by its root hash".to_owned()),
            None => Outcome::Unverified,
        };
    }
    let damaged = expected.sha256.as_ref().is_some_and(|hash| Store::of(root).drop_damaged(hash));
    Outcome::Failed(match damaged {
        true => {
            "its image was damaged on this disk, and is fetched anew at the next boot".to_owned()
        }
        false => format!("it is not merged; see `journalctl -u {SERVICE}`"),
    })
}

/// The names of the device mapper's devices.
fn devices(root: &Path) -> Vec<String> {
    let blocks = fs::read_dir(root.join("sys/block")).into_iter().flatten().flatten();
    let names = blocks.filter_map(|block| fs::read_to_string(block.path().join("dm/name")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}
