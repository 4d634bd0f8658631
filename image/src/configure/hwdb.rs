//! The compiled hardware database, as `systemd-hwdb --usr update` makes it.
//!
//! sources (`*.hwdb`) → a radix tree over the match patterns → `hwdb.bin`
//!
//! The layout is systemd's `hwdb-internal.h`, numbers little-endian: a header, the nodes, each
//! after its children, and the texts, of which one may be the end of another.

use super::{ConfigureError, files_in, text};
use crate::tree::{Node, Tree};
use std::collections::BTreeMap;

const SOURCES: &str = "usr/lib/udev/hwdb.d";
const DATABASE: &str = "usr/lib/udev/hwdb.bin";
const SYSTEMD: &str = "usr/lib/systemd/system/systemd-hwdb-update.service";
const SIGNATURE: &[u8] = b"KSLPHHRH";
/// Sizes of the header, a node, a child and a value.
const SIZES: [u64; 4] = [80, 24, 16, 32];
/// What the version of the writer is given as: the format is that of systemd since 251.
const TOOL: u64 = 257;

/// Compiles the sources, if there are any.
pub(super) fn write(tree: &mut Tree) -> Result<(), ConfigureError> {
    let files = files_in(tree, SOURCES, ".hwdb");
    if files.is_empty() || !tree.contains(SYSTEMD) {
        return Ok(());
    }
    let mut database = Database::default();
    for (number, path) in files.iter().enumerate() {
        database.read(&text(tree, path)?, &format!("/{path}"), number as u16 + 1);
    }
    tree.insert(DATABASE, Node::file(0o444, database.to_bytes()))?;
    Ok(())
}

#[derive(Debug)]
struct Database {
    nodes: Vec<TrieNode>,
    texts: Texts,
}

/// Places are those of texts.
#[derive(Debug, Default)]
struct TrieNode {
    prefix: u32,
    /// By the letter that leads to them, sorted.
    children: Vec<(u8, u32)>,
    /// By the key's text.
    values: Vec<Value>,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    key: u32,
    value: u32,
    file: u32,
    line: u32,
    priority: u16,
}

impl Default for Database {
    fn default() -> Database {
        Database { nodes: vec![TrieNode::default()], texts: Texts::default() }
    }
}

