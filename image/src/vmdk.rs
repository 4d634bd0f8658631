//! Disk images in VMware's format, `streamOptimized`: what ESXi and vSphere import.
//!
//! Writes: [`Contents`] → one pass over its grains → header, descriptor, compressed grains with
//! their tables, directory, footer. The same disk gives the same bytes: the content identifier,
//! which others draw at random, comes from the content. The format is in VMware's "Virtual Disk
//! Format 5.0" (version 3 of the header, which ESXi insists on for streams).

use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use flate2::{Compress, Compression, FlushCompress, Status};
use sha2::{Digest as _, Sha256};

use crate::contents::Contents;
use crate::sparse::{CHUNK, is_zero};

const SECTOR: u64 = 512;
/// Sectors of a grain, the unit of compression.
const GRAIN: u64 = 128;
const _: () = assert!(GRAIN * SECTOR == CHUNK as u64);
/// Grains that a grain table leads to.
const TABLE: u64 = 512;
/// Where the descriptor is, and how long it may be.
const DESCRIPTOR: (u64, u64) = (1, 20);
/// Sectors before the first grain.
const OVERHEAD: u64 = 128;
/// A line-end test follows; grains are compressed; markers stand between parts.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
/// The directory is told by the footer: a stream's header comes before it is known.
const AT_END: u64 = u64::MAX;
const DEFLATE: u16 = 1;
/// Nearly as small as the default level in half the time.
const LEVEL: u32 = 4;
/// Grains that are compressed at once, spread over the processors.
const BATCH: usize = 256;

/// What stands between the parts of a stream.
#[derive(Clone, Copy)]
enum Marker {
    EndOfStream = 0,
    Table = 1,
    Directory = 2,
    Footer = 3,
}

/// A file being filled from its front, in sectors.
struct Target<'a, F> {
    file: &'a F,
    sector: u64,
}

impl<F: FileExt> Target<'_, F> {
    /// Appends bytes, filled up to whole sectors; returns the sector they begin at.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let start = self.sector;
        self.file.write_all_at(bytes, start * SECTOR)?;
        let sectors = (bytes.len() as u64).div_ceil(SECTOR);
        let rest = (sectors * SECTOR - bytes.len() as u64) as usize;
        if rest > 0 {
            let end = start * SECTOR + bytes.len() as u64;
            self.file.write_all_at(&[0; SECTOR as usize][..rest], end)?;
        }
        self.sector += sectors;
        Ok(start)
    }

    /// Appends a marker and what it announces; returns the sector of the latter.
    fn announce(&mut self, marker: Marker, content: &[u8]) -> io::Result<u64> {
        let mut bytes = [0; SECTOR as usize];
        bytes[..8].copy_from_slice(&(content.len() as u64).div_ceil(SECTOR).to_le_bytes());
        bytes[12..16].copy_from_slice(&(marker as u32).to_le_bytes());
        self.append(&bytes)?;
        self.append(content)
    }
}

/// Writes `disk` into the empty file `file`, which will be called `name`. `advance` is told the
/// bytes of the disk that are done.
pub fn write<F: FileExt>(
    disk: &Contents,
    name: &str,
    file: &F,
    mut advance: impl FnMut(u64),
) -> io::Result<()> {
    let grains = disk.size().div_ceil(CHUNK as u64);
    let capacity = grains * GRAIN;
    let mut target = Target { file, sector: OVERHEAD };
    let mut content = Sha256::new_with_prefix(disk.size().to_le_bytes());
    let mut directory = vec![0_u32; grains.div_ceil(TABLE) as usize];
    for group in disk.occupied().chunk_by(|a, b| a / TABLE == b / TABLE) {
        let mut table = vec![0_u32; TABLE as usize];
        for batch in group.chunks(BATCH) {
            for (&number, packed) in batch.iter().zip(compress(disk, batch)?) {
                let Some(packed) = packed else { continue };
                content.update(number.to_le_bytes());
                content.update(packed.digest);
                let mut grain = (number * GRAIN).to_le_bytes().to_vec();
                grain.extend_from_slice(&(packed.bytes.len() as u32).to_le_bytes());
                grain.extend_from_slice(&packed.bytes);
                table[(number % TABLE) as usize] = sector(target.append(&grain)?)?;
            }
            advance((batch.len() * CHUNK) as u64);
        }
        if table.iter().any(|&entry| entry != 0) {
            let start = target.announce(Marker::Table, &words(&table))?;
            directory[(group[0] / TABLE) as usize] = sector(start)?;
        }
    }
    let start = target.announce(Marker::Directory, &words(&directory))?;
    target.announce(Marker::Footer, &header(capacity, start))?;
    // A marker without content is the end.
    target.announce(Marker::EndOfStream, &[])?;

    let descriptor = descriptor(name, capacity, &content.finalize().into());
    file.write_all_at(descriptor.as_bytes(), DESCRIPTOR.0 * SECTOR)?;
    // Last: without its header the file is nothing.
    file.write_all_at(&header(capacity, AT_END), 0)
}

