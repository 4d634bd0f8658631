//! Files that are stored compressed, with LZ4.
//!
//! Behind the inode of such a file is an index of one entry for each of its blocks. It cuts the
//! file in pieces: a piece is a block that is stored as it is, or several blocks that are
//! compressed to fewer. Only what the image builder writes is read: pieces that begin on blocks of
//! the file, full indexes, padding in front of the compressed bytes.

use std::io::{Read, Seek, SeekFrom};

use super::{BLOCK, ReadError};

/// Bytes of an index entry.
pub const ENTRY: u64 = 8;
/// Bytes between the end of an inode, at a multiple of [`ENTRY`], and its index.
pub const HEADER: u64 = 16;
/// An entry's block is stored as it is.
pub const PLAIN: u16 = 0;
/// With an entry's block begins what is compressed together.
pub const HEAD: u16 = 1;
/// An entry's block goes on with what began before.
pub const GOES_ON: u16 = 2;
/// In the first distance of the entry behind a head: the rest is the number of stored blocks.
pub const BLOCK_COUNT: u16 = 1 << 11;
/// The most blocks of a file that are compressed together, of what is read here.
pub const MAX_PIECE: u64 = 256;

/// Where an index begins, behind an inode with its attributes that ends at `end`.
pub fn index_start(end: u64) -> u64 {
    end.next_multiple_of(ENTRY) + HEADER
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// Its blocks in the file.
    blocks: u64,
    /// Its first block in the image.
    place: u64,
    /// Its blocks there; `None` if they are stored as they are.
    stored: Option<u64>,
}

/// Reads a compressed file from its beginning.
#[derive(Debug)]
pub(super) struct Unpacker {
    /// Where the next index entry lies.
    index: u64,
    /// Bytes of the file that are not unpacked yet.
    left: u64,
    /// The piece that is being read, and how much of it has been.
    piece: Vec<u8>,
    taken: usize,
}

impl Unpacker {
    /// A reader of `size` bytes by the index at `index`.
    pub(super) fn new(index: u64, size: u64) -> Unpacker {
        Unpacker { index, left: size, piece: Vec::new(), taken: 0 }
    }

    /// The next bytes, as many as `buffer` takes or there are.
    pub(super) fn read(
        &mut self,
        image: &mut (impl Read + Seek),
        buffer: &mut [u8],
    ) -> Result<usize, ReadError> {
        if self.taken == self.piece.len() && self.left > 0 {
            self.next_piece(image)?;
        }
        let count = buffer.len().min(self.piece.len() - self.taken);
        buffer[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }

    fn next_piece(&mut self, image: &mut (impl Read + Seek)) -> Result<(), ReadError> {
        let blocks = self.left.div_ceil(BLOCK).min(MAX_PIECE + 1);
        let mut entries = vec![0; (blocks * ENTRY) as usize];
        image.seek(SeekFrom::Start(self.index))?;
        image.read_exact(&mut entries)?;
        let piece = parse(&entries).ok_or(ReadError::Damaged("a file's index is not valid"))?;
        let length = self.left.min(piece.blocks * BLOCK);
        let stored = match piece.stored {
            Some(blocks) => blocks * BLOCK,
            None => length,
        };
        let mut bytes = vec![0; stored as usize];
        image.seek(SeekFrom::Start(piece.place * BLOCK))?;
        image.read_exact(&mut bytes)?;
        if piece.stored.is_some() {
            bytes = unpack(&bytes, length as usize)
                .ok_or(ReadError::Damaged("a file cannot be decompressed"))?;
        }
        self.index += piece.blocks * ENTRY;
        self.left -= length;
        self.piece = bytes;
        self.taken = 0;
        Ok(())
    }
}

/// The piece that the first of these entries begins; they are all that are left of a file, or more
/// than a piece can have.
fn parse(entries: &[u8]) -> Option<Piece> {
    let half = |entry: usize, at: usize| {
        let at = entry * ENTRY as usize + at;
        entries.get(at..at + 2).map(|field| u16::from_le_bytes([field[0], field[1]]))
    };
    let count = entries.len() / ENTRY as usize;
    // What begins within a block of the file is not written here.
    if half(0, 2)? != 0 {
        return None;
    }
    let place = u64::from(half(0, 4)?) | u64::from(half(0, 6)?) << 16;
    match half(0, 0)? {
        PLAIN => Some(Piece { blocks: 1, place, stored: None }),
        HEAD => {
            let more = (1..count).take_while(|entry| half(*entry, 0) == Some(GOES_ON)).count();
            let blocks = more as u64 + 1;
            let stored = match half(1, 4) {
                Some(field) if more > 0 && field & BLOCK_COUNT != 0 => field & !BLOCK_COUNT,
                _ => 1,
            };
            let stored = u64::from(stored);
            let sound = blocks <= MAX_PIECE && (1..=blocks).contains(&stored);
            sound.then_some(Piece { blocks, place, stored: Some(stored) })
        }
        _ => None,
    }
}

/// Decompresses what has zeros in front to exactly `length` bytes.
fn unpack(stored: &[u8], length: usize) -> Option<Vec<u8>> {
    // Compressed bytes do not begin with zero: there is nothing yet that could be repeated.
    let start = stored.iter().position(|&byte| byte != 0)?;
    let mut bytes = vec![0; length];
    let done = lz4_flex::block::decompress_into(&stored[start..], &mut bytes).ok()?;
    (done == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u16, offset: u16, fields: [u16; 2]) -> Vec<u8> {
        [kind, offset, fields[0], fields[1]].into_iter().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn pieces_end_where_the_next_begins() {
        let head = entry(HEAD, 0, [7, 1]);
        let first = entry(GOES_ON, 0, [BLOCK_COUNT | 2, 2]);
        let more = entry(GOES_ON, 0, [2, 1]);
        let piece = |blocks, stored| Some(Piece { blocks, place: 65_543, stored });
        for (entries, want) in [
            (vec![&head, &first, &more], piece(3, Some(2))),
            (vec![&head, &first, &more, &head], piece(3, Some(2))),
            (vec![&head, &head], piece(1, Some(1))),
            (vec![&entry(PLAIN, 0, [7, 1]), &head], piece(1, None)),
            // More blocks stored than it has, none, a beginning within a block, no beginning.
            (vec![&head, &first], piece(2, Some(2))),
            (vec![&head, &entry(GOES_ON, 0, [BLOCK_COUNT | 3, 1])], None),
            (vec![&head, &entry(GOES_ON, 0, [BLOCK_COUNT, 1])], None),
            (vec![&entry(HEAD, 9, [7, 1])], None),
            (vec![&more], None),
            (vec![&entry(3, 0, [7, 1])], None),
            (vec![], None),
        ] {
            let bytes: Vec<u8> = entries.into_iter().flatten().copied().collect();
            assert_eq!(parse(&bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn what_does_not_unpack_to_its_length_is_refused() {
        let packed = lz4_flex::block::compress(&[7; 9000]);
        let mut stored = vec![0; 4096 - packed.len()];
        stored.extend(packed);
        assert_eq!(unpack(&stored, 9000), Some(vec![7; 9000]));
        for length in [0, 8999, 9001] {
            assert_eq!(unpack(&stored, length), None, "{length}");
        }
        assert_eq!(unpack(&[0; 4096], 9000), None);
        assert_eq!(unpack(&stored[..4095], 9000), None);
    }
}
