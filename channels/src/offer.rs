//! A release with its files, as a channel offers it.

use std::collections::BTreeMap;
use std::fmt;

use disk::guid::Guid;
use disk::verity::Superblock;
use disk::version::Version;
use serde::{Deserialize, Serialize};

use crate::client::{ClientError, Target, View};
use crate::metadata::TargetFile;
use crate::payload::{BLOCK, IndexInfo};
use crate::policy::{Channel, Release};

/// The files of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The root file system.
    Root,
    /// The verity tree over it.
    Verity,
    /// The unified kernel image.
    Uki,
    /// The JSON manifest of the image builder.
    Manifest,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 4] = [Part::Root, Part::Verity, Part::Uki, Part::Manifest];

    /// How the names of such files end.
    pub const fn extension(self) -> &'static str {
        match self {
            Part::Root => "root",
            Part::Verity => "verity",
            Part::Uki => "efi",
            Part::Manifest => "manifest.json",
        }
    }

    /// The file's name, for a version.
    pub fn file_name(self, version: &Version) -> String {
        format!("coreos_{version}.{}", self.extension())
    }

    /// The path of the target, for a version in a channel.
    pub fn path(self, channel: Channel, version: &Version) -> String {
        format!("{channel}/{}", self.file_name(version))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.extension())
    }
}

/// A file of packed segments: another way to one of the parts of a release. What a target's
/// `custom.pack` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInfo {
    /// The version of the release.
    pub version: String,
    /// The part, by [`Part::extension`].
    pub part: String,
    /// What is signed of its index.
    pub index: IndexInfo,
    /// The release whose part it starts from, if it is a patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PackSource>,
}

/// What a patch starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackSource {
    /// The version of the old release.
    pub version: String,
    /// Which bytes that must be, in 64 hexadecimal digits: the root hash for a root, the SHA-256
    /// of the file for any other part.
    pub id: String,
}

impl PackInfo {
    /// The name of the file.
    pub fn file_name(&self) -> String {
        let PackInfo { version, part, from, .. } = self;
        match from {
            None => format!("coreos_{version}.{part}.zst"),
            Some(from) => format!("coreos_{version}.from_{}.{part}.patch", from.version),
        }
    }

    /// The path of the target.
    pub fn path(&self, channel: Channel) -> String {
        format!("{channel}/{}", self.file_name())
    }

    fn is_of(&self, part: Part) -> bool {
        self.part == part.extension()
    }
}

/// A pack as a channel offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// What it is.
    pub info: PackInfo,
    /// The path of the target.
    pub path: String,
    /// The target.
    pub file: TargetFile,
}

impl Pack {
    /// The file, as a target of a repository with consistent snapshots.
    pub fn target(&self, view: &View<'_>) -> Target {
        view.target(&self.path, self.file.clone())
    }
}

/// What is needed to make a verity tree instead of fetching it: the `custom.verity` of that
/// target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeInfo {
    /// The identifier in the tree's superblock.
    pub uuid: String,
    /// The salt, in hexadecimal digits.
    pub salt: String,
}

/// A release as a channel carries it, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The channel.
    pub channel: Channel,
    /// What the channel says of it.
    pub release: Release,
    /// Its files.
    pub files: BTreeMap<Part, TargetFile>,
    /// Packs of its parts: every other way to get them.
    pub packs: Vec<Pack>,
}

/// Something in a channel that should be a release and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct OfferError {
    /// The target.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Offer {
    /// The path of one of its files.
    pub fn path(&self, part: Part) -> String {
        part.path(self.channel, &self.release.version)
    }

    /// One of its files, as a target of a repository with consistent snapshots.
    pub fn target(&self, view: &View<'_>, part: Part) -> Target {
        view.target(&self.path(part), self.files[&part].clone())
    }

    /// The pack of frames of a part.
    pub fn frames(&self, part: Part) -> Option<&Pack> {
        self.packs.iter().find(|pack| pack.info.is_of(part) && pack.info.from.is_none())
    }

    /// The patch that makes a part of the one of another release, which is known by its root
    /// hash (for the root) or its SHA-256 (for any other part) in hexadecimal digits.
    pub fn patch(&self, part: Part, old: &str) -> Option<&Pack> {
        self.packs.iter().find(|pack| {
            pack.info.is_of(part) && pack.info.from.as_ref().is_some_and(|from| from.id == old)
        })
    }

    /// The superblock of the verity tree, with which a machine can make the tree itself. It is
    /// the signed tree if the file has the signed hash; `None` if the release does not say.
    pub fn superblock(&self) -> Option<Superblock> {
        let custom = self.files[&Part::Verity].custom.get("verity")?;
        let info: TreeInfo = serde_json::from_value(custom.clone()).ok()?;
        let uuid: Guid = info.uuid.parse().ok()?;
        let salt = hex::decode(&info.salt).ok()?;
        Superblock::new(uuid, &salt, self.files[&Part::Root].length / BLOCK as u64).ok()
    }

    /// Bytes of all its files.
    pub fn size(&self) -> u64 {
        self.files.values().map(|file| file.length).sum()
    }
}