impl Database {
    /// Reads a source: match lines, then indented properties, then a blank line.
    fn read(&mut self, text: &str, file: &str, priority: u16) {
        let mut matches: Vec<&str> = Vec::new();
        let mut in_properties = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.split('#').next().unwrap_or_default();
            let line = line.trim_end_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
            if line.is_empty() {
                matches.clear();
                in_properties = false;
            } else if !line.starts_with(' ') {
                // A match after properties, without a blank line between them, is a mistake.
                if in_properties {
                    matches.clear();
                    in_properties = false;
                } else {
                    matches.push(line);
                }
            } else if !matches.is_empty() {
                in_properties = true;
                let Some((key, value)) = line.split_once('=') else { continue };
                // One blank before the key stays: it tells properties from older forms.
                let key = format!(" {}", key.trim_start_matches([' ', '\t']));
                for pattern in &matches {
                    let value = (key.as_str(), value, file, number as u32 + 1, priority);
                    self.insert(pattern.as_bytes(), value);
                }
            }
        }
    }

    /// Puts a property at a pattern.
    fn insert(&mut self, pattern: &[u8], value: (&str, &str, &str, u32, u16)) {
        let (mut node, mut rest) = (0_usize, pattern);
        loop {
            let prefix = self.texts.get(self.nodes[node].prefix).to_vec();
            let common = prefix.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < prefix.len() {
                self.split(node, &prefix, common);
            }
            rest = &rest[common..];
            let Some((letter, after)) = rest.split_first() else { break };
            match self.nodes[node].children.binary_search_by_key(letter, |child| child.0) {
                Ok(place) => (node, rest) = (self.nodes[node].children[place].1 as usize, after),
                Err(place) => {
                    let child = self.nodes.len();
                    let prefix = self.texts.add(after);
                    self.nodes.push(TrieNode { prefix, ..TrieNode::default() });
                    self.nodes[node].children.insert(place, (*letter, child as u32));
                    node = child;
                    break;
                }
            }
        }
        let (key, value, file, line, priority) = value;
        let key_text = key.as_bytes();
        let (key, value) = (self.texts.add(key_text), self.texts.add(value.as_bytes()));
        let file = self.texts.add(file.as_bytes());
        let value = Value { key, value, file, line, priority };
        let texts = &self.texts;
        let values = &mut self.nodes[node].values;
        match values.binary_search_by(|known| texts.get(known.key).cmp(key_text)) {
            Ok(place) => values[place] = value,
            Err(place) => values.insert(place, value),
        }
    }

    /// Makes a node that has only the first bytes of its prefix, and another one below it.
    fn split(&mut self, node: usize, prefix: &[u8], common: usize) {
        let mut below = std::mem::take(&mut self.nodes[node]);
        below.prefix += common as u32 + 1;
        let child = self.nodes.len() as u32;
        self.nodes.push(below);
        let shorter = self.texts.add(&prefix[..common]);
        let letter = prefix[common];
        self.nodes[node] =
            TrieNode { prefix: shorter, children: vec![(letter, child)], values: Vec::new() };
    }

    fn to_bytes(&self) -> Vec<u8> {
        let [header, node, child, value] = SIZES;
        let texts: u64 = self
            .nodes
            .iter()
            .map(|found| {
                node + found.children.len() as u64 * child + found.values.len() as u64 * value
            })
            .sum::<u64>()
            + header;
        let mut out = vec![0; header as usize];
        out.reserve(texts as usize + self.texts.bytes.len());
        let root = self.write(0, texts, &mut out);
        out.extend(&self.texts.bytes);
        let length = out.len() as u64;
        out[..8].copy_from_slice(SIGNATURE);
        let fields = [
            TOOL,
            length,
            header,
            node,
            child,
            value,
            root,
            texts - header,
            self.texts.bytes.len() as u64,
        ];
        for (number, field) in fields.iter().enumerate() {
            out[8 + number * 8..][..8].copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// Writes a node behind its children; returns where it is.
    fn write(&self, node: usize, texts: u64, out: &mut Vec<u8>) -> u64 {
        let node = &self.nodes[node];
        let children: Vec<(u8, u64)> = node
            .children
            .iter()
            .map(|(letter, child)| (*letter, self.write(*child as usize, texts, out)))
            .collect();
        let offset = out.len() as u64;
        let place = |text: u32| (texts + u64::from(text)).to_le_bytes();
        out.extend(place(node.prefix));
        out.extend([children.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
        out.extend((node.values.len() as u64).to_le_bytes());
        for (letter, child) in children {
            out.extend([letter, 0, 0, 0, 0, 0, 0, 0]);
            out.extend(child.to_le_bytes());
        }
        for value in &node.values {
            out.extend(place(value.key));
            out.extend(place(value.value));
            out.extend(place(value.file));
            out.extend(value.line.to_le_bytes());
            out.extend(value.priority.to_le_bytes());
            out.extend([0, 0]);
        }
        offset
    }
}

/// Texts behind each other, each ending in a zero byte; one that an earlier one ends with is a
/// part of it. A tree over the texts from their ends finds that.
#[derive(Debug)]
struct Texts {
    bytes: Vec<u8>,
    nodes: Vec<TextNode>,
}

#[derive(Debug, Default)]
struct TextNode {
    offset: u32,
    length: u32,
    children: BTreeMap<u8, u32>,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { bytes: vec![0], nodes: vec![TextNode::default()] }
    }
}

impl Texts {
    /// The text at a place.
    fn get(&self, place: u32) -> &[u8] {
        let rest = &self.bytes[place as usize..];
        &rest[..rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len())]
    }

    /// Where a text is, put there if it is new.
    fn add(&mut self, text: &[u8]) -> u32 {
        let mut node = 0;
        for depth in 0..=text.len() {
            let TextNode { offset, length, .. } = self.nodes[node];
            let fits = length as usize >= text.len() && {
                let end = (offset + length) as usize;
                self.bytes[end - text.len()..end] == *text
            };
            if depth == text.len() || fits {
                return offset + length - text.len() as u32;
            }
            match self.nodes[node].children.get(&text[text.len() - 1 - depth]) {
                Some(child) => node = *child as usize,
                None => {
                    let letter = text[text.len() - 1 - depth];
                    let offset = self.bytes.len() as u32;
                    self.bytes.extend(text);
                    self.bytes.push(0);
                    let child = self.nodes.len() as u32;
                    let length = text.len() as u32;
                    self.nodes.push(TextNode { offset, length, ..TextNode::default() });
                    self.nodes[node].children.insert(letter, child);
                    return offset;
                }
            }
        }
        unreachable!("the last turn of the loop returns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_share_their_ends() {
        let mut texts = Texts::default();
        let places: Vec<u32> = ["vendor", "dor", "", "pci:vendor", "vendor"]
            .map(|text| texts.add(text.as_bytes()))
            .into();
        assert_eq!(places[1], places[0] + 3);
        assert_eq!(places[4], places[0]);
        assert_eq!(texts.get(places[3]), b"pci:vendor");
        assert_eq!(texts.get(places[2]), b"");
    }

    #[test]
    fn properties_are_at_their_patterns() {
        let mut database = Database::default();
        database.read(
            "# c\nusb:v1*\nusb:v2* # c\n ID_A=1\n ID_B=x=y\n\nusb:v1*\n  ID_A=2\n\nx\ny\n",
            "/f",
            1,
        );
        let bytes = database.to_bytes();
        assert_eq!(&bytes[..8], SIGNATURE);
        let mut found = Vec::new();
        collect(&database, 0, String::new(), &mut found);
        assert_eq!(
            found,
            [
                "usb:v1*  ID_A=2 line 8",
                "usb:v1*  ID_B=x=y line 5",
                "usb:v2*  ID_A=1 line 4",
                "usb:v2*  ID_B=x=y line 5"
            ]
        );
    }

    fn collect(database: &Database, node: usize, path: String, found: &mut Vec<String>) {
        let text = |place| String::from_utf8_lossy(database.texts.get(place)).into_owned();
        let node = &database.nodes[node];
        let path = path + &text(node.prefix);
        for value in &node.values {
            found.push(format!(
                "{path} {}={} line {}",
                text(value.key),
                text(value.value),
                value.line
            ));
        }
        for (letter, child) in &node.children {
            collect(database, *child as usize, format!("{path}{}", char::from(*letter)), found);
        }
    }
}
