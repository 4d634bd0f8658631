//! What differs between two builds or releases: packages and the faults that their changelogs say
//! were mended, files, sizes, and how much a machine would fetch.
//!
//! two directories → [`Side`]s → [`compare`] → [`Difference`] → text or JSON
//!
//! What a machine fetches is counted as it counts: the blocks of the new root whose SHA-256 the old
//! verity tree does not have, the new tree, and the new UKI.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use disk::erofs::{self, BLOCK, Found, ReadError, Stream};
use disk::verity::{Superblock, VerityError};
use serde::Serialize;

use crate::bill::Bill;
use crate::export;
use crate::progress::Size;
use crate::release::Release;

/// Bytes of a hash in the tree.
const HASH: usize = 32;

/// Why two builds cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory is none of a build.
    #[error(transparent)]
    NoBuild(#[from] export::Error),
    /// A file of a build cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A root cannot be read.
    #[error("cannot read the root {path}")]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// A verity tree cannot be read.
    #[error("cannot read the verity tree {path}")]
    Verity {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: VerityError,
    },
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The versions.
    pub version: Change<String>,
    /// The kernels.
    pub kernel: Change<String>,
    /// The kernel command lines, without the root hash.
    pub cmdline: Change<String>,
    /// Packages that are not the same.
    pub packages: Vec<Package>,
    /// Files that are not the same.
    pub files: Vec<Entry>,
    /// Bytes of the roots.
    pub root: Change<u64>,
    /// Bytes of the UKIs.
    pub uki: Change<u64>,
    /// What a machine with the old one fetches.
    pub download: Download,
}

/// Before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// Of the first.
    pub old: T,
    /// Of the second.
    pub new: T,
}

/// A package that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version before; none if it is new.
    pub old: Option<String>,
    /// Its version after; none if it is gone.
    pub new: Option<String>,
    /// Faults that the versions between mended.
    pub fixes: Vec<String>,
}

/// A file that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// What became of it.
    pub what: What,
    /// Bytes before and after.
    pub size: Change<u64>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has other bytes.
    Changed,
    /// It has another owner, mode or type.
    Meta,
}

/// Bytes to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Download {
    /// Blocks of the root that the old one does not have.
    pub blocks: u64,
    /// Their bytes.
    pub root: u64,
    /// The verity tree.
    pub verity: u64,
    /// The UKI.
    pub uki: u64,
}

impl Download {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.root + self.verity + self.uki
    }
}

/// One of the two.
struct Side {
    release: Release,
    bill: Option<Bill>,
    root: File,
    root_path: PathBuf,
    files: BTreeMap<String, Found>,
    /// The hashes of the root's blocks, in their order.
    hashes: Vec<[u8; HASH]>,
}

impl Side {
    fn open(directory: &Path) -> Result<Side, Error> {
        let release = export::release_in(directory)?;
        let path = |file: &str| directory.join(file);
        let open = |path: &PathBuf| {
            File::open(path).map_err(|source| Error::Read { path: path.clone(), source })
        };
        let root_path = path(&release.parts.root.file);
        let root = open(&root_path)?;
        let files =
            erofs::list(&root).map_err(|source| Error::Root { path: root_path.clone(), source })?;
        let verity_path = path(&release.parts.verity.file);
        let hashes = leaves(&open(&verity_path)?)
            .map_err(|source| Error::Verity { path: verity_path.clone(), source })?;
        let bill_path = path(&format!("coreos_{}.packages.json", release.version));
        let bill = match fs::read(&bill_path) {
            // A release of before there were bills still has its packages in the manifest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Read { path: bill_path, source }),
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
        };
        Ok(Side { release, bill, root, root_path, files, hashes })
    }
}

