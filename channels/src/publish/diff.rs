//! What changes from one release to another, and what a machine would fetch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use disk::verity::{BLOCK, Superblock, partition_size};
use serde::Serialize;

use super::audit::read_manifest;
use super::overview::format_size;
use super::{PublishError, Repository, State};
use crate::client::Target;
use crate::offer::{Offer, Part};

/// Bytes of a hash in the tree.
const HASH: usize = 32;

/// What changes from one release to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The older version.
    pub from: String,
    /// The newer version.
    pub to: String,
    /// What happens to the packages.
    pub packages: Packages,
    /// Sizes of the parts, before and after.
    pub sizes: BTreeMap<String, (u64, u64)>,
    /// Bytes of the new root in blocks that the old one does not have.
    pub new_blocks: u64,
    /// Bytes that a machine fetches at most: new blocks, the tree and the kernel image, before
    /// any compression.
    pub download: u64,
    /// Bytes of the whole new release.
    pub whole: u64,
}

/// What happens to the packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Packages {
    /// New ones, with their versions.
    pub added: BTreeMap<String, String>,
    /// Those that are gone, with their last versions.
    pub removed: BTreeMap<String, String>,
    /// Versions before and after.
    pub changed: BTreeMap<String, (String, String)>,
}

impl Packages {
    /// Compares two lists of packages.
    pub fn between(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Packages {
        let only = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
            let these = these.iter().filter(|(name, _)| !those.contains_key(*name));
            these.map(|(name, version)| (name.clone(), version.clone())).collect()
        };
        let changed = old.iter().filter_map(|(name, before)| {
            let after = new.get(name).filter(|after| *after != before)?;
            Some((name.clone(), (before.clone(), after.clone())))
        });
        Packages { added: only(new, old), removed: only(old, new), changed: changed.collect() }
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        let count = |count: usize, word: &str| match count {
            0 => None,
            _ => Some(format!("{count} {word}")),
        };
        let parts = [
            count(self.changed.len(), "changed"),
            count(self.added.len(), "added"),
            count(self.removed.len(), "removed"),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            "no package changes".to_owned()
        } else {
            format!("packages: {}", parts.join(", "))
        }
    }
}

/// Compares two releases of a repository.
pub fn diff(
    repository: &Repository,
    state: &State,
    from: &str,
    to: &str,
) -> Result<Difference, PublishError> {
    let (old, new) = (find(state, from)?, find(state, to)?);
    let packages = Packages::between(
        &read_manifest(repository, &old)?.packages,
        &read_manifest(repository, &new)?.packages,
    );
    let size = |offer: &Offer, part| offer.files.get(&part).map_or(0, |file| file.length);
    let parts = [Part::Root, Part::Verity, Part::Uki];
    let sizes = parts.map(|part| (part.to_string(), (size(&old, part), size(&new, part))));
    let path = |offer: &Offer, part| {
        repository.target_path(&Target::consistent(&offer.path(part), offer.files[&part].clone()))
    };
    let read = |path: &Path| leaves(path).map_err(PublishError::file("read", path));
    let (old_salt, old_leaves) = read(&path(&old, Part::Verity))?;
    let (new_salt, mut new_leaves) = read(&path(&new, Part::Verity))?;
    if old_salt == new_salt {
        new_leaves.retain(|hash| !old_leaves.contains(hash));
    }
    let new_blocks = new_leaves.len() as u64 * BLOCK;
    let rest = size(&new, Part::Verity) + size(&new, Part::Uki);
    Ok(Difference {
        from: from.to_owned(),
        to: to.to_owned(),
        packages,
        sizes: sizes.into(),
        new_blocks,
        download: new_blocks + rest,
        whole: size(&new, Part::Root) + rest,
    })
}

fn find(state: &State, version: &str) -> Result<Offer, PublishError> {
    let missing = || PublishError::NoRelease { version: version.to_owned() };
    let channel = *state.carriers(version).first().ok_or_else(missing)?;
    let mut offers = state.offers(channel).into_iter();
    offers.find(|offer| offer.release.version.as_str() == version).ok_or_else(missing)
}

/// The salt of a tree, and the hashes of all data blocks, each once.
fn leaves(path: &Path) -> io::Result<(Vec<u8>, BTreeSet<[u8; HASH]>)> {
    let mut file = File::open(path)?;
    let superblock = Superblock::read(&mut file).map_err(io::Error::other)?;
    let blocks = superblock.data_blocks;
    let hash_blocks = blocks.div_ceil(BLOCK / HASH as u64);
    let end = partition_size(blocks);
    // The level nearest to the data comes last. A single block has no tree over it.
    let start = if blocks > 1 { end.saturating_sub(hash_blocks * BLOCK) } else { end };
    file.seek(SeekFrom::Start(start))?;
    let mut reader = io::BufReader::new(file);
    let mut found = BTreeSet::new();
    for _ in 0..if blocks > 1 { blocks } else { 0 } {
        let mut hash = [0; HASH];
        reader.read_exact(&mut hash)?;
        found.insert(hash);
    }
    Ok((superblock.salt, found))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { from, to, packages, .. } = self;
        writeln!(f, "{from} -> {to}: {}", packages.summary())?;
        for (name, (before, after)) in &packages.changed {
            writeln!(f, "  {name} {before} -> {after}")?;
        }
        for (name, version) in &packages.added {
            writeln!(f, "  + {name} {version}")?;
        }
        for (name, version) in &packages.removed {
            writeln!(f, "  - {name} {version}")?;
        }
        for (part, (before, after)) in &self.sizes {
            writeln!(f, "{part:<8} {:>12} -> {}", format_size(*before), format_size(*after))?;
        }
        let percent = u128::from(self.download) * 100 / u128::from(self.whole.max(1));
        let (download, whole) = (format_size(self.download), format_size(self.whole));
        writeln!(
            f,
            "a machine on {from} fetches {download} of {whole} ({percent} %) before compression: \
             {} of new blocks, the tree and the kernel image",
            format_size(self.new_blocks)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_compared_by_name() {
        let list = |text: &str| {
            let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
            pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
        };
        let packages = Packages::between(&list("a=1 b=1 c=1"), &list("b=1 c=2 d=1"));
        assert_eq!(packages.added, list("d=1"));
        assert_eq!(packages.removed, list("a=1"));
        let changed = BTreeMap::from([("c".to_owned(), ("1".to_owned(), "2".to_owned()))]);
        assert_eq!(packages.changed, changed);
        assert_eq!(packages.summary(), "packages: 1 changed, 1 added, 1 removed");
        assert_eq!(Packages::default().summary(), "no package changes");
    }
}
