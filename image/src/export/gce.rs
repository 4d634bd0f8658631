//! The archive that Google Compute Engine makes an image from: `disk.raw` in a compressed tar.
//!
//! The tar is GNU's old format with the disk as a sparse file, as the import asks for; its size is
//! a whole number of GiB. Compressed in members of a fixed size on every processor: a gzip file may
//! have many.

use std::io::{self, Write};
use std::thread;

use flate2::{Compression, GzBuilder};

use crate::contents::Contents;
use crate::sparse::CHUNK;

/// What the import wants the disk's size to be a multiple of.
pub(super) const UNIT: u64 = 1 << 30;
const NAME: &[u8] = b"disk.raw";
const BLOCK: usize = 512;
/// Pieces of the map in the header, and in each block after it.
const IN_HEADER: usize = 4;
const IN_BLOCK: usize = 21;
/// Bytes of a member before compression.
const MEMBER: usize = 4 << 20;
const LEVEL: u32 = 4;

/// Writes the archive of `disk`, whose size is a multiple of [`UNIT`].
pub(super) fn write(
    disk: &Contents,
    out: &mut impl Write,
    mut advance: impl FnMut(u64),
) -> io::Result<()> {
    let map = map(disk);
    let stored: u64 = map.iter().map(|(_, length)| length).sum();
    let mut archive = Gzip { out, buffer: Vec::new(), members: members() };
    archive.push(&header(disk.size(), stored, &map))?;
    let mut buffer = vec![0; CHUNK];
    for &(offset, length) in &map {
        let mut at = offset;
        while at < offset + length {
            disk.read_chunk(at / CHUNK as u64, &mut buffer)?;
            let count = (offset + length - at).min(CHUNK as u64) as usize;
            archive.push(&buffer[..count])?;
            at += count as u64;
            advance(count as u64);
        }
    }
    let rest = stored.next_multiple_of(BLOCK as u64) - stored;
    // Two empty blocks end the archive.
    archive.push(&vec![0; rest as usize + 2 * BLOCK])?;
    archive.finish()
}

/// Where data is on the disk, in order; a last, empty piece marks the end of a disk that ends with
/// a hole.
fn map(disk: &Contents) -> Vec<(u64, u64)> {
    let chunk = CHUNK as u64;
    let mut map: Vec<(u64, u64)> = disk
        .occupied()
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| (run[0] * chunk, (run.len() as u64 * chunk).min(disk.size() - run[0] * chunk)))
        .collect();
    if map.last().is_none_or(|&(offset, length)| offset + length < disk.size()) {
        map.push((disk.size(), 0));
    }
    map
}

/// Header of GNU's sparse file, and the blocks that go on with its map.
fn header(size: u64, stored: u64, map: &[(u64, u64)]) -> Vec<u8> {
    let mut out = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, NAME);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &number(stored));
    put(136, &number(0));
    put(148, b"        ");
    put(156, b"S");
    put(257, b"ustar  \0");
    let (first, mut rest) = map.split_at(map.len().min(IN_HEADER));
    for (index, &(offset, length)) in first.iter().enumerate() {
        put(386 + 24 * index, &number(offset));
        put(398 + 24 * index, &number(length));
    }
    put(482, &[u8::from(!rest.is_empty())]);
    put(483, &number(size));
    let sum: u32 = out.iter().map(|&byte| u32::from(byte)).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    while !rest.is_empty() {
        let (these, others) = rest.split_at(rest.len().min(IN_BLOCK));
        let mut block = vec![0; BLOCK];
        for (index, &(offset, length)) in these.iter().enumerate() {
            block[24 * index..24 * index + 12].copy_from_slice(&number(offset));
            block[24 * index + 12..24 * index + 24].copy_from_slice(&number(length));
        }
        block[504] = u8::from(!others.is_empty());
        out.extend_from_slice(&block);
        rest = others;
    }
    out
}

/// A number in a field of twelve bytes: octal, or binary behind a mark if it is too large.
fn number(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if number < 1 << 33 {
        field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&number.to_be_bytes());
    }
    field
}

fn members() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Compresses what is pushed, as many members at a time as there are processors.
struct Gzip<'a, W> {
    out: &'a mut W,
    buffer: Vec<u8>,
    members: usize,
}

impl<W: Write> Gzip<'_, W> {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= self.members * MEMBER {
            let rest = self.buffer.split_off(self.members * MEMBER);
            self.compress()?;
            self.buffer = rest;
        }
        Ok(())
    }

    fn compress(&mut self) -> io::Result<()> {
        let packed: Vec<io::Result<Vec<u8>>> = thread::scope(|scope| {
            let workers: Vec<_> = self
                .buffer
                .chunks(MEMBER)
                .map(|part| {
                    scope.spawn(move || {
                        // No name, no time: the same bytes every time.
                        let mut encoder =
                            GzBuilder::new().write(Vec::new(), Compression::new(LEVEL));
                        encoder.write_all(part)?;
                        encoder.finish()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("returns its errors")).collect()
        });
        for member in packed {
            self.out.write_all(&member?)?;
        }
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.compress()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::Sparse;
    use std::fs::{self, File};
    use std::process::Command;

    #[test]
    fn gnu_tar_unpacks_the_disk_with_its_holes() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path();
        // More pieces than fit the header and one block; one hole at the end.
        let mut small = Sparse::new(9 << 30);
        for piece in 0..40_u64 {
            assert!(small.write_at(piece * 200_000_000, format!("piece {piece}").as_bytes()));
        }
        let disk = Contents::new(small);
        let mut file = File::create(path.join("image.tar.gz")).expect("created");
        write(&disk, &mut file, |_| ()).expect("written");
        crate::raw::write(&disk, &File::create(path.join("raw")).expect("created"), |_| ())
            .expect("written");
        let mut command = Command::new("tar");
        let unpacked = command.args(["-xzSf", "image.tar.gz"]).current_dir(path).status();
        assert!(unpacked.expect("tar").success());
        let compared = Command::new("qemu-img")
            .args(["compare", "-f", "raw", "-F", "raw", "raw", "disk.raw"])
            .current_dir(path)
            .status();
        assert!(compared.expect("qemu-img").success());
        assert_eq!(fs::metadata(path.join("disk.raw")).expect("there").len(), 9 << 30);
    }
}
