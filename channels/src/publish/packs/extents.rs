//! Which file is where in an image, and which old file is the one before a new one.

use std::collections::{BTreeMap, HashMap};

/// A file's bytes, or other bytes that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    /// The path, or what else the bytes are known by.
    pub(super) name: String,
    /// Where it begins, in bytes.
    pub(super) start: u64,
    /// How long it is, in bytes.
    pub(super) length: u64,
}

impl Extent {
    pub(super) fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// For every new extent the old one before it, by index: the one of the same path, or else one
/// that differs only in numbers, as the files of a library or a kernel do whose version is in the
/// path.
pub(super) fn predecessors(old: &[Extent], new: &[Extent]) -> Vec<Option<usize>> {
    let names: HashMap<&str, usize> =
        old.iter().enumerate().map(|(index, extent)| (extent.name.as_str(), index)).collect();
    let mut patterns: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, extent) in old.iter().enumerate() {
        patterns.entry(pattern(&extent.name)).or_default().push(index);
    }
    let find = |extent: &Extent| {
        if let Some(&same) = names.get(extent.name.as_str()) {
            return Some(same);
        }
        let like = patterns.get(&pattern(&extent.name))?;
        let distance = |index: &&usize| (old[**index].length.abs_diff(extent.length), **index);
        like.iter().min_by_key(distance).copied()
    };
    new.iter().map(find).collect()
}

/// The name with every number as one sign.
fn pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut digits = false;
    for char in name.chars() {
        let digit = char.is_ascii_digit();
        if !digit {
            pattern.push(char);
        } else if !digits {
            pattern.push('#');
        }
        digits = digit;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_in_the_path_does_not_hide_the_file_before() {
        let extent = |name: &str, length| Extent { name: name.to_owned(), start: 0, length };
        let old = [
            extent("lib/libz.so.1.3.1", 100),
            extent("lib/modules/6.12.117+deb13-cloud-amd64/kernel/a.ko", 7),
            extent("lib/libz.so.1.2.9", 60),
            extent("bin/sh", 5),
        ];
        let new = [
            extent("bin/sh", 50),
            extent("lib/libz.so.1.3.10", 90),
            extent("lib/modules/6.12.118+deb13-cloud-amd64/kernel/a.ko", 7),
            extent("bin/other", 5),
        ];
        assert_eq!(predecessors(&old, &new), [Some(3), Some(0), Some(1), None]);
    }
}
