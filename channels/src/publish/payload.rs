//! A release as the image builder leaves it: a directory with a manifest and its parts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use disk::verity::{self, RootHash, Superblock};
use disk::version::Version;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::PublishError;
use crate::metadata::{Hashes, TargetFile};
use crate::offer::{Part, TreeInfo};

/// The largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 8 << 20;

/// What the builder says of a release; what we do not need is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// The version.
    pub version: String,
    /// The root hash of the verity tree.
    pub root_hash: String,
    /// The parts, by the names `root`, `verity` and `uki`.
    parts: BTreeMap<String, ManifestPart>,
    /// Versions of the packages by their names.
    #[serde(default, deserialize_with = "read_packages")]
    pub packages: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ManifestPart {
    #[serde(default)]
    file: Option<String>,
    size: u64,
    /// None of the root, for which the root hash stands.
    #[serde(default)]
    sha256: Option<String>,
}

/// A map of versions by names, or a list of objects with both.
fn read_packages<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Packages {
        Map(BTreeMap<String, String>),
        List(Vec<Package>),
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    Ok(match Packages::deserialize(deserializer)? {
        Packages::Map(map) => map,
        Packages::List(list) => {
            list.into_iter().map(|package| (package.name, package.version)).collect()
        }
    })
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    fn part(&self, part: Part) -> Option<&ManifestPart> {
        let names: &[&str] = match part {
            Part::Root => &["root"],
            Part::Verity => &["verity"],
            Part::Uki => &["uki", "efi"],
            Part::Manifest => &[],
        };
        names.iter().find_map(|name| self.parts.get(*name))
    }
}

/// A release that is complete and consistent.
#[derive(Debug)]
pub struct Payload {
    /// Its version.
    pub version: Version,
    /// Its root hash.
    pub root_hash: RootHash,
    /// Its files, with what is to be signed of them.
    pub files: BTreeMap<Part, (PathBuf, TargetFile)>,
}

impl Payload {
    /// Reads a release directory and checks everything that can be: sizes and hashes, and that
    /// the tree is the one over the root.
    pub fn read(directory: &Path) -> Result<Payload, PublishError> {
        let wrong = |reason: String| PublishError::Release { path: directory.to_owned(), reason };
        let path = find_manifest(directory)?;
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_MANIFEST).read_to_end(&mut bytes))
            .map_err(PublishError::file("read", &path))?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|error| wrong(format!("its manifest cannot be read: {error}")))?;
        let version: Version =
            manifest.version.parse().map_err(|error| wrong(format!("{error}")))?;
        let root_hash: RootHash =
            manifest.root_hash.parse().map_err(|error| wrong(format!("{error}")))?;
        let name = Part::Manifest.file_name(&version);
        if path.file_name().is_none_or(|found| found != name.as_str()) {
            return Err(wrong(format!("the manifest of version {version} must be named {name}")));
        }

        let mut files = BTreeMap::from([(Part::Manifest, (path.clone(), file_of(&path)?))]);
        for part in [Part::Root, Part::Verity, Part::Uki] {
            let name = part.file_name(&version);
            let Some(said) = manifest.part(part) else {
                return Err(wrong(format!("its manifest does not speak of {name}")));
            };
            if said.file.as_ref().is_some_and(|said| *said != name) {
                return Err(wrong(format!("its manifest has another name for {name}")));
            }
            let path = directory.join(&name);
            let file = file_of(&path)?;
            let hash = said.sha256.as_deref();
            if hash.is_none() && part != Part::Root {
                return Err(wrong(format!("its manifest has no SHA-256 of {name}")));
            }
            if file.length != said.size
                || hash.is_some_and(|hash| file.hashes.get_sha256() != Some(hash))
            {
                return Err(wrong(format!("{name} is not the file that its manifest speaks of")));
            }
            files.insert(part, (path, file));
        }
        let superblock =
            check_tree(&files[&Part::Root].0, &files[&Part::Verity].0, root_hash).map_err(wrong)?;
        if let Some((_, tree)) = files.get_mut(&Part::Verity) {
            let salt = hex::encode(&superblock.salt);
            let info = TreeInfo { uuid: superblock.uuid.to_string(), salt };
            let value = serde_json::to_value(info).expect("only strings for names");
            tree.custom.insert("verity".to_owned(), value);
        }
        Ok(Payload { version, root_hash, files })
    }
}

fn find_manifest(directory: &Path) -> Result<PathBuf, PublishError> {
    let read = || PublishError::file("read", directory);
    let ending = format!(".{}", Part::Manifest.extension());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(read())? {
        let path = entry.map_err(read())?.path();
        if path.to_string_lossy().ends_with(&ending) {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        count => {
            let reason = format!("{count} files in it end in {ending}, there must be one");
            Err(PublishError::Release { path: directory.to_owned(), reason })
        }
    }
}

/// Size and hash of a file.
pub(super) fn file_of(path: &Path) -> Result<TargetFile, PublishError> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).map_err(PublishError::file("read", path))?;
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        match file.read(&mut buffer).map_err(PublishError::file("read", path))? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                length += count as u64;
            }
        }
    }
    let hashes = Hashes::sha256(&hasher.finalize().into());
    Ok(TargetFile { length, hashes, custom: serde_json::Map::new() })
}

/// Checks that the tree is the one over the root and has the root hash: with any other, machines
/// would boot to I/O errors.
fn check_tree(root: &Path, tree: &Path, expected: RootHash) -> Result<Superblock, String> {
    let show = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let stored = fs::read(tree).map_err(|error| show(tree, &error))?;
    let superblock =
        Superblock::read(&mut Cursor::new(&stored)).map_err(|error| show(tree, &error))?;
    let mut data = File::open(root).map_err(|error| show(root, &error))?;
    let size = data.metadata().map_err(|error| show(root, &error))?.len();
    if superblock.data_size() != size {
        return Err(format!(
            "the verity tree is over {} bytes, the root has {size}",
            superblock.data_size()
        ));
    }
    let mut built = Cursor::new(Vec::with_capacity(stored.len()));
    let hash = verity::build(&superblock, &mut io::BufReader::new(&mut data), &mut built)
        .map_err(|error| show(root, &error))?;
    if hash != expected {
        return Err(format!("the root hash is {hash}, not {expected} as its manifest says"));
    }
    if built.into_inner() != stored {
        return Err("the verity tree is not the one over the root".to_owned());
    }
    Ok(superblock)
}
