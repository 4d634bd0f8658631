//! What the image is made of: the manifest, a TOML file.
//!
//! text → [`Manifest::parse`] → a value in which every path, name and size has been checked
//!
//! A manifest may extend another one ([`variant`]). Unknown keys are mistakes. A mistake is one line, `FILE:LINE:COLUMN: what is wrong`.

mod value;
mod variant;

use crate::configure::review::Reviewed;
use crate::tree::glob::Glob;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
pub use value::{
    AccountName, Id, Mirror, PackageName, Size, Snapshot, TreePath, UnitName, ValueError, Version,
};

/// The whole manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The system's own identifier, `ID` in os-release.
    pub id: Id,
    /// The system's name for people, `NAME` in os-release.
    pub name: String,
    /// The version that a build has if none is asked for.
    pub version: Version,
    /// The channel that the image follows.
    pub channel: Id,
    /// The packages of the root file system.
    pub packages: Packages,
    /// What is taken out again.
    #[serde(default)]
    pub remove: Vec<Removal>,
    /// What is done in place of scripts of packages, beside what the project knows of.
    #[serde(default, rename = "script")]
    pub scripts: Vec<Reviewed>,
    /// Users and groups.
    pub accounts: Accounts,
    /// Directories whose files are laid over the packages, relative to the project's root.
    #[serde(default)]
    pub overlay: Vec<PathBuf>,
    /// The project's own programs.
    #[serde(default, rename = "program")]
    pub programs: Vec<Program>,
    /// Owners and modes that differ from what packages and overlay say.
    #[serde(default, rename = "permission")]
    pub permissions: Vec<Permission>,
    /// systemd units.
    pub units: Units,
    /// How the kernel is started.
    pub kernel: Kernel,
    /// Kernel modules of the initrd.
    pub initrd: Initrd,
    /// Sizes of the partitions.
    pub disk: Disk,
    /// Whose signatures the boot loader and the UKI carry; none if they carry none.
    pub secure_boot: Option<SecureBoot>,
    /// Where machines get updates. Without it they trust no publisher and take none.
    #[serde(default)]
    pub update: Option<Update>,
}

/// Where machines get updates, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The publisher's first root metadata, `metadata/1.root.json` of the repository, relative to
    /// the project's root.
    pub root: PathBuf,
    /// The repository's address; a machine's own settings may say another one.
    #[serde(default)]
    pub server: Option<String>,
    /// The channel of machines whose settings say none.
    #[serde(default = "default_group")]
    pub group: Id,
    /// The security epoch: a machine that ran this image never goes to a release of a lower one.
    #[serde(default)]
    pub epoch: u64,
}

fn default_group() -> Id {
    "stable".parse().expect("a plain word")
}

/// Where packages come from and which.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Debian's name of the architecture.
    pub architecture: Id,
    /// The release, such as `trixie`. Its updates and security updates are used as well.
    pub suite: Id,
    /// Parts of the archive, such as `main`.
    pub components: Vec<Id>,
    /// The archive.
    pub mirror: Mirror,
    /// The archive of security updates.
    pub security_mirror: Mirror,
    /// The state of the archives at a time, such as `20261126T120000Z`. The mirrors must then be
    /// archives of snapshots, whose addresses go on with that time.
    pub snapshot: Option<Snapshot>,
    /// Packages to install. What they depend on comes with them, what they recommend does not.
    pub install: Vec<PackageName>,
}

/// Something the image does not need, and why not.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Why; for whoever reads the manifest.
    pub reason: String,
    /// Whether there may be nothing of it, and nobody need be told.
    #[serde(default)]
    pub optional: bool,
    /// Packages whose files and records go.
    #[serde(default)]
    pub packages: Vec<PackageName>,
    /// Paths that go with everything below them.
    #[serde(default)]
    pub paths: Vec<Glob>,
}

/// Users and groups. Numbers that packages take as they come are fixed here: what is on a
/// machine's disk keeps its owner over every release.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// Numbers of the users that packages make.
    pub users: BTreeMap<AccountName, u32>,
    /// Numbers of the groups that packages make.
    pub groups: BTreeMap<AccountName, u32>,
    /// Accounts for people, without a password.
    #[serde(default)]
    pub login: Vec<Login>,
}

/// An account for a person. Its group has its name and number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Its name.
    pub name: AccountName,
    /// Its number and that of its group.
    pub id: u32,
    /// Its home directory.
    pub home: TreePath,
    /// Its shell.
    pub shell: TreePath,
    /// The groups it belongs to besides its own.
    pub groups: Vec<AccountName>,
}

/// A program of the project and its place in the image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The name it is built under.
    pub name: String,
    /// Where it goes.
    pub path: TreePath,
    /// Symbolic links to it.
    #[serde(default)]
    pub links: Vec<TreePath>,
}

/// Owner and mode of some paths.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// The paths; those below them are not meant.
    pub paths: Vec<Glob>,
    /// The twelve permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub user: Option<AccountName>,
    /// The group.
    pub group: Option<AccountName>,
}

/// Which units are enabled in the image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// Units whose `[Install]` section is applied, and that of the units they name there.
    /// Nothing else is enabled but what packages wire up below `/usr` themselves.
    pub enable: Vec<UnitName>,
    /// The unit that the system starts for, `default.target`.
    pub default: UnitName,
}

/// How the kernel is started.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The command line, without what identifies the root.
    pub command_line: String,
}

