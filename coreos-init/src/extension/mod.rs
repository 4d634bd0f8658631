//! `coreos.extensions`: images that systemd-sysext lays over `/usr`.
//!
//! ```text
//! source → store (fetched once, hash checked) → image looked into → link and root hash planned
//!        → systemd-sysext.service merges them → coreos-init.service looks whether it did
//! ```
//!
//! What is fetched lies in the store under its SHA-256, and never changes there: what systemd
//! finds is a link to it, so a configuration that goes, comes back or is only tried moves links
//! and no image. What is in the store was checked when it came; from then on the kernel checks
//! every block against the root hash, if the configuration has one.

pub mod image; // what an image says of itself
pub mod merged; // whether systemd did its part
mod store; // images by their hash

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cloud_config::{Config, Extension, ExtensionSource};
use nix::libc::O_NOFOLLOW;

use crate::fetched::Wanted;
use crate::plan::InstalledUnit;
use image::{Image, System};
pub use store::{Store, forget_others};

/// Where links to images are put, for systemd to find them.
pub const MERGED: &str = "/var/lib/extensions";

/// An image that is there and fits, or why there is none.
pub type Prepared = Result<Ready, String>;

/// An image that is there and fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// The units that it brings, by name.
    pub units: BTreeMap<String, InstalledUnit>,
}

/// Gets an image into a file.
pub type Get<'g> = dyn FnMut(&Wanted, &File) -> Result<(), String> + 'g;

/// The path of an extension's image on the machine.
pub fn path_of(extension: &Extension) -> String {
    match &extension.source {
        ExtensionSource::Remote(remote) => store::path_of(&remote.sha256),
        ExtensionSource::File { path, .. } => path.clone(),
    }
}

/// Makes sure of every image that a configuration names, by the extension's name: it is in the
/// root, has its hash, and is one for this system.
pub fn prepare(config: &Config, root: &Path, get: &mut Get<'_>) -> BTreeMap<String, Prepared> {
    let store = Store::of(root);
    let system = System::of(root);
    let extensions = config.extensions.iter();
    let prepared = extensions.map(|extension| {
        let prepared = prepare_one(extension, root, &store, &system, get);
        (extension.name.value.clone(), prepared)
    });
    prepared.collect()
}

fn prepare_one(
    extension: &Extension,
    root: &Path,
    store: &Store,
    system: &System,
    get: &mut Get<'_>,
) -> Prepared {
    let look = |file: &File| {
        let image = Image::read(file);
        image.check(extension, system)?;
        Ok(Ready { units: image.units })
    };
    match &extension.source {
        ExtensionSource::Remote(remote) => {
            // One that is damaged where it was looked at is fetched anew.
            if let Some(ready) = store.open(&remote.sha256).and_then(|file| look(&file).ok()) {
                return Ok(ready);
            }
            let wanted = Wanted {
                url: remote.url.clone(),
                sha256: Some(remote.sha256.clone()),
                headers: remote.headers.clone(),
                path: None,
            };
            store.fill(&wanted, get).and_then(|file| look(&file))
        }
        ExtensionSource::File { path, sha256, .. } => {
            let file = open(&root.join(path.trim_start_matches('/')))
                .ok_or_else(|| format!("there is no file {path} on this machine"))?;
            if let Some(want) = sha256 {
                let got =
                    store::sha256_of(&file).map_err(|why| format!("cannot read {path}: {why}"))?;
                if got != *want {
                    return Err(format!("{path} is not what was asked for: its SHA-256 is {got}"));
                }
            }
            look(&file)
        }
    }
}

/// A regular file. A link is not followed: it may lead out of the root.
fn open(path: &Path) -> Option<File> {
    let file = File::options().read(true).custom_flags(O_NOFOLLOW).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

#[cfg(test)]
mod tests;
