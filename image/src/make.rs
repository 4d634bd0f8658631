//! From a finished root tree to the files of a release and the disks.
//!
//! ```text
//! tree ─┬─ EROFS ── verity ── root hash ─┐
//!       └─ initrd ───────────────────── UKI ── disk ─┬─ raw
//!                                                    └─ qcow2
//! ```
//!
//! What does not wait for each other runs at the same time. Everything is
//! written into the scratch directory, under the names it will have.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use disk::entry::Entry;
use disk::guid::Guid;
use disk::layout::Sizes;
use disk::verity::{self, RootHash, Superblock, VerityError};
use disk::version::Version;
use sha2::{Digest as _, Sha256};

use crate::assemble;
use crate::contents::Contents;
use crate::earlier::Earlier;
use crate::erofs;
use crate::esp;
use crate::initrd;
use crate::manifest::{Compression, Enroll, Manifest};
use crate::patch::Patch;
use crate::progress::{Progress, Size, Stage};
use crate::release::{Names, Part, Parts};
use crate::scratch::Scratch;
use crate::tree::finish::Kernel;
use crate::tree::{Kind, Tree};
use crate::{digest, qcow2, raw, secure_boot, uki};

/// Where systemd's packages put what runs before the kernel.
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const BOOT_LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const OS_RELEASE: &str = "usr/lib/os-release";

/// What is made, beside the tree.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// What the image is made of.
    pub manifest: &'a Manifest,
    /// The version of the system.
    pub version: &'a Version,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The machine's first program.
    pub program: &'a Path,
    /// The time that the root's files carry.
    pub epoch: u64,
    /// The files of the root that differ from build to build.
    pub last: &'a BTreeSet<String>,
    /// Whether the disk is written for QEMU too.
    pub qcow2: bool,
    /// Whose signatures boot loader and UKI carry, and when machines take the keys.
    pub secure_boot: Option<(&'a secure_boot::Directory, Enroll)>,
    /// The build before this one.
    pub earlier: Option<&'a Earlier>,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The parts of the release.
    pub parts: Parts,
    /// The hash over the root.
    pub root_hash: RootHash,
    /// The kernel command line.
    pub cmdline: String,
}

