//! Disk images in QEMU's format, version 3, with clusters compressed by zstd.
//!
//! Writes: [`Contents`] → one pass over its clusters → header, tables, data.
//! The same disk gives the same bytes. Layout of the file: header, level 1
//! table, refcount table, then data, level 2 tables and the refcount blocks.
//! Data that seldom changes comes first, so that after a small change most of
//! the file stays as it is. The format is in QEMU's `docs/interop/qcow2.rst`;
//! snapshots, backing files and encryption have no part in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use crate::contents::Contents;
use crate::patch::Patch;
use crate::sparse::{CHUNK, is_zero};

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const _: () = assert!(CLUSTER == CHUNK as u64);
/// Entries of eight bytes that a table of one cluster holds.
const ENTRIES: u64 = CLUSTER / 8;
/// Reference counts of sixteen bits that one block holds.
const COUNTS: u64 = CLUSTER / 2;
/// Set in an entry whose cluster has one owner only.
const COPIED: u64 = 1 << 63;
/// Set in a level 2 entry whose data is compressed.
const COMPRESSED: u64 = 1 << 62;
/// Lowest bit of a compressed entry's count of further sectors.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);
/// Incompatible feature: the header names the compression.
const FEATURE_COMPRESSION: u64 = 1 << 3;
const COMPRESSION_ZSTD: u8 = 1;
/// Quick, and less than a tenth larger than the default level.
const LEVEL: i32 = 1;
/// Clusters that are compressed at once, spread over the processors.
const BATCH: usize = 256;

/// A file being filled from its front, with the references to its clusters.
struct Target<'a> {
    file: Patch<'a>,
    /// Where the next byte goes.
    end: u64,
    counts: BTreeMap<u64, u16>,
    /// What was written: begin and end.
    written: Vec<(u64, u64)>,
}

impl Target<'_> {
    fn count(&mut self, start: u64, length: u64) {
        for cluster in start / CLUSTER..(start + length).div_ceil(CLUSTER) {
            *self.counts.entry(cluster).or_default() += 1;
        }
    }

    /// Sets aside whole clusters and returns where they start.
    fn allocate(&mut self, clusters: u64) -> u64 {
        let start = self.end.next_multiple_of(CLUSTER);
        self.end = start + clusters * CLUSTER;
        self.count(start, clusters * CLUSTER);
        start
    }

    /// Writes bytes that are all of what was set aside at `start`, or all that is ever there up
    /// to the next cluster's begin.
    fn write(&mut self, bytes: &[u8], start: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, start)?;
        self.written.push((start, start + bytes.len() as u64));
        Ok(())
    }

    fn write_table(&mut self, start: u64, entries: &[u64]) -> io::Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        self.write(&bytes, start)
    }
}

/// A disk that was written before, and the same disk as a plain file.
#[derive(Debug)]
pub struct Earlier<'a> {
    raw: &'a File,
    file: &'a File,
    size: u64,
    tables: BTreeMap<u64, Vec<u64>>,
}

impl<'a> Earlier<'a> {
    /// Reads the tables of `file`, which [`write`] made of the disk that `raw` has.
    pub fn open(raw: &'a File, file: &'a File) -> io::Result<Earlier<'a>> {
        let mut header = [0; 112];
        file.read_exact_at(&mut header, 0)?;
        let number = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight"));
        let size = number(24);
        let entries = size.div_ceil(CLUSTER * ENTRIES) as usize;
        if header[..8] != *b"QFI\xfb\0\0\0\x03" || size != raw.metadata()?.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let table = |start: u64, entries: usize| {
            let mut bytes = vec![0; entries * 8];
            file.read_exact_at(&mut bytes, start)?;
            Ok::<_, io::Error>(
                bytes.as_chunks().0.iter().copied().map(u64::from_be_bytes).collect(),
            )
        };
        let l1: Vec<u64> = table(number(40), entries)?;
        let mut tables = BTreeMap::new();
        for (index, &start) in l1.iter().enumerate().filter(|(_, start)| **start != 0) {
            tables.insert(index as u64, table(start & !COPIED, ENTRIES as usize)?);
        }
        Ok(Earlier { raw, file, size, tables })
    }

    /// How a cluster was packed, if it had the same bytes.
    fn packed(&self, cluster: u64, bytes: &[u8]) -> Option<Packed> {
        let start = cluster * CLUSTER;
        if start + CLUSTER > self.size {
            return None;
        }
        let mut before = vec![0; CHUNK];
        self.raw.read_exact_at(&mut before, start).ok()?;
        let entry = self.tables.get(&(cluster / ENTRIES))?[(cluster % ENTRIES) as usize];
        if before != bytes || entry & COMPRESSED == 0 {
            return None;
        }
        let at = entry & ((1 << SECTORS_SHIFT) - 1);
        let sectors = (entry & !COMPRESSED) >> SECTORS_SHIFT;
        let mut packed = vec![0; ((at / 512 + sectors + 1) * 512 - at) as usize];
        // The last one of the file may be cut.
        let length = self.file.read_at(&mut packed, at).ok()?;
        packed.truncate(length);
        packed.truncate(zstd::zstd_safe::find_frame_compressed_size(&packed).ok()?);
        Some(Packed::Zstd(packed))
    }
}

