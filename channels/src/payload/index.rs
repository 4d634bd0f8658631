//! The index of a pack: which record makes which segment, and what both must hash to.

use std::ops::Range;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{MAX_RECORD, MAX_SEGMENTS, PayloadError, SEGMENT};

/// A skippable frame of zstd: `zstd -d` passes over the index of a pack of frames.
const SKIPPABLE: u32 = 0x184D_2A5C;
const MAGIC: &[u8; 8] = b"COREPACK";
const VERSION: u32 = 1;
/// Bytes before the entries.
const HEADER: usize = 72;
/// Bytes of an entry.
const ENTRY: usize = 68;
const HASH: usize = 32;

/// What is signed of a pack's index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexInfo {
    /// Its length in bytes, from the start of the pack.
    pub length: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// Bytes of an index over this many segments.
pub const fn index_length(segments: usize) -> usize {
    HEADER + segments * ENTRY
}

/// What an index says of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Bytes of the record.
    pub length: u32,
    /// SHA-256 of the record.
    pub record: [u8; HASH],
    /// SHA-256 of the segment that it makes.
    pub segment: [u8; HASH],
}

/// Where a segment's record is in the pack, and where the segment belongs in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The bytes of the pack that are its record, to be fetched as a range.
    pub record: Range<u64>,
    /// The bytes of the new file that it is.
    pub place: Range<u64>,
}

/// The index of a pack that is known to be the signed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Bytes of the new file.
    size: u64,
    /// Bytes of the old file; 0 in a pack of frames.
    old_size: u64,
    /// What identifies the old file; zeros in a pack of frames.
    old_id: [u8; HASH],
    entries: Vec<Entry>,
    /// Where each record begins in the pack, and where the last one ends.
    offsets: Vec<u64>,
}

impl Index {
    /// An index of these entries; [`Self::to_bytes`] writes it. `old` is size and identity of the
    /// old file.
    pub fn new(
        size: u64,
        old: Option<(u64, [u8; HASH])>,
        entries: Vec<Entry>,
    ) -> Result<Index, PayloadError> {
        let wrong = |reason: &str| PayloadError::Index { reason: reason.to_owned() };
        let (old_size, old_id) = old.unwrap_or((0, [0; HASH]));
        if size == 0 || size.div_ceil(SEGMENT as u64) != entries.len() as u64 {
            return Err(wrong("size and number of segments do not belong together"));
        }
        if entries.len() > MAX_SEGMENTS as usize {
            return Err(wrong("too many segments"));
        }
        let mut at = index_length(entries.len()) as u64;
        let mut offsets = vec![at];
        for entry in &entries {
            if entry.length == 0 || entry.length as usize > MAX_RECORD {
                return Err(wrong("the length of a record"));
            }
            at += u64::from(entry.length);
            offsets.push(at);
        }
        Ok(Index { size, old_size, old_id, entries, offsets })
    }

    /// Reads an index that was fetched: the first [`IndexInfo::length`] bytes of the pack.
    pub fn parse(bytes: &[u8], signed: &IndexInfo) -> Result<Index, PayloadError> {
        let hash = digest(&SHA256, bytes);
        if bytes.len() as u64 != signed.length || hex::encode(hash) != signed.sha256 {
            return Err(PayloadError::IndexHash);
        }
        Index::from_bytes(bytes)
    }

    /// Reads an index that is trusted already.
    pub fn from_bytes(bytes: &[u8]) -> Result<Index, PayloadError> {
        let wrong = |reason: &str| PayloadError::Index { reason: reason.to_owned() };
        let header = bytes.get(..HEADER).ok_or_else(|| wrong("cut off"))?;
        let rest = u32::try_from(bytes.len() - 8).map_err(|_| wrong("too long"))?;
        if number(&header[..4]) != u64::from(SKIPPABLE)
            || number(&header[4..8]) != u64::from(rest)
            || &header[8..16] != MAGIC
        {
            return Err(wrong("not an index"));
        }
        if number(&header[16..20]) != u64::from(VERSION) {
            return Err(wrong("a version that is not known here"));
        }
        let segments = number(&header[20..24]);
        if segments > u64::from(MAX_SEGMENTS) || bytes.len() != index_length(segments as usize) {
            return Err(wrong("its length does not fit the number of segments"));
        }
        let entry = |bytes: &[u8]| Entry {
            length: number(&bytes[..4]) as u32,
            record: bytes[4..36].try_into().expect("32 bytes"),
            segment: bytes[36..ENTRY].try_into().expect("32 bytes"),
        };
        let entries = bytes[HEADER..].chunks_exact(ENTRY).map(entry).collect();
        let old_size = number(&header[32..40]);
        let old_id: [u8; HASH] = header[40..HEADER].try_into().expect("32 bytes");
        if old_size == 0 && old_id != [0; HASH] {
            return Err(wrong("an old file without a size"));
        }
        let old = (old_size > 0).then_some((old_size, old_id));
        Index::new(number(&header[24..32]), old, entries)
    }

