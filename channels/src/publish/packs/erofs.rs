//! Which file is where in a root: reads what the image builder writes of EROFS, uncompressed and
//! without chunks. Numbers in it are not trusted further than to be wrong about a dictionary.

use std::collections::BTreeSet;
use std::io;

use super::extents::Extent;
use crate::payload::{BLOCK, ReadAt};

const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xE0F5_E1E2;
/// Bytes in the unit that inodes are counted in.
const SLOT: u64 = 32;
const TYPE: u16 = 0o170_000;
const FILE: u16 = 0o100_000;
const DIRECTORY: u16 = 0o040_000;
/// Larger directories, and deeper or wider trees, are no root of ours.
const MAX_DIRECTORY: u64 = 64 << 20;
const MAX_INODES: usize = 4 << 20;

/// The extents of an image, in order; `None` if it is not one that is understood.
pub(super) fn extents(image: &impl ReadAt, size: u64) -> Option<Vec<Extent>> {
    Walk::new(image, size).ok()?.run().ok()
}

struct Walk<'a, I> {
    image: &'a I,
    size: u64,
    /// Where inodes are counted from.
    base: u64,
    root: u64,
}

struct Inode {
    mode: u16,
    size: u64,
    /// Where its whole blocks begin.
    blocks: u64,
    /// Where what is left of it lies behind the inode, if it does.
    tail: Option<u64>,
}

