//! One build, from the manifest to results in their places.
//!
//! ```text
//! Request → inputs (digests) ── same as the stamp? ──▶ up to date
//!                 │
//!                 ▼
//!    lock → packages → tree → make (root, verity, UKI, disks) → manifest → stamp → publish
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use disk::version::ParseVersionError;
use serde::Serialize;

use crate::bill::Subject;
use crate::configure::review::Table;
use crate::digest;
use crate::earlier::Earlier;
use crate::lock::{self, Lock, LockError};
use crate::make::{self, Recipe};
use crate::manifest::{Enroll, Manifest, ManifestError, ValueError, Version};
use crate::packages::{self, PackageTree, PackagesError};
use crate::progress::{Progress, Size};
use crate::release::{FORMAT, Names, Release};
use crate::scratch::{self, Cleanup, Scratch};
use crate::secure_boot;
use crate::stamp::{self, Inputs, Stamp, State};
use crate::tree::finish::{self, FinishError, RootTree};

/// The program that is the initrd's too.
const FIRST_PROGRAM: &str = "coreos-init";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The manifest; what it names is found from the project's root.
    pub manifest: PathBuf,
    /// The lock, if it is not the one beside the manifest.
    pub lock: Option<PathBuf>,
    /// The project's root.
    pub project: PathBuf,
    /// Where results go.
    pub output: PathBuf,
    /// Where packages are kept between builds.
    pub cache: PathBuf,
    /// The version, if it is not the manifest's.
    pub version: Option<String>,
    /// The machine's first program; the project's others are beside it.
    pub coreos_init: PathBuf,
    /// This program: another one might build something else.
    pub builder: PathBuf,
    /// Whether the disk is written for QEMU too.
    pub qcow2: bool,
    /// Keys of Secure Boot, if they are not the manifest's.
    pub secure_boot_keys: Option<PathBuf>,
}