fn sector(number: u64) -> io::Result<u32> {
    u32::try_from(number).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn header(capacity: u64, directory: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(SECTOR as usize);
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    put(b"KDMV");
    put(&3_u32.to_le_bytes());
    put(&FLAGS.to_le_bytes());
    put(&capacity.to_le_bytes());
    put(&GRAIN.to_le_bytes());
    put(&DESCRIPTOR.0.to_le_bytes());
    put(&DESCRIPTOR.1.to_le_bytes());
    put(&(TABLE as u32).to_le_bytes());
    put(&[0; 8]); // no redundant directory
    put(&directory.to_le_bytes());
    put(&OVERHEAD.to_le_bytes());
    put(&[0]); // closed in order
    put(b"\n \r\n");
    put(&DEFLATE.to_le_bytes());
    out.resize(SECTOR as usize, 0);
    out
}

/// The text that names the disk, with two identifiers of its content.
fn descriptor(name: &str, capacity: u64, content: &[u8; 32]) -> String {
    let number = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // All ones would mean that there is no parent.
    let mut short = *content.first_chunk::<4>().expect("32 bytes");
    short[0] &= 0x7f;
    let (short, long) = (number(&short), number(&content[..16]));
    // The geometry of large disks: old tools want one, nothing uses it.
    let cylinders = (capacity / (255 * 63)).clamp(1, 65_535);
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={short}\nparentCID=ffffffff\n\
         createType=\"streamOptimized\"\n\n\
         # Extent description\nRDONLY {capacity} SPARSE \"{name}\"\n\n\
         # The Disk Data Base\n#DDB\n\n\
         ddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\n\
         ddb.geometry.sectors = \"63\"\n\
         ddb.longContentID = \"{long}\"\n\
         ddb.virtualHWVersion = \"15\"\n"
    )
}

struct Packed {
    bytes: Vec<u8>,
    /// Of the content before compression.
    digest: [u8; 32],
}

/// Reads and compresses grains on every processor; none for one of zeros. The results are in the
/// order of `grains`.
fn compress(disk: &Contents, grains: &[u64]) -> io::Result<Vec<Option<Packed>>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = grains.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = grains
            .chunks(share)
            .map(|part| scope.spawn(move || compress_some(disk, part)))
            .collect();
        let mut all = Vec::with_capacity(grains.len());
        for worker in workers {
            all.extend(worker.join().expect("a worker returns its errors")?);
        }
        Ok(all)
    })
}

