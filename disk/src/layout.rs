//! The partitions of a disk of this system, and where they lie.
//!
//! ```text
//! Sizes + seed + root hash → Layout → (gpt) Table
//! (gpt) partitions + root hash → Slot
//! ```
//!
//! | # | label | type |
//! |---|---|---|
//! | 1 | `ESP` | EFI system partition |
//! | 2, 3 | `root-a`, `root-a-verity` | root and its verity tree |
//! | 4, 5 | `root-b`, `root-b-verity` | the other slot |
//! | 6 | `state` | everything writable, grown at the first boot |
//!
//! A slot without a system in it is labelled `_empty`, as systemd-sysupdate
//! has it: so it is the number that tells the slot, never the label.

use std::fmt;

use thiserror::Error;

use crate::gpt::{ALIGNMENT, Partition};
use crate::guid::Guid;
use crate::verity::{self, RootHash};

/// Type of the EFI system partition.
pub const ESP_TYPE: Guid = Guid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
/// Type of a root partition for x86-64.
pub const ROOT_TYPE: Guid = Guid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709);
/// Type of the verity tree of a root partition for x86-64.
pub const VERITY_TYPE: Guid = Guid::from_u128(0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5);
/// Type of the state partition: variable data.
pub const STATE_TYPE: Guid = Guid::from_u128(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d);

/// Label of a slot's partitions while there is no system in them.
pub const EMPTY_LABEL: &str = "_empty";

/// Attribute bit that marks a partition as never to be mounted writable.
pub const READ_ONLY: u64 = 1 << 60;

/// Attribute bit of a state partition that no file system was made on yet. It may be formatted;
/// without the bit nothing that could be somebody's data ever is. Bits 48 to 63 belong to the
/// partition's type.
pub const FRESH: u64 = 1 << 48;

/// Bytes in a sector of a disk made here.
pub const SECTOR: u64 = 512;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// What FAT32 needs: 65525 clusters of one sector each, and two tables.
const SMALLEST_ESP: u64 = 34 * MIB;

/// One of the two places for a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The one that an image is installed to.
    A,
    /// The one that the first update goes to.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The one that this is not.
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slot::A => "a",
            Slot::B => "b",
        })
    }
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Boot loader and boot entries.
    Esp,
    /// The root of a slot.
    Root(Slot),
    /// The verity tree over the root of a slot.
    Verity(Slot),
    /// Everything writable.
    State,
}

impl Role {
    /// All of them, in the order of the disk.
    pub const ALL: [Role; 6] = [
        Role::Esp,
        Role::Root(Slot::A),
        Role::Verity(Slot::A),
        Role::Root(Slot::B),
        Role::Verity(Slot::B),
        Role::State,
    ];

    /// Number of the partition, from 1.
    pub fn number(self) -> u32 {
        match self {
            Role::Esp => 1,
            Role::Root(Slot::A) => 2,
            Role::Verity(Slot::A) => 3,
            Role::Root(Slot::B) => 4,
            Role::Verity(Slot::B) => 5,
            Role::State => 6,
        }
    }

    /// Label of the partition, while it is in use.
    pub fn label(self) -> &'static str {
        match self {
            Role::Esp => "ESP",
            Role::Root(Slot::A) => "root-a",
            Role::Verity(Slot::A) => "root-a-verity",
            Role::Root(Slot::B) => "root-b",
            Role::Verity(Slot::B) => "root-b-verity",
            Role::State => "state",
        }
    }

    /// Type of the partition.
    pub fn type_guid(self) -> Guid {
        match self {
            Role::Esp => ESP_TYPE,
            Role::Root(_) => ROOT_TYPE,
            Role::Verity(_) => VERITY_TYPE,
            Role::State => STATE_TYPE,
        }
    }

    /// Attribute bits of the partition in a new image.
    pub fn attributes(self) -> u64 {
        match self {
            Role::Esp => 0,
            Role::Root(_) | Role::Verity(_) => READ_ONLY,
            Role::State => FRESH,
        }
    }

    /// The slot it belongs to.
    pub fn slot(self) -> Option<Slot> {
        match self {
            Role::Esp | Role::State => None,
            Role::Root(slot) | Role::Verity(slot) => Some(slot),
        }
    }
}

/// Lengths of the partitions in bytes, each a multiple of 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// EFI system partition.
    pub esp: u64,
    /// Root of each slot.
    pub root: u64,
    /// Verity tree of each slot: a little more than 0.8 % of the root.
    pub verity: u64,
    /// State, as it is in the image: a placeholder that the first boot grows.
    pub state: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { esp: GIB, root: 2 * GIB, verity: 32 * MIB, state: 64 * MIB }
    }
}

