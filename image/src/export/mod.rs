//! A built disk in the formats of others, and on media that install it.
//!
//! ```text
//! disk ─┬─ VMDK ── OVA                   VMware
//!       ├─ sparse tar                    Google Compute Engine
//!       └─ packed ── installer's initrd ─┬─ kernel and initrd, UKI     network boot
//!                                        └─ ESP ── ISO 9660            disc, USB stick
//! ```
//!
//! All of it is made from what a build leaves in its directory, so it can be made later and
//! elsewhere: [`Source::open`]. The same build gives the same bytes.

mod gce;
mod installer;
mod iso;
mod ova;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use disk::gpt::GptError;

use crate::contents::Contents;
use crate::progress::{Progress, Size};
use crate::release::Release;
use crate::secure_boot::{self, Signer, authenticode};
use crate::{make, uki, vmdk};

pub use installer::Unattended;

/// What the names of all files begin with.
const BASE: &str = "coreos";

/// A format of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Format {
    /// VMware's disk, streamOptimized.
    Vmdk,
    /// An appliance for VMware: that disk, its description, and settings to fill in.
    Ova,
    /// The archive that Google Compute Engine makes an image from.
    Gce,
    /// The image that coreos-install takes.
    Install,
    /// A disc or USB stick that installs the system.
    Iso,
    /// Kernel and initrd, and the same as one UKI, that install the system from the network.
    Pxe,
}

impl Format {
    /// The names of its files.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Format::Vmdk => &["coreos.vmdk"],
            Format::Ova => &["coreos.ova"],
            Format::Gce => &["coreos-gce.tar.gz"],
            Format::Install => &["coreos.install"],
            Format::Iso => &["coreos.iso"],
            Format::Pxe => &["coreos-pxe.vmlinuz", "coreos-pxe.initrd", "coreos-pxe.efi"],
        }
    }
}

/// What a description says of the system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// What file names begin with.
    pub(crate) base: &'a str,
    /// The system's name for people.
    pub(crate) name: &'a str,
    /// Its version.
    pub(crate) version: &'a str,
    /// Whether boot loader and UKI are signed.
    pub(crate) signed: bool,
}

