//! What the machine says of itself: its version, its id, this boot, its disk.
//!
//! Everything is read below a root directory, which is `/` on a machine.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use channels::policy::Channel;
use disk::gpt::Table;
use disk::layout::{Role, slot_of};
use disk::verity::RootHash;
use disk::version::Version;

use crate::device::{FileDevice, Region};
use crate::record::BuiltIn;
use crate::slots::{Slots, SlotsError};

/// Where the agent keeps what must never be forgotten.
pub const STATE: &str = "var/lib/coreos/update";
/// Where it keeps what is of this boot.
pub const RUN: &str = "run/coreos/update";
/// Where the image has what it was built with.
pub const IMAGE: &str = "usr/share/coreos/update";

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The root of all paths.
    pub root: PathBuf,
    /// The version that runs.
    pub version: Version,
    /// The machine's id.
    pub machine_id: String,
    /// This boot's id.
    pub boot_id: String,
    /// The root hash of what runs, if it runs from a slot.
    pub root_hash: Option<RootHash>,
    /// The image's security epoch.
    pub epoch: u64,
}

/// What cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system does not say its version.
    #[error("{path} has no IMAGE_VERSION that is a version", path = path.display())]
    NoVersion {
        /// The file.
        path: PathBuf,
    },
    /// The system was not booted from a slot.
    #[error("this system was not booted from a slot of a disk, so it cannot be updated")]
    NoSlot,
    /// No disk has the running root.
    #[error("no disk holds the running root {root}")]
    NoDisk {
        /// Its root hash.
        root: String,
    },
    /// The slots cannot be used.
    #[error(transparent)]
    Slots(#[from] SlotsError),
}

impl Facts {
    /// Reads them below a root directory.
    pub fn read(root: &Path) -> Result<Facts, FactsError> {
        let read = |path: &str| {
            let path = root.join(path);
            fs::read_to_string(&path).map_err(|source| FactsError::Read { path, source })
        };
        let path = "usr/lib/os-release";
        let version = read(path)?
            .lines()
            .find_map(|line| line.strip_prefix("IMAGE_VERSION=")?.trim_matches('"').parse().ok())
            .ok_or_else(|| FactsError::NoVersion { path: root.join(path) })?;
        let optional = |path: &str| read(path).unwrap_or_default();
        let command_line = optional("proc/cmdline");
        let words = command_line.split_whitespace();
        let hash = words.filter_map(|word| word.strip_prefix("roothash=")).next_back();
        Ok(Facts {
            root: root.to_owned(),
            version,
            machine_id: read("etc/machine-id")?.trim().to_owned(),
            boot_id: optional("proc/sys/kernel/random/boot_id").trim().to_owned(),
            root_hash: hash.and_then(|hash| hash.parse().ok()),
            epoch: optional(&format!("{IMAGE}/epoch")).trim().parse().unwrap_or(0),
        })
    }

    /// A path below the root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What the image says, for a machine without a record. Its channel is the lowest: a release
    /// does not know how far it was promoted.
    pub fn built_in(&self) -> BuiltIn {
        BuiltIn { version: self.version.clone(), channel: Channel::Stable, epoch: self.epoch }
    }

    /// The disk that the system runs from: its kernel name and its table.
    fn disk(&self) -> Result<(String, Table), FactsError> {
        let root = self.root_hash.ok_or(FactsError::NoSlot)?;
        let names = fs::read_dir(self.path("sys/class/block")).into_iter().flatten().flatten();
        let mut names: Vec<String> = names
            .filter(|entry| !entry.path().join("partition").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !["ram", "dm-", "zram", "sr", "fd"].iter().any(|p| name.starts_with(p)))
            .collect();
        names.sort();
        let holds = |name: String| {
            let table = Table::read(&mut File::open(self.node(&name)).ok()?).ok()?;
            slot_of(&table.partitions(), &root).map(|_| (name, table))
        };
        let missing = || FactsError::NoDisk { root: root.to_string() };
        names.into_iter().find_map(holds).ok_or_else(missing)
    }

    fn node(&self, name: &str) -> PathBuf {
        self.path("dev").join(name)
    }

    /// The slots of the disk that the system runs from.
    pub fn slots(&self) -> Result<Slots, FactsError> {
        let (name, _) = self.disk()?;
        let root = self.root_hash.ok_or(FactsError::NoSlot)?;
        let device = |path: &Path, writable: bool| {
            FileDevice::open(path, writable).map(|device| Region::whole(Arc::new(device)))
        };
        let node = self.node(&name);
        let disk = device(&node, true)
            .map_err(|source| FactsError::Read { path: node.clone(), source })?;
        let open = |number: u32, _: Range<u64>, writable: bool| {
            device(&self.node(&partition(&name, number)), writable)
        };
        Ok(Slots::find(&disk, &root, &open)?)
    }

    /// The node of the EFI system partition beside the slots.
    pub fn esp(&self) -> Result<PathBuf, FactsError> {
        let (name, _) = self.disk()?;
        Ok(self.node(&partition(&name, Role::Esp.number())))
    }
}

/// The kernel's name of a partition.
fn partition(disk: &str, number: u32) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(matches!(Facts::read(root.path()), Err(FactsError::Read { .. })));
        write("usr/lib/os-release", "NAME=x\nIMAGE_VERSION=\"1.2\"\n");
        write("etc/machine-id", "0123\n");
        let facts = Facts::read(root.path()).unwrap();
        assert_eq!((facts.version.as_str(), &*facts.machine_id), ("1.2", "0123"));
        assert!(matches!(facts.slots(), Err(FactsError::NoSlot)));
        let hash = "ab".repeat(32);
        write("proc/cmdline", &format!("quiet roothash=x roothash={hash}\n"));
        write("usr/share/coreos/update/epoch", "4\n");
        let facts = Facts::read(root.path()).unwrap();
        assert_eq!(facts.root_hash.unwrap().to_string(), hash);
        assert_eq!(facts.built_in().epoch, 4);
        assert!(matches!(facts.esp(), Err(FactsError::NoDisk { .. })));
        write("usr/lib/os-release", "IMAGE_VERSION=+\n");
        assert!(matches!(Facts::read(root.path()), Err(FactsError::NoVersion { .. })));
    }

    #[test]
    fn partitions_are_named_as_the_kernel_does() {
        assert_eq!(partition("vda", 4), "vda4");
        assert_eq!(partition("nvme0n1", 4), "nvme0n1p4");
    }
}
