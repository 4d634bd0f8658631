//! The EFI system partition: FAT32 with systemd-boot and one UKI.
//!
//! The same files give the same bytes: no clock is read, and the volume's
//! serial number follows from the seed.

use hadris_fat::sync::write;
use hadris_fat::{FatKind, FatOptions, VolumeLabel};
use hadris_fs::{Content, Node, PathError, Tree};

use crate::manifest::Enroll;
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
/// Where the boot loader looks for keys that it may enrol without being asked.
const KEYS: &str = "loader/keys/auto";
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
    /// Keys for a machine in setup mode, if the programs are signed.
    pub enrolment: Option<Enrolment<'a>>,
}

/// Keys that the boot loader gives to the firmware.
#[derive(Debug, Clone, Copy)]
pub struct Enrolment<'a> {
    /// When it does.
    pub when: Enroll,
    /// Authenticated variables by file name.
    pub variables: &'a [(&'static str, Vec<u8>)],
}

impl Enrolment<'_> {
    /// What is added to the boot loader's settings.
    fn setting(&self) -> &'static str {
        match self.when {
            Enroll::IfSafe => "secure-boot-enroll if-safe\n",
            Enroll::Force => "secure-boot-enroll force\n",
            Enroll::Manual => "secure-boot-enroll manual\n",
            Enroll::Off => "secure-boot-enroll off\n",
        }
    }
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
    let mut settings = LOADER_CONF.to_owned();
    settings.push_str(files.enrolment.as_ref().map_or("", Enrolment::setting));
    let mut tree = Tree::new();
    let uki_path = format!("EFI/Linux/{}", files.uki_name);
    for (path, content) in [
        ("EFI/BOOT/BOOTX64.EFI", files.boot_loader),
        ("EFI/systemd/systemd-bootx64.efi", files.boot_loader),
        (&uki_path, files.uki),
        ("loader/loader.conf", settings.as_bytes()),
        ("loader/entries.srel", ENTRIES_SREL.as_bytes()),
    ] {
        tree.insert(path, Node::file(Content::bytes(content))).map_err(Error::Write)?;
    }
    for (name, variable) in files.enrolment.iter().flat_map(|keys| keys.variables) {
        let path = format!("{KEYS}/{name}");
        tree.insert(path, Node::file(Content::bytes(variable.as_slice()))).map_err(Error::Write)?;
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
    const FILES: Files<'_> = Files {
        boot_loader: &[1; 124_416],
        uki: &[2; 14_000_001],
        uki_name: "coreos_1.2.3+3.efi",
        enrolment: None,
    };

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
    fn keys_lie_where_the_boot_loader_looks_for_them() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("esp");
        let variables = [("PK.auth", vec![1; 2000]), ("db.auth", vec![2; 2000])];
        let keys = Enrolment { when: Enroll::Force, variables: &variables };
        let files = Files { enrolment: Some(keys), ..FILES };
        save(&build(SIZE, 1 << 20, 7, &files).expect("fits"), &path);
        output(Command::new("fsck.fat").args(["-n", "-v"]).arg(&path));
        let show = |name: &str| output(Command::new("mtype").arg("-i").arg(&path).arg(name));
        assert!(show("::/loader/loader.conf").ends_with("\nsecure-boot-enroll force\n"));
        assert_eq!(show("::/loader/keys/auto/db.auth").len(), 2000);
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
