//! Finding the disk this system booted from: the one that holds the root and verity partitions
//! whose GUIDs are the two halves of the root hash.
//!
//! There is no udev yet. Disks are read from `/sys/class/block` and their tables parsed here,
//! so a disk that nobody has ever named is found as well.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use disk::gpt::Table;
use disk::verity::RootHash;

use host::modules::Modules;

/// How long a controller may take to bring up its disks before the boot is given up.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long to sleep between two looks; a virtual disk appears within one or two.
const INTERVAL: Duration = Duration::from_millis(10);

/// The disk this system is on.
#[derive(Debug)]
pub(super) struct SystemDisk {
    /// Kernel name, such as `vda`.
    pub(super) name: String,
    /// The node of the whole disk.
    pub(super) node: PathBuf,
    /// Its partition table.
    pub(super) table: Table,
    /// Node of the root partition.
    pub(super) root: PathBuf,
    /// Node of its verity tree.
    pub(super) verity: PathBuf,
}

/// Why there is no system disk.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    /// No disk has the partitions that the root hash names.
    #[error(
        "no disk holds the root {root} and its verity tree {verity} (disks seen: {seen}); \
         the image on the disk and the boot entry do not belong together, or the disk's driver \
         is missing"
    )]
    Missing {
        /// GUID of the root partition looked for.
        root: String,
        /// GUID of the verity partition looked for.
        verity: String,
        /// What was there.
        seen: String,
    },
}

/// Waits for the disk that `hash` names, loading drivers as devices appear.
///
/// # Errors
///
/// [`FindError::Missing`] after half a minute.
pub(super) fn find(modules: &mut Modules, hash: &RootHash) -> Result<SystemDisk, FindError> {
    let started = Instant::now();
    loop {
        // Drivers come in layers (PCI → SCSI host → disk); one look per layer.
        while modules.load_for_devices(Path::new("/sys")) > 0 {}
        let names = whole_disks();
        if let Some(found) = names.iter().find_map(|name| open(name, hash)) {
            return Ok(found);
        }
        if started.elapsed() > DEADLINE {
            return Err(FindError::Missing {
                root: hash.root_guid().to_string(),
                verity: hash.verity_guid().to_string(),
                seen: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            });
        }
        sleep(INTERVAL);
    }
}

/// The kernel's name and node of partition `number` of the disk `disk`.
pub(super) fn partition_node(disk: &str, number: u32) -> PathBuf {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    PathBuf::from(format!("/dev/{disk}{separator}{number}"))
}

/// Kernel names of the disks, without partitions and without those that only exist in memory.
fn whole_disks() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir("/sys/class/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| !entry.path().join("partition").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            !["ram", "loop", "dm-", "zram", "sr", "fd"].iter().any(|p| name.starts_with(p))
        })
        .collect();
    names.sort();
    names
}

fn open(name: &str, hash: &RootHash) -> Option<SystemDisk> {
    let node = Path::new("/dev").join(name);
    let table = read_table(&node).ok()?;
    let number = |guid| table.partitions().iter().find(|p| p.guid == guid).map(|p| p.number);
    let root = partition_node(name, number(hash.root_guid())?);
    let verity = partition_node(name, number(hash.verity_guid())?);
    // The kernel scans the table a moment after the disk appears.
    (root.exists() && verity.exists()).then(|| SystemDisk {
        name: name.to_owned(),
        node,
        table,
        root,
        verity,
    })
}

fn read_table(node: &Path) -> io::Result<Table> {
    Table::read(&mut File::open(node)?).map_err(io::Error::other)
}
