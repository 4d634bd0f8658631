//! The packs of a release: which are to be made, and files with what is to be signed of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use disk::version::Version;
use serde_json::Map;

use super::packs::{self, Image, Packed};
use super::payload::file_of;
use super::{PublishError, Repository, State};
use crate::client::Target;
use crate::metadata::TargetFile;
use crate::offer::{Offer, PackInfo, PackSource, Part};
use crate::policy::Channel;

/// The parts that are packed: of the manifest there is little, and a machine makes the tree.
const PACKED: [Part; 2] = [Part::Root, Part::Uki];

/// The releases from which machines get a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchFrom {
    /// As many of the newest ones of the channel.
    Newest(usize),
    /// These.
    Versions(Vec<Version>),
}

/// How packs are made.
#[derive(Debug)]
pub struct Packing {
    /// For machines of which releases.
    pub from: PatchFrom,
    /// On how many cores.
    pub threads: NonZero<usize>,
}

/// A pack that was made.
#[derive(Debug)]
pub struct BuiltPack {
    /// What is to be signed of it.
    pub info: PackInfo,
    /// Size and hash of the file.
    pub file: TargetFile,
    /// Where it is.
    pub path: PathBuf,
}

impl PatchFrom {
    /// The old releases, the newest first, for a new release in a channel. Any channel's release
    /// can be named; one that is the new one is none.
    pub fn choose(
        &self,
        state: &State,
        channel: Channel,
        new: &Version,
    ) -> Result<Vec<Offer>, PublishError> {
        match self {
            PatchFrom::Newest(count) => {
                let mut offers = state.offers(channel);
                offers.retain(|offer| offer.release.version < *new);
                Ok(offers.into_iter().rev().take(*count).collect())
            }
            PatchFrom::Versions(versions) => {
                let find = |version: &Version| state.find(version.as_str());
                versions.iter().filter(|version| *version != new).map(find).collect()
            }
        }
    }
}

/// A release that is to be packed: where its parts are, with what is signed of them.
#[derive(Debug)]
pub struct Source<'a> {
    /// Its version.
    pub version: &'a Version,
    /// Its parts.
    pub parts: BTreeMap<Part, (PathBuf, TargetFile)>,
}

impl Packing {
    /// Makes the packs of a release in `scratch`: the frames if `frames` says so, and a patch
    /// from each old release. `report` is told what comes next.
    pub fn build(
        &self,
        repository: &Repository,
        new: &Source<'_>,
        frames: bool,
        old: &[Offer],
        scratch: &Path,
        report: &mut dyn FnMut(&str),
    ) -> Result<Vec<BuiltPack>, PublishError> {
        fs::create_dir_all(scratch).map_err(PublishError::file("create", scratch))?;
        let mut built = Vec::new();
        for part in PACKED {
            let (path, file) = &new.parts[&part];
            let open = |path: &Path| {
                let opened = File::open(path).and_then(|file| Image::open(file, part));
                opened.map_err(PublishError::file("read", path))
            };
            let image = open(path)?;
            if frames {
                let info = pack_info(new.version, part, None);
                report(&format!("{}: {}", info.file_name(), "compressing"));
                let pack = |out: &mut File| packs::frames(&image, self.threads, out);
                built.push(self.pack(scratch, info, path, file, pack)?);
            }
            for offer in old {
                let source = pack_source(offer, part);
                let target = Target::consistent(&offer.path(part), offer.files[&part].clone());
                let old_path = repository.target_path(&target);
                check(&old_path, &target)?;
                let old_image = open(&old_path)?;
                let id = id_bytes(&source.id);
                let info = pack_info(new.version, part, Some(source));
                report(&format!("{}: {}", info.file_name(), "comparing"));
                let pack = |out: &mut File| packs::patch(&old_image, id, &image, self.threads, out);
                built.push(self.pack(scratch, info, path, file, pack)?);
            }
        }
        Ok(built)
    }

    fn pack(
        &self,
        scratch: &Path,
        mut info: PackInfo,
        part_path: &Path,
        part: &TargetFile,
        pack: impl FnOnce(&mut File) -> io::Result<Packed>,
    ) -> Result<BuiltPack, PublishError> {
        let path = scratch.join(info.file_name());
        let written = File::create(&path).and_then(|mut file| {
            let packed = pack(&mut file)?;
            file.sync_all()?;
            Ok(packed)
        });
        let packed = written.map_err(PublishError::file("write", &path))?;
        if part.hashes.get_sha256() != Some(hex::encode(packed.part).as_str()) {
            return Err(PublishError::Changed { path: part_path.to_owned() });
        }
        info.index = packed.index.info();
        let mut file = file_of(&path)?;
        let value = serde_json::to_value(&info).expect("a pack has only strings for names");
        file.custom = Map::from_iter([("pack".to_owned(), value)]);
        Ok(BuiltPack { info, file, path })
    }
}

fn pack_info(version: &Version, part: Part, from: Option<PackSource>) -> PackInfo {
    let index = crate::payload::IndexInfo { length: 0, sha256: String::new() };
    PackInfo { version: version.to_string(), part: part.extension().to_owned(), index, from }
}

/// What a patch from a release's part starts from.
pub(super) fn pack_source(offer: &Offer, part: Part) -> PackSource {
    let id = match part {
        Part::Root => offer.release.root_hash.clone(),
        _ => offer.files[&part].hashes.get_sha256().unwrap_or_default().to_owned(),
    };
    PackSource { version: offer.release.version.to_string(), id }
}

fn id_bytes(id: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    // Both hashes were made by this program from 32 bytes.
    let _ = hex::decode_to_slice(id, &mut bytes);
    bytes
}

/// Nothing is to be built upon a file that has rotted.
fn check(path: &Path, target: &Target) -> Result<(), PublishError> {
    let file = File::open(path).map_err(PublishError::file("read", path))?;
    let mut checked = target.check(file);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match checked.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(PublishError::Changed { path: path.to_owned() }),
        }
    }
}