/// Why there is no release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk that is written to is full.
    #[error("no space left for {path}; a build needs about 3 GB there")]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The tree lacks a file.
    #[error("the root tree has no file {path}; is its package in the manifest?")]
    Missing {
        /// Its path.
        path: String,
    },
    /// The root file system cannot be made.
    #[error("cannot make the root file system")]
    Erofs(#[source] erofs::Error),
    /// The verity tree cannot be made.
    #[error("cannot make the verity tree")]
    Verity(#[source] VerityError),
    /// The initrd cannot be made.
    #[error("cannot make the initrd")]
    Initrd(#[from] initrd::Error),
    /// The unified kernel image cannot be made.
    #[error("cannot make the unified kernel image")]
    Uki(#[from] uki::Error),
    /// A program cannot be signed.
    #[error("cannot sign the {what}")]
    Sign {
        /// The program.
        what: &'static str,
        /// Why not.
        source: secure_boot::Error,
    },
    /// The disk cannot be put together.
    #[error(transparent)]
    Assemble(#[from] assemble::Error),
}

/// Makes everything of a release but its manifest.
pub fn make(
    tree: &Tree,
    recipe: &Recipe<'_>,
    scratch: &Scratch,
    progress: &Progress,
) -> Result<Made, Error> {
    let names = Names::new(recipe.version.as_str());
    let sizes = sizes(recipe.manifest);
    let seed = format!("{} {}", recipe.manifest.id, recipe.version);
    let (root_path, verity_path) = (scratch.path(&names.root), scratch.path(&names.verity));

    let (settled, root_hash, initrd) = thread::scope(|scope| {
        let initrd = scope.spawn(|| make_initrd(tree, recipe, progress));
        let Root { file, blocks, settled } =
            make_root(tree, recipe, &seed, &sizes, &names.root, scratch, progress)?;
        let (root_path, verity_path) = (root_path.as_path(), verity_path.as_path());
        let kept = scope.spawn(move || keep(&file, root_path));
        let root_hash = make_verity(blocks, recipe, &seed, [root_path, verity_path], progress)?;
        kept.join().expect("a write's thread returns its errors")?;
        let initrd = initrd.join().expect("the initrd's thread returns its errors")?;
        Ok::<_, Error>((settled, root_hash, initrd))
    })?;

    let cmdline = format!("{} roothash={root_hash}", recipe.manifest.kernel.command_line);
    let uki = make_uki(tree, recipe, &cmdline, &initrd, progress)?;
    let uki_path = scratch.path(&names.uki);
    let mut file = create(&uki_path)?;
    file.write_all(&uki).map_err(|source| write_error(&uki_path, source))?;
    keep(&file, &uki_path)?;

    let contents = assemble::contents(&assemble::Parts {
        root: &root_path,
        settled,
        verity: &verity_path,
        root_hash: &root_hash,
        esp: esp::Files {
            boot_loader: &signed(read(tree, BOOT_LOADER)?, "boot loader", recipe)?,
            uki: &uki,
            uki_name: &Entry::untried(recipe.version.clone()).to_string(),
            enrolment: recipe.secure_boot.map(|(keys, when)| {
                let variables = keys.enrolment.as_slice();
                esp::Enrolment { when, variables }
            }),
        },
        sizes: &sizes,
        seed: seed.as_bytes(),
    })?;
    let parts = thread::scope(|scope| {
        let raw = scope.spawn(|| make_raw(&contents, &names.raw, scratch, progress));
        if recipe.qcow2 {
            make_qcow2(&contents, recipe, &names.qcow2, scratch, progress)?;
        }
        raw.join().expect("the disk's thread returns its errors")?;
        make_parts(&names, scratch)
    })?;
    Ok(Made { parts, root_hash, cmdline })
}

/// Lengths of the partitions that a manifest asks for.
fn sizes(manifest: &Manifest) -> Sizes {
    let disk = &manifest.disk;
    Sizes {
        esp: disk.esp.bytes(),
        root: disk.root.bytes(),
        verity: disk.verity.bytes(),
        state: disk.state.bytes(),
    }
}

fn make_initrd(tree: &Tree, recipe: &Recipe<'_>, progress: &Progress) -> Result<Vec<u8>, Error> {
    let stage = progress.stage("initrd");
    let read = |source| Error::Read { path: recipe.program.to_owned(), source };
    let program = fs::read(recipe.program).map_err(read)?;
    let modules = &recipe.manifest.initrd;
    let entries =
        initrd::entries(tree, &recipe.kernel.release, &modules.always, &modules.hardware, program)?;
    let count = entries.keys().filter(|path| path.ends_with(".ko")).count();
    stage.detail("compressing");
    let earlier = recipe.earlier.and_then(Earlier::initrd);
    let packed = initrd::pack(&entries, earlier.as_deref()).expect("memory takes every write");
    stage.finish(&format!("{count} modules, {}", Size(packed.len() as u64)));
    Ok(packed)
}

/// The root file system.
struct Root {
    file: File,
    /// The number of its blocks.
    blocks: u64,
    /// The bytes that seldom change from one build to the next.
    settled: Range<u64>,
}

/// Writes the root file system.
fn make_root(
    tree: &Tree,
    recipe: &Recipe<'_>,
    seed: &str,
    sizes: &Sizes,
    name: &str,
    scratch: &Scratch,
    progress: &Progress,
) -> Result<Root, Error> {
    let stage = progress.stage("root");
    let options = erofs::Options {
        uuid: *Guid::derive(seed.as_bytes(), "root file system").as_bytes(),
        volume_name: "root",
        epoch: recipe.epoch,
        last: recipe.last,
    };
    let compression = recipe.manifest.disk.compression;
    let image = match compression {
        Compression::None => erofs::Image::plan(tree, &options),
        Compression::Lz4 => {
            stage.detail("compressing");
            erofs::Image::plan_compressed(tree, &options)
        }
    };
    let image = image.map_err(Error::Erofs)?;
    let size = image.blocks() * erofs::BLOCK;
    assemble::check_root(size, sizes)?;
    stage.expect(size);
    let path = scratch.path(name);
    let failed = |source| write_error(&path, source);
    let file = scratch.file(name).map_err(failed)?;
    let patch = Patch::new(&file).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, Counted { inner: patch, stage: &stage });
    image.write(&mut out).map_err(|error| match error {
        erofs::Error::Write(source) => failed(source),
        other => Error::Erofs(other),
    })?;
    let Counted { inner: patch, .. } = out.into_inner().map_err(|error| failed(error.into()))?;
    patch.finish(size).map_err(failed)?;
    let first_last = image.extents().find(|(path, ..)| recipe.last.contains(*path));
    let end = first_last.map_or(image.blocks(), |(_, block, _)| block);
    let settled = image.metadata_blocks() * erofs::BLOCK..end * erofs::BLOCK;
    let files = tree.iter().filter(|(_, node)| matches!(node.kind, Kind::File(_))).count();
    let how = match compression {
        Compression::None => "",
        Compression::Lz4 => ", compressed with LZ4",
    };
    stage.finish(&format!("{files} files, {}{how}", Size(size)));
    Ok(Root { file, blocks: image.blocks(), settled })
}

fn make_verity(
    blocks: u64,
    recipe: &Recipe<'_>,
    seed: &str,
    [root, path]: [&Path; 2],
    progress: &Progress,
) -> Result<RootHash, Error> {
    let stage = progress.stage("verity");
    // One salt for all releases: an unchanged block has an unchanged hash,
    // and is not fetched again by an update.
    let salt = Sha256::digest(format!("{} verity salt", recipe.manifest.id));
    let uuid = Guid::derive(seed.as_bytes(), "verity tree");
    let superblock = Superblock::new(uuid, &salt, blocks).map_err(Error::Verity)?;
    stage.expect(superblock.data_size());
    let data = File::open(root).map_err(|source| Error::Read { path: root.to_owned(), source })?;
    let mut out = create(path)?;
    let mut before = recipe.earlier.and_then(Earlier::root);
    let earlier = before.as_mut().and_then(|(data, tree, root_hash)| {
        verity::Earlier::new(&superblock, root_hash, data, tree)
    });
    let mut data = Counted { inner: data, stage: &stage };
    let built = verity::build_after(earlier, &superblock, &mut data, &mut out);
    let root_hash = built.map_err(|error| match error {
        VerityError::WriteTree { source } => write_error(path, source),
        other => Error::Verity(other),
    })?;
    keep(&out, path)?;
    stage.finish(&format!("root hash {}…", &root_hash.to_string()[..16]));
    Ok(root_hash)
}

/// An EFI program, signed if there are keys.
fn signed(program: Vec<u8>, what: &'static str, recipe: &Recipe<'_>) -> Result<Vec<u8>, Error> {
    let Some((keys, _)) = recipe.secure_boot else { return Ok(program) };
    secure_boot::authenticode::sign(&program, &keys.signer)
        .map_err(|source| Error::Sign { what, source })
}

fn make_uki(
    tree: &Tree,
    recipe: &Recipe<'_>,
    cmdline: &str,
    initrd: &[u8],
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let stage = progress.stage("uki");
    let kernel = recipe.kernel;
    let os_release = String::from_utf8_lossy(&read(tree, OS_RELEASE)?).into_owned();
    let payload = uki::Payload {
        os_release: &os_release,
        cmdline,
        uname: &kernel.release,
        linux: &kernel
            .image
            .to_vec()
            .map_err(|source| Error::Read { path: "vmlinuz".into(), source })?,
        initrd,
    };
    let uki = uki::assemble(&read(tree, STUB)?, &payload)?;
    let uki = signed(uki, "unified kernel image", recipe)?;
    let how = if recipe.secure_boot.is_some() { "signed" } else { "not signed" };
    stage.finish(&format!("kernel {}, {}, {how}", kernel.release, Size(uki.len() as u64)));
    Ok(uki)
}

fn make_raw(
    contents: &Contents,
    name: &str,
    scratch: &Scratch,
    progress: &Progress,
) -> Result<(), Error> {
    let stage = progress.stage("raw");
    stage.expect(contents.occupied_bytes());
    let path = scratch.path(name);
    let failed = |source| write_error(&path, source);
    let file = scratch.file(name).map_err(failed)?;
    raw::write(contents, &file, |bytes| stage.advance(bytes)).map_err(failed)?;
    keep(&file, &path)?;
    let (size, data) = (Size(contents.size()), Size(contents.occupied_bytes()));
    stage.finish(&format!("{size}, {data} of it in use"));
    Ok(())
}

fn make_qcow2(
    contents: &Contents,
    recipe: &Recipe<'_>,
    name: &str,
    scratch: &Scratch,
    progress: &Progress,
) -> Result<(), Error> {
    let stage = progress.stage("qcow2");
    stage.expect(contents.occupied_bytes());
    let path = scratch.path(name);
    let failed = |source| write_error(&path, source);
    let file = scratch.file(name).map_err(failed)?;
    let disks = recipe.earlier.and_then(Earlier::disks);
    let earlier = disks.as_ref().and_then(|(raw, file)| qcow2::Earlier::open(raw, file).ok());
    let written = qcow2::write(contents, earlier.as_ref(), &file, |bytes| stage.advance(bytes));
    let size = written.and_then(|()| Ok(file.metadata()?.len())).map_err(failed)?;
    keep(&file, &path)?;
    stage.finish(&Size(size).to_string());
    Ok(())
}

fn make_parts(names: &Names, scratch: &Scratch) -> Result<Parts, Error> {
    let part = |name: &String, hashed: bool| {
        let path = scratch.path(name);
        let read = |source| Error::Read { path: path.clone(), source };
        let size = fs::metadata(&path).map_err(read)?.len();
        let sha256 = hashed.then(|| digest::of_file(&path, |_| ())).transpose().map_err(read)?;
        Ok::<_, Error>(Part { file: name.clone(), size, sha256 })
    };
    Ok(Parts {
        // The root hash says more of it.
        root: part(&names.root, false)?,
        verity: part(&names.verity, true)?,
        uki: part(&names.uki, true)?,
    })
}

fn read(tree: &Tree, path: &str) -> Result<Vec<u8>, Error> {
    match tree.read_file(path) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Error::Missing { path: path.to_owned() }),
        Err(source) => Err(Error::Read { path: path.into(), source }),
    }
}

/// Waits until a result is on the disk. The stamp vouches for it by its size and time, which may
/// be there before its bytes are.
fn keep(file: &File, path: &Path) -> Result<(), Error> {
    file.sync_data().map_err(|source| write_error(path, source))
}

fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|source| write_error(path, source))
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::DiskFull { path: path.to_owned() }
        }
        _ => Error::Write { path: path.to_owned(), source },
    }
}

/// Tells a stage what passes through.
struct Counted<'a, Inner> {
    inner: Inner,
    stage: &'a Stage<'a>,
}

impl<Inner: Write> Write for Counted<'_, Inner> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.stage.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<Inner: io::Read> io::Read for Counted<'_, Inner> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.stage.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_faults_of_writing() {
        let path = Path::new("out/coreos.raw");
        for (kind, message) in [
            (
                io::ErrorKind::StorageFull,
                "no space left for out/coreos.raw; a build needs about 3 GB there",
            ),
            (io::ErrorKind::FileTooLarge, "cannot write out/coreos.raw"),
        ] {
            assert_eq!(write_error(path, kind.into()).to_string(), message);
        }
    }
}
