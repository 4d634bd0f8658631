//! Making packs: a part of a release as zstd frames, and as a patch of an older release's part.
//!
//! ```text
//! part → segments → frames → pack
//! old part, new part → extents → what is copied, which old blocks help → records → pack
//! ```
//!
//! What decides a patch's size is which old blocks the compressor sees: those of the same file,
//! near the same place. Hence the maps of files to extents, read from the images themselves.
//! Segments are independent, so all cores work on them; the result is the same on any number.

mod erofs; // in a root
mod extents; // which file is where
mod uki; // in a kernel image

mod copies; // blocks that the old part has
mod dictionary; // blocks that help
mod encode; // one segment → its record
mod workers; // all segments on all cores

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::num::NonZero;

use sha2::{Digest, Sha256};

use crate::offer::Part;
use crate::payload::{Decoder, Entry, Index, ReadAt, SEGMENT, index_length};
use copies::OldBlocks;
use encode::Encoder;
use extents::Extent;

/// A part of a release, to be packed.
#[derive(Debug)]
pub struct Image {
    file: File,
    size: u64,
    extents: Vec<Extent>,
}

impl Image {
    /// Opens a part, and finds out which file is where in it. An image of an unknown kind is
    /// packed as well, only not as tightly.
    pub fn open(file: File, part: Part) -> io::Result<Image> {
        let size = file.metadata()?.len();
        let extents = match part {
            Part::Root => erofs::extents(&file, size),
            Part::Uki => uki::extents(&file, size),
            Part::Verity | Part::Manifest => None,
        };
        let whole = || vec![Extent { name: String::new(), start: 0, length: size }];
        Ok(Image { file, size, extents: extents.unwrap_or_else(whole) })
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn segments(&self) -> usize {
        self.size.div_ceil(SEGMENT as u64) as usize
    }

    fn read_segment(&self, segment: usize) -> io::Result<Vec<u8>> {
        let start = segment as u64 * SEGMENT as u64;
        let length = (self.size - start).min(SEGMENT as u64);
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(start, &mut bytes)?;
        Ok(bytes)
    }
}

/// What was written.
#[derive(Debug)]
pub struct Packed {
    /// The index that begins the pack.
    pub index: Index,
    /// SHA-256 of the part, as it was read.
    pub part: [u8; 32],
}

/// Writes a part as a pack of frames.
pub fn frames(new: &Image, threads: NonZero<usize>, out: &mut File) -> io::Result<Packed> {
    let make = |segment: usize| {
        let bytes = new.read_segment(segment)?;
        let record = encode::frame(&bytes)?;
        Ok(workers::Made { record, segment: bytes })
    };
    write(new, None, threads, out, make)
}

/// Writes a part as a patch of an old one, which is identified by `id`.
pub fn patch(
    old: &Image,
    id: [u8; 32],
    new: &Image,
    threads: NonZero<usize>,
    out: &mut File,
) -> io::Result<Packed> {
    let blocks = OldBlocks::read(&old.file, old.size, threads)?;
    let encoder = Encoder::new(old, new, blocks);
    write(new, Some((old.size, id)), threads, out, |segment| {
        let bytes = new.read_segment(segment)?;
        let record = encoder.record(segment, &bytes)?;
        let mut tried = vec![0; bytes.len()];
        let made = Decoder::new().try_patch(segment, &record, &old.file, old.size, &mut tried);
        made.map_err(io::Error::other)?;
        if tried != bytes {
            return Err(io::Error::other(format!("the record of segment {segment} is wrong")));
        }
        Ok(workers::Made { record, segment: bytes })
    })
}

/// Makes every segment's record and writes them in order, the index before them.
fn write(
    new: &Image,
    old: Option<(u64, [u8; 32])>,
    threads: NonZero<usize>,
    out: &mut File,
    make: impl Fn(usize) -> io::Result<workers::Made> + Sync,
) -> io::Result<Packed> {
    out.seek(SeekFrom::Start(index_length(new.segments()) as u64))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut whole = Sha256::new();
    workers::in_order(new.segments(), threads, make, |made| {
        entries.push(made.entry());
        whole.update(&made.segment);
        out.write_all(&made.record)
    })?;
    let index = Index::new(new.size, old, entries).map_err(io::Error::other)?;
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&index.to_bytes())?;
    Ok(Packed { index, part: whole.finalize().into() })
}

#[cfg(test)]
mod tests;