fn compress_some(disk: &Contents, grains: &[u64]) -> io::Result<Vec<Option<Packed>>> {
    let mut compressor = Compress::new(Compression::new(LEVEL), true);
    let mut buffer = vec![0; CHUNK];
    grains
        .iter()
        .map(|&grain| {
            disk.read_chunk(grain, &mut buffer)?;
            if is_zero(&buffer) {
                return Ok(None);
            }
            compressor.reset();
            // Longer than any grain becomes.
            let mut bytes = Vec::with_capacity(CHUNK + CHUNK / 64 + 64);
            let status = compressor.compress_vec(&buffer, &mut bytes, FlushCompress::Finish);
            if !matches!(status, Ok(Status::StreamEnd)) {
                return Err(io::Error::other("a grain does not compress"));
            }
            Ok(Some(Packed { bytes, digest: Sha256::digest(&buffer).into() }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::Sparse;
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::path::Path;
    use std::process::Command;

    /// A disk with text, bytes that do not compress, and zeros, longer than two grain tables.
    fn disk(last: &[u8]) -> Contents {
        let size = 100 << 20;
        let mut small = Sparse::new(size);
        assert!(small.write_at(5, b"table"));
        assert!(small.write_at(size - last.len() as u64, last));
        let mut contents = Contents::new(small);
        let mut file = tempfile::tempfile().expect("temporary file");
        let noise: Vec<u8> = (0..200_000_u64)
            .map(|number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect();
        for _ in 0..8 {
            file.write_all("a line of text\n".repeat(9000).as_bytes()).expect("written");
            file.write_all(&vec![0; 3 * CHUNK]).expect("written");
            file.write_all(&noise).expect("written");
        }
        contents.place(30 << 20, file).expect("fits");
        contents
    }

    fn save(disk: &Contents, path: &Path) {
        write(disk, "disk.vmdk", &File::create(path).expect("created"), |_| ()).expect("written");
    }

    fn qemu_img(arguments: &[&str], paths: &[&Path]) -> String {
        let mut command = Command::new("qemu-img");
        let output = command.args(arguments).args(paths).output().expect("qemu-utils");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {text}{error}");
        text
    }

    #[test]
    fn qemu_finds_no_fault_and_the_same_disk() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| directory.path().join(name);
        let disk = disk(b"backup");
        crate::raw::write(&disk, &File::create(path("raw")).expect("created"), |_| ())
            .expect("written");
        save(&disk, &path("disk.vmdk"));
        qemu_img(&["check", "-f", "vmdk"], &[&path("disk.vmdk")]);
        qemu_img(&["compare", "-f", "raw", "-F", "vmdk"], &[&path("raw"), &path("disk.vmdk")]);
        let info = qemu_img(&["info", "--output=json"], &[&path("disk.vmdk")]);
        assert!(info.contains("\"create-type\": \"streamOptimized\""), "{info}");
        // And back again.
        qemu_img(&["convert", "-f", "vmdk", "-O", "raw"], &[&path("disk.vmdk"), &path("back")]);
        assert!(fs::read(path("raw")).expect("there") == fs::read(path("back")).expect("there"));
    }

    #[test]
    fn the_same_disk_gives_the_same_file_and_another_another_identifier() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let written = |last: &[u8]| {
            let path = directory.path().join("disk.vmdk");
            save(&disk(last), &path);
            fs::read(path).expect("there")
        };
        let (first, other) = (written(b"backup"), written(b"Backup"));
        assert!(first == written(b"backup"));
        let identifier = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(&bytes[512..2048]).into_owned();
            text.lines().find(|line| line.starts_with("CID=")).expect("a line").to_owned()
        };
        assert_ne!(identifier(&first), identifier(&other));
    }

    #[test]
    fn a_stream_reads_from_its_front_to_its_end() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("disk.vmdk");
        save(&disk(b"backup"), &path);
        let bytes = fs::read(path).expect("there");
        let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("there"));
        let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("there"));
        let (mut at, mut grains, mut kinds) = (OVERHEAD as usize * 512, 0, Vec::new());
        loop {
            let size = word(at + 8) as usize;
            if size > 0 {
                grains += 1;
                assert_eq!(bytes[at + 12], 0x78, "zlib");
                at += (12 + size).next_multiple_of(512);
                continue;
            }
            kinds.push(word(at + 12));
            at += 512 * (1 + number(at) as usize);
            if kinds.ends_with(&[0]) {
                break;
            }
        }
        assert_eq!(at, bytes.len());
        // The third 32 MiB are empty and have no table.
        assert_eq!(kinds, [1, 1, 1, 2, 3, 0], "tables, directory, footer, end");
        assert!(grains > 30, "{grains}");
        // The footer is the header with the directory's place.
        let footer = &bytes[bytes.len() - 1024..bytes.len() - 512];
        assert_eq!(footer[..4], bytes[..4]);
        assert_ne!(footer[56..64], [0xff; 8]);
    }

    #[test]
    fn an_empty_disk_is_a_disk() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("disk.vmdk");
        save(&Contents::new(Sparse::new(1 << 20)), &path);
        qemu_img(&["check", "-f", "vmdk"], &[&path]);
    }
}
