//! The index of kernel modules that libkmod looks names up in: a radix tree in a file.
//!
//! The layout is kmod's `libkmod-index`, version 2.1, numbers big-endian: magic, version, where
//! the root is; then every node before its children.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;
/// What a node has is told by the highest bits of where it is.
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// Values by key, each with a priority; the lower one comes first.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<Vec<u8>, Vec<(u32, String)>>);

/// A key and its values.
type Keyed<'a> = (&'a [u8], &'a [(u32, String)]);

impl Index {
    /// Adds a value. Keys are of ASCII letters; others cannot be looked up.
    pub(super) fn add(&mut self, key: &str, value: &str, priority: u32) {
        if key.is_ascii() && !key.contains('\0') {
            let values = self.0.entry(key.as_bytes().to_vec()).or_default();
            let place = values.partition_point(|(known, _)| *known < priority);
            values.insert(place, (priority, value.to_owned()));
        }
    }

    /// The bytes of the file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [MAGIC, VERSION, 0] {
            out.extend(number.to_be_bytes());
        }
        let all: Vec<Keyed<'_>> =
            self.0.iter().map(|(key, values)| (key.as_slice(), values.as_slice())).collect();
        let root = Node::new(&all, 0, 0);
        let offset = out.len() as u32 | root.flags();
        out[8..12].copy_from_slice(&offset.to_be_bytes());
        root.write(&mut out);
        out
    }
}

/// A node with all that is below it.
struct Node<'a> {
    prefix: &'a [u8],
    values: &'a [(u32, String)],
    children: BTreeMap<u8, Node<'a>>,
    /// Bytes that it takes, with all that is below it.
    size: usize,
}

impl<'a> Node<'a> {
    /// The node of some sorted keys, which have the first `depth` bytes and then `prefix` more in
    /// common.
    fn new(keys: &[Keyed<'a>], depth: usize, prefix: usize) -> Node<'a> {
        let at = depth + prefix;
        let (values, below) = match keys.first() {
            Some((key, values)) if key.len() == at => (*values, &keys[1..]),
            _ => (&[][..], keys),
        };
        let mut children = BTreeMap::new();
        for group in below.chunk_by(|(a, _), (b, _)| a[at] == b[at]) {
            let (first, last) = (group[0].0, group[group.len() - 1].0);
            // Sorted, so what the first and the last have in common all have.
            let rest = first[at + 1..].iter().zip(&last[at + 1..]);
            let common = rest.take_while(|(a, b)| a == b).count();
            children.insert(first[at], Node::new(group, at + 1, common));
        }
        let prefix = keys.first().map_or(&[][..], |(key, _)| &key[depth..at]);
        let mut node = Node { prefix, values, children, size: 0 };
        node.size = node.own_size() + node.children.values().map(|child| child.size).sum::<usize>();
        node
    }

    /// The first and the last letter that lead to children.
    fn span(&self) -> Option<(u8, u8)> {
        Some((*self.children.first_key_value()?.0, *self.children.last_key_value()?.0))
    }

    fn own_size(&self) -> usize {
        let prefix = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let span = self.span().map_or(0, |(first, last)| 2 + 4 * (usize::from(last - first) + 1));
        let values: usize = self.values.iter().map(|(_, value)| 4 + value.len() + 1).sum();
        prefix + span + if self.values.is_empty() { 0 } else { 4 + values }
    }

    fn flags(&self) -> u32 {
        [
            (!self.prefix.is_empty(), HAS_PREFIX),
            (!self.values.is_empty(), HAS_VALUES),
            (!self.children.is_empty(), HAS_CHILDREN),
        ]
        .into_iter()
        .map(|(has, flag)| if has { flag } else { 0 })
        .sum()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut next = out.len() + self.own_size();
        if !self.prefix.is_empty() {
            out.extend(self.prefix);
            out.push(0);
        }
        if let Some((first, last)) = self.span() {
            out.extend([first, last]);
            for byte in first..=last {
                let place = self.children.get(&byte).map_or(0, |child| {
                    let place = next as u32 | child.flags();
                    next += child.size;
                    place
                });
                out.extend(place.to_be_bytes());
            }
        }
        if !self.values.is_empty() {
            out.extend((self.values.len() as u32).to_be_bytes());
            for (priority, value) in self.values {
                out.extend(priority.to_be_bytes());
                out.extend(value.bytes());
                out.push(0);
            }
        }
        self.children.values().for_each(|child| child.write(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks a key up as libkmod does.
    fn find(bytes: &[u8], key: &[u8]) -> Vec<String> {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let text = |at: usize| {
            let end = at + bytes[at..].iter().position(|byte| *byte == 0).unwrap();
            (&bytes[at..end], end + 1)
        };
        let (mut node, mut rest) = (number(8), key);
        loop {
            let mut at = (node & 0x0fff_ffff) as usize;
            if node & HAS_PREFIX != 0 {
                let (prefix, end) = text(at);
                let Some(after) = rest.strip_prefix(prefix) else { return Vec::new() };
                (rest, at) = (after, end);
            }
            let mut child = 0;
            if node & HAS_CHILDREN != 0 {
                let (first, last) = (bytes[at], bytes[at + 1]);
                if let Some(byte) = rest.first().filter(|byte| (first..=last).contains(byte)) {
                    child = number(at + 2 + 4 * usize::from(byte - first));
                }
                at += 2 + 4 * (usize::from(last - first) + 1);
            }
            if rest.is_empty() {
                let count = if node & HAS_VALUES != 0 { number(at) } else { 0 };
                at += 4;
                let mut values = Vec::new();
                for _ in 0..count {
                    let (value, end) = text(at + 4);
                    values.push(String::from_utf8(value.to_vec()).unwrap());
                    at = end;
                }
                return values;
            }
            if child == 0 {
                return Vec::new();
            }
            (node, rest) = (child, &rest[1..]);
        }
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        let keys = ["ext4", "ext2", "ext", "fs-ext4", "e", "virtio_blk", "virtio", "virtio_net"];
        let mut index = Index::default();
        for (number, key) in keys.iter().enumerate() {
            index.add(key, &format!("{key}.ko"), number as u32);
        }
        index.add("ext4", "second.ko", 100);
        index.add("ext4", "first.ko", 0);
        let bytes = index.to_bytes();
        for key in keys.iter().filter(|key| **key != "ext4") {
            assert_eq!(find(&bytes, key.as_bytes()), [format!("{key}.ko")]);
        }
        assert_eq!(find(&bytes, b"ext4"), ["first.ko", "ext4.ko", "second.ko"]);
        for key in ["", "ex", "ext44", "virt", "x", "fs"] {
            assert!(find(&bytes, key.as_bytes()).is_empty(), "{key}");
        }
        assert!(find(&Index::default().to_bytes(), b"x").is_empty());
    }
}
