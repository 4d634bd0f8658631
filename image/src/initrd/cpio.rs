//! The `newc` archive that the kernel unpacks as its first filesystem.
//!
//! Same entries, same bytes: no times, no owners, inodes counted from one.
//! The format is in the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One thing in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory, mode 0755.
    Directory,
    /// A file that anyone may read.
    File(Vec<u8>),
    /// A file that anyone may read and run.
    Program(Vec<u8>),
}

impl Entry {
    fn mode(&self) -> u32 {
        match self {
            Entry::Directory => 0o040_755,
            Entry::File(_) => 0o100_644,
            Entry::Program(_) => 0o100_755,
        }
    }

    fn content(&self) -> &[u8] {
        match self {
            Entry::Directory => &[],
            Entry::File(bytes) | Entry::Program(bytes) => bytes,
        }
    }
}

/// The entries of an archive by path, without leading slash. Directories
/// stand before what is in them, as the kernel wants it: the order of the
/// map sees to that.
pub type Entries = BTreeMap<String, Entry>;

/// Writes `entries` as one archive.
///
/// # Panics
/// If a file has 4 GiB or more, which no initrd can hold.
pub fn archive(entries: &Entries) -> Vec<u8> {
    let mut out = Vec::new();
    for (inode, (path, entry)) in (1..).zip(entries) {
        let links = if matches!(entry, Entry::Directory) { 2 } else { 1 };
        append(&mut out, path, inode, entry.mode(), links, entry.content());
    }
    append(&mut out, "TRAILER!!!", 0, 0, 1, &[]);
    out
}

fn append(out: &mut Vec<u8>, path: &str, inode: u32, mode: u32, links: u32, content: &[u8]) {
    let size = u32::try_from(content.len()).expect("a file of an initrd is far below 4 GiB");
    let name_size = path.len() as u32 + 1;
    let mut header = String::from("070701");
    // inode, mode, uid, gid, links, mtime, size, device and special device
    // as major and minor, length of the name, checksum
    for field in [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
        write!(header, "{field:08X}").expect("a String takes every write");
    }
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Reads the directories and files of archives back that are one behind the other; none if there
/// is anything that [`archive`] could not have written.
pub fn read(bytes: &[u8]) -> Option<Entries> {
    let mut entries = Entries::new();
    let mut at = 0;
    loop {
        let header = bytes.get(at..at + 110)?;
        let field = |index: usize| {
            let digits = header.get(6 + 8 * index..14 + 8 * index)?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        if !header.starts_with(b"070701") {
            return None;
        }
        let (mode, size, name_size) = (field(1)?, field(6)? as usize, field(11)? as usize);
        let name_end = (at + 110).checked_add(name_size)?;
        let name = bytes.get(at + 110..name_end.checked_sub(1)?)?;
        let start = name_end.next_multiple_of(4);
        let content = bytes.get(start..start.checked_add(size)?)?;
        at = (start + size).next_multiple_of(4);
        let name = std::str::from_utf8(name).ok()?.to_owned();
        if name == "TRAILER!!!" {
            if at == bytes.len() {
                return Some(entries);
            }
            continue;
        }
        let entry = match mode {
            0o040_755 => Entry::Directory,
            0o100_644 => Entry::File(content.to_vec()),
            0o100_755 => Entry::Program(content.to_vec()),
            _ => return None,
        };
        entries.insert(name, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Entries {
        Entries::from([
            ("init".to_owned(), Entry::Program(b"#!/bin/true\n".to_vec())),
            ("lib".to_owned(), Entry::Directory),
            ("lib/a.ko".to_owned(), Entry::File(vec![7; 4097])),
            ("lib-more".to_owned(), Entry::File(Vec::new())),
            ("proc".to_owned(), Entry::Directory),
        ])
    }

    #[test]
    fn an_archive_reads_back_and_a_cut_one_does_not() {
        let bytes = archive(&sample());
        assert_eq!(read(&bytes), Some(sample()));
        for length in (0..bytes.len() - 4).step_by(3) {
            assert_eq!(read(&bytes[..length]), None, "{length}");
        }
        for at in 0..bytes.len().min(400) {
            let mut damaged = bytes.clone();
            damaged[at] = b'F';
            let _ = read(&damaged);
        }
    }

    #[test]
    fn an_archive_is_a_whole_number_of_words_and_ends_with_the_trailer() {
        let bytes = archive(&sample());
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"070701"));
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        assert_eq!(archive(&sample()), archive(&sample()));
    }

    /// Reads an archive the way the kernel's unpacker walks it.
    fn unpack(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let total = bytes.len();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| {
                let text = str::from_utf8(&bytes[6 + index * 8..14 + index * 8]).expect("ASCII");
                u32::from_str_radix(text, 16).expect("a hexadecimal field")
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).expect("UTF-8");
            assert_eq!(bytes[110 + name_size - 1], 0);
            let start = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(start, bytes.len());
                return entries;
            }
            entries.push((name, mode, bytes[start..start + size].to_vec()));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
            assert_eq!((total - bytes.len()) % 4, 0);
        }
    }

    #[test]
    fn an_unpacker_finds_every_entry_with_parents_first() {
        let found = unpack(&archive(&sample()));
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["init", "lib", "lib-more", "lib/a.ko", "proc"]);
        let modes: Vec<u32> = found.iter().map(|&(_, mode, _)| mode).collect();
        assert_eq!(modes, [0o100_755, 0o040_755, 0o100_644, 0o100_644, 0o040_755]);
        assert_eq!(found[3].2, vec![7; 4097]);
    }
}