/// The hashes of all data blocks in a verity tree: its lowest level, which is its end.
fn leaves(verity: &File) -> Result<Vec<[u8; HASH]>, VerityError> {
    let superblock = Superblock::read(&mut &*verity)?;
    let blocks = superblock.data_blocks;
    let per_block = BLOCK / HASH as u64;
    // A tree of one block has no level: its hash is the root hash, and nothing is shared.
    if blocks < 2 {
        return Ok(Vec::new());
    }
    let level = blocks.div_ceil(per_block) * BLOCK;
    let read = |source| VerityError::ReadData { source };
    let size = verity.metadata().map_err(read)?.len();
    let start = disk::verity::partition_size(blocks).saturating_sub(level);
    if start.saturating_add(level) > size {
        return Err(VerityError::DataTooShort { blocks });
    }
    let mut bytes = vec![0; level as usize];
    verity.read_exact_at(&mut bytes, start).map_err(read)?;
    let hashes = bytes.chunks_exact(HASH).take(blocks as usize);
    Ok(hashes.map(|hash| hash.try_into().expect("32 bytes")).collect())
}

/// Compares the builds in two directories.
pub fn compare(old: &Path, new: &Path) -> Result<Difference, Error> {
    let (old, new) = (Side::open(old)?, Side::open(new)?);
    let known: HashSet<&[u8; HASH]> = old.hashes.iter().collect();
    // A block that the new root has twice is fetched once.
    let wanted: HashSet<&[u8; HASH]> = new.hashes.iter().collect();
    let blocks = wanted.difference(&known).count() as u64;
    let change =
        |of: fn(&Release) -> String| Change { old: of(&old.release), new: of(&new.release) };
    let size = |of: fn(&Release) -> u64| Change { old: of(&old.release), new: of(&new.release) };
    Ok(Difference {
        version: change(|release| release.version.clone()),
        kernel: change(|release| release.kernel.clone()),
        cmdline: change(|release| {
            let words = release.cmdline.split_whitespace();
            words.filter(|word| !word.starts_with("roothash=")).collect::<Vec<_>>().join(" ")
        }),
        packages: packages(&old, &new),
        files: files(&old, &new)?,
        root: size(|release| release.parts.root.size),
        uki: size(|release| release.parts.uki.size),
        download: Download {
            blocks,
            root: blocks * BLOCK,
            verity: new.release.parts.verity.size,
            uki: if old.release.parts.uki.sha256 == new.release.parts.uki.sha256 {
                0
            } else {
                new.release.parts.uki.size
            },
        },
    })
}

fn packages(old: &Side, new: &Side) -> Vec<Package> {
    let (before, after) = (&old.release.packages, &new.release.packages);
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let (old_version, new_version) = (before.get(name), after.get(name));
            let fixes = match (old_version, &new.bill) {
                (Some(old_version), Some(bill)) => {
                    fixes(name, old_version, bill, old.bill.as_ref())
                }
                _ => Vec::new(),
            };
            Package {
                name: name.clone(),
                old: old_version.cloned(),
                new: new_version.cloned(),
                fixes,
            }
        })
        .collect()
}

/// The faults that versions mended which the old package did not have: those of the new changelog
/// down to the old version, less those that the old changelog names too.
fn fixes(name: &str, old_version: &str, new: &Bill, old: Option<&Bill>) -> Vec<String> {
    let Some(item) = new.packages.get(name) else { return Vec::new() };
    let known: HashSet<&String> = old
        .and_then(|bill| bill.packages.get(name))
        .map(|item| item.fixes.iter().flat_map(|fixes| &fixes.cves).collect())
        .unwrap_or_default();
    // Binary versions carry a suffix for rebuilds that no changelog of the source has.
    let same = |version: &str| {
        let old = old_version.split("+b").next().unwrap_or(old_version);
        version == old_version || version == old
    };
    let between = item.fixes.iter().take_while(|fixes| !same(&fixes.version));
    let mut cves: Vec<String> =
        between.flat_map(|fixes| &fixes.cves).filter(|cve| !known.contains(cve)).cloned().collect();
    cves.sort();
    cves.dedup();
    cves
}