/// What there is now.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Where the results are.
    pub directory: PathBuf,
    /// Their names.
    pub files: Vec<String>,
    /// The version of the system.
    pub version: String,
    /// The hash over its root.
    pub root_hash: String,
    /// Whether an earlier build still stood.
    pub up_to_date: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Why there are no new results.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest is not one.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The version asked for is not one.
    #[error(transparent)]
    Version(#[from] ValueError),
    /// The version cannot stand in the name of a boot entry.
    #[error(transparent)]
    EntryVersion(#[from] ParseVersionError),
    /// Something that goes into the image cannot be read.
    #[error("cannot read {path}{hint}")]
    Input {
        /// The file or directory.
        path: PathBuf,
        /// What to do, if that is known.
        hint: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// There is no lock, or it is not of this manifest.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The packages are not to be had.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// The packages make no root.
    #[error(transparent)]
    Finish(#[from] FinishError),
    /// There are no keys to sign with.
    #[error("no keys for Secure Boot")]
    SecureBoot(#[from] secure_boot::Error),
    /// There is no place to build in.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// The release cannot be made.
    #[error(transparent)]
    Make(#[from] make::Error),
}

/// Builds what is asked for, unless it stands already.
pub fn build(request: &Request, progress: &Progress, cleanup: &Cleanup) -> Result<Outcome, Error> {
    let begin = Instant::now();
    let manifest = Manifest::read(&request.manifest)?;
    let version = match &request.version {
        Some(text) => text.parse()?,
        None => manifest.version.clone(),
    };
    let entry_version = version.as_str().parse()?;
    let programs = programs(&manifest, &request.coreos_init);
    // Before the packages: what is missing here is missed at once.
    let mut inputs = local_inputs(request, &manifest, &version, &programs)?;
    let keys_of = |path: &PathBuf| secure_boot::Directory::read(path);
    let key_directory = key_directory(request, &manifest);
    let keys = key_directory.as_ref().map(keys_of).transpose()?;
    if let Some(keys) = &keys {
        inputs.insert("secure boot keys".to_owned(), keys.digest());
    }
    let lock = read_lock(request, &manifest)?;
    inputs.insert("lock".to_owned(), digest::of_bytes(lock.to_text().as_bytes()));

    let names = Names::new(version.as_str());
    let files = names.all(request.qcow2);
    let outcome = |root_hash, up_to_date| Outcome {
        directory: request.output.clone(),
        files: files.clone(),
        version: version.to_string(),
        root_hash,
        up_to_date,
        seconds: (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    };
    let earlier = Stamp::read(&request.output);
    let compare = |stamp: &Stamp| stamp.compare(&inputs, &request.output, &files);
    match earlier.as_ref().map_or(State::New, compare) {
        State::UpToDate => {
            if let Some(release) = read_release(&request.output.join(&names.manifest)) {
                return Ok(outcome(release.root_hash, true));
            }
        }
        State::Changed(what) => progress.note(&format!("changed: {}", what.join(", "))),
        State::New => {}
    }

    let scratch = Scratch::open(&request.output, cleanup)?;
    let mut packages = get_packages(request, &manifest, &lock, &inputs, progress)?;
    let finished = root_tree(request, &manifest, &version, &packages, &programs, progress)?;
    let before = earlier
        .as_ref()
        .and_then(|stamp| Earlier::find(&request.output, stamp, &inputs["builder"]));
    let recipe = Recipe {
        manifest: &manifest,
        version: &entry_version,
        kernel: &finished.kernel,
        program: &request.coreos_init,
        epoch: finished.epoch,
        last: &finished.own,
        qcow2: request.qcow2,
        secure_boot: keys.as_ref().map(|keys| (keys, enroll(&manifest))),
        earlier: before.as_ref(),
    };
    let made = make::make(&finished.tree, &recipe, &scratch, progress)?;
    packages.keep()?;
    let root_hash = made.root_hash.to_string();
    let documents = finished.bill.documents(&Subject {
        id: manifest.id.as_str(),
        name: &manifest.name,
        version: version.as_str(),
        suite: manifest.packages.suite.as_str(),
        root_hash: &root_hash,
        epoch: finished.epoch,
    });
    let release = Release {
        format: FORMAT,
        id: manifest.id.to_string(),
        version: version.to_string(),
        channel: manifest.channel.to_string(),
        kernel: finished.kernel.release,
        cmdline: made.cmdline,
        root_hash: root_hash.clone(),
        parts: made.parts,
        packages: finished
            .packages
            .into_iter()
            .map(|package| (package.name, package.version))
            .collect(),
    };
    publish(scratch, &release, &documents, &names, inputs, earlier.as_ref(), &files)?;
    Ok(outcome(root_hash, false))
}

/// Where the keys of Secure Boot are, if anything is to be signed.
fn key_directory(request: &Request, manifest: &Manifest) -> Option<PathBuf> {
    let of_manifest = manifest.secure_boot.as_ref().map(|s| request.project.join(&s.keys));
    request.secure_boot_keys.clone().or(of_manifest)
}

fn enroll(manifest: &Manifest) -> Enroll {
    manifest.secure_boot.as_ref().map(|settings| settings.enroll).unwrap_or_default()
}

/// Makes the root tree only, whatever the architecture.
pub fn tree(request: &Request, progress: &Progress) -> Result<RootTree, Error> {
    let manifest = Manifest::read(&request.manifest)?;
    let version = match &request.version {
        Some(text) => text.parse()?,
        None => manifest.version.clone(),
    };
    let programs = programs(&manifest, &request.coreos_init);
    let inputs = local_inputs(request, &manifest, &version, &programs)?;
    let lock = read_lock(request, &manifest)?;
    let packages = get_packages(request, &manifest, &lock, &inputs, progress)?;
    root_tree(request, &manifest, &version, &packages, &programs, progress)
}

fn read_lock(request: &Request, manifest: &Manifest) -> Result<Lock, LockError> {
    let path = request.lock.clone().unwrap_or_else(|| lock::path_for(&request.manifest));
    Lock::read_for(manifest, &path, &request.manifest)
}

fn get_packages(
    request: &Request,
    manifest: &Manifest,
    lock: &Lock,
    inputs: &Inputs,
    progress: &Progress,
) -> Result<PackageTree, PackagesError> {
    let (cache, builder) = (request.cache.as_path(), inputs["builder"].as_str());
    let table = Table::of(manifest);
    for package in lock.packages.iter().filter(|package| table.is_sandboxed(&package.name)) {
        progress.note(&format!(
            "warning: the image has what scripts of {} wrote in a sandbox, \
             which another build may find different",
            package.name
        ));
    }
    packages::tree(&packages::Request { lock, manifest, cache, builder }, progress)
}

/// The project's programs and where they were built, by name.
fn programs(manifest: &Manifest, coreos_init: &Path) -> BTreeMap<String, PathBuf> {
    let path = |name: &str| {
        if name == FIRST_PROGRAM {
            coreos_init.to_owned()
        } else {
            coreos_init.with_file_name(name)
        }
    };
    let names = manifest.programs.iter().map(|program| program.name.as_str());
    names.chain([FIRST_PROGRAM]).map(|name| (name.to_owned(), path(name))).collect()
}

/// The digests of everything on this machine that goes into an image.
fn local_inputs(
    request: &Request,
    manifest: &Manifest,
    version: &Version,
    programs: &BTreeMap<String, PathBuf>,
) -> Result<Inputs, Error> {
    let file = |path: &Path, hint| {
        digest::of_file(path, |_| ()).map_err(|source| Error::Input {
            path: path.to_owned(),
            hint,
            source,
        })
    };
    let mut inputs = Inputs::from([
        ("version".to_owned(), version.to_string()),
        ("builder".to_owned(), file(&request.builder, "")?),
    ]);
    for path in Manifest::files(&request.manifest)? {
        inputs.insert(format!("manifest {}", path.display()), file(&path, "")?);
    }
    for (name, path) in programs {
        let hint = "; build it first: cargo build --release";
        inputs.insert(format!("program {name}"), file(path, hint)?);
    }
    if let Some(update) = &manifest.update {
        let hint = ", the publisher's root of the manifest's [update]";
        inputs.insert("update root".to_owned(), file(&request.project.join(&update.root), hint)?);
    }
    for overlay in &manifest.overlay {
        let path = request.project.join(overlay);
        let digest = digest::of_directory(&path).map_err(|source| Error::Input {
            path,
            hint: ", an overlay of the manifest",
            source,
        })?;
        inputs.insert(format!("overlay {}", overlay.display()), digest);
    }
    Ok(inputs)
}

fn root_tree(
    request: &Request,
    manifest: &Manifest,
    version: &Version,
    packages: &PackageTree,
    programs: &BTreeMap<String, PathBuf>,
    progress: &Progress,
) -> Result<RootTree, Error> {
    let stage = progress.stage("tree");
    let request = finish::Request {
        manifest,
        packages: &packages.files,
        project: &request.project,
        programs,
        version,
    };
    let root = finish::root_tree(&request)?;
    let (packages, size) = (root.packages.len(), Size(root.tree.total_size()));
    stage.finish(&format!("{} entries of {packages} packages, {size}", root.tree.len()));
    for missing in &root.missing {
        progress.note(&format!("warning: {missing}"));
    }
    for removal in &root.unmatched {
        progress.note(&format!("warning: the manifest removes {removal}, which is not there"));
    }
    Ok(root)
}

/// Writes the manifest and the stamp, and moves all results into place.
fn publish(
    scratch: Scratch,
    release: &Release,
    documents: &[(&str, String)],
    names: &Names,
    inputs: Inputs,
    earlier: Option<&Stamp>,
    files: &[String],
) -> Result<(), Error> {
    let write = |name: &str, text: String| {
        let path = scratch.path(name);
        fs::write(&path, text).map_err(|source| make::write_error(&path, source))
    };
    write(&names.manifest, release.to_json())?;
    for (name, (_, text)) in names.documents.iter().zip(documents) {
        write(name, text.clone())?;
    }
    let built = Stamp::new(inputs, &scratch.path(""), files)
        .map_err(|source| make::write_error(&scratch.path(""), source))?;
    write(stamp::FILE, built.to_json())?;
    let obsolete: Vec<String> = earlier
        .iter()
        .flat_map(|stamp| stamp.outputs.keys())
        .filter(|name| !files.contains(name) && is_plain_name(name))
        .cloned()
        .collect();
    let published: Vec<String> = files.iter().cloned().chain([stamp::FILE.to_owned()]).collect();
    scratch.publish(&published, &obsolete)?;
    Ok(())
}

/// A stamp that somebody has edited must not name files elsewhere.
fn is_plain_name(name: &str) -> bool {
    !name.contains('/') && name != ".." && name != "."
}

fn read_release(path: &Path) -> Option<Release> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
