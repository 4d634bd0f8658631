//! The GUID partition table.
//!
//! ```text
//! disk → read → Table → put, move_backup_to_end, grow_last_to_end → write → disk
//! ```
//!
//! Everything between `read` and `write` happens in memory. The encoding is
//! `gptman`'s; what may be read, and what may be written, is decided here:
//! a header is believed only after its numbers were checked, and a number, once
//! given to a partition, stays.

mod copy; // one of the two copies: header and entries
mod mbr; // what a tool without GPT sees

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use gptman::GPTPartitionEntry;
use thiserror::Error;

use crate::guid::Guid;
use crate::layout::Layout;
use copy::{ENTRY, Headers};

/// Boundary that partitions start and end on, in bytes.
pub const ALIGNMENT: u64 = 1024 * 1024;

/// Entries in a table made here: the number that every tool expects.
const ENTRIES: usize = 128;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its name, at most 36 UTF-16 units.
    pub label: String,
    /// What it is for.
    pub type_guid: Guid,
    /// Which one it is.
    pub guid: Guid,
    /// Its first sector.
    pub first_lba: u64,
    /// Its last sector, which belongs to it.
    pub last_lba: u64,
    /// The 64 attribute bits.
    pub attributes: u64,
}

impl Partition {
    /// How many sectors it has.
    pub fn sectors(&self) -> u64 {
        (self.last_lba + 1).saturating_sub(self.first_lba)
    }
}

/// What can be wrong with a partition table.
#[derive(Debug, Error)]
pub enum GptError {
    /// The disk could not be read.
    #[error("cannot read the partition table")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// The disk could not be written.
    #[error("cannot write the partition table")]
    Write {
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error("the disk has no GUID partition table")]
    Missing,
    /// Neither of the two copies can be used.
    #[error(
        "both copies of the partition table are damaged: at the start {primary}, at the end {backup}"
    )]
    Damaged {
        /// What is wrong with the copy at the start.
        primary: String,
        /// What is wrong with the copy at the end.
        backup: String,
    },
    /// A partition's first sector comes after its last.
    #[error("partition {number} starts at sector {first} and ends before, at {last}")]
    Backwards {
        /// The partition.
        number: u32,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
    },
    /// A partition is not where partitions may be.
    #[error("partition {number} takes sectors {first} to {last}, only {} to {} can be used", usable.start, usable.end - 1)]
    Outside {
        /// The partition.
        number: u32,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
        /// Where it may be.
        usable: Range<u64>,
    },
    /// Two partitions share sectors.
    #[error("partitions {first} and {second} overlap")]
    Overlap {
        /// One of them.
        first: u32,
        /// The other.
        second: u32,
    },
    /// Two partitions have the same identifier.
    #[error("partitions {first} and {second} have the same GUID {guid}")]
    SameGuid {
        /// One of them.
        first: u32,
        /// The other.
        second: u32,
        /// What both are called.
        guid: Guid,
    },
    /// A partition's number does not exist in this table.
    #[error("there is no partition number {number}, the table has 1 to {entries}")]
    Number {
        /// What was asked for.
        number: u32,
        /// The highest number.
        entries: usize,
    },
    /// A partition's type says that it does not exist.
    #[error("partition {number} has no type")]
    NoType {
        /// The partition.
        number: u32,
    },
    /// A partition's name does not fit.
    #[error("the label `{label}` is longer than 36 characters")]
    Label {
        /// The name.
        label: String,
    },
    /// The disk has no room for the table or what is in it.
    #[error("the disk has {found} sectors, its partition table needs {needed}")]
    DiskTooSmall {
        /// Its sectors.
        found: u64,
        /// How many it must have.
        needed: u64,
    },
    /// The disk is larger than byte offsets can tell.
    #[error("a disk of {found} sectors is not possible")]
    DiskTooLarge {
        /// Its sectors.
        found: u64,
    },
    /// There is nothing to grow.
    #[error("the partition table has no partitions")]
    Empty,
}

/// A partition table in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    sector_size: u64,
    headers: Headers,
    entries: Vec<GPTPartitionEntry>,
    recovered: bool,
}

