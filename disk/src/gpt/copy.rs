//! One copy of the table: a header, and the array of entries that it points to.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use gptman::{GPTHeader, GPTPartitionEntry};

use super::{GptError, entry_sectors};
use crate::guid::Guid;

/// Bytes of an entry.
pub(super) const ENTRY: u64 = 128;

/// More entries than any tool makes; a header that wants more is damaged.
const MAX_ENTRIES: u32 = 1024;

/// What `gptman` reads beyond an entry, which is longer in memory.
const READ_AHEAD: usize = 128;

/// What both headers say about the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) disk_guid: Guid,
    /// One more than the sector of the backup header.
    pub(super) disk_sectors: u64,
    /// Sectors that partitions may take.
    pub(super) usable: Range<u64>,
    /// Where the copy at the start keeps its entries.
    entries_lba: u64,
}

impl Headers {
    pub(super) fn new(
        disk_guid: Guid,
        disk_sectors: u64,
        sector_size: u64,
        entries: usize,
    ) -> Result<Headers, GptError> {
        let first = 2 + entry_sectors(entries, sector_size);
        Headers { disk_guid, disk_sectors: 0, usable: first..first, entries_lba: 2 }.resized(
            disk_sectors,
            sector_size,
            entries,
        )
    }

    /// The same for a disk of another size.
    pub(super) fn resized(
        &self,
        disk_sectors: u64,
        sector_size: u64,
        entries: usize,
    ) -> Result<Headers, GptError> {
        if disk_sectors > u64::MAX / sector_size {
            return Err(GptError::DiskTooLarge { found: disk_sectors });
        }
        let behind = entry_sectors(entries, sector_size) + 1;
        let needed = self.usable.start + 1 + behind;
        if disk_sectors < needed {
            return Err(GptError::DiskTooSmall { found: disk_sectors, needed });
        }
        let usable = self.usable.start..disk_sectors - behind;
        Ok(Headers { disk_sectors, usable, ..self.clone() })
    }

    pub(super) fn primary(&self, entries: usize) -> GPTHeader {
        GPTHeader {
            signature: *b"EFI PART",
            revision: [0, 0, 1, 0],
            header_size: 92,
            crc32_checksum: 0,
            reserved: [0; 4],
            primary_lba: 1,
            backup_lba: self.disk_sectors - 1,
            first_usable_lba: self.usable.start,
            last_usable_lba: self.usable.end - 1,
            disk_guid: self.disk_guid.to_disk(),
            partition_entry_lba: self.entries_lba,
            number_of_partition_entries: entries as u32,
            size_of_partition_entry: ENTRY as u32,
            partition_entry_array_crc32: 0,
        }
    }

    pub(super) fn backup(&self, sector_size: u64, entries: usize) -> GPTHeader {
        let last = self.disk_sectors - 1;
        GPTHeader {
            primary_lba: last,
            backup_lba: 1,
            partition_entry_lba: last - entry_sectors(entries, sector_size),
            ..self.primary(entries)
        }
    }
}

/// Why a copy cannot be used.
pub(super) enum Fault {
    /// The disk does not let it be read.
    Io(io::Error),
    /// There is nothing that looks like one.
    Missing,
    /// It is not what it was when it was written, or never made sense.
    Damaged(String),
}

impl From<gptman::Error> for Fault {
    fn from(error: gptman::Error) -> Fault {
        match error {
            gptman::Error::InvalidSignature => Fault::Missing,
            error => Fault::Damaged(error.to_string()),
        }
    }
}

/// What to say if neither copy can be used.
pub(super) fn neither(primary: Fault, backup: Fault) -> GptError {
    let reason = |fault| match fault {
        Fault::Io(error) => error.to_string(),
        Fault::Missing => "there is none".to_string(),
        Fault::Damaged(reason) => reason,
    };
    match (primary, backup) {
        (Fault::Missing, Fault::Missing) => GptError::Missing,
        (Fault::Io(source), Fault::Io(_)) => GptError::Read { source },
        (primary, backup) => GptError::Damaged { primary: reason(primary), backup: reason(backup) },
    }
}

/// Reads the copy whose header is in sector `lba`.
pub(super) fn read(
    disk: &mut (impl Read + Seek),
    sector_size: u64,
    lba: u64,
) -> Result<(Headers, Vec<GPTPartitionEntry>), Fault> {
    let sector = read_sectors(disk, sector_size, lba, 1)?;
    let header = GPTHeader::read_from(&mut Cursor::new(&sector))?;
    let headers = believe(&header, sector_size, lba)?;
    let count = entry_sectors(header.number_of_partition_entries as usize, sector_size);
    let mut entries = read_sectors(disk, sector_size, header.partition_entry_lba, count)?;
    entries.resize(entries.len() + READ_AHEAD, 0);
    let mut staged = Staged::of_entries(header.partition_entry_lba * sector_size, entries);
    Ok((headers, header.read_partitions(&mut staged, sector_size)?))
}