/// What is exported.
#[derive(Debug)]
pub struct Source<'a> {
    contents: Contents,
    uki: Vec<u8>,
    name: String,
    version: String,
    /// The program that installs, and what it does by itself.
    installer: &'a Path,
    unattended: &'a Unattended,
    signer: Option<&'a Signer>,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is none that a build has left.
    #[error("{path} is no directory of a build; make one with: image build --output {path}")]
    NoBuild {
        /// The directory.
        path: PathBuf,
    },
    /// Something of the build cannot be read.
    #[error("cannot read {path}{hint}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What to do, if that is known.
        hint: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The disk or the UKI belongs to another build than the manifest.
    #[error("{path} is not the file that the build's manifest names; build again")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The UKI is not one of this builder.
    #[error("cannot take the unified kernel image apart")]
    Uki(#[from] uki::Error),
    /// Its initrd is not one of this builder.
    #[error("cannot take the initrd of the unified kernel image apart")]
    Initrd,
    /// The partition table cannot be moved.
    #[error("cannot make the disk larger")]
    Table(#[from] GptError),
    /// The installer cannot be signed.
    #[error("cannot sign the installer")]
    Sign(#[from] secure_boot::Error),
    /// A file system cannot be laid out.
    #[error("cannot write the file system of the installer")]
    FileSystem(#[source] hadris_fs::PathError),
    /// A file cannot be written.
    #[error(transparent)]
    Make(#[from] make::Error),
}

impl<'a> Source<'a> {
    /// What a build has left in `directory`.
    pub fn open(
        directory: &Path,
        installer: &'a Path,
        unattended: &'a Unattended,
        signer: Option<&'a Signer>,
    ) -> Result<Source<'a>, Error> {
        let release = release_in(directory)?;
        let read = |path: PathBuf| {
            let source = |source| Error::Read { path: path.clone(), hint: "", source };
            File::open(&path).map_err(source)
        };
        let path = directory.join(&release.parts.uki.file);
        let uki = fs::read(&path).map_err(|source| Error::Read {
            path: path.clone(),
            hint: "",
            source,
        })?;
        if Some(crate::digest::of_bytes(&uki)) != release.parts.uki.sha256 {
            return Err(Error::Changed { path });
        }
        let raw = directory.join("coreos.raw");
        let contents = Contents::of_raw(read(raw.clone())?).map_err(|source| Error::Read {
            path: raw.clone(),
            hint: "",
            source,
        })?;
        let os_release = uki::parse(&uki)?.os_release.unwrap_or_default();
        let name = os_release.lines().find_map(|line| line.strip_prefix("NAME="));
        let name = name.unwrap_or(&release.id).trim_matches('"').to_owned();
        Ok(Source { contents, uki, name, version: release.version, installer, unattended, signer })
    }

    fn facts(&self) -> Facts<'_> {
        let signed = authenticode::signatures(&self.uki).is_ok_and(|found| !found.is_empty());
        Facts { base: BASE, name: &self.name, version: &self.version, signed }
    }

    /// Writes the files of `format` into `directory`.
    pub fn write(
        &self,
        format: Format,
        directory: &Path,
        progress: &Progress,
    ) -> Result<(), Error> {
        let path = |index: usize| directory.join(format.files()[index]);
        match format {
            Format::Vmdk => self.write_vmdk(&path(0), "vmdk", progress).map(drop),
            Format::Ova => self.write_ova(&path(0), directory, progress),
            Format::Gce => self.write_gce(&path(0), progress),
            Format::Install => installer::write_packed(self, &path(0), progress),
            Format::Iso => iso::write(self, &path(0), directory, progress),
            Format::Pxe => installer::write_pair(self, [&path(0), &path(1), &path(2)], progress),
        }
    }

    fn write_vmdk(
        &self,
        path: &Path,
        stage: &'static str,
        progress: &Progress,
    ) -> Result<File, Error> {
        let stage = progress.stage(stage);
        stage.expect(self.contents.occupied_bytes());
        let file = create(path)?;
        let name = format!("{BASE}.vmdk");
        let written = vmdk::write(&self.contents, &name, &file, |bytes| stage.advance(bytes));
        written.map_err(|source| make::write_error(path, source))?;
        stage.finish(&Size(length(&file)).to_string());
        Ok(file)
    }

    fn write_ova(&self, path: &Path, directory: &Path, progress: &Progress) -> Result<(), Error> {
        let disk_path = directory.join(".coreos.ova.vmdk");
        let mut disk = self.write_vmdk(&disk_path, "disk", progress)?;
        let stage = progress.stage("ova");
        let file = create(path)?;
        let written = ova::write(&self.facts(), self.contents.size(), &mut disk, &file);
        // Only the appliance is wanted.
        let _ = fs::remove_file(&disk_path);
        written.map_err(|source| make::write_error(path, source))?;
        stage.finish(&Size(length(&file)).to_string());
        Ok(())
    }

    fn write_gce(&self, path: &Path, progress: &Progress) -> Result<(), Error> {
        let stage = progress.stage("gce");
        let disk = self.contents.resized(self.contents.size().next_multiple_of(gce::UNIT))?;
        stage.expect(disk.occupied_bytes());
        let mut file = create(path)?;
        let written = gce::write(&disk, &mut file, |bytes| stage.advance(bytes));
        written.map_err(|source| make::write_error(path, source))?;
        stage.finish(&Size(length(&file)).to_string());
        Ok(())
    }
}

/// The manifest of the one release in a directory.
pub fn release_in(directory: &Path) -> Result<Release, Error> {
    let none = || Error::NoBuild { path: directory.to_owned() };
    let entries = fs::read_dir(directory).map_err(|_| none())?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".manifest.json"))
        .collect();
    paths.sort();
    let path = paths.pop().ok_or_else(none)?;
    let read = |source| Error::Read { path: path.clone(), hint: "", source };
    let bytes = fs::read(&path).map_err(read)?;
    serde_json::from_slice(&bytes).map_err(|error| read(error.into()))
}

fn create(path: &Path) -> Result<File, Error> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    file.map_err(|source| make::write_error(path, source).into())
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}
