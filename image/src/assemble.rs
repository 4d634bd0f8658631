//! The whole disk from its parts: partition table, EFI partition, and the
//! system in slot A; slot B and the state are left empty.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use disk::gpt::{GptError, Table};
use disk::layout::{Layout, LayoutError, Role, Sizes, Slot};
use disk::verity::RootHash;

use crate::contents::Contents;
use crate::esp;
use crate::progress::Size;
use crate::sparse::Sparse;

/// How much of its slot a root may fill, in percent: the rest is for the
/// releases that will be written into the same slot later.
const FULL: u64 = 85;

/// What is put together.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// The root file system.
    pub root: &'a Path,
    /// Bytes of it that seldom change from one build to the next.
    pub settled: Range<u64>,
    /// The verity tree over it.
    pub verity: &'a Path,
    /// The hash over the tree.
    pub root_hash: &'a RootHash,
    /// Boot loader and UKI.
    pub esp: esp::Files<'a>,
    /// Lengths of the partitions.
    pub sizes: &'a Sizes,
    /// What identifiers are made from, beside the root hash.
    pub seed: &'a [u8],
}

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root leaves no room to grow.
    #[error(
        "the root has {}, more than {FULL} % of its slot of {}; \
         take packages out of the manifest",
        Size(*.root), Size(*.slot)
    )]
    RootTooLarge {
        /// Size of the root.
        root: u64,
        /// Size of the slot.
        slot: u64,
    },
    /// The sizes in the manifest make no disk.
    #[error("the sizes of the partitions make no disk")]
    Layout(#[from] LayoutError),
    /// The partition table cannot be made.
    #[error("cannot make the partition table")]
    Table(#[from] GptError),
    /// The EFI partition cannot be made.
    #[error("cannot make the EFI partition")]
    Esp(#[from] esp::Error),
    /// A part cannot be put in its place.
    #[error("cannot place {path} on the disk")]
    Place {
        /// The part.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Refuses a root of `root` bytes that fills its slot too much.
pub fn check_root(root: u64, sizes: &Sizes) -> Result<(), Error> {
    if root > sizes.root / 100 * FULL {
        return Err(Error::RootTooLarge { root, slot: sizes.root });
    }
    Ok(())
}

/// Plans the disk: everything has its place, nothing is written yet.
pub fn contents(parts: &Parts<'_>) -> Result<Contents, Error> {
    let layout = Layout::plan(parts.sizes, parts.seed, Some(parts.root_hash))?;
    let mut small = Sparse::new(layout.disk_size());
    Table::from_layout(&layout)?.write(&mut small)?;
    let at = layout.partition(Role::Esp);
    let serial = u64::from_be_bytes(*parts.root_hash.0.first_chunk().expect("32 bytes"));
    let esp = esp::build(at.size(), at.offset(), serial, &parts.esp)?;
    let place = |path: &Path, source| Error::Place { path: path.to_owned(), source };
    small
        .place(at.offset(), esp)
        .map_err(|source| place(Path::new("the EFI partition"), source))?;

    let mut contents = Contents::new(small);
    let files = [
        (Role::Root(Slot::A), parts.root, parts.settled.clone()),
        (Role::Verity(Slot::A), parts.verity, 0..0),
    ];
    for (role, path, settled) in files {
        let offset = layout.partition(role).offset();
        File::open(path)
            .and_then(|file| contents.place_settled(offset, file, settled))
            .map_err(|source| place(path, source))?;
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_leaves_no_room_to_grow_is_refused() {
        let sizes = Sizes { root: 1000 << 20, ..Sizes::default() };
        assert!(check_root(850 << 20, &sizes).is_ok());
        let error = check_root(851 << 20, &sizes).expect_err("too large").to_string();
        assert_eq!(
            error,
            "the root has 892 MB, more than 85 % of its slot of 1.0 GB; \
             take packages out of the manifest"
        );
    }
}
