use super::*;
use crate::layout::{Role, Sizes};
use crate::verity::RootHash;
use proptest::prelude::*;
use std::io::Cursor;

const MIB: u64 = 1024 * 1024;

fn layout() -> Layout {
    let sizes = Sizes { esp: 34 * MIB, root: 4 * MIB, verity: MIB, state: MIB };
    Layout::plan(&sizes, b"seed", Some(&RootHash(*b"the first half..the second half."))).unwrap()
}

fn table() -> Table {
    Table::from_layout(&layout()).unwrap()
}

/// A disk with the table on it.
fn disk() -> Cursor<Vec<u8>> {
    let mut disk = Cursor::new(Vec::new());
    table().write(&mut disk).unwrap();
    disk
}

#[test]
fn a_table_reads_back_as_written() {
    let mut disk = disk();
    assert_eq!(disk.get_ref().len() as u64, layout().disk_size());
    let read = Table::read(&mut disk).unwrap();
    assert_eq!(read, table());
    assert!(!read.recovered());
    assert_eq!(read.disk_guid(), layout().disk_guid);
    let state = read.partition(Role::State.number()).unwrap();
    let spec = *layout().partition(Role::State);
    assert_eq!(state, spec.to_partition());
    assert_eq!(read.byte_range(&state), spec.offset()..spec.offset() + spec.size());
}

#[test]
fn writing_twice_gives_the_same_bytes() {
    let mut again = disk();
    Table::read(&mut again).unwrap().write(&mut again).unwrap();
    assert_eq!(again.into_inner(), disk().into_inner());
}

#[test]
fn the_copy_at_the_end_stands_in_for_a_damaged_start() {
    for at in [512, 512 + 40, 1024, 1024 + 128] {
        let mut disk = disk();
        disk.get_mut()[at] ^= 1;
        let read = Table::read(&mut disk).unwrap();
        assert!(read.recovered());
        assert_eq!(read.partitions(), table().partitions());
        read.write(&mut disk).unwrap();
        assert_eq!(disk.into_inner(), self::disk().into_inner());
    }
}

/// A disk on which some sectors cannot be read.
struct Failing(Cursor<Vec<u8>>, Vec<Range<u64>>);

impl Read for Failing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let sector = self.0.position() / 512;
        if self.1.iter().any(|failing| failing.contains(&sector)) {
            return Err(io::Error::other("medium error"));
        }
        self.0.read(out)
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn the_copy_at_the_end_stands_in_for_unreadable_sectors() {
    let start = Range { start: 1, end: 34 };
    let end = Range { start: layout().disk_sectors - 1, end: layout().disk_sectors };
    let mut disk = Failing(disk(), vec![start]);
    assert!(Table::read(&mut disk).unwrap().recovered());
    disk.1.push(end);
    assert!(matches!(Table::read(&mut disk), Err(GptError::Read { .. })));
}

#[test]
fn two_damaged_copies_are_told_apart_from_none() {
    let mut damaged = disk();
    let end = damaged.get_ref().len();
    damaged.get_mut()[1024] ^= 1;
    damaged.get_mut()[end - 512 + 16] ^= 1;
    let error = Table::read(&mut damaged).unwrap_err().to_string();
    assert!(error.contains("both copies") && error.contains("CRC32"), "{error}");
    for size in [0, 100, 512, 1024, 5000, 1 << 20] {
        let result = Table::read(&mut Cursor::new(vec![0; size]));
        assert!(matches!(result, Err(GptError::Missing)), "{size} bytes");
    }
}

#[test]
fn sectors_of_4096_bytes_are_read() {
    let mut headers = Headers::new(Guid::NIL, 4096, 4096, ENTRIES).unwrap();
    headers.disk_guid = Guid::derive(b"", "disk");
    let entries = vec![GPTPartitionEntry::empty(); ENTRIES];
    let mut table = Table { sector_size: 4096, headers, entries, recovered: false };
    let partition = Partition {
        number: 3,
        label: "root-a".to_string(),
        type_guid: Guid::derive(b"", "type"),
        guid: Guid::derive(b"", "partition"),
        first_lba: 256,
        last_lba: 511,
        attributes: 5,
    };
    table.put(&partition).unwrap();
    let mut disk = Cursor::new(Vec::new());
    table.write(&mut disk).unwrap();
    let read = Table::read(&mut disk).unwrap();
    assert_eq!(read, table);
    assert_eq!(read.byte_range(&partition), MIB..2 * MIB);
}

#[test]
fn growing_moves_the_end_and_nothing_else() {
    let mut table = table();
    let before = table.partitions();
    assert!(!table.grow_last_to_end(layout().disk_sectors).unwrap());
    assert_eq!(table, self::table());

    let sectors = layout().disk_sectors + 100 * MIB / 512 + 7;
    assert!(table.grow_last_to_end(sectors).unwrap());
    assert!(!table.grow_last_to_end(sectors).unwrap());
    let after = table.partitions();
    assert_eq!(after[..5], before[..5]);
    assert_eq!(after[5].first_lba, before[5].first_lba);
    assert_eq!(after[5].last_lba, before[5].last_lba + 100 * MIB / 512);
    assert_eq!(table.disk_sectors(), sectors);
}

#[test]
fn a_disk_that_grew_by_less_than_the_alignment_only_moves_the_backup() {
    let mut table = table();
    assert!(table.grow_last_to_end(layout().disk_sectors + 1).unwrap());
    assert_eq!(table.partitions(), self::table().partitions());
    assert_eq!(table.disk_sectors(), layout().disk_sectors + 1);
}

