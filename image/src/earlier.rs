//! What the build before this one left in the output directory, for what need not be done again.
//!
//! Results that stand as the same builder left them are used, each after it was compared with
//! what is to be made: what comes out is, byte for byte, what a build from nothing makes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use disk::verity::RootHash;

use crate::release::{Names, Release};
use crate::stamp::Stamp;
use crate::uki;

/// An earlier build.
#[derive(Debug)]
pub struct Earlier {
    directory: PathBuf,
    stamp: Stamp,
    names: Names,
    root_hash: RootHash,
}

impl Earlier {
    /// The build in `directory` that left this stamp, if `builder` (a digest) made it.
    pub fn find(directory: &Path, stamp: &Stamp, builder: &str) -> Option<Earlier> {
        if stamp.inputs.get("builder").is_none_or(|digest| digest != builder) {
            return None;
        }
        let manifest = stamp.outputs.keys().find(|name| name.ends_with(".manifest.json"))?;
        let release: Release =
            serde_json::from_slice(&fs::read(directory.join(manifest)).ok()?).ok()?;
        Some(Earlier {
            directory: directory.to_owned(),
            stamp: stamp.clone(),
            names: Names::new(&release.version),
            root_hash: release.root_hash.parse().ok()?,
        })
    }

    /// The root, the verity tree over it, and its root hash.
    pub fn root(&self) -> Option<(File, File, RootHash)> {
        let (root, tree) = (self.open(&self.names.root)?, self.open(&self.names.verity)?);
        Some((root, tree, self.root_hash))
    }

    /// The initrd, as it is in the unified kernel image.
    pub fn initrd(&self) -> Option<Vec<u8>> {
        self.open(&self.names.uki)?;
        let uki = fs::read(self.directory.join(&self.names.uki)).ok()?;
        uki::section(&uki, ".initrd").ok()?.map(<[u8]>::to_vec)
    }

    /// The same disk twice: as a plain file, and in QEMU's format.
    pub fn disks(&self) -> Option<(File, File)> {
        Some((self.open(&self.names.raw)?, self.open(&self.names.qcow2)?))
    }

    /// A result that is as it was left.
    fn open(&self, name: &str) -> Option<File> {
        let path = self.directory.join(name);
        self.stamp.stands(&self.directory, name).then(|| File::open(path).ok())?
    }
}