impl Table {
    /// An empty table for a disk of so many sectors of 512 bytes.
    pub fn new(disk_guid: Guid, disk_sectors: u64) -> Result<Table, GptError> {
        let entries = vec![GPTPartitionEntry::empty(); ENTRIES];
        let sector_size = 512;
        let headers = Headers::new(disk_guid, disk_sectors, sector_size, ENTRIES)?;
        Ok(Table { sector_size, headers, entries, recovered: false })
    }

    /// The table of a planned disk.
    pub fn from_layout(layout: &Layout) -> Result<Table, GptError> {
        let mut table = Table::new(layout.disk_guid, layout.disk_sectors)?;
        for spec in &layout.partitions {
            table.put(&spec.to_partition())?;
        }
        Ok(table)
    }

    /// Reads the table of a disk with sectors of 512 or 4096 bytes. If the
    /// copy at the start is damaged, the one at the end is taken.
    pub fn read(disk: &mut (impl Read + Seek)) -> Result<Table, GptError> {
        match Table::read_with(disk, 512) {
            Err(GptError::Missing) => Table::read_with(disk, 4096),
            result => result,
        }
    }

    fn read_with(disk: &mut (impl Read + Seek), sector_size: u64) -> Result<Table, GptError> {
        let bytes = disk.seek(SeekFrom::End(0)).map_err(|source| GptError::Read { source })?;
        let last = (bytes / sector_size).saturating_sub(1);
        let (copy, recovered) = match copy::read(disk, sector_size, 1) {
            Ok(copy) => (copy, false),
            Err(primary) => match copy::read(disk, sector_size, last) {
                Ok(copy) => (copy, true),
                Err(backup) => return Err(copy::neither(primary, backup)),
            },
        };
        let (headers, entries) = copy;
        let table = Table { sector_size, headers, entries, recovered };
        table.check()?;
        Ok(table)
    }

    /// Bytes in a sector.
    pub fn sector_size(&self) -> u64 {
        self.sector_size
    }

    /// The disk's identifier.
    pub fn disk_guid(&self) -> Guid {
        self.headers.disk_guid
    }

    /// Sectors of the disk that the table was made for. The disk itself may
    /// have grown since.
    pub fn disk_sectors(&self) -> u64 {
        self.headers.disk_sectors
    }

    /// Whether the copy at the start of the disk was damaged, so that this is
    /// the copy at its end.
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    /// The partitions, by number.
    pub fn partitions(&self) -> Vec<Partition> {
        (1..).zip(&self.entries).filter_map(|(number, entry)| partition(number, entry)).collect()
    }

    /// The partition with this number, if there is one.
    pub fn partition(&self, number: u32) -> Option<Partition> {
        let entry = self.entries.get((number as usize).checked_sub(1)?)?;
        partition(number, entry)
    }

    /// Where a partition lies on the disk, in bytes.
    pub fn byte_range(&self, partition: &Partition) -> Range<u64> {
        let start = partition.first_lba * self.sector_size;
        start..start + partition.sectors() * self.sector_size
    }

    /// Adds a partition, or changes the one with this number. The table stays
    /// as it was if the result would be nonsense.
    pub fn put(&mut self, partition: &Partition) -> Result<(), GptError> {
        let number = partition.number;
        if partition.type_guid == Guid::NIL {
            return Err(GptError::NoType { number });
        }
        if partition.label.encode_utf16().count() > 36 {
            return Err(GptError::Label { label: partition.label.clone() });
        }
        let index = (number as usize).wrapping_sub(1);
        if index >= self.entries.len() {
            return Err(GptError::Number { number, entries: self.entries.len() });
        }
        let changed = GPTPartitionEntry {
            partition_type_guid: partition.type_guid.to_disk(),
            unique_partition_guid: partition.guid.to_disk(),
            starting_lba: partition.first_lba,
            ending_lba: partition.last_lba,
            attribute_bits: partition.attributes,
            partition_name: partition.label.as_str().into(),
        };
        let before = std::mem::replace(&mut self.entries[index], changed);
        self.check().inspect_err(|_| self.entries[index] = before)
    }