fn read_sectors(
    disk: &mut (impl Read + Seek),
    sector_size: u64,
    lba: u64,
    count: u64,
) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; (count * sector_size) as usize];
    match disk.seek(SeekFrom::Start(lba * sector_size)).and_then(|_| disk.read_exact(&mut bytes)) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && count == 1 => {
            Err(Fault::Missing)
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Fault::Damaged("its entries lie behind the end of the disk".to_string()))
        }
        Err(error) => Err(Fault::Io(error)),
    }
}

/// Checks the numbers of a header whose checksum is right, so that nothing
/// that follows from them can overflow or ask for too much memory.
fn believe(header: &GPTHeader, sector_size: u64, lba: u64) -> Result<Headers, Fault> {
    let require = |holds: bool, reason: &str| {
        if holds { Ok(()) } else { Err(Fault::Damaged(reason.to_string())) }
    };
    let entries = header.number_of_partition_entries;
    require(header.primary_lba == lba, "it is not in the sector that it names")?;
    require(u64::from(header.size_of_partition_entry) == ENTRY, "its entries are not 128 bytes")?;
    require((1..=MAX_ENTRIES).contains(&entries), "it has an absurd number of entries")?;

    let (first_header, last_header) = match lba {
        1 => (1, header.backup_lba),
        _ => (header.backup_lba, lba),
    };
    require(first_header == 1, "it names no copy at the start of the disk")?;
    require(last_header < u64::MAX / sector_size, "it is for a disk larger than possible")?;
    let usable = header.first_usable_lba..header.last_usable_lba.saturating_add(1);
    require(!usable.is_empty() && usable.end <= last_header, "it leaves no room for partitions")?;

    let sectors = entry_sectors(entries as usize, sector_size);
    let room = if lba == 1 { 2..usable.start } else { usable.end..lba };
    let start = header.partition_entry_lba;
    let end = start.saturating_add(sectors);
    require(room.start <= start && end <= room.end, "its entries lie where partitions may be")?;
    require(usable.start >= 2 + sectors, "it leaves no room for the copy at the start")?;
    require(usable.end + sectors <= last_header, "it leaves no room for the copy at the end")?;
    Ok(Headers {
        disk_guid: Guid::from_disk(header.disk_guid),
        disk_sectors: last_header + 1,
        usable,
        entries_lba: if lba == 1 { start } else { 2 },
    })
}

/// Writes a copy: the entries first, then the header that makes them count.
pub(super) fn write(
    disk: &mut (impl Write + Seek),
    sector_size: u64,
    mut header: GPTHeader,
    entries: &[GPTPartitionEntry],
) -> Result<(), GptError> {
    let sectors = entry_sectors(entries.len(), sector_size);
    let mut staged = Staged {
        header_at: header.primary_lba * sector_size,
        header: vec![0; sector_size as usize],
        entries_at: header.partition_entry_lba * sector_size,
        entries: vec![0; (sectors * sector_size) as usize],
        position: 0,
    };
    let encode = |error: gptman::Error| GptError::Write { source: io::Error::other(error) };
    header.write_into(&mut staged, sector_size, entries).map_err(encode)?;
    let Staged { header_at, header, entries_at, entries, .. } = staged;
    [(entries_at, entries), (header_at, header)]
        .into_iter()
        .try_for_each(|(at, bytes)| {
            disk.seek(SeekFrom::Start(at))?;
            disk.write_all(&bytes)
        })
        .and_then(|()| disk.flush())
        .map_err(|source| GptError::Write { source })
}

/// The two stretches of a disk that make up a copy, in memory: `gptman` reads
/// and writes entry by entry, disks want whole sectors.
struct Staged {
    header_at: u64,
    header: Vec<u8>,
    entries_at: u64,
    entries: Vec<u8>,
    position: u64,
}

impl Staged {
    fn of_entries(entries_at: u64, entries: Vec<u8>) -> Staged {
        Staged { header_at: 0, header: Vec::new(), entries_at, entries, position: entries_at }
    }

    /// The bytes from the position on to the end of its stretch.
    fn here(&mut self) -> &mut [u8] {
        let within = |at: u64, bytes: &Vec<u8>| {
            let offset = usize::try_from(self.position.checked_sub(at)?).ok()?;
            (offset < bytes.len()).then_some(offset)
        };
        match (within(self.header_at, &self.header), within(self.entries_at, &self.entries)) {
            (Some(offset), _) => &mut self.header[offset..],
            (None, Some(offset)) => &mut self.entries[offset..],
            (None, None) => &mut [],
        }
    }
}

impl Read for Staged {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let here = self.here();
        let length = out.len().min(here.len());
        out[..length].copy_from_slice(&here[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let here = self.here();
        let length = bytes.len().min(here.len());
        here[..length].copy_from_slice(&bytes[..length]);
        self.position += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Staged {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(position) => self.position = position,
            SeekFrom::Current(_) | SeekFrom::End(_) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
        Ok(self.position)
    }
}