/// Why a disk cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// A length is not what partitions are cut in.
    #[error("the {partition} partition cannot have {bytes} bytes: use a multiple of 1 MiB")]
    Unaligned {
        /// Which one.
        partition: &'static str,
        /// Its length.
        bytes: u64,
    },
    /// A FAT32 file system does not fit.
    #[error("an ESP of {bytes} bytes is too small for FAT32, which needs {SMALLEST_ESP}")]
    EspTooSmall {
        /// Its length.
        bytes: u64,
    },
    /// The verity tree of a full root does not fit.
    #[error("a verity partition of {bytes} bytes is too small, a full root needs {needed}")]
    VerityTooSmall {
        /// Its length.
        bytes: u64,
        /// What it must have.
        needed: u64,
    },
    /// The sum is more than a disk can have.
    #[error("the partitions together are larger than any disk")]
    TooLarge,
}

/// One partition of a planned disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSpec {
    /// What it is for; also its number, type and attributes.
    pub role: Role,
    /// Its label: the role's, or [`EMPTY_LABEL`].
    pub label: &'static str,
    /// Its identifier.
    pub guid: Guid,
    /// Its first sector.
    pub first_lba: u64,
    /// Its last sector, which belongs to it.
    pub last_lba: u64,
}

impl PartitionSpec {
    /// Where it begins on the disk, in bytes.
    pub fn offset(&self) -> u64 {
        self.first_lba * SECTOR
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        (self.last_lba + 1 - self.first_lba) * SECTOR
    }

    /// The same as an entry of a partition table.
    pub fn to_partition(&self) -> Partition {
        Partition {
            number: self.role.number(),
            label: self.label.to_string(),
            type_guid: self.role.type_guid(),
            guid: self.guid,
            first_lba: self.first_lba,
            last_lba: self.last_lba,
            attributes: self.role.attributes(),
        }
    }
}

/// A planned disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The disk's identifier.
    pub disk_guid: Guid,
    /// Its length in sectors of [`SECTOR`] bytes.
    pub disk_sectors: u64,
    /// Its partitions, by number.
    pub partitions: [PartitionSpec; 6],
}

impl Layout {
    /// Plans a disk with the system of `root` in slot A, or in none. All
    /// identifiers follow from `root` and `seed`.
    pub fn plan(
        sizes: &Sizes,
        seed: &[u8],
        root: Option<&RootHash>,
    ) -> Result<Layout, LayoutError> {
        check(sizes)?;
        let mut next = ALIGNMENT;
        let mut place = |role| {
            let size = size_of_role(sizes, role);
            let first_lba = next / SECTOR;
            next = next.checked_add(size).ok_or(LayoutError::TooLarge)?;
            let installed = root.filter(|_| role.slot() == Some(Slot::A));
            let (label, guid) = match (role, installed) {
                (Role::Root(_), Some(root)) => (role.label(), root.root_guid()),
                (Role::Verity(_), Some(root)) => (role.label(), root.verity_guid()),
                (Role::Root(_) | Role::Verity(_), None) => {
                    (EMPTY_LABEL, Guid::derive(seed, role.label()))
                }
                (Role::Esp | Role::State, _) => (role.label(), Guid::derive(seed, role.label())),
            };
            Ok(PartitionSpec { role, label, guid, first_lba, last_lba: next / SECTOR - 1 })
        };
        let [esp, root_a, verity_a, root_b, verity_b, state] = Role::ALL;
        let partitions = [
            place(esp)?,
            place(root_a)?,
            place(verity_a)?,
            place(root_b)?,
            place(verity_b)?,
            place(state)?,
        ];
        // The backup of the partition table gets the last 1 MiB.
        let end = next.checked_add(ALIGNMENT).ok_or(LayoutError::TooLarge)?;
        let disk_guid = Guid::derive(seed, "disk");
        Ok(Layout { disk_guid, disk_sectors: end / SECTOR, partitions })
    }

    /// The partition with this role.
    pub fn partition(&self, role: Role) -> &PartitionSpec {
        &self.partitions[role.number() as usize - 1]
    }

    /// Length of the disk in bytes.
    pub fn disk_size(&self) -> u64 {
        self.disk_sectors * SECTOR
    }
}

fn size_of_role(sizes: &Sizes, role: Role) -> u64 {
    match role {
        Role::Esp => sizes.esp,
        Role::Root(_) => sizes.root,
        Role::Verity(_) => sizes.verity,
        Role::State => sizes.state,
    }
}

fn check(sizes: &Sizes) -> Result<(), LayoutError> {
    for (partition, bytes) in
        [("ESP", sizes.esp), ("root", sizes.root), ("verity", sizes.verity), ("state", sizes.state)]
    {
        if bytes == 0 || bytes % ALIGNMENT != 0 {
            return Err(LayoutError::Unaligned { partition, bytes });
        }
    }
    if sizes.esp < SMALLEST_ESP {
        return Err(LayoutError::EspTooSmall { bytes: sizes.esp });
    }
    let needed = verity::partition_size(sizes.root / verity::BLOCK);
    if sizes.verity < needed {
        return Err(LayoutError::VerityTooSmall { bytes: sizes.verity, needed });
    }
    Ok(())
}

