//! The protective MBR: one partition over the whole disk, so that a tool that
//! knows no GPT sees a full disk instead of an empty one.

use std::io::{self, Seek, SeekFrom, Write};

/// Where the four records and the signature are; boot code before them stays.
const RECORDS: u64 = 446;

/// Writes the records for a disk of so many sectors.
pub(super) fn write(disk: &mut (impl Write + Seek), disk_sectors: u64) -> io::Result<()> {
    let mut records = [0; 66];
    // Not bootable; cylinder 0, head 0, sector 2; type "GPT protective"; up to
    // the last address that can be told; from sector 1; its size, cut to fit.
    records[..8].copy_from_slice(&[0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    records[8..12].copy_from_slice(&1u32.to_le_bytes());
    let sectors = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
    records[12..16].copy_from_slice(&sectors.to_le_bytes());
    records[64..].copy_from_slice(&[0x55, 0xaa]);
    disk.seek(SeekFrom::Start(RECORDS))?;
    disk.write_all(&records)?;
    disk.flush()
}