fn files(old: &Side, new: &Side) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut paths: Vec<&String> = old.files.keys().chain(new.files.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let (before, after) = (old.files.get(path), new.files.get(path));
        let what = match (before, after) {
            (None, _) => What::Added,
            (_, None) => What::Removed,
            (Some(a), Some(b)) if (a.mode, a.uid, a.gid) != (b.mode, b.uid, b.gid) => What::Meta,
            (Some(a), Some(b)) if !same_bytes(old, a, new, b)? => What::Changed,
            _ => continue,
        };
        let size = |node: Option<&Found>| {
            node.filter(|node| !node.data.is_empty()).map_or(0, |node| node.size)
        };
        entries.push(Entry {
            path: path.clone(),
            what,
            size: Change { old: size(before), new: size(after) },
        });
    }
    Ok(entries)
}

/// Whether two files have the same bytes; directories always do.
fn same_bytes(old: &Side, a: &Found, new: &Side, b: &Found) -> Result<bool, Error> {
    if a.mode & 0o170_000 == 0o040_000 {
        return Ok(true);
    }
    if a.size != b.size {
        return Ok(false);
    }
    let (mut first, mut second) = (Stream::new(&old.root, a), Stream::new(&new.root, b));
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let failed = |side: &Side, source| Error::Read { path: side.root_path.clone(), source };
    let mut rest = if a.data.is_empty() { 0 } else { a.size };
    while rest > 0 {
        let count = rest.min(left.len() as u64) as usize;
        first.read_exact(&mut left[..count]).map_err(|source| failed(old, source))?;
        second.read_exact(&mut right[..count]).map_err(|source| failed(new, source))?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
        rest -= count as u64;
    }
    Ok(true)
}

/// A difference for people; with every file if `all` is set.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What is shown.
    pub difference: &'a Difference,
    /// Whether every file is named.
    pub all: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { version, kernel, cmdline, packages, files, root, uki, download } =
            self.difference;
        writeln!(out, "version {} → {}", version.old, version.new)?;
        if kernel.old != kernel.new {
            writeln!(out, "kernel {} → {}", kernel.old, kernel.new)?;
        }
        if cmdline.old != cmdline.new {
            writeln!(out, "command line\n  - {}\n  + {}", cmdline.old, cmdline.new)?;
        }
        let count = |kind: fn(&Package) -> bool| packages.iter().filter(|p| kind(p)).count();
        writeln!(
            out,
            "packages: {} changed, {} added, {} removed",
            count(|package| package.old.is_some() && package.new.is_some()),
            count(|package| package.old.is_none()),
            count(|package| package.new.is_none())
        )?;
        for Package { name, old, new, fixes } in packages {
            let none = "–".to_owned();
            let (old, new) = (old.as_ref().unwrap_or(&none), new.as_ref().unwrap_or(&none));
            let fixes = if fixes.is_empty() {
                String::new()
            } else {
                format!("  mends {}", fixes.join(", "))
            };
            writeln!(out, "  {name} {old} → {new}{fixes}")?;
        }
        let count = |what: What| files.iter().filter(|entry| entry.what == what).count();
        writeln!(
            out,
            "files: {} changed, {} added, {} removed, {} with another owner, mode or type",
            count(What::Changed),
            count(What::Added),
            count(What::Removed),
            count(What::Meta)
        )?;
        if self.all {
            for Entry { path, what, size } in files {
                let sign = match what {
                    What::Added => '+',
                    What::Removed => '-',
                    What::Changed => '~',
                    What::Meta => '!',
                };
                writeln!(out, "  {sign} {path} {} → {}", Size(size.old), Size(size.new))?;
            }
        }
        writeln!(out, "root {} → {}", Size(root.old), Size(root.new))?;
        writeln!(out, "UKI {} → {}", Size(uki.old), Size(uki.new))?;
        let percent = download.root as f64 * 100.0 / root.new.max(1) as f64;
        write!(
            out,
            "a machine fetches {}: {} of the root ({percent:.1} %), {} verity tree, {} UKI",
            Size(download.total()),
            Size(download.root),
            Size(download.verity),
            Size(download.uki)
        )
    }
}
