//! Contents of files in LZ4 pieces, as `disk::erofs::compressed` reads them.
//!
//! Pieces are cut by what goes in, so that each can be compressed by itself and the same content
//! always becomes the same bytes. What does not get smaller by a block is stored as it is.

use super::Error;
use super::plan::fill;
use crate::tree::Content;
use disk::erofs::BLOCK;
use disk::erofs::compressed::{BLOCK_COUNT, GOES_ON, HEAD, PLAIN, index_start};
use std::io::{self, Write};

/// How much is compressed together. Larger pieces are smaller together, but whoever reads a byte
/// unpacks all of a piece.
pub(super) const PIECE: usize = 64 << 10;
/// Blocks of a piece.
const PIECE_BLOCKS: usize = PIECE / BLOCK as usize;
/// Pieces of several blocks are used for the first of the two algorithms that a file may have.
const ADVISE_BIG_PIECES: u16 = 2;

/// How a file's content is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Of each piece, the blocks that it takes when compressed; `None` where that is no gain.
    pieces: Vec<Option<u16>>,
    /// Bytes of the content.
    size: u64,
}

impl Stored {
    /// How a content would be stored, or `None` if compressing it saves nothing.
    pub(super) fn of(content: &Content) -> io::Result<Option<Stored>> {
        let size = content.len();
        if size <= BLOCK {
            return Ok(None);
        }
        let mut packer = Packer::new();
        let mut pieces = Vec::new();
        let mut position = 0;
        while position < size {
            let filled = packer.read(content, position)?;
            if filled == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            pieces.push(packer.pack(filled).map(|packed| blocks(packed) as u16));
            position += filled as u64;
        }
        let gains = pieces.iter().any(Option::is_some);
        Ok(gains.then_some(Stored { pieces, size }))
    }

    /// Blocks of the content, of each piece in turn.
    fn lengths(&self) -> impl Iterator<Item = (u64, Option<u16>)> {
        let all = self.size.div_ceil(BLOCK);
        let starts = (0..).step_by(PIECE_BLOCKS);
        starts
            .zip(&self.pieces)
            .map(move |(start, stored): (u64, _)| ((all - start).min(PIECE_BLOCKS as u64), *stored))
    }

    /// Blocks that it takes in the image.
    pub(super) fn blocks(&self) -> u64 {
        self.lengths().map(|(blocks, stored)| stored.map_or(blocks, u64::from)).sum()
    }

    /// Bytes behind an inode, attributes included, that ends at `end`: filling, header and index.
    pub(super) fn index_size(&self, end: u64) -> u64 {
        index_start(end) - end + self.size.div_ceil(BLOCK) * disk::erofs::compressed::ENTRY
    }

    /// Those bytes; the content's first block in the image is `place`.
    pub(super) fn index(&self, end: u64, mut place: u32) -> Vec<u8> {
        let mut raw = vec![0; (index_start(end) - end) as usize];
        let header = end.next_multiple_of(8) - end;
        raw[header as usize + 4..][..2].copy_from_slice(&ADVISE_BIG_PIECES.to_le_bytes());
        let mut put = |kind: u16, place: u32| {
            raw.extend(kind.to_le_bytes());
            raw.extend([0; 2]);
            raw.extend(place.to_le_bytes());
        };
        for (blocks, stored) in self.lengths() {
            let Some(stored) = stored else {
                (0..blocks as u32).for_each(|block| put(PLAIN, place + block));
                place += blocks as u32;
                continue;
            };
            put(HEAD, place);
            for block in 1..blocks {
                // Distances to the beginning of this piece and to that of the next.
                let back = if block == 1 { BLOCK_COUNT | stored } else { block as u16 };
                put(GOES_ON, u32::from(back) | ((blocks - block) as u32) << 16);
            }
            place += u32::from(stored);
        }
        raw
    }

    /// Writes the content as it was found to be stored.
    pub(super) fn write(
        &self,
        content: &Content,
        path: &str,
        output: &mut impl Write,
    ) -> Result<(), Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let mut packer = Packer::new();
        let mut position = 0;
        for stored in &self.pieces {
            let filled = packer.read(content, position).map_err(read)?;
            position += filled as u64;
            let gains = packer.pack(filled).map(|packed| blocks(packed) as u16);
            if gains != *stored {
                let changed = io::Error::other("it is not what it was when the image was planned");
                return Err(read(changed));
            }
            // What is compressed ends with its last block, so that the kernel can unpack in place.
            let bytes = if gains.is_some() { packer.packed() } else { &packer.plain[..filled] };
            let filling = vec![0; bytes.len().next_multiple_of(BLOCK as usize) - bytes.len()];
            let parts = if gains.is_some() { [&filling, bytes] } else { [bytes, &filling] };
            parts.into_iter().try_for_each(|part| output.write_all(part)).map_err(Error::Write)?;
        }
        Ok(())
    }
}

/// Reads and compresses piece by piece.
struct Packer {
    plain: Vec<u8>,
    packed: Vec<u8>,
    /// Bytes that are used of it.
    length: usize,
}

impl Packer {
    fn new() -> Packer {
        let most = lz4_flex::block::get_maximum_output_size(PIECE);
        Packer { plain: vec![0; PIECE], packed: vec![0; most], length: 0 }
    }

    /// Reads a piece; returns its length.
    fn read(&mut self, content: &Content, position: u64) -> io::Result<usize> {
        fill(content, position, &mut self.plain)
    }

    /// Compresses what was read, if that saves a block.
    fn pack(&mut self, filled: usize) -> Option<&[u8]> {
        let packed = lz4_flex::block::compress_into(&self.plain[..filled], &mut self.packed);
        self.length = packed.expect("there is room for what cannot be compressed");
        let gains = blocks(self.packed()) < filled.div_ceil(BLOCK as usize);
        gains.then(|| self.packed())
    }

    /// What was compressed last.
    fn packed(&self) -> &[u8] {
        &self.packed[..self.length]
    }
}

/// Blocks that bytes take.
fn blocks(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(BLOCK as usize)
}
