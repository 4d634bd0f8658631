//! The loader's cache of libraries, as ldconfig(8) makes it.
//!
//! The layout is glibc's `glibc-ld.so.cache1.1`: a header, an entry for each library, the texts,
//! and a note of who wrote it.

use super::elf;
use super::{ConfigureError, files_in, text};
use crate::tree::{Kind, Node, Tree};
use std::cmp::Ordering;
use std::collections::BTreeMap;

const CACHE: &str = "etc/ld.so.cache";
/// Searched after the directories that are named in the settings.
const SYSTEM: [&str; 2] = ["/lib", "/usr/lib"];
const HEADER: usize = 48;
const ENTRY: usize = 24;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const GENERATOR: &str = concat!("coreos image ", env!("CARGO_PKG_VERSION"));

/// A library in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    path: String,
    flags: u32,
}

/// Writes the cache, if there is a loader.
pub(super) fn write(tree: &mut Tree) -> Result<(), ConfigureError> {
    let mut seen = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    let directories = configured(tree, "etc/ld.so.conf", 0)?;
    for directory in directories.iter().map(String::as_str).chain(SYSTEM) {
        // By several names, such as /lib and /usr/lib, the first one counts.
        let Some(real) = tree.resolve(directory) else { continue };
        if !seen.contains(&real) {
            entries.extend(search(tree, &real, directory)?);
            seen.push(real);
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    // Of the same name in two directories the first is found.
    entries.sort_by(|a, b| order(&b.name, &a.name).then(b.flags.cmp(&a.flags)));
    tree.insert(CACHE, Node::file(0o644, to_bytes(&entries)))?;
    Ok(())
}

/// The directories that the settings name.
fn configured(tree: &Tree, path: &str, depth: u32) -> Result<Vec<String>, ConfigureError> {
    let mut directories = Vec::new();
    if !tree.contains(path) || depth > 5 {
        return Ok(directories);
    }
    for line in text(tree, path)?.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include ") {
            let pattern = pattern.trim().trim_start_matches('/');
            if let Some((directory, end)) = pattern.rsplit_once("/*") {
                for file in files_in(tree, directory, end) {
                    directories.extend(configured(tree, &file, depth + 1)?);
                }
            }
        } else if line.starts_with('/') {
            directories.push(line.trim_end_matches('/').to_owned());
        }
    }
    Ok(directories)
}

/// The libraries in one directory, each by the name that programs want it by.
fn search(tree: &Tree, real: &str, shown: &str) -> Result<Vec<Entry>, ConfigureError> {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for (name, node) in tree.children(real) {
        let library = name.starts_with("lib") || name.starts_with("ld-");
        let links = matches!(node.kind, Kind::File(_) | Kind::Symlink(_) | Kind::HardLink(_));
        if !(library && name.contains(".so") && links) {
            continue;
        }
        let path = format!("{real}/{name}");
        let Some(Kind::File(content)) = tree.lookup(&path).map(|node| &node.kind) else { continue };
        let read = |source| ConfigureError::Read { path: path.clone(), source };
        let mut magic = [0; 4];
        if content.read_at(&mut magic, 0).map_err(read)? < 4 || magic != *b"\x7fELF" {
            continue;
        }
        let Some(library) = elf::library(&content.to_vec().map_err(read)?) else { continue };
        let soname = library.soname.unwrap_or_else(|| name.to_owned());
        found.insert(soname, library.flags);
    }
    let entry =
        |(name, flags): (String, u32)| Entry { path: format!("{shown}/{name}"), name, flags };
    // Without a file of that name nothing would be found.
    let there = |entry: &Entry| tree.lookup(&entry.path).is_some();
    Ok(found.into_iter().map(entry).filter(there).collect())
}