/// Kernel modules of the initrd, by name. What they depend on comes with them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initrd {
    /// Loaded on every machine.
    pub always: Vec<String>,
    /// Loaded where their hardware is found.
    pub hardware: Vec<String>,
}

/// Sizes of the partitions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The EFI system partition.
    pub esp: Size,
    /// Each slot's root file system.
    pub root: Size,
    /// Each slot's verity tree.
    pub verity: Size,
    /// The writable rest, before the first boot grows it to the disk's end.
    pub state: Size,
    /// How the files of the root are stored.
    #[serde(default)]
    pub compression: Compression,
}

/// How files of the root are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are: an update fetches what changed and nothing else.
    #[default]
    None,
    /// In pieces of 64 KiB by LZ4: about half the size, for disks that are written once.
    Lz4,
}

/// UEFI Secure Boot.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecureBoot {
    /// The directory that `image keys` made, relative to the project's root.
    pub keys: PathBuf,
    /// When a machine that has no keys yet takes these.
    #[serde(default)]
    pub enroll: Enroll,
}

/// When systemd-boot gives the keys to a machine in setup mode, as loader.conf(5) names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enroll {
    /// By itself in a virtual machine, which cannot have firmware that these keys lock out.
    #[default]
    IfSafe,
    /// By itself on every machine.
    Force,
    /// When somebody chooses so in the boot menu.
    Manual,
    /// Never.
    Off,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read the manifest {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a manifest.
    #[error("{path}:{line}:{column}: {message}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted in characters from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A variant leaves out what is not there.
    #[error("{path} leaves out {name}, which the manifest it extends does not have", path = path.display())]
    NotExtended {
        /// The variant.
        path: PathBuf,
        /// What it leaves out.
        name: String,
    },
    /// A variant of a variant of … itself.
    #[error("{path} extends itself, or too many others", path = path.display())]
    Circle {
        /// The variant.
        path: PathBuf,
    },
}

impl Manifest {
    /// Reads and parses a manifest, and the ones that it extends.
    pub fn read(path: &Path) -> Result<Manifest, ManifestError> {
        Manifest::read_at(path, 0)
    }

    /// The file of a manifest and those that it extends.
    pub fn files(path: &Path) -> Result<Vec<PathBuf>, ManifestError> {
        let mut files = vec![path.to_owned()];
        while let Some(next) = files.last().map(|path| Ok((read_text(path)?, path))).transpose()?
            && let Some(next) = variant::extended(&next.0, next.1)
            && !files.contains(&next)
        {
            files.push(next);
        }
        Ok(files)
    }

    /// Parses the text of a manifest that stands for itself; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Manifest, ManifestError> {
        parse_toml(text, path)
    }

    fn read_at(path: &Path, depth: usize) -> Result<Manifest, ManifestError> {
        let text = read_text(path)?;
        match variant::extended(&text, path) {
            Some(_) => variant::parse(&text, path, depth, &Manifest::read_at),
            None => Manifest::parse(&text, path),
        }
    }
}

fn read_text(path: &Path) -> Result<String, ManifestError> {
    let unreadable = |source| ManifestError::Read { path: path.to_owned(), source };
    fs::read_to_string(path).map_err(unreadable)
}

/// Reads TOML; a mistake has its place.
fn parse_toml<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T, ManifestError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ManifestError::Invalid {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().replace('\n', ", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "coreos.toml";
    const WHOLE: &str = include_str!("../coreos.toml");

    #[test]
    fn the_manifest_of_the_project_is_valid() {
        let manifest = Manifest::parse(WHOLE, Path::new(PATH)).unwrap();
        assert_eq!(manifest.id.as_str(), "coreos-rs");
        let packages = &manifest.packages.install;
        let mut sorted = packages.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(*packages, sorted, "packages are listed once, in order");
        assert!(manifest.remove.iter().all(|group| !group.reason.is_empty()));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let broken = |from: &str, to: &str| {
            assert!(WHOLE.contains(from), "{from}");
            Manifest::parse(&WHOLE.replacen(from, to, 1), Path::new(PATH)).unwrap_err().to_string()
        };
        for (from, to, wanted) in [
            ("id = \"coreos-rs\"", "id = \"Core OS\"", "\"Core OS\""),
            ("name = ", "nmae = ", "unknown field `nmae`"),
            ("esp = \"1 GiB\"", "esp = \"1 GB\"", "\"1 GB\" is not a size"),
            ("  \"bash\",", "  \"Bash\",", "\"Bash\" is not a package name"),
            ("\"ssh.service\"", "\"ssh\"", "\"ssh\" is not the name of a unit"),
        ] {
            let message = broken(from, to);
            let line = WHOLE[..WHOLE.find(from).unwrap()].matches('\n').count() + 1;
            assert!(message.starts_with(&format!("{PATH}:{line}:")), "{message}");
            assert!(message.contains(wanted), "{message}");
        }
        assert!(broken("  \"bash\",", "  \"Bash\",").contains(":3: "));
    }

    #[test]
    fn a_missing_table_and_rubbish_are_one_line_each() {
        for text in ["", "id = \"x\"", "\u{0}\u{1}", "[[", "id = \"ü\nx"] {
            let message = Manifest::parse(text, Path::new(PATH)).unwrap_err().to_string();
            assert!(message.starts_with("coreos.toml:"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_unreadable_manifest_is_named() {
        let error = Manifest::read(Path::new("/no/such.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the manifest /no/such.toml");
    }
}
