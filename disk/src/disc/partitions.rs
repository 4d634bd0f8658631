//! Where on a partitioned disc a volume may begin.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use crate::gpt::Table;

/// How many partitions are looked at.
const MOST: usize = 16;

/// Where the four records of an MBR are, how long each is, and what ends them.
const RECORDS: usize = 446;
const RECORD: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

const UNUSED: u8 = 0x00;
const GPT: u8 = 0xee;

/// The partitions of a disc, in bytes; none if it cannot be read or has none.
pub(super) fn find(disc: &mut (impl Read + Seek)) -> Vec<Range<u64>> {
    let mut sector = [0; 512];
    let read = disc.seek(SeekFrom::Start(0)).and_then(|_| disc.read_exact(&mut sector));
    if read.is_err() || sector[510..] != SIGNATURE {
        return Vec::new();
    }
    let records = sector[RECORDS..510].chunks_exact(RECORD);
    if records.clone().any(|record| record[4] == GPT) {
        let Ok(table) = Table::read(disc) else { return Vec::new() };
        return table.partitions().iter().take(MOST).map(|p| table.byte_range(p)).collect();
    }
    records.filter(|record| record[4] != UNUSED).map(stretch).collect()
}

/// The bytes that an MBR record is about.
fn stretch(record: &[u8]) -> Range<u64> {
    let number = |at: usize| {
        u64::from(u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]))
    };
    let (start, sectors) = (number(8), number(12));
    start * 512..(start + sectors) * 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::Partition;
    use crate::guid::Guid;
    use std::io::Cursor;

    #[test]
    fn partitions_of_an_mbr_are_found() {
        let mut disc = vec![0; 1024];
        disc[510..512].copy_from_slice(&SIGNATURE);
        disc[446 + 16 + 4] = 0x0c;
        disc[446 + 16 + 8..][..4].copy_from_slice(&2048u32.to_le_bytes());
        disc[446 + 16 + 12..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let end = (2048 + u64::from(u32::MAX)) * 512;
        assert_eq!(find(&mut Cursor::new(&disc)), [Range { start: 2048 * 512, end }]);
        disc[511] = 0;
        assert_eq!(find(&mut Cursor::new(&disc)), []);
        assert_eq!(find(&mut Cursor::new(&disc[..100])), []);
    }

    #[test]
    fn partitions_of_a_gpt_are_found() {
        let mut table = Table::new(Guid::derive(b"", "disk"), 8192).unwrap();
        let partition = Partition {
            number: 1,
            label: "CIDATA".to_string(),
            type_guid: crate::layout::ESP_TYPE,
            guid: Guid::derive(b"", "partition"),
            first_lba: 2048,
            last_lba: 4095,
            attributes: 0,
        };
        table.put(&partition).unwrap();
        let mut disc = Cursor::new(Vec::new());
        table.write(&mut disc).unwrap();
        assert_eq!(find(&mut disc), [Range { start: 1 << 20, end: 2 << 20 }]);
        // Without a table behind it, the protective record leads nowhere.
        disc.get_mut().truncate(512);
        assert_eq!(find(&mut disc), []);
    }
}