/// Compares names as the loader does: digits as numbers, and digits before letters.
fn order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let digit = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        match (digit(a), digit(b)) {
            (true, true) => {
                let split =
                    |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let ((x, rest_a), (y, rest_b)) = (a.split_at(split(a)), b.split_at(split(b)));
                let number = |digits: &[u8]| {
                    digits
                        .iter()
                        .fold(0_u64, |sum, digit| sum.wrapping_mul(10) + u64::from(digit - b'0'))
                };
                let order = number(x).cmp(&number(y));
                if order.is_ne() {
                    return order;
                }
                (a, b) = (rest_a, rest_b);
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) => match (a.split_first(), b.split_first()) {
                (Some((x, rest_a)), Some((y, rest_b))) if x == y => (a, b) = (rest_a, rest_b),
                (x, y) => return x.map(|x| x.0).cmp(&y.map(|y| y.0)),
            },
        }
    }
}

fn to_bytes(entries: &[Entry]) -> Vec<u8> {
    let texts_start = HEADER + entries.len() * ENTRY;
    let (texts, places) = texts(entries.iter().flat_map(|entry| [&entry.name, &entry.path]));
    let extension = (texts_start + texts.len()).next_multiple_of(4);
    let mut out = b"glibc-ld.so.cache1.1".to_vec();
    // Little-endian, as are the machines.
    for number in [entries.len() as u32, texts.len() as u32, 2, extension as u32, 0, 0, 0] {
        out.extend(number.to_le_bytes());
    }
    for entry in entries {
        let place = |text: &String| (texts_start + places[text]) as u32;
        for number in [entry.flags, place(&entry.name), place(&entry.path), 0, 0, 0] {
            out.extend(number.to_le_bytes());
        }
    }
    out.extend(texts);
    out.resize(extension, 0);
    let note = extension + 24;
    for number in [EXTENSION_MAGIC, 1, 0, 0, note as u32, GENERATOR.len() as u32] {
        out.extend(number.to_le_bytes());
    }
    out.extend(GENERATOR.bytes());
    out
}

/// Puts texts behind each other; one that another ends with is a part of it.
fn texts<'a>(all: impl Iterator<Item = &'a String>) -> (Vec<u8>, BTreeMap<String, usize>) {
    let mut sorted: Vec<&String> = all.collect();
    // From the end of the text, so that a text comes right after those that end with it.
    sorted.sort_by(|a, b| b.bytes().rev().cmp(a.bytes().rev()));
    sorted.dedup();
    let (mut out, mut places) = (Vec::new(), BTreeMap::new());
    let mut last: Option<(&String, usize)> = None;
    for text in sorted {
        let inside = last.filter(|(whole, _)| whole.ends_with(text.as_str()));
        let place = match inside {
            Some((whole, at)) => at + whole.len() - text.len(),
            None => {
                let at = out.len();
                out.extend(text.bytes());
                out.push(0);
                last = Some((text, at));
                at
            }
        };
        places.insert(text.clone(), place);
    }
    (out, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_the_loader() {
        let ascending = ["ld.so", "libA.so", "liba.so.2", "liba.so.10", "liba-2.so", "liba1.so"];
        for pair in ascending.windows(2) {
            let expected = match pair {
                ["liba.so.10", "liba-2.so"] => Ordering::Greater,
                _ => Ordering::Less,
            };
            assert_eq!(order(pair[0], pair[1]), expected, "{pair:?}");
        }
        assert_eq!(order("liba.so.1", "liba.so.1"), Ordering::Equal);
    }

    #[test]
    fn texts_share_their_ends() {
        let all = ["libz.so.1", "/lib/libz.so.1", "other"].map(str::to_owned);
        let (bytes, places) = texts(all.iter());
        for text in &all {
            assert_eq!(&bytes[places[text]..][..text.len()], text.as_bytes());
            assert_eq!(bytes[places[text] + text.len()], 0);
        }
        assert_eq!(bytes.len(), "/lib/libz.so.1".len() + "other".len() + 2);
    }
}
