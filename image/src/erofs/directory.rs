//! Directories as EROFS stores them: blocks that each hold their entries, then their names.
//! Entries are in byte order of the names, `.` and `..` among them, for the kernel's search.

use disk::erofs::BLOCK;

/// Bytes of an entry without its name.
const ENTRY: usize = 12;

/// The entries of one directory, in order.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    entries: Vec<Entry<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    name: &'a str,
    /// Index of the inode in the list of all.
    inode: usize,
    file_type: u8,
}

impl<'a> Directory<'a> {
    /// A directory of `.`, `..` and the given names; inodes are indexes into the caller's list.
    pub(super) fn new(
        itself: usize,
        parent: usize,
        entries: impl Iterator<Item = (&'a str, usize, u8)>,
    ) -> Directory<'a> {
        const DIRECTORY: u8 = 2;
        let mut entries: Vec<Entry<'_>> = [(".", itself, DIRECTORY), ("..", parent, DIRECTORY)]
            .into_iter()
            .chain(entries)
            .map(|(name, inode, file_type)| Entry { name, inode, file_type })
            .collect();
        entries.sort_unstable_by_key(|entry| entry.name);
        Directory { entries }
    }

    /// Number of bytes: whole blocks, then the used part of the last one.
    pub(super) fn size(&self) -> u64 {
        let groups = self.groups();
        let last = groups.last().map_or(0, |group| group_size(group));
        (groups.len() as u64 - 1) * BLOCK + last as u64
    }

    /// The bytes, with each inode's number taken from `number`.
    pub(super) fn to_bytes(&self, number: impl Fn(usize) -> u64) -> Vec<u8> {
        let mut raw = Vec::new();
        for group in self.groups() {
            raw.resize(raw.len().next_multiple_of(BLOCK as usize), 0);
            let mut name_offset = group.len() * ENTRY;
            for entry in group {
                raw.extend(number(entry.inode).to_le_bytes());
                raw.extend((name_offset as u16).to_le_bytes());
                raw.extend([entry.file_type, 0]);
                name_offset += entry.name.len();
            }
            group.iter().for_each(|entry| raw.extend(entry.name.as_bytes()));
        }
        raw
    }

    /// The entries block by block.
    fn groups(&self) -> Vec<&[Entry<'a>]> {
        let mut groups = Vec::new();
        let mut rest = self.entries.as_slice();
        while !rest.is_empty() {
            let mut used = 0;
            let count = rest
                .iter()
                .take_while(|entry| {
                    used += ENTRY + entry.name.len();
                    used <= BLOCK as usize
                })
                .count();
            let (group, others) = rest.split_at(count);
            groups.push(group);
            rest = others;
        }
        groups
    }
}

fn group_size(group: &[Entry<'_>]) -> usize {
    group.iter().map(|entry| ENTRY + entry.name.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_sorted_among_the_names() {
        let directory = Directory::new(0, 0, [("a", 1, 1), ("+x", 2, 1)].into_iter());
        let names: Vec<&str> = directory.entries.iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["+x", ".", "..", "a"]);
    }

    #[test]
    fn size_is_the_length_of_the_bytes_and_blocks_are_filled() {
        for count in [0, 1, 14, 15, 16, 40, 200] {
            let names: Vec<String> = (0..count).map(|n| format!("{n:0>250}")).collect();
            let entries = names.iter().map(|name| (name.as_str(), 1, 1));
            let directory = Directory::new(0, 0, entries);
            let raw = directory.to_bytes(|_| 36);
            assert_eq!(raw.len() as u64, directory.size(), "{count} entries");
            // 15 names of 250 bytes fit into a block, or 15 and the two dots.
            assert_eq!(raw.len().div_ceil(4096), (count.max(1) as usize).div_ceil(15));
        }
    }
}
