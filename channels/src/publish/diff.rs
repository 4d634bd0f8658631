//! What changes from one release to another, and what a machine would fetch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use disk::verity::BLOCK;
use serde::Serialize;

use super::audit::read_manifest;
use super::overview::format_size;
use super::packing::pack_source;
use super::{PublishError, Repository, State};
use crate::client::Target;
use crate::offer::{Offer, Pack, Part};
use crate::payload::{self, Index, Leaves, index_length};

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
    /// Bytes that a machine fetches by the patches that were made for this step; `None` if there
    /// are none.
    pub patch: Option<u64>,
    /// Bytes that it fetches by frames: those of all segments with a block that it does not have,
    /// the kernel image's, and the tree to find that out. `None` if there are no frames.
    pub frames: Option<u64>,
    /// Bytes of the whole new release, compressed if it has frames: what a machine fetches that
    /// has nothing.
    pub full: u64,
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
    let (old, new) = (state.find(from)?, state.find(to)?);
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
    let (old_tree, new_tree) = (read(&path(&old, Part::Verity))?, read(&path(&new, Part::Verity))?);
    let new_blocks = NewBlocks::between(&old_tree, &new_tree);
    let tree = size(&new, Part::Verity);
    let patches = [
        new.patch(Part::Root, &pack_source(&old, Part::Root).id),
        new.patch(Part::Uki, &pack_source(&old, Part::Uki).id),
    ];
    let all = |packs: [Option<&Pack>; 2]| match packs {
        [Some(root), Some(uki)] => Some([root.file.length, uki.file.length]),
        _ => None,
    };
    let whole = all([new.frames(Part::Root), new.frames(Part::Uki)]);
    let frames = match whole {
        None => None,
        Some([_, uki]) => {
            let index = root_index(repository, &new)?;
            let ranges = new_blocks.segments.iter().map(|number| index.segment(*number));
            let ranges: Result<Vec<_>, _> = ranges.collect();
            let lengths =
                ranges.map_err(|error| PublishError::Incomplete { what: error.to_string() })?;
            let lengths = lengths.iter().map(|segment| segment.record.end - segment.record.start);
            Some(lengths.sum::<u64>() + uki + tree + index_length(index.len()) as u64)
        }
    };
    let plain = size(&new, Part::Root) + tree + size(&new, Part::Uki);
    Ok(Difference {
        from: from.to_owned(),
        to: to.to_owned(),
        packages,
        sizes: sizes.into(),
        new_blocks: new_blocks.bytes,
        patch: all(patches).map(|sizes| sizes.iter().sum()),
        frames,
        full: whole.map_or(plain, |sizes| sizes.iter().sum()),
    })
}

/// What of a new root an old one does not have.
struct NewBlocks {
    /// Bytes of these blocks, each once.
    bytes: u64,
    /// The segments that they are in.
    segments: BTreeSet<usize>,
}

impl NewBlocks {
    fn between(old: &Leaves, new: &Leaves) -> NewBlocks {
        let known: BTreeSet<_> = match old.salt() == new.salt() {
            true => old.hashes().iter().collect(),
            false => BTreeSet::new(),
        };
        let (mut fresh, mut segments) = (BTreeSet::new(), BTreeSet::new());
        for (number, hash) in new.hashes().iter().enumerate() {
            if !known.contains(hash) {
                fresh.insert(hash);
                segments.insert(number * payload::BLOCK / payload::SEGMENT);
            }
        }
        NewBlocks { bytes: fresh.len() as u64 * BLOCK, segments }
    }
}

/// The index of the frames of a release's root.
fn root_index(repository: &Repository, offer: &Offer) -> Result<Index, PublishError> {
    let missing = || PublishError::Incomplete { what: "no frames".to_owned() };
    let pack = offer.frames(Part::Root).ok_or_else(missing)?;
    let path = repository.target_path(&Target::consistent(&pack.path, pack.file.clone()));
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(pack.info.index.length).read_to_end(&mut bytes))
        .map_err(PublishError::file("read", &path))?;
    Index::parse(&bytes, &pack.info.index)
        .map_err(|error| PublishError::Incomplete { what: format!("{}: {error}", pack.path) })
}

fn leaves(path: &Path) -> io::Result<Leaves> {
    Leaves::read(&mut File::open(path)?)
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
        let share = |bytes: u64| {
            let thousandths = u128::from(bytes) * 1000 / u128::from(self.full.max(1));
            format!("{} ({}.{} %)", format_size(bytes), thousandths / 10, thousandths % 10)
        };
        writeln!(f, "new blocks   {:>12}", format_size(self.new_blocks))?;
        writeln!(f, "a machine on {from} fetches, of {} for a new one:", format_size(self.full))?;
        match self.patch {
            Some(bytes) => writeln!(f, "  by the patch   {}", share(bytes))?,
            None => writeln!(f, "  by the patch   there is none for this step")?,
        }
        match self.frames {
            Some(bytes) => writeln!(f, "  by frames      {}", share(bytes)),
            None => writeln!(f, "  by frames      there are none"),
        }
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
