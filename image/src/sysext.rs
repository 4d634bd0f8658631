//! System extensions: a tree of files that systemd-sysext lays over `/usr` and `/opt` of a running
//! machine.
//!
//! directory, or set of packages ([`packages`]) → [`tree`] (only what an extension may hold, and its
//! release file) → EROFS → verity → one disk image with both partitions
//!
//! Follows the UAPI group's "Extension Images" and Discoverable Partitions Specification. The root
//! hash is told beside the image; systemd checks it where it is told and can.

pub mod packages; // what of a set of packages the image does not have

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use disk::gpt::{ALIGNMENT, GptError, Partition, Table};
use disk::guid::Guid;
use disk::layout::{READ_ONLY, ROOT_TYPE, SECTOR, VERITY_TYPE};
use disk::verity::{self, RootHash, Superblock, VerityError};
use sha2::{Digest as _, Sha256};

use crate::erofs;
use crate::tree::overlay::OverlayError;
use crate::tree::{Kind, Node, Tree};

/// Type of a root partition for arm64.
const ROOT_ARM64: Guid = Guid::from_u128(0xb921b045_1df0_41c3_af44_4c6f280d3fae);
/// Type of its verity partition.
const VERITY_ARM64: Guid = Guid::from_u128(0xdf3300ce_d69f_4c92_978c_9bfb0f38d820);

/// What an extension may hold.
const PLACES: [&str; 2] = ["usr", "opt"];
/// Files that belong to the system and no extension.
const OWN: [&str; 3] = ["usr/lib/os-release", "usr/lib/modules", "usr/lib/coreos"];

/// What an extension is called and made for.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Its name.
    pub name: &'a str,
    /// The system's identifier, `ID` of its os-release.
    pub id: &'a str,
    /// The version of the system that it is for; every version if there is none.
    pub version: Option<&'a str>,
    /// Debian's name of the processors that it is for.
    pub architecture: &'a str,
}