    /// The index as it begins a pack.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = index_length(self.entries.len());
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(SKIPPABLE.to_le_bytes());
        bytes.extend((length as u32 - 8).to_le_bytes());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.entries.len() as u32).to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.old_size.to_le_bytes());
        bytes.extend(self.old_id);
        for entry in &self.entries {
            bytes.extend(entry.length.to_le_bytes());
            bytes.extend(entry.record);
            bytes.extend(entry.segment);
        }
        bytes
    }

    /// What is to be signed of it.
    pub fn info(&self) -> IndexInfo {
        let bytes = self.to_bytes();
        let hash = digest(&SHA256, &bytes);
        IndexInfo { length: bytes.len() as u64, sha256: hex::encode(hash) }
    }

    /// Bytes of the new file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the old file, and what identifies it: the root hash of a root, the SHA-256 of any
    /// other file. `None` in a pack of frames.
    pub fn old(&self) -> Option<(u64, [u8; HASH])> {
        (self.old_size > 0).then_some((self.old_size, self.old_id))
    }

    /// How many segments there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no segment; never so.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the whole pack.
    pub fn pack_size(&self) -> u64 {
        self.offsets.last().copied().unwrap_or_default()
    }

    /// Where a segment and its record are.
    pub fn segment(&self, segment: usize) -> Result<Segment, PayloadError> {
        if segment >= self.entries.len() {
            return Err(PayloadError::NoSegment { segment });
        }
        let start = segment as u64 * SEGMENT as u64;
        let end = self.size.min(start + SEGMENT as u64);
        let record = self.offsets[segment]..self.offsets[segment + 1];
        Ok(Segment { record, place: start..end })
    }

    /// Checks the bytes of a record.
    pub fn check_record(&self, segment: usize, record: &[u8]) -> Result<(), PayloadError> {
        let entry = self.entries.get(segment).ok_or(PayloadError::NoSegment { segment })?;
        let hash = digest(&SHA256, record);
        match record.len() == entry.length as usize && hash.as_ref() == entry.record {
            true => Ok(()),
            false => Err(PayloadError::RecordHash { segment }),
        }
    }

    /// Checks the bytes of a segment, wherever they are from: also those that an interrupted
    /// download left in a slot.
    pub fn check_segment(&self, segment: usize, bytes: &[u8]) -> Result<(), PayloadError> {
        let entry = self.entries.get(segment).ok_or(PayloadError::NoSegment { segment })?;
        match digest(&SHA256, bytes).as_ref() == entry.segment {
            true => Ok(()),
            false => Err(PayloadError::SegmentHash { segment }),
        }
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index() -> Index {
        let entry =
            |byte: u8, length| Entry { length, record: [byte; HASH], segment: [byte; HASH] };
        let size = SEGMENT as u64 + 10;
        Index::new(size, Some((5000, [7; HASH])), vec![entry(1, 30), entry(2, 9)]).unwrap()
    }

    #[test]
    fn an_index_reads_back_and_knows_its_places() {
        let index = index();
        let bytes = index.to_bytes();
        assert_eq!(bytes.len(), index_length(2));
        assert_eq!(Index::parse(&bytes, &index.info()).unwrap(), index);
        let start = bytes.len() as u64;
        let size = SEGMENT as u64;
        let segment = |record, place| Segment { record, place };
        assert_eq!(index.segment(0).unwrap(), segment(start..start + 30, 0..size));
        assert_eq!(index.segment(1).unwrap(), segment(start + 30..start + 39, size..size + 10));
        assert!(matches!(index.segment(2), Err(PayloadError::NoSegment { segment: 2 })));
        assert_eq!(index.pack_size(), start + 39);
        assert_eq!(index.old(), Some((5000, [7; HASH])));
    }

    #[test]
    fn only_the_signed_index_is_read() {
        let index = index();
        let (bytes, info) = (index.to_bytes(), index.info());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(matches!(Index::parse(&changed, &info), Err(PayloadError::IndexHash)));
        }
        assert!(Index::parse(&bytes[..bytes.len() - 1], &info).is_err());
        assert!(Index::parse(&[], &info).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let cases: [(usize, u8, &str); 6] = [
            (0, 0, "not an index"),
            (8, b'X', "not an index"),
            (16, 2, "a version"),
            (20, 3, "does not fit the number of segments"),
            (28, 9, "do not belong together"),
            (72 + 3, 1, "the length of a record"),
        ];
        for (at, byte, message) in cases {
            let mut bytes = index().to_bytes();
            bytes[at] = byte;
            let error = Index::from_bytes(&bytes).unwrap_err().to_string();
            assert!(error.contains(message), "{at}: {error}");
        }
        assert!(Index::new(0, None, Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn rubbish_is_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..400), head: bool) {
            if head && bytes.len() >= HEADER {
                let good = index().to_bytes();
                bytes[..24].copy_from_slice(&good[..24]);
                bytes.resize(good.len(), 0);
            }
            if let Ok(index) = Index::from_bytes(&bytes) {
                prop_assert_eq!(index.to_bytes(), bytes);
            }
        }
    }
}
