//! The EFI system partition: FAT32 with systemd-boot and one UKI.
//!
//! The same files give the same bytes: no clock is read, and the volume's
//! serial number follows from the seed.

use hadris_fat::sync::write;
use hadris_fat::{FatKind, FatOptions, VolumeLabel};
use hadris_fs::{Content, Node, PathError, Tree};

use crate::progress::Size;
use crate::sparse::Sparse;

/// UKIs that must fit side by side: the running one, the one being tried,
/// and the one being downloaded.
const UKIS: u64 = 3;
/// Room for the tables of the file system, the boot loader, and what the
/// firmware or the boot loader may add.
const RESERVE: u64 = 32 << 20;
/// No menu is shown and no command line edited: what boots is decided by
/// the names of the entries, and their counted tries.
const LOADER_CONF: &str = "timeout 0\neditor no\nreboot-for-bitlocker no\n";
/// Tells tools that entries follow the Boot Loader Specification, type 1.
const ENTRIES_SREL: &str = "type1\n";

/// What is put on the partition.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// systemd-boot.
    pub boot_loader: &'a [u8],
    /// The system's unified kernel image.
    pub uki: &'a [u8],
    /// The file name of the UKI, with the tries it has.
    pub uki_name: &'a str,
}

/// Why there is no partition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An update would not find room.
    #[error(
        "the UKI has {}, and {UKIS} must fit the EFI partition of {}; \
         take modules out of the manifest",
        Size(*.uki), Size(*.partition)
    )]
    TooLarge {
        /// Size of one UKI.
        uki: u64,
        /// Size of the partition.
        partition: u64,
    },
    /// The file system cannot be written.
    #[error("cannot write the file system of the EFI partition")]
    Write(#[source] PathError),
}

/// Makes a partition of `size` bytes that begins `offset` bytes into its
/// disk.
pub fn build(size: u64, offset: u64, seed: u64, files: &Files<'_>) -> Result<Sparse, Error> {
    let uki = files.uki.len() as u64;
    if uki.saturating_mul(UKIS).saturating_add(RESERVE) > size {
        return Err(Error::TooLarge { uki, partition: size });
    }
    let mut tree = Tree::new();
    let uki_path = format!("EFI/Linux/{}", files.uki_name);
    for (path, content) in [
        ("EFI/BOOT/BOOTX64.EFI", files.boot_loader),
        ("EFI/systemd/systemd-bootx64.efi", files.boot_loader),
        (&uki_path, files.uki),
        ("loader/loader.conf", LOADER_CONF.as_bytes()),
        ("loader/entries.srel", ENTRIES_SREL.as_bytes()),
    ] {
        tree.insert(path, Node::file(Content::bytes(content))).map_err(Error::Write)?;
    }
    let label = VolumeLabel::new("ESP").expect("three plain letters");
    let options = FatOptions::new()
        .with_kind(FatKind::Fat32)
        .with_label(label)
        .with_partition_offset(offset)
        .with_seed(seed);
    let mut disk = Sparse::new(size);
    write(&mut disk, &tree, &options).map_err(Error::Write)?;
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::CHUNK;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::process::Command;

    const SIZE: u64 = 256 << 20;
    const FILES: Files<'_> =
        Files { boot_loader: &[1; 124_416], uki: &[2; 14_000_001], uki_name: "coreos_1.2.3+3.efi" };

    fn save(disk: &Sparse, path: &Path) {
        let file = File::create(path).expect("created");
        file.set_len(disk.size()).expect("sparse");
        for (number, bytes) in disk.chunks() {
            file.write_all_at(bytes, number * CHUNK as u64).expect("written");
        }
    }

    fn output(command: &mut Command) -> String {
        let output = command.output().expect("of the packages dosfstools and mtools");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command:?}: {text}");
        text
    }

    #[test]
    fn the_checker_finds_nothing_and_mtools_every_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("esp");
        save(&build(SIZE, 1 << 20, 7, &FILES).expect("fits"), &path);
        output(Command::new("fsck.fat").args(["-n", "-v"]).arg(&path));
        let listing = output(Command::new("mdir").args(["-/", "-b", "-i"]).arg(&path).arg("::"));
        for name in [
            "::/EFI/BOOT/BOOTX64.EFI",
            "::/EFI/systemd/systemd-bootx64.efi",
            "::/EFI/Linux/coreos_1.2.3+3.efi",
            "::/loader/loader.conf",
            "::/loader/entries.srel",
        ] {
            assert!(listing.lines().any(|line| line == name), "{name} in {listing}");
        }
        let uki = directory.path().join("uki");
        let from = "::/EFI/Linux/coreos_1.2.3+3.efi";
        output(Command::new("mcopy").arg("-i").arg(&path).arg(from).arg(&uki));
        assert!(std::fs::read(uki).expect("copied") == FILES.uki);
    }

    #[test]
    fn only_what_is_written_takes_space_and_twice_is_the_same() {
        let first = build(SIZE, 1 << 20, 7, &FILES).expect("fits");
        let used = first.chunks().count() * CHUNK;
        assert!(used < 20 << 20, "{used} bytes");
        let second = build(SIZE, 1 << 20, 7, &FILES).expect("fits");
        assert!(first.chunks().eq(second.chunks()));
        let other = build(SIZE, 1 << 20, 8, &FILES).expect("fits");
        assert!(!first.chunks().eq(other.chunks()));
    }

    #[test]
    fn a_uki_that_leaves_no_room_for_an_update_is_refused() {
        let error = build(64 << 20, 1 << 20, 7, &FILES).expect_err("three do not fit");
        assert_eq!(
            error.to_string(),
            "the UKI has 14 MB, and 3 must fit the EFI partition of 67 MB; \
             take modules out of the manifest"
        );
    }
}