/// Why there is no extension.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that no file can have.
    #[error("{name:?} cannot be the name of an extension: letters, digits, `-`, `_` and `.`")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The files cannot be read.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// A file that is not of an extension.
    #[error("{path} is outside of usr and opt: an extension holds nothing else")]
    Outside {
        /// The file.
        path: String,
    },
    /// A file that is the system's own.
    #[error("{path} is the system's own: an extension must not replace it")]
    Own {
        /// The file.
        path: String,
    },
    /// There is nothing in it.
    #[error("{from} has no files below usr or opt")]
    Empty {
        /// The directory.
        from: String,
    },
    /// The Discoverable Partitions Specification is not known for these processors.
    #[error("no extension can be made for {architecture}: amd64 and arm64 are known")]
    Architecture {
        /// As the manifest names them.
        architecture: String,
    },
    /// The file system cannot be made.
    #[error("cannot make the file system")]
    Erofs(#[source] erofs::Error),
    /// The verity tree cannot be made.
    #[error("cannot make the verity tree")]
    Verity(#[source] VerityError),
    /// The partition table cannot be made.
    #[error("cannot make the partition table")]
    Table(#[from] GptError),
    /// The image cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What the processors are called and their partitions have as types.
#[derive(Debug, Clone, Copy)]
struct Platform {
    /// systemd's name.
    name: &'static str,
    root: Guid,
    verity: Guid,
}

/// What others call the processors that Debian calls so.
fn platform(architecture: &str) -> Result<Platform, Error> {
    match architecture {
        "amd64" => Ok(Platform { name: "x86-64", root: ROOT_TYPE, verity: VERITY_TYPE }),
        "arm64" => Ok(Platform { name: "arm64", root: ROOT_ARM64, verity: VERITY_ARM64 }),
        other => Err(Error::Architecture { architecture: other.to_owned() }),
    }
}

/// The files of a directory.
pub fn of_directory(directory: &Path) -> Result<Tree, Error> {
    let mut tree = Tree::new();
    tree.lay_over(directory)?;
    Ok(tree)
}

/// The files of an extension, with the file that says what it is for. `from` names where they are
/// from.
pub fn tree(mut tree: Tree, from: &str, identity: &Identity<'_>) -> Result<Tree, Error> {
    let Identity { name, id, version, architecture } = identity;
    let platform = platform(architecture)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::Name { name: (*name).to_owned() });
    }
    for (path, _) in tree.iter() {
        let top = path.split('/').next().unwrap_or_default();
        if !path.is_empty() && !PLACES.contains(&top) {
            return Err(Error::Outside { path: path.to_owned() });
        }
        if OWN.iter().any(|own| path == *own || path.starts_with(&format!("{own}/"))) {
            return Err(Error::Own { path: path.to_owned() });
        }
    }
    if !tree.iter().any(|(_, node)| !matches!(node.kind, Kind::Directory)) {
        return Err(Error::Empty { from: from.to_owned() });
    }
    let mut release = format!("ID={id}\n");
    if let Some(version) = version {
        release.push_str(&format!("VERSION_ID={version}\n"));
    } else {
        // Of no use to a system that names another identifier, of every version of this one.
        release.push_str("SYSEXT_LEVEL=1\n");
    }
    release.push_str(&format!("ARCHITECTURE={}\n", platform.name));
    let path = format!("usr/lib/extension-release.d/extension-release.{name}");
    tree.insert(&path, Node::file(0o644, release.into_bytes()))
        .map_err(|source| OverlayError::Tree { path: path.into(), source })?;
    Ok(tree)
}

/// Writes the image of an extension to `path`; returns its root hash. The same files give the same
/// bytes.
pub fn write(tree: &Tree, identity: &Identity<'_>, path: &Path) -> Result<RootHash, Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let platform = platform(identity.architecture)?;
    let seed = format!("{} {} {}", identity.id, identity.name, identity.version.unwrap_or("any"));
    let options = erofs::Options {
        uuid: *Guid::derive(seed.as_bytes(), "root file system").as_bytes(),
        volume_name: "sysext",
        epoch: 0,
        last: &BTreeSet::new(),
    };
    let image = erofs::Image::plan(tree, &options).map_err(Error::Erofs)?;
    let blocks = image.blocks();
    let whole = |bytes: u64| bytes.next_multiple_of(ALIGNMENT);
    let (root_size, verity_size) =
        (whole(blocks * erofs::BLOCK), whole(verity::partition_size(blocks)));
    let (root_at, verity_at) = (ALIGNMENT, ALIGNMENT + root_size);
    let size = verity_at + verity_size + ALIGNMENT;

    let temporary = path.with_extension("raw.new");
    let made = File::options().read(true).write(true).create(true).truncate(true).open(&temporary);
    let mut file = made.map_err(failed)?;
    let written = (|| {
        file.set_len(size).map_err(failed)?;
        file.seek(SeekFrom::Start(root_at)).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        image.write(&mut out).map_err(Error::Erofs)?;
        out.flush().map_err(failed)?;
        drop(out);
        let salt = Sha256::digest(seed.as_bytes());
        let uuid = Guid::derive(seed.as_bytes(), "verity tree");
        let superblock = Superblock::new(uuid, &salt, blocks).map_err(Error::Verity)?;
        let mut data = File::open(&temporary).map_err(failed)?;
        data.seek(SeekFrom::Start(root_at)).map_err(failed)?;
        let mut hashes = Vec::new();
        let mut cursor = io::Cursor::new(&mut hashes);
        let root_hash =
            verity::build(&superblock, &mut data, &mut cursor).map_err(Error::Verity)?;
        file.seek(SeekFrom::Start(verity_at)).map_err(failed)?;
        file.write_all(&hashes).map_err(failed)?;
        let mut table = Table::new(Guid::derive(&root_hash.0, "disk"), size / SECTOR)?;
        for (number, label, type_guid, guid, at, length) in [
            (1, "root", platform.root, root_hash.root_guid(), root_at, root_size),
            (2, "root-verity", platform.verity, root_hash.verity_guid(), verity_at, verity_size),
        ] {
            table.put(&Partition {
                number,
                label: label.to_owned(),
                type_guid,
                guid,
                first_lba: at / SECTOR,
                last_lba: (at + length) / SECTOR - 1,
                attributes: READ_ONLY,
            })?;
        }
        table.write(&mut file)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)?;
        Ok(root_hash)
    })();
    if written.is_err() {
        // Nothing half-written stays.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    const IDENTITY: Identity<'_> =
        Identity { name: "tools", id: "coreos-rs", version: None, architecture: "amd64" };

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary directory");
        for name in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("inside")).expect("made");
            fs::write(&path, "#!/bin/sh\necho tool\n").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("allowed");
        }
        directory
    }

    fn output(command: &mut Command) -> String {
        let output = command.output().expect("see host-packages.txt");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {text}{error}");
        text
    }

    #[test]
    fn the_image_has_what_the_field_looks_for() {
        let from = directory(&["usr/bin/tool", "opt/data"]);
        let to = tempfile::tempdir().expect("temporary directory");
        let path = to.path().join("tools.raw");
        let write = || {
            let files = of_directory(from.path()).expect("readable");
            let tree = tree(files, "tools", &IDENTITY).expect("good");
            write(&tree, &IDENTITY, &path).expect("written")
        };
        let root_hash = write();
        let first = fs::read(&path).expect("there");
        assert_eq!(write(), root_hash);
        assert!(fs::read(&path).expect("there") == first);

        let table = output(Command::new("sgdisk").arg("--verify").arg(&path));
        assert!(table.contains("No problems found"), "{table}");
        let found = Table::read(&mut io::Cursor::new(&first)).expect("a table");
        let part = |number: u32, name: &str| {
            let range = found.byte_range(&found.partition(number).expect("there"));
            let part = to.path().join(name);
            fs::write(&part, &first[range.start as usize..range.end as usize]).expect("written");
            part
        };
        let (root, verity) = (part(1, "root"), part(2, "verity"));
        output(Command::new("fsck.erofs").arg(&root));
        let mut command = Command::new("veritysetup");
        command.arg("verify").arg(&root).arg(&verity).arg(root_hash.to_string());
        output(&mut command);
        let files = disk::erofs::list(&File::open(&root).expect("there")).expect("readable");
        let release = &files["usr/lib/extension-release.d/extension-release.tools"];
        let text = disk::erofs::content(&File::open(&root).expect("there"), release, 4096);
        assert_eq!(
            String::from_utf8_lossy(&text.expect("readable")),
            "ID=coreos-rs\nSYSEXT_LEVEL=1\nARCHITECTURE=x86-64\n"
        );
        assert_eq!(files["usr/bin/tool"].mode, 0o100_755);
    }

    #[test]
    fn what_no_extension_may_hold_is_refused() {
        for (files, name, complaint) in [
            (&["usr/bin/tool", "etc/tool.conf"][..], "tools", "etc is outside of usr and opt"),
            (&["usr/lib/os-release"], "tools", "usr/lib/os-release is the system's own"),
            (&["usr/lib/modules/6/a.ko"], "tools", "usr/lib/modules is the system's own"),
            (&[], "tools", "has no files below usr or opt"),
            (&["usr/bin/tool"], "a/b", "\"a/b\" cannot be the name of an extension"),
        ] {
            let from = directory(files);
            let files = of_directory(from.path()).expect("readable");
            let error = tree(files, "it", &Identity { name, ..IDENTITY }).expect_err(complaint);
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }
}
