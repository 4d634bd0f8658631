//! A partition table of any bytes: it is read or refused; what was read lies on the disk, without
//! overlap, and comes back when it is written.
#![no_main]

use std::io::Cursor;

use disk::gpt::Table;
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let mut disk = rest.to_vec();
    if how % 2 == 0 {
        let last = (disk.len() / SECTOR).saturating_sub(1);
        mend(&mut disk, 1);
        mend(&mut disk, last);
    }
    let Ok(table) = Table::read(&mut Cursor::new(&disk)) else { return };
    let partitions = table.partitions();
    for partition in &partitions {
        assert!(partition.first_lba <= partition.last_lba);
        let range = table.byte_range(partition);
        assert_eq!(range.end - range.start, partition.sectors() * table.sector_size());
        assert_eq!(table.partition(partition.number).as_ref(), Some(partition));
        for other in &partitions {
            let apart =
                other.last_lba < partition.first_lba || partition.last_lba < other.first_lba;
            assert!(apart || other.number == partition.number, "{partitions:?}");
        }
    }
    let sectors = disk.len() as u64 / table.sector_size();
    for length in [sectors, sectors * 2, table.disk_sectors()] {
        let mut grown = table.clone();
        let Ok(_) = grown.grow_last_to_end(length) else { continue };
        for (before, after) in partitions.iter().zip(grown.partitions()) {
            assert!(after.first_lba == before.first_lba && after.last_lba >= before.last_lba);
        }
        if length > 1 << 16 {
            continue;
        }
        let mut written = Cursor::new(vec![0; (length * table.sector_size()) as usize]);
        grown.write(&mut written).expect("what fits the disk is written");
        let read = Table::read(&mut written).expect("what was written is read");
        assert_eq!(read.partitions(), grown.partitions());
    }
});

/// Makes the checksums of the header in a sector right, which no fuzzer finds by chance.
fn mend(disk: &mut [u8], sector: usize) {
    let word = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..at + 4).and_then(|field| field.first_chunk());
        field.map_or(0, |field| u32::from_le_bytes(*field)) as usize
    };
    let at = sector * SECTOR;
    let Some(header) = disk.get(at..at + SECTOR) else { return };
    let (first, count, size) = (word(header, 72), word(header, 80), word(header, 84));
    let entries = count.checked_mul(size).and_then(|length| {
        let start = first.checked_mul(SECTOR)?;
        disk.get(start..start.checked_add(length)?)
    });
    let entries = crc32fast::hash(entries.unwrap_or_default());
    let header = &mut disk[at..at + SECTOR];
    header[88..92].copy_from_slice(&entries.to_le_bytes());
    header[16..20].fill(0);
    let length = word(header, 12).min(SECTOR);
    let sum = crc32fast::hash(&header[..length]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
}