/// The slot that claims to hold the system of `root`: the one whose two
/// partitions carry the two halves of the hash.
pub fn slot_of(partitions: &[Partition], root: &RootHash) -> Option<Slot> {
    Slot::ALL.into_iter().find(|&slot| root_hash(partitions, slot).as_ref() == Some(root))
}

/// The root hash that the partitions of a slot claim to hold; none if the slot
/// is empty or not there.
pub fn root_hash(partitions: &[Partition], slot: Slot) -> Option<RootHash> {
    let find = |role: Role| {
        partitions.iter().find(|partition| {
            partition.number == role.number()
                && partition.type_guid == role.type_guid()
                && partition.label != EMPTY_LABEL
        })
    };
    let (root, verity) = (find(Role::Root(slot))?, find(Role::Verity(slot))?);
    Some(RootHash::from_guids(root.guid, verity.guid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::Table;

    const HASH: RootHash = RootHash(*b"the first half..the second half.");

    fn small() -> Sizes {
        Sizes { esp: 34 * MIB, root: 16 * MIB, verity: MIB, state: MIB }
    }

    #[test]
    fn the_installed_slot_is_named_and_the_other_is_empty() {
        let layout = Layout::plan(&Sizes::default(), b"seed", Some(&HASH)).unwrap();
        let labels = layout.partitions.map(|partition| partition.label);
        assert_eq!(labels, ["ESP", "root-a", "root-a-verity", "_empty", "_empty", "state"]);
        let sizes = layout.partitions.map(|partition| partition.size() / MIB);
        assert_eq!(sizes, [1024, 2048, 32, 2048, 32, 64]);
        assert_eq!(layout.partition(Role::Root(Slot::A)).guid, HASH.root_guid());
        assert_eq!(layout.partition(Role::Verity(Slot::A)).guid, HASH.verity_guid());
        assert_eq!(layout.disk_size(), (1024 + 2 * 2048 + 2 * 32 + 64 + 2) * MIB);
    }

    #[test]
    fn partitions_follow_one_another_on_whole_mebibytes() {
        let layout = Layout::plan(&small(), b"seed", None).unwrap();
        let mut next = MIB;
        for (number, partition) in (1..).zip(&layout.partitions) {
            assert_eq!(partition.role.number(), number);
            assert_eq!(partition.offset(), next);
            assert_eq!(partition.size() % MIB, 0);
            next += partition.size();
        }
        assert_eq!(layout.disk_size(), next + MIB);
    }

    #[test]
    fn the_plan_follows_from_its_arguments_alone() {
        let plan = |seed: &[u8]| Layout::plan(&small(), seed, Some(&HASH)).unwrap();
        assert_eq!(plan(b"seed"), plan(b"seed"));
        assert_ne!(plan(b"seed").disk_guid, plan(b"other").disk_guid);
        let mut guids = plan(b"seed").partitions.map(|partition| partition.guid).to_vec();
        guids.push(plan(b"seed").disk_guid);
        guids.sort();
        guids.dedup();
        assert_eq!(guids.len(), 7);
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        for (sizes, complaint) in [
            (Sizes { state: 0, ..small() }, "the state partition cannot have 0 bytes"),
            (Sizes { root: MIB + 1, ..small() }, "the root partition cannot have 1048577 bytes"),
            (Sizes { esp: 33 * MIB, ..small() }, "too small for FAT32"),
            (Sizes { root: 256 * MIB, ..small() }, "a full root needs 2121728"),
            (
                Sizes { root: u64::MAX / MIB * MIB, verity: u64::MAX / MIB * MIB, ..small() },
                "larger than any disk",
            ),
        ] {
            let error = Layout::plan(&sizes, b"", None).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_slot_is_known_by_the_guids_of_its_partitions() {
        let layout = Layout::plan(&small(), b"seed", Some(&HASH)).unwrap();
        let mut table = Table::from_layout(&layout).unwrap();
        assert_eq!(slot_of(&table.partitions(), &HASH), Some(Slot::A));
        assert_eq!(slot_of(&table.partitions(), &RootHash([1; 32])), None);
        assert_eq!(root_hash(&table.partitions(), Slot::B), None);

        let update = RootHash(*b"another hash, to be found later.");
        for (role, guid) in [
            (Role::Root(Slot::A.other()), update.root_guid()),
            (Role::Verity(Slot::A.other()), update.verity_guid()),
        ] {
            let before = table.partition(role.number()).unwrap();
            table.put(&Partition { guid, label: role.label().to_string(), ..before }).unwrap();
        }
        assert_eq!(slot_of(&table.partitions(), &update), Some(Slot::B));
        assert_eq!(slot_of(&table.partitions(), &HASH), Some(Slot::A));
    }
}