    /// Makes the table fit a disk of so many sectors, each as long as
    /// [`Table::sector_size`] says. Tells whether anything changed.
    pub fn move_backup_to_end(&mut self, disk_sectors: u64) -> Result<bool, GptError> {
        let headers = self.headers.resized(disk_sectors, self.sector_size, self.entries.len())?;
        let end = self.partitions().iter().map(|partition| partition.last_lba + 1).max();
        let missing = end.unwrap_or(0).saturating_sub(headers.usable.end);
        if missing > 0 {
            let needed = disk_sectors + missing;
            return Err(GptError::DiskTooSmall { found: disk_sectors, needed });
        }
        let changed = headers != self.headers;
        self.headers = headers;
        Ok(changed)
    }

    /// Makes the table fit a disk of so many sectors, and the partition that
    /// comes last on it reach the end, up to [`ALIGNMENT`]. Tells whether
    /// anything changed. No partition is ever made smaller.
    pub fn grow_last_to_end(&mut self, disk_sectors: u64) -> Result<bool, GptError> {
        let mut last = self
            .partitions()
            .into_iter()
            .max_by_key(|partition| partition.last_lba)
            .ok_or(GptError::Empty)?;
        let moved = self.move_backup_to_end(disk_sectors)?;
        let unit = ALIGNMENT / self.sector_size;
        let end = self.headers.usable.end / unit * unit;
        if end <= last.last_lba + 1 {
            return Ok(moved);
        }
        last.last_lba = end - 1;
        self.put(&last)?;
        Ok(true)
    }

    /// Writes both copies and the protective MBR. A write that is cut short
    /// leaves one of the copies whole, as long as the disk writes in order;
    /// who must be sure calls [`Table::write_backup`], makes that durable, and
    /// then calls [`Table::write_primary`].
    pub fn write(&self, disk: &mut (impl Write + Seek)) -> Result<(), GptError> {
        self.write_backup(disk)?;
        self.write_primary(disk)
    }

    /// Writes the copy at the end of the disk.
    pub fn write_backup(&self, disk: &mut (impl Write + Seek)) -> Result<(), GptError> {
        self.check()?;
        let header = self.headers.backup(self.sector_size, self.entries.len());
        copy::write(disk, self.sector_size, header, &self.entries)
    }

    /// Writes the copy at the start of the disk, and the protective MBR.
    pub fn write_primary(&self, disk: &mut (impl Write + Seek)) -> Result<(), GptError> {
        self.check()?;
        let header = self.headers.primary(self.entries.len());
        copy::write(disk, self.sector_size, header, &self.entries)?;
        mbr::write(disk, self.disk_sectors()).map_err(|source| GptError::Write { source })
    }

    /// Refuses a table whose partitions cannot all exist.
    fn check(&self) -> Result<(), GptError> {
        let mut partitions = self.partitions();
        let usable = &self.headers.usable;
        for partition in &partitions {
            let &Partition { number, first_lba: first, last_lba: last, .. } = partition;
            if first > last {
                return Err(GptError::Backwards { number, first, last });
            }
            if !usable.contains(&first) || !usable.contains(&last) {
                let usable = usable.clone();
                return Err(GptError::Outside { number, first, last, usable });
            }
        }
        partitions.sort_by_key(|partition| partition.first_lba);
        for pair in partitions.windows(2) {
            if pair[1].first_lba <= pair[0].last_lba {
                return Err(GptError::Overlap { first: pair[0].number, second: pair[1].number });
            }
        }
        partitions.sort_by_key(|partition| partition.guid);
        for pair in partitions.windows(2) {
            let (first, second) = (pair[0].number, pair[1].number);
            if pair[0].guid == pair[1].guid {
                return Err(GptError::SameGuid { first, second, guid: pair[0].guid });
            }
        }
        Ok(())
    }
}

fn partition(number: u32, entry: &GPTPartitionEntry) -> Option<Partition> {
    entry.is_used().then(|| Partition {
        number,
        label: entry.partition_name.as_str().to_string(),
        type_guid: Guid::from_disk(entry.partition_type_guid),
        guid: Guid::from_disk(entry.unique_partition_guid),
        first_lba: entry.starting_lba,
        last_lba: entry.ending_lba,
        attributes: entry.attribute_bits,
    })
}

/// Sectors that so many entries take.
fn entry_sectors(entries: usize, sector_size: u64) -> u64 {
    (entries as u64 * ENTRY).div_ceil(sector_size)
}

#[cfg(test)]
mod tests;
