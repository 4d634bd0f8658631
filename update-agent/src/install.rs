//! Writes a release beside the running one.
//!
//! ```text
//! space → verity tree → slot emptied → blocks → read back → tree → read back
//!       → partition table → UKI under another name → read back → renamed: it will boot
//! ```
//!
//! Each step is durable before the next begins, and until the last one nothing that the boot
//! loader looks at has changed but that the slot's own old entry is gone. The running slot and
//! its boot entry are never touched.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use channels::client::{Target, View};
use channels::fetch::FetchError;
use channels::offer::{Offer, Part};
use channels::payload::{Decoder, SEGMENT};
use disk::entry::{Entry, Tries};
use disk::verity::{BLOCK, RootHash, Superblock, VerityError};
use disk::version::Version;
use nix::sys::statvfs::statvfs;

use crate::blocks::{self, BlocksError, Fill, Tally};
use crate::device::Region;
use crate::esp::{self, Entries, PENDING};
use crate::patched::{self, Medium, Patch};
use crate::payload::{Forms, Payload, SegmentError};
use crate::slots::{Slots, SlotsError};
use crate::source::{PIECE, Source};
use crate::tree::{FetchWholeError, Index, TreeError, VerifiedTree, fetch_whole};

/// What FAT needs beside the files: directory entries, and the end of the last cluster.
const ESP_RESERVE: u64 = 1 << 20;

/// The files of a release that a machine needs, trusted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its version.
    pub version: Version,
    /// The hash over its root.
    pub root_hash: RootHash,
    /// The root.
    pub root: Forms,
    /// The verity tree over it.
    pub verity: Target,
    /// What the tree's superblock is, so that the tree can be made.
    pub superblock: Option<Superblock>,
    /// Its boot entry.
    pub uki: Forms,
    /// How often it is tried.
    pub tries: u32,
}

impl Wanted {
    /// What is needed of an offered release by a machine that runs the root of `running` and was
    /// booted by an entry with the SHA-256 `entry`.
    pub fn of(
        offer: &Offer,
        view: &View<'_>,
        running: &RootHash,
        entry: Option<&str>,
        tries: u32,
    ) -> Result<Wanted, InstallError> {
        let root_hash = offer.release.root_hash.parse().map_err(|_| {
            let reason = format!("`{}` is no root hash", offer.release.root_hash);
            InstallError::Inconsistent { reason }
        })?;
        Ok(Wanted {
            version: offer.release.version.clone(),
            root_hash,
            root: Forms::of(offer, view, Part::Root, Some(&running.to_string())),
            verity: offer.target(view, Part::Verity),
            superblock: offer.superblock(),
            uki: Forms::of(offer, view, Part::Uki, entry),
            tries,
        })
    }
}

/// Where it is written to.
#[derive(Debug)]
pub struct Site<'a, E> {
    /// The disk.
    pub slots: &'a Slots,
    /// The boot entries.
    pub entries: &'a E,
    /// A directory on the state for what is needed meanwhile.
    pub staging: &'a Path,
    /// The version that runs.
    pub running: &'a Version,
    /// Whether an earlier attempt has begun to write the same release.
    pub resume: bool,
    /// Set to make it stop.
    pub stop: &'a AtomicBool,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The tree is fetched.
    Tree,
    /// Blocks are copied and fetched.
    Blocks,
    /// Everything is read back from the disk.
    Verify,
    /// Partition table and boot entry.
    Finish,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Blocks done in this phase.
    pub done: u64,
    /// Blocks to be done in this phase.
    pub total: u64,
}

