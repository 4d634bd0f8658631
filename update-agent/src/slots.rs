//! The two slots of the disk: the one that runs and is never written, and the other one.

use std::io;
use std::ops::Range;

use disk::gpt::{GptError, Partition, Table};
use disk::guid::Guid;
use disk::layout::{self, EMPTY_LABEL, Role, Slot};
use disk::verity::RootHash;

use crate::device::Region;

/// One slot's partitions.
#[derive(Debug, Clone)]
pub struct SlotRegions {
    /// Which one.
    pub slot: Slot,
    /// The root file system.
    pub root: Region,
    /// The verity tree over it.
    pub verity: Region,
}

/// The disk that this system runs from.
#[derive(Debug, Clone)]
pub struct Slots {
    /// The whole disk, for its partition table.
    pub disk: Region,
    /// What runs.
    pub running: SlotRegions,
    /// What may be written.
    pub other: SlotRegions,
}

/// Why there are no slots.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The partition table cannot be used.
    #[error("cannot use the partition table of the system's disk")]
    Table(#[from] GptError),
    /// The running root is not in a slot.
    #[error("no slot of the disk holds the running root {root}")]
    NotHere {
        /// The root hash.
        root: String,
    },
    /// A partition is missing.
    #[error("the disk has no {label} partition")]
    Missing {
        /// Its label.
        label: &'static str,
    },
    /// A device cannot be used.
    #[error("cannot use the {label} partition")]
    Open {
        /// Its label.
        label: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The disk cannot be written.
    #[error("cannot write the partition table")]
    Flush(#[source] io::Error),
}

impl Slots {
    /// The slots of `disk`, of which the one with `root` runs. `open` gives a partition by its
    /// number and place on the disk; it is told whether it may be written.
    pub fn find(
        disk: &Region,
        root: &RootHash,
        open: &dyn Fn(u32, Range<u64>, bool) -> io::Result<Region>,
    ) -> Result<Slots, SlotsError> {
        let table = Table::read(&mut disk.cursor())?;
        let running = layout::slot_of(&table.partitions(), root)
            .ok_or_else(|| SlotsError::NotHere { root: root.to_string() })?;
        let region = |role: Role, writable| {
            let label = role.label();
            let found = table.partition(role.number()).filter(|p| p.type_guid == role.type_guid());
            let partition = found.ok_or(SlotsError::Missing { label })?;
            open(partition.number, table.byte_range(&partition), writable)
                .map_err(|source| SlotsError::Open { label, source })
        };
        let regions = |slot: Slot, writable| -> Result<SlotRegions, SlotsError> {
            Ok(SlotRegions {
                slot,
                root: region(Role::Root(slot), writable)?,
                verity: region(Role::Verity(slot), writable)?,
            })
        };
        Ok(Slots {
            disk: disk.clone(),
            running: regions(running, false)?,
            other: regions(running.other(), true)?,
        })
    }

    /// The root hash that the other slot claims to hold.
    pub fn other_root(&self) -> Result<Option<RootHash>, SlotsError> {
        let table = Table::read(&mut self.disk.cursor())?;
        Ok(layout::root_hash(&table.partitions(), self.other.slot))
    }

    /// Says in the partition table what the other slot holds: a root, or nothing. The copy at the
    /// end of the disk is durable before the one at the start is touched.
    pub fn label_other(&self, root: Option<&RootHash>) -> Result<(), SlotsError> {
        let mut table = Table::read(&mut self.disk.cursor())?;
        if !table.recovered()
            && layout::root_hash(&table.partitions(), self.other.slot).as_ref() == root
        {
            return Ok(());
        }
        let slot = self.other.slot;
        let disk_guid = table.disk_guid();
        for role in [Role::Root(slot), Role::Verity(slot)] {
            let before = table
                .partition(role.number())
                .ok_or(SlotsError::Missing { label: role.label() })?;
            let (label, guid) = match (root, role) {
                (Some(root), Role::Root(_)) => (role.label(), root.root_guid()),
                (Some(root), _) => (role.label(), root.verity_guid()),
                (None, _) => (EMPTY_LABEL, Guid::derive(disk_guid.as_bytes(), role.label())),
            };
            table.put(&Partition { guid, label: label.to_owned(), ..before })?;
        }
        table.write_backup(&mut self.disk.cursor())?;
        self.disk.flush().map_err(SlotsError::Flush)?;
        table.write_primary(&mut self.disk.cursor())?;
        self.disk.flush().map_err(SlotsError::Flush)
    }
}