/// Writes `disk` into `file`, over whatever is in it. `advance` is told the bytes of the disk that
/// are done. What `earlier` has packed is not packed again.
pub fn write(
    disk: &Contents,
    earlier: Option<&Earlier<'_>>,
    file: &File,
    mut advance: impl FnMut(u64),
) -> io::Result<()> {
    let l1_entries = disk.size().div_ceil(CLUSTER * ENTRIES);
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
    let file = Patch::new(file)?;
    let mut target = Target { file, end: 0, counts: BTreeMap::new(), written: Vec::new() };
    target.allocate(1);
    let l1_start = target.allocate(l1_clusters);
    // The compressed data cannot be longer than the data by more than a
    // sixteenth, so the refcount table's size is known from the start.
    let most = disk.size().div_ceil(CLUSTER) * 17 / 16 + l1_entries + 64;
    let table_clusters = most.div_ceil(COUNTS * ENTRIES);
    let table_start = target.allocate(table_clusters);

    let mut l1 = vec![0; l1_entries as usize];
    let mut tables: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let occupied = disk.settled_first();
    for batch in occupied.chunks(BATCH) {
        for (&cluster, data) in batch.iter().zip(compress(disk, earlier, batch)?) {
            let entry = match data {
                Packed::Zero => continue,
                Packed::Plain(bytes) => {
                    let start = target.allocate(1);
                    target.write(&bytes, start)?;
                    start | COPIED
                }
                Packed::Zstd(bytes) => {
                    let start = target.end;
                    let length = bytes.len() as u64;
                    target.write(&bytes, start)?;
                    target.end += length;
                    target.count(start, length);
                    let sectors = (start + length - 1) / 512 - start / 512;
                    start | COMPRESSED | sectors << SECTORS_SHIFT
                }
            };
            let table =
                tables.entry(cluster / ENTRIES).or_insert_with(|| vec![0; ENTRIES as usize]);
            table[(cluster % ENTRIES) as usize] = entry;
        }
        advance(batch.len() as u64 * CLUSTER);
    }
    for (index, table) in tables {
        let start = target.allocate(1);
        target.write_table(start, &table)?;
        l1[index as usize] = start | COPIED;
    }
    target.write_table(l1_start, &l1)?;
    write_counts(&mut target, table_start)?;
    let end = target.end.next_multiple_of(CLUSTER);
    let header = header(disk.size(), l1_entries, l1_start, table_start, table_clusters);
    target.write(&header, 0)?;
    let Target { file, mut written, .. } = target;
    written.sort_unstable();
    file.clear_but(written)?;
    file.finish(end)
}

/// Writes the reference counts, which count the blocks they stand in too.
fn write_counts(target: &mut Target<'_>, table_start: u64) -> io::Result<()> {
    let mut blocks = BTreeMap::new();
    // Allocating a block may need one more block for its own count.
    loop {
        let last = target.counts.last_key_value().map_or(0, |(&cluster, _)| cluster);
        let Some(missing) = (0..=last / COUNTS).find(|block| !blocks.contains_key(block)) else {
            break;
        };
        blocks.insert(missing, target.allocate(1));
    }
    let mut table = Vec::new();
    for (&block, &start) in &blocks {
        let first = block * COUNTS;
        let bytes: Vec<u8> = (first..first + COUNTS)
            .flat_map(|cluster| target.counts.get(&cluster).copied().unwrap_or(0).to_be_bytes())
            .collect();
        target.write(&bytes, start)?;
        table.push(start);
    }
    target.write_table(table_start, &table)
}

fn header(size: u64, l1_entries: u64, l1: u64, table: u64, table_clusters: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    put(b"QFI\xfb");
    put(&3_u32.to_be_bytes());
    put(&[0; 12]); // no backing file
    put(&CLUSTER_BITS.to_be_bytes());
    put(&size.to_be_bytes());
    put(&[0; 4]); // not encrypted
    put(&(l1_entries as u32).to_be_bytes());
    put(&l1.to_be_bytes());
    put(&table.to_be_bytes());
    put(&(table_clusters as u32).to_be_bytes());
    put(&[0; 12]); // no snapshots
    put(&FEATURE_COMPRESSION.to_be_bytes());
    put(&[0; 16]); // no compatible and no autoclear features
    put(&4_u32.to_be_bytes()); // reference counts of 2^4 bits
    put(&112_u32.to_be_bytes()); // length of this header
    put(&[COMPRESSION_ZSTD, 0, 0, 0, 0, 0, 0, 0]);
    put(&[0; 8]); // no header extensions
    out
}

enum Packed {
    Zero,
    Plain(Vec<u8>),
    Zstd(Vec<u8>),
}