/// Why a release was not written. What ran before still boots.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It does not fit.
    #[error("the release needs {needed} bytes {place}, and there are {there}")]
    NoSpace {
        /// Where.
        place: &'static str,
        /// What it needs.
        needed: u64,
        /// What there is.
        there: u64,
    },
    /// Its parts do not belong together.
    #[error("the parts of the release do not belong together: {reason}")]
    Inconsistent {
        /// How that shows.
        reason: String,
    },
    /// The running system has no boot entry, or two.
    #[error("{0}")]
    Entry(String),
    /// The tree could not be had.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The blocks could not be written.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The slots cannot be used.
    #[error(transparent)]
    Slots(#[from] SlotsError),
    /// The boot entry could not be fetched.
    #[error("cannot fetch the boot entry")]
    Uki(#[source] FetchWholeError),
    /// A segment of it could not be had in any form.
    #[error("cannot get segment {segment} of the boot entry")]
    UkiSegment {
        /// Its number.
        segment: usize,
        /// Why.
        source: SegmentError,
    },
    /// The tree could not be made.
    #[error("cannot make the verity tree of what was written")]
    MakeTree(#[source] VerityError),
    /// The plain root has no address.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The boot partition could not be read or written.
    #[error("cannot {action} on the boot partition")]
    Esp {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The boot entry reads back differently.
    #[error(
        "the boot entry reads back from the disk other than it was written; the disk is failing"
    )]
    UkiReadBack,
    /// The state cannot be used.
    #[error("cannot use {path}", path = path.display())]
    Staging {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// Where the blocks came from.
    pub tally: Tally,
    /// Bytes fetched.
    pub fetched: u64,
}

/// Writes all of the release but the name of its boot entry: [`activate`] does that, once the
/// caller has written down what is about to be tried.
pub fn install<E: Entries>(
    wanted: &Wanted,
    site: &Site<'_, E>,
    source: &Source,
    progress: &mut dyn FnMut(Progress),
) -> Result<Installed, InstallError> {
    check_space(wanted, site)?;
    let blocks = wanted.root.plain.file.length / BLOCK;
    let mut phase = |phase, done| progress(Progress { phase, done, total: blocks });

    phase(Phase::Tree, 0);
    let before = source.fetched();
    let payload = Payload::new(source, &wanted.root)?;
    let (running, other) = (&site.slots.running, &site.slots.other);
    let tally = match (payload.patch_index(), &wanted.superblock) {
        (Some(index), Some(superblock)) if superblock.data_blocks == blocks => {
            empty_slot(site)?;
            let (target, resume, stop) = (&other.root, site.resume, site.stop);
            let patch =
                Patch { payload: &payload, index, running: &running.root, target, resume, stop };
            let tally = patch.run(&mut |done| phase(Phase::Blocks, done))?;
            let mut told = |done| phase(Phase::Verify, done);
            let root =
                other.root.part(0, blocks * BLOCK).map_err(blocks::disk_error("read", "other"))?;
            let made = patched::make_tree(superblock, &root, &other.verity, &mut told)
                .map_err(InstallError::MakeTree)?;
            if made != wanted.root_hash {
                // Every segment was right when it was written.
                return Err(BlocksError::ReadBackRoot.into());
            }
            tally
        }
        _ => {
            let tree = obtain_tree(wanted, site, source)?;
            empty_slot(site)?;
            let tally = fill_by_tree(site, &tree, &payload, &mut phase)?;
            write_tree(&tree, &other.verity)?;
            // Nothing depends on it any more; what stays is removed with the next release.
            let _ = tree.discard();
            tally
        }
    };
    phase(Phase::Finish, 0);
    check_tree(wanted, &other.verity)?;
    site.slots.label_other(Some(&wanted.root_hash))?;
    write_entry(wanted, site, source)?;
    phase(Phase::Finish, blocks);
    Ok(Installed { tally, fetched: source.fetched() - before })
}

/// Fills the slot from any release: by comparing verity trees.
fn fill_by_tree<E>(
    site: &Site<'_, E>,
    tree: &VerifiedTree,
    payload: &Payload<'_>,
    phase: &mut dyn FnMut(Phase, u64),
) -> Result<Tally, InstallError> {
    let (index, _) = Index::read(&site.slots.running.verity)
        .inspect_err(|error| log::warn!("the running slot's tree cannot be read: {error}"))
        .unwrap_or_else(|_| (Index::default(), tree.superblock.clone()));
    let root = &site.slots.other.root;
    let fill = Fill {
        tree,
        running: &site.slots.running.root,
        index: &index,
        target: root,
        payload,
        resume: site.resume,
        stop: site.stop,
    };
    let tally = fill.run(&mut |done| phase(Phase::Blocks, done))?;
    blocks::read_back(tree, root, site.stop, &mut |done| phase(Phase::Verify, done))?;
    Ok(tally)
}

/// Reads superblock and tree back from the medium: they must be the ones that are signed.
fn check_tree(wanted: &Wanted, partition: &Region) -> Result<(), InstallError> {
    let length = wanted.verity.file.length;
    let whole = length.next_multiple_of(BLOCK);
    let region = partition.part(0, whole).map_err(blocks::disk_error("read", "other"))?;
    let mut ignore = |_| ();
    let medium = Medium::new(&region, &mut ignore).take(length);
    match io::copy(&mut wanted.verity.check(medium), &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(BlocksError::ReadBackRoot.into())
        }
        Err(error) => Err(blocks::disk_error("read", "other")(error).into()),
    }
}

/// Everything that can be known to be too small, before the first byte is written.
fn check_space<E: Entries>(wanted: &Wanted, site: &Site<'_, E>) -> Result<(), InstallError> {
    let fits = |place, needed, there| match needed <= there {
        true => Ok(()),
        false => Err(InstallError::NoSpace { place, needed, there }),
    };
    let other = &site.slots.other;
    let (root, verity) = (wanted.root.plain.file.length, wanted.verity.file.length);
    fits("in the slot's root partition", root, other.root.size())?;
    fits("in the slot's verity partition", verity, other.verity.size())?;
    let esp = |action| move |source| InstallError::Esp { action, source };
    let files = site.entries.list().map_err(esp("list the entries"))?;
    own_entry(&files, site.running)?;
    let freed: u64 = files
        .iter()
        .filter(|file| is_obsolete(&file.name, site.running))
        .map(|file| file.size)
        .sum();
    let free = site.entries.free().map_err(esp("find the free space"))?;
    fits("on the boot partition", wanted.uki.plain.file.length + ESP_RESERVE, free + freed)?;
    if wanted.root.patch.is_some() && wanted.superblock.is_some() {
        return Ok(());
    }
    let staging = |source| InstallError::Staging { path: site.staging.to_owned(), source };
    fs::create_dir_all(site.staging).map_err(staging)?;
    let stat = statvfs(site.staging).map_err(|error| staging(error.into()))?;
    fits(
        "on the state partition",
        verity + ESP_RESERVE,
        stat.blocks_available() * stat.fragment_size(),
    )
}

/// The name of the running system's boot entry, which must be the only one of its version: the
/// boot loader and systemd-bless-boot would take one for the other.
fn own_entry(files: &[esp::Listed], running: &Version) -> Result<String, InstallError> {
    let mut own = esp::entries(files).into_iter().filter(|(entry, _)| entry.version == *running);
    match (own.next(), own.next()) {
        (Some((_, name)), None) => Ok(name),
        (None, _) => Err(InstallError::Entry(format!(
            "the boot partition has no entry of the running version {running}: if this release \
             failed, nothing would boot"
        ))),
        (Some((_, first)), Some((_, second))) => Err(InstallError::Entry(format!(
            "the boot partition has two entries of the running version, {first} and {second}; \
             remove the one that is not booted"
        ))),
    }
}

/// Whether a file beside the boot entries goes when the other slot is written.
fn is_obsolete(name: &str, running: &Version) -> bool {
    name == PENDING || Entry::parse(name).is_some_and(|entry| entry.version != *running)
}

fn obtain_tree<E>(
    wanted: &Wanted,
    site: &Site<'_, E>,
    source: &Source,
) -> Result<VerifiedTree, InstallError> {
    let path = site.staging.join(format!("{}.verity", wanted.root_hash));
    let staging = |source| InstallError::Staging { path: site.staging.to_owned(), source };
    fs::create_dir_all(site.staging).map_err(staging)?;
    for entry in fs::read_dir(site.staging).map_err(staging)? {
        let other = entry.map_err(staging)?.path();
        if other != path {
            fs::remove_file(&other).map_err(staging)?;
        }
    }
    let tree = VerifiedTree::obtain(source, &wanted.verity, &wanted.root_hash, &path)?;
    if tree.blocks() * BLOCK != wanted.root.plain.file.length {
        let _ = tree.discard();
        let reason = "the tree is over another number of blocks than the root has".to_owned();
        return Err(InstallError::Inconsistent { reason });
    }
    Ok(tree)
}

/// Makes sure that nothing boots from the slot while it is written: first its boot entries go,
/// then the partition table says that it is empty.
fn empty_slot<E: Entries>(site: &Site<'_, E>) -> Result<(), InstallError> {
    let esp = |action| move |source| InstallError::Esp { action, source };
    for file in site.entries.list().map_err(esp("list the entries"))? {
        if is_obsolete(&file.name, site.running) {
            site.entries.remove(&file.name).map_err(esp("remove an old entry"))?;
        }
    }
    Ok(site.slots.label_other(None)?)
}

/// Writes superblock and tree to their partition.
fn write_tree(tree: &VerifiedTree, partition: &Region) -> Result<(), InstallError> {
    let mut piece = vec![0; PIECE as usize];
    let mut at = 0;
    while at < tree.size {
        let bytes = &mut piece[..(tree.size - at).min(PIECE) as usize];
        tree.read_at(bytes, at).map_err(BlocksError::Tree)?;
        partition.write_at(bytes, at).map_err(blocks::disk_error("write", "other"))?;
        at += bytes.len() as u64;
    }
    Ok(partition.flush().map_err(blocks::disk_error("write", "other"))?)
}

/// Gives the boot entry its name: the one step that makes the release bootable.
pub fn activate<E: Entries>(wanted: &Wanted, site: &Site<'_, E>) -> Result<String, InstallError> {
    let tries = Some(Tries { left: wanted.tries, done: 0 });
    let name = Entry { version: wanted.version.clone(), tries }.to_string();
    let esp = |source| InstallError::Esp { action: "name the boot entry", source };
    site.entries.rename(PENDING, &name).map_err(esp)?;
    Ok(name)
}

/// Fetches the boot entry under a name that does not boot, and reads it back.
fn write_entry<E: Entries>(
    wanted: &Wanted,
    site: &Site<'_, E>,
    source: &Source,
) -> Result<(), InstallError> {
    let esp = |action| move |source| InstallError::Esp { action, source };
    let mut file = site.entries.create(PENDING).map_err(esp("begin a file"))?;
    let fetched = fetch_entry(wanted, site, source, &mut *file);
    drop(file);
    if let Err(error) = fetched {
        // Space that a later attempt, or somebody else, may need.
        let _ = site.entries.remove(PENDING);
        return Err(error);
    }
    site.entries.sync(PENDING).map_err(esp("make the boot entry durable"))?;
    if !entry_is(site.entries, PENDING, &wanted.uki.plain).map_err(esp("read the boot entry"))? {
        let _ = site.entries.remove(PENDING);
        return Err(InstallError::UkiReadBack);
    }
    Ok(())
}

/// Fetches the boot entry: as a patch of the running one, or whole.
fn fetch_entry<E: Entries>(
    wanted: &Wanted,
    site: &Site<'_, E>,
    source: &Source,
    file: &mut dyn Write,
) -> Result<(), InstallError> {
    let esp = |action| move |source| InstallError::Esp { action, source };
    let take = esp("write the boot entry");
    let payload = Payload::new(source, &wanted.uki)?;
    let Some(index) = payload.patch_index() else {
        return fetch_whole(source, &wanted.uki.plain, |piece| file.write_all(piece))
            .and_then(|()| file.flush().map_err(FetchWholeError::Take))
            .map_err(InstallError::Uki);
    };
    let files = site.entries.list().map_err(esp("list the entries"))?;
    let name = own_entry(&files, site.running)?;
    let old = site.entries.open_at(&name).map_err(esp("read the running boot entry"))?;
    let mut decoder = Decoder::new();
    let mut out = vec![0; SEGMENT];
    for segment in 0..index.len() {
        let out = &mut out[..payload.segment_length(segment)];
        let record = payload.fetch_record(segment);
        payload
            .patched(segment, record, &*old, &mut decoder, out)
            .map_err(|source| InstallError::UkiSegment { segment, source })?;
        file.write_all(out).map_err(take)?;
    }
    file.flush().map_err(take)
}

/// Whether a file beside the boot entries is what a target says.
fn entry_is(entries: &impl Entries, name: &str, target: &Target) -> io::Result<bool> {
    let mut file = target.check(entries.open(name)?);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