#[test]
fn a_disk_that_is_too_small_is_refused_and_the_table_kept() {
    let mut table = table();
    let last = table.partition(6).unwrap().last_lba;
    for sectors in [0, 1, 33, 2048, last + 33] {
        let error = table.grow_last_to_end(sectors).unwrap_err();
        assert!(matches!(error, GptError::DiskTooSmall { .. }), "{sectors}: {error}");
        assert_eq!(table, self::table());
    }
    assert!(matches!(
        table.grow_last_to_end(u64::MAX),
        Err(GptError::DiskTooLarge { found: u64::MAX })
    ));
    assert!(table.move_backup_to_end(last + 34).unwrap());
    assert!(matches!(
        Table::new(Guid::NIL, 4096).unwrap().grow_last_to_end(8192),
        Err(GptError::Empty)
    ));
}

#[test]
fn the_partition_that_comes_last_grows_whatever_its_number() {
    let mut table = Table::new(Guid::derive(b"", "disk"), 20480).unwrap();
    for (number, first_lba) in [(9, 4096), (4, 8192), (1, 2048)] {
        let guid = Guid::derive(b"", &number.to_string());
        let (label, last_lba) = (String::new(), first_lba + 2047);
        let type_guid = Guid::derive(b"", "type");
        let partition =
            Partition { number, label, type_guid, guid, first_lba, last_lba, attributes: 0 };
        table.put(&partition).unwrap();
    }
    table.grow_last_to_end(204_800).unwrap();
    let ends: Vec<_> = table.partitions().iter().map(|p| (p.number, p.last_lba + 1)).collect();
    assert_eq!(ends, [(1, 4096), (4, 202_752), (9, 6144)]);
}

#[test]
fn nonsense_is_refused_with_its_reason_and_the_table_kept() {
    let state = table().partition(6).unwrap();
    let esp = table().partition(1).unwrap();
    for (partition, complaint) in [
        (Partition { number: 0, ..state.clone() }, "no partition number 0"),
        (Partition { number: 129, ..state.clone() }, "the table has 1 to 128"),
        (Partition { type_guid: Guid::NIL, ..state.clone() }, "partition 6 has no type"),
        (Partition { label: "x".repeat(37), ..state.clone() }, "longer than 36 characters"),
        (Partition { last_lba: state.first_lba - 1, ..state.clone() }, "ends before"),
        (Partition { first_lba: 33, ..esp.clone() }, "only 34 to"),
        (Partition { last_lba: u64::MAX, ..state.clone() }, "partition 6 takes sectors"),
        (Partition { first_lba: state.first_lba - 1, ..state.clone() }, "5 and 6 overlap"),
        (Partition { number: 7, ..state.clone() }, "overlap"),
        (Partition { guid: esp.guid, ..state.clone() }, "same GUID"),
    ] {
        let mut table = table();
        let error = table.put(&partition).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
        assert_eq!(table, self::table());
    }
}

/// Puts `value` at `at` of the first header and makes its checksum right.
fn forged(at: usize, value: &[u8]) -> Cursor<Vec<u8>> {
    let mut disk = disk();
    let end = disk.get_ref().len();
    let bytes = disk.get_mut();
    // Only the first copy is left to be believed.
    bytes[end - 512..].fill(0);
    bytes[512 + at..512 + at + value.len()].copy_from_slice(value);
    bytes[512 + 16..512 + 20].fill(0);
    let crc = gptman::GPTHeader::read_from(&mut Cursor::new(&bytes[512..1024]))
        .map_or_else(|error| error, |_| panic!("the checksum cannot be right"));
    let gptman::Error::InvalidChecksum(_, right) = crc else { panic!("{crc}") };
    bytes[512 + 16..512 + 20].copy_from_slice(&right.to_le_bytes());
    disk
}

#[test]
fn absurd_headers_are_refused_even_with_the_right_checksum() {
    let max = &u64::MAX.to_le_bytes()[..];
    for (at, value, complaint) in [
        (24, &[2][..], "not in the sector that it names"),
        (32, max, "larger than possible"),
        (40, max, "no room for partitions"),
        (40, &[3, 0][..], "lie where partitions may be"),
        (48, max, "no room for partitions"),
        (48, &[0; 8][..], "no room for partitions"),
        (72, max, "lie where partitions may be"),
        (72, &[0][..], "lie where partitions may be"),
        (80, &max[..4], "absurd number of entries"),
        (80, &[0; 4][..], "absurd number of entries"),
        (84, &[0, 1][..], "not 128 bytes"),
        (84, &max[..4], "not 128 bytes"),
    ] {
        let error = Table::read(&mut forged(at, value)).unwrap_err().to_string();
        assert!(error.contains(complaint), "byte {at}: {error}");
    }
}

proptest! {
    /// Whatever a single damaged byte does to the first copy, the second one
    /// stands in for it: no partition moves, gets lost, or changes its number.
    #[test]
    fn one_damaged_byte_never_changes_the_partitions(at in 512usize..512 * 34, flip in 1u8..) {
        let mut table = Table::new(Guid::derive(b"", "disk"), 4096).unwrap();
        let (first_lba, last_lba) = (2048, 3071);
        table.put(&Partition { first_lba, last_lba, ..self::table().partition(6).unwrap() })?;
        let mut disk = Cursor::new(Vec::new());
        table.write(&mut disk)?;
        disk.get_mut()[at] ^= flip;
        prop_assert_eq!(Table::read(&mut disk)?.partitions(), table.partitions());
    }

    #[test]
    fn garbage_is_never_a_table(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        prop_assert!(Table::read(&mut Cursor::new(bytes)).is_err());
    }
}
