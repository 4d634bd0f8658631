//! A disk image: partitions, what the slots hold, what would boot.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use disk::disc;
use disk::entry::{Assessment, DIRECTORY, Entry};
use disk::gpt::{GptError, Partition, Table};
use disk::layout::{Role, Slot, root_hash};
use disk::verity::RootHash;
use disk::window::Window;
use serde::Serialize;

use super::{Cause, filesystem, uki};
use crate::progress::Size;

/// A disk with this system's partitions.
#[derive(Debug, Serialize)]
pub struct Drive {
    /// Bytes of the disk.
    pub size: u64,
    /// Its identifier.
    pub guid: String,
    /// Whether the partition table at its start is damaged.
    pub recovered: bool,
    /// Its partitions by number.
    pub partitions: Vec<Area>,
    /// Its two places for a system.
    pub slots: Vec<Place>,
    /// What the boot loader finds, in the order in which it would try.
    pub entries: Vec<BootEntry>,
}

/// A partition.
#[derive(Debug, Serialize)]
pub struct Area {
    /// Its number.
    pub number: u32,
    /// Its label.
    pub label: String,
    /// Its type.
    pub type_guid: String,
    /// Its identifier.
    pub guid: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// A slot.
#[derive(Debug, Serialize)]
pub struct Place {
    /// `a` or `b`.
    pub slot: String,
    /// The hash of the root that its partitions claim to hold; none if empty.
    pub root_hash: Option<String>,
    /// The version of the boot entry for that root.
    pub version: Option<String>,
    /// The root's file system.
    pub root: Option<filesystem::Erofs>,
}

/// A boot entry.
#[derive(Debug, Serialize)]
pub struct BootEntry {
    /// Its file name.
    pub file: String,
    /// The version in that name.
    pub version: String,
    /// Tries left; none if it is kept for good.
    pub tries_left: Option<u32>,
    /// Tries done.
    pub tries_done: u32,
    /// `good`, `indeterminate` or `bad`.
    pub assessment: &'static str,
    /// The slot whose root it boots; none if no slot holds it.
    pub slot: Option<String>,
    /// The image itself.
    pub uki: uki::Uki,
}

/// The partitions of a disk; none if the file is no disk.
pub(crate) fn areas(file: &File) -> Vec<Area> {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    Table::read(&mut Window::new(file, 0..size)).map(|table| areas_of(&table)).unwrap_or_default()
}

fn areas_of(table: &Table) -> Vec<Area> {
    let area = |partition: &Partition| {
        let range = table.byte_range(partition);
        Area {
            number: partition.number,
            label: partition.label.clone(),
            type_guid: partition.type_guid.to_string(),
            guid: partition.guid.to_string(),
            offset: range.start,
            size: range.end - range.start,
        }
    };
    table.partitions().iter().map(area).collect()
}

/// Reads a disk; none if the file is no disk of this system.
pub(super) fn read(file: &File) -> Result<Option<Drive>, Cause> {
    let size = file.metadata()?.len();
    let table = match Table::read(&mut Window::new(file, 0..size)) {
        Ok(table) => table,
        Err(GptError::Missing) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let partitions = table.partitions();
    let of_role = |role: Role| {
        partitions.iter().find(|partition| {
            partition.number == role.number() && partition.type_guid == role.type_guid()
        })
    };
    if of_role(Role::Root(Slot::A)).is_none() {
        return Ok(None);
    }
    let window = |partition: &Partition| Window::new(file, table.byte_range(partition));
    let mut entries = match of_role(Role::Esp) {
        Some(esp) => boot_entries(window(esp))?,
        None => Vec::new(),
    };
    let mut slots = Vec::new();
    for slot in Slot::ALL {
        let hash = root_hash(&partitions, slot);
        let root = match of_role(Role::Root(slot)).filter(|_| hash.is_some()) {
            Some(partition) => Some(root_of(table.byte_range(partition), file)?),
            None => None,
        };
        let mut version = None;
        for entry in &mut entries {
            let claimed = entry.uki.root_hash.as_deref().and_then(|text| text.parse().ok());
            if hash.is_some() && claimed == hash {
                entry.slot = Some(slot.to_string());
                version = Some(entry.version.clone());
            }
        }
        let root_hash = hash.as_ref().map(RootHash::to_string);
        slots.push(Place { slot: slot.to_string(), root_hash, version, root });
    }
    Ok(Some(Drive {
        size,
        guid: table.disk_guid().to_string(),
        recovered: table.recovered(),
        partitions: areas_of(&table),
        slots,
        entries,
    }))
}

fn root_of(range: Range<u64>, file: &File) -> Result<filesystem::Erofs, Cause> {
    let mut beginning = [0; super::BEGINNING];
    file.read_exact_at(&mut beginning, range.start)?;
    if !filesystem::is_erofs(&beginning) {
        return Err("a slot that is in use has no EROFS in it".into());
    }
    filesystem::erofs(&beginning, range.end - range.start)
}

fn boot_entries(esp: Window<&File>) -> Result<Vec<BootEntry>, Cause> {
    let mut volume = disc::open(esp)?;
    let mut found = Vec::new();
    for (path, _) in volume.list()? {
        let Some((directory, file)) = path.rsplit_once('/') else { continue };
        if !directory.eq_ignore_ascii_case(DIRECTORY) {
            continue;
        }
        let Some(entry) = Entry::parse(file) else { continue };
        let bytes = volume.read(&path, uki::LIMIT)?.unwrap_or_default();
        let uki = uki::parse(&bytes)?;
        found.push((entry, file.to_owned(), uki));
    }
    found.sort_by(|(a, ..), (b, ..)| a.preference(b));
    let entries = found.into_iter().map(|(entry, file, uki)| BootEntry {
        file,
        version: entry.version.to_string(),
        tries_left: entry.tries.map(|tries| tries.left),
        tries_done: entry.tries.map_or(0, |tries| tries.done),
        assessment: match entry.assessment() {
            Assessment::Good => "good",
            Assessment::Indeterminate => "indeterminate",
            Assessment::Bad => "bad",
        },
        slot: None,
        uki,
    });
    Ok(entries.collect())
}

impl fmt::Display for Drive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "disk image, {}, {}", Size(self.size), self.guid)?;
        if self.recovered {
            writeln!(formatter, "  the partition table at its start is damaged")?;
        }
        writeln!(formatter, "  partitions")?;
        for Area { number, label, guid, offset, size, .. } in &self.partitions {
            let (at, size) = (offset >> 20, size >> 20);
            writeln!(formatter, "    {number} {label:14} {size:>6} MiB at {at:>6} MiB  {guid}")?;
        }
        writeln!(formatter, "  slots")?;
        for Place { slot, root_hash, version, root } in &self.slots {
            let Some(hash) = root_hash else {
                writeln!(formatter, "    {slot} empty")?;
                continue;
            };
            let version = version.as_deref().unwrap_or("no boot entry");
            let size = Size(root.as_ref().map_or(0, |root| root.size));
            writeln!(formatter, "    {slot} {version}, {size}, root hash {hash}")?;
        }
        write!(formatter, "  boot entries")?;
        for entry in &self.entries {
            let tries = match entry.tries_left {
                None => "kept for good".to_owned(),
                Some(left) => format!("{left} tries left, {} done", entry.tries_done),
            };
            let slot =
                entry.slot.as_deref().map_or("no slot".to_owned(), |slot| format!("slot {slot}"));
            let kernel = entry.uki.kernel.as_deref().unwrap_or("unknown");
            write!(
                formatter,
                "\n    {}: {tries}, {slot}, kernel {kernel}, {}",
                entry.file,
                Size(entry.uki.size)
            )?;
        }
        Ok(())
    }
}