/// Reads and compresses clusters on every processor; the results are in the
/// order of `clusters`.
fn compress(
    disk: &Contents,
    earlier: Option<&Earlier<'_>>,
    clusters: &[u64],
) -> io::Result<Vec<Packed>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = clusters.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = clusters
            .chunks(share)
            .map(|part| scope.spawn(move || compress_some(disk, earlier, part)))
            .collect();
        let mut all = Vec::with_capacity(clusters.len());
        for worker in workers {
            all.extend(worker.join().expect("a worker returns its errors")?);
        }
        Ok(all)
    })
}

fn compress_some(
    disk: &Contents,
    earlier: Option<&Earlier<'_>>,
    clusters: &[u64],
) -> io::Result<Vec<Packed>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut buffer = vec![0; CHUNK];
    clusters
        .iter()
        .map(|&cluster| {
            disk.read_chunk(cluster, &mut buffer)?;
            if is_zero(&buffer) {
                return Ok(Packed::Zero);
            }
            if let Some(packed) = earlier.and_then(|earlier| earlier.packed(cluster, &buffer)) {
                return Ok(packed);
            }
            let packed = compressor.compress(&buffer)?;
            Ok(if packed.len() < CHUNK * 15 / 16 {
                Packed::Zstd(packed)
            } else {
                Packed::Plain(buffer.clone())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::Sparse;
    use std::io::{Read, Seek, Write};
    use std::path::Path;
    use std::process::Command;

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
    }

    /// A disk with text, noise and zeros, more than one level 2 table long.
    fn disk() -> Contents {
        let size = 3 << 30;
        let mut small = Sparse::new(size);
        assert!(small.write_at(5, b"table"));
        assert!(small.write_at(size - 6, b"backup"));
        let mut contents = Contents::new(small);
        let mut file = tempfile::tempfile().expect("temporary file");
        let text = "every second cluster is of another kind ".repeat(4000);
        for round in 0..40 {
            let part = if round % 2 == 0 { text.clone().into_bytes() } else { noise(CHUNK + 999) };
            file.write_all(&part).expect("written");
            file.write_all(&vec![0; 3 * CHUNK]).expect("written");
        }
        contents.place(700 << 20, file).expect("fits");
        contents
    }

    fn qemu_img(arguments: &[&str], paths: &[&Path]) {
        let mut command = Command::new("qemu-img");
        let output = command.args(arguments).args(paths).output().expect("qemu-utils");
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {text}{error}");
    }

    #[test]
    fn qemu_finds_no_fault_and_the_same_disk() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (raw, qcow2) = (directory.path().join("raw"), directory.path().join("qcow2"));
        let disk = disk();
        crate::raw::write(&disk, &File::create(&raw).expect("created"), |_| ()).expect("written");
        write(&disk, None, &File::create(&qcow2).expect("created"), |_| ()).expect("written");
        qemu_img(&["check", "-f", "qcow2"], &[&qcow2]);
        qemu_img(&["compare", "-f", "raw", "-F", "qcow2"], &[&raw, &qcow2]);
    }

    #[test]
    fn the_same_disk_gives_the_same_file() {
        let written = || {
            let file = tempfile::NamedTempFile::new().expect("temporary file");
            write(&disk(), None, file.as_file(), |_| ()).expect("written");
            std::fs::read(file.path()).expect("readable")
        };
        assert!(written() == written());
    }

    #[test]
    fn the_same_file_comes_of_an_earlier_one_whatever_that_was() {
        let written = |disk: &Contents, earlier: Option<&Earlier<'_>>| {
            let file = tempfile::tempfile().expect("temporary file");
            write(disk, earlier, &file, |_| ()).expect("written");
            file
        };
        let bytes = |mut file: &File| {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("readable");
            bytes
        };
        let wanted = bytes(&written(&disk(), None));
        let mut other = disk();
        let mut part = tempfile::tempfile().expect("temporary file");
        part.write_all(&vec![b'x'; 3 * CHUNK]).expect("written");
        other.place(700 << 20, part).expect("fits");
        for before in [disk(), other, Contents::new(Sparse::new(1 << 20))] {
            let raw = tempfile::tempfile().expect("temporary file");
            crate::raw::write(&before, &raw, |_| ()).expect("written");
            let file = written(&before, None);
            let earlier = Earlier::open(&raw, &file).expect("the same disk twice");
            assert!(bytes(&written(&disk(), Some(&earlier))) == wanted);
            let over = written(&before, None);
            write(&disk(), None, &over, |_| ()).expect("written");
            assert!(bytes(&over) == wanted, "over another one");
            file.set_len(700).expect("cut");
            assert!(Earlier::open(&raw, &file).is_err() || before.size() < CLUSTER * ENTRIES);
        }
    }

    #[test]
    fn an_empty_disk_is_a_disk() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("qcow2");
        let empty = Contents::new(Sparse::new(1 << 20));
        write(&empty, None, &File::create(&path).expect("created"), |_| ()).expect("written");
        qemu_img(&["check", "-f", "qcow2"], &[&path]);
    }
}