/// The releases among a channel's targets, the oldest first.
pub fn offers(
    channel: Channel,
    targets: &BTreeMap<String, TargetFile>,
) -> Vec<Result<Offer, OfferError>> {
    let ending = format!(".{}", Part::Manifest.extension());
    let manifests = targets.iter().filter(|(path, _)| path.ends_with(&ending));
    let mut offers: Vec<_> = manifests
        .map(|(path, manifest)| {
            read(channel, path, manifest, targets)
                .map_err(|reason| OfferError { path: path.clone(), reason })
        })
        .collect();
    offers.sort_by_key(|offer| offer.as_ref().map_or(0, |offer| offer.release.sequence));
    offers
}

fn read(
    channel: Channel,
    path: &str,
    manifest: &TargetFile,
    targets: &BTreeMap<String, TargetFile>,
) -> Result<Offer, String> {
    let custom = manifest.custom.get("release").ok_or("no `release` in its custom data")?;
    let release: Release =
        serde_json::from_value(custom.clone()).map_err(|error| error.to_string())?;
    if path != Part::Manifest.path(channel, &release.version) {
        return Err(format!("it speaks of version {}", release.version));
    }
    let mut files = BTreeMap::new();
    for part in Part::ALL {
        let path = part.path(channel, &release.version);
        let file = targets.get(&path).ok_or_else(|| format!("{path} is missing"))?;
        files.insert(part, file.clone());
    }
    let packs = packs(channel, &release.version, targets);
    Ok(Offer { channel, release, files, packs })
}

/// The packs of a release. What is none is passed over: there is another way to every part.
fn packs(channel: Channel, version: &Version, targets: &BTreeMap<String, TargetFile>) -> Vec<Pack> {
    let start = format!("{channel}/coreos_{version}.");
    let named = targets.range(start.clone()..).take_while(|(path, _)| path.starts_with(&start));
    named
        .filter_map(|(path, file)| {
            let custom = file.custom.get("pack")?;
            let info: PackInfo = serde_json::from_value(custom.clone()).ok()?;
            let fits = info.version == version.as_str() && info.path(channel) == *path;
            fits.then(|| Pack { info, path: path.clone(), file: file.clone() })
        })
        .collect()
}

impl View<'_> {
    /// The releases that a channel offers, the oldest first. What is no release is passed over.
    pub fn offers(&self, channel: Channel) -> Result<Vec<Offer>, ClientError> {
        let targets = self.targets_of(channel.name())?;
        let good = |offer: Result<Offer, OfferError>| match offer {
            Ok(offer) => Some(offer),
            Err(error) => {
                log::warn!("passing over a release: {error}");
                None
            }
        };
        Ok(offers(channel, &targets).into_iter().filter_map(good).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Repo;
    use serde_json::json;

    fn add(repo: &mut Repo, version: &str, custom: &serde_json::Value, parts: &[Part]) {
        for part in parts {
            let path = part.path(Channel::Beta, &version.parse().unwrap());
            repo.add_target("beta", &path, path.as_bytes());
            if *part == Part::Manifest {
                let file = repo.role("beta").targets.get_mut(&path).unwrap();
                file.custom = serde_json::from_value(custom.clone()).unwrap();
            }
        }
    }

    #[test]
    fn a_channel_offers_its_complete_releases_in_order() {
        let release = |version: &str, sequence: u64| {
            json!({"release": {
                "version": version, "sequence": sequence, "epoch": 1, "root_hash": "00",
                "published": "2027-01-01T00:00:00Z", "unknown": [1]
            }})
        };
        let mut repo = Repo::new();
        repo.delegate("targets", "beta", 9, &["beta/*"]);
        add(&mut repo, "1.10", &release("1.10", 3), &Part::ALL);
        add(&mut repo, "1.9", &release("1.9", 2), &Part::ALL);
        add(&mut repo, "1.8", &release("1.8", 1), &Part::ALL[1..]);
        add(&mut repo, "1.7", &release("1.6", 1), &Part::ALL);
        add(&mut repo, "1.5", &json!({}), &Part::ALL);
        add(&mut repo, "1.4", &json!({"release": {"version": "1.4"}}), &Part::ALL);
        repo.publish(&["beta", "targets", "snapshot", "timestamp"]);
        let store = repo.new_store();
        let view = repo.update(&store).unwrap();
        let good = view.offers(Channel::Beta).unwrap();
        let versions: Vec<_> = good.iter().map(|offer| offer.release.version.as_str()).collect();
        assert_eq!(versions, ["1.9", "1.10"]);
        let target = good[1].target(&view, Part::Root);
        assert_eq!(view.fetch(&target).unwrap(), b"beta/coreos_1.10.root");

        let all = offers(Channel::Beta, &view.targets_of("beta").unwrap());
        let mut errors: Vec<_> =
            all.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
        errors.sort();
        assert_eq!(errors.len(), 4);
        assert!(errors[0].starts_with("beta/coreos_1.4.manifest.json: missing field"));
        assert!(errors[1].ends_with("no `release` in its custom data"));
        assert!(errors[2].ends_with("it speaks of version 1.6"));
        assert!(errors[3].ends_with("beta/coreos_1.8.root is missing"));
        assert!(view.offers(Channel::Alpha).is_err());
    }
}