impl<I: ReadAt> Walk<'_, I> {
    fn new(image: &I, size: u64) -> io::Result<Walk<'_, I>> {
        let mut superblock = [0; 128];
        image.read_exact_at(SUPERBLOCK, &mut superblock)?;
        if number(&superblock[..4]) != u64::from(MAGIC) || superblock[12] != 12 {
            return Err(strange());
        }
        let base = number(&superblock[40..44]) * BLOCK as u64;
        Ok(Walk { image, size, base, root: number(&superblock[14..16]) })
    }

    fn run(&self) -> io::Result<Vec<Extent>> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut pending = vec![(String::new(), self.root)];
        while let Some((path, number)) = pending.pop() {
            if !seen.insert(number) {
                continue;
            }
            if seen.len() > MAX_INODES {
                return Err(strange());
            }
            let inode = self.inode(number)?;
            match inode.mode & TYPE {
                DIRECTORY => {
                    for (name, child) in self.entries(&inode)? {
                        pending.push((format!("{path}/{name}"), child));
                    }
                }
                // The first of several names that are found, which is the same in every release.
                FILE => {
                    let block = BLOCK as u64;
                    let length = match inode.tail {
                        None => inode.size,
                        Some(_) => inode.size / block * block,
                    };
                    let end = inode.blocks.checked_add(length).ok_or_else(strange)?;
                    if length > 0 && end > self.size {
                        return Err(strange());
                    }
                    found.push(Extent { name: path, start: inode.blocks, length });
                }
                _ => {}
            }
        }
        found.retain(|extent| extent.length > 0);
        found.sort_by_key(|extent| extent.start);
        let metadata = found.first().map_or(self.size, |first| first.start);
        if metadata > 0 {
            let name = "metadata".to_owned();
            found.insert(0, Extent { name, start: 0, length: metadata });
        }
        Ok(found)
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let at = number.checked_mul(SLOT).and_then(|at| at.checked_add(self.base));
        let at = at.filter(|at| *at < self.size).ok_or_else(strange)?;
        let mut raw = [0; 32];
        self.image.read_exact_at(at, &mut raw)?;
        let format = self::number(&raw[..2]);
        let (length, size) = match format & 1 {
            0 => (32, self::number(&raw[8..12])),
            _ => (64, self::number(&raw[8..16])),
        };
        let attributes = match self::number(&raw[2..4]) {
            0 => 0,
            count => 12 + 4 * (count - 1),
        };
        let tail = match format >> 1 & 7 {
            0 => None,
            2 => Some(at + length + attributes),
            _ => return Err(strange()),
        };
        let blocks = self::number(&raw[16..20]) * BLOCK as u64;
        Ok(Inode { mode: self::number(&raw[4..6]) as u16, size, blocks, tail })
    }

    /// Names and inodes of what is in a directory.
    fn entries(&self, directory: &Inode) -> io::Result<Vec<(String, u64)>> {
        if directory.size > MAX_DIRECTORY {
            return Err(strange());
        }
        let mut bytes = vec![0; directory.size as usize];
        let whole = match directory.tail {
            None => bytes.len(),
            Some(_) => bytes.len() / BLOCK * BLOCK,
        };
        let (blocks, rest) = bytes.split_at_mut(whole);
        self.image.read_exact_at(directory.blocks, blocks)?;
        self.image.read_exact_at(directory.tail.unwrap_or_default(), rest)?;
        let mut entries = Vec::new();
        for block in bytes.chunks(BLOCK) {
            let first = block.get(8..10).map(number).ok_or_else(strange)? as usize;
            let heads = block.get(..first).ok_or_else(strange)?;
            let heads: Vec<&[u8]> = heads.chunks_exact(12).collect();
            for (index, head) in heads.iter().enumerate() {
                let start = number(&head[8..10]) as usize;
                let end =
                    heads.get(index + 1).map_or(block.len(), |next| number(&next[8..10]) as usize);
                let name = block.get(start..end).ok_or_else(strange)?;
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                if !matches!(name, b"" | b"." | b"..") {
                    entries.push((String::from_utf8_lossy(name).into_owned(), number(&head[..8])));
                }
            }
        }
        Ok(entries)
    }
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an image of the builder's")
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::process::Command;

    /// An image of some files, by the reference tool.
    fn image(options: &[&str]) -> (tempfile::TempDir, File, u64) {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        for number in 0..300_u16 {
            let path = root.join(format!("usr/lib/a-file-with-a-name-{number}"));
            fs::write(path, vec![(number % 251) as u8; usize::from(number) * 41]).unwrap();
        }
        std::os::unix::fs::symlink("lib", root.join("usr/link")).unwrap();
        let path = home.path().join("image");
        let mut command = Command::new("mkfs.erofs");
        command.args(options).arg("--quiet").args([&path, &root]);
        let status = command.status().expect("mkfs.erofs, of the package erofs-utils");
        assert!(status.success());
        let file = File::open(&path).unwrap();
        let size = file.metadata().unwrap().len();
        (home, file, size)
    }

    #[test]
    fn files_are_where_the_reference_tool_put_them() {
        for options in [&["-Enoinline_data"][..], &[], &["-Eforce-inode-extended"]] {
            let (_home, file, size) = image(options);
            let found = extents(&file, size).unwrap();
            assert_eq!(found[0].name, "metadata");
            assert!(found.windows(2).all(|pair| pair[0].end() <= pair[1].start));
            assert!(found.len() > 190, "{} with {options:?}", found.len());
            for extent in &found[1..] {
                let number: u16 = extent.name.rsplit('-').next().unwrap().parse().unwrap();
                let mut bytes = vec![0; extent.length as usize];
                file.read_exact_at(extent.start, &mut bytes).unwrap();
                assert!(bytes.iter().all(|byte| *byte == (number % 251) as u8), "{extent:?}");
                assert_eq!(extent.length / BLOCK as u64, u64::from(number) * 41 / BLOCK as u64);
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_another_map_and_no_panic() {
        let (_home, file, size) = image(&["-Enoinline_data"]);
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(0, &mut bytes).unwrap();
        assert!(extents(&&bytes[..100], 100).is_none());
        let metadata = extents(&&bytes[..], size).unwrap()[0].length as usize;
        for at in (1024..metadata).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            if let Some(found) = extents(&&damaged[..], size) {
                assert!(found.iter().all(|extent| extent.end() <= size));
            }
        }
    }
}
