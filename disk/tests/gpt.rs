//! The partition table, as `sgdisk` sees it.

mod common;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::run;
use disk::gpt::{Partition, Table};
use disk::guid::Guid;
use disk::layout::{Layout, Role, Sizes, Slot};
use disk::verity::RootHash;

const MIB: u64 = 1024 * 1024;
const HASH: RootHash = RootHash(*b"the first half..the second half.");

fn layout() -> Layout {
    Layout::plan(&Sizes::default(), b"seed", Some(&HASH)).unwrap()
}

/// A sparse disk of `size` bytes with the default layout.
fn disk(directory: &Path, size: u64) -> (PathBuf, File) {
    let path = directory.join("disk.raw");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(size).unwrap();
    Table::from_layout(&layout()).unwrap().write(&mut file).unwrap();
    (path, file)
}

fn assert_sound(path: &Path) {
    let report = run("sgdisk", &["-v".as_ref(), path.as_os_str()]);
    assert!(report.contains("No problems found"), "{report}");
    assert!(!report.to_lowercase().contains("caution"), "{report}");
    assert!(!report.to_lowercase().contains("warning"), "{report}");
}

#[test]
fn sgdisk_finds_what_was_planned_and_no_problems() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = disk(directory.path(), layout().disk_size());
    assert_eq!(file.metadata().unwrap().len(), layout().disk_size());
    assert_sound(&path);
    for spec in &layout().partitions {
        let number = format!("--info={}", spec.role.number());
        let report = run("sgdisk", &[number.as_ref(), path.as_os_str()]);
        for expected in [
            format!("Partition GUID code: {}", spec.role.type_guid().to_string().to_uppercase()),
            format!("Partition unique GUID: {}", spec.guid.to_string().to_uppercase()),
            format!("First sector: {} ", spec.first_lba),
            format!("Last sector: {} ", spec.last_lba),
            format!("Attribute flags: {:016X}", spec.role.attributes()),
            format!("Partition name: '{}'", spec.label),
        ] {
            assert!(report.contains(&expected), "{expected} in {report}");
        }
    }
}

#[test]
fn a_disk_that_was_enlarged_is_sound_again_after_growing() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = disk(directory.path(), layout().disk_size());
    let size = layout().disk_size() + 8192 * MIB + 512;
    file.set_len(size).unwrap();

    let mut table = Table::read(&mut file).unwrap();
    let before = table.partitions();
    assert!(table.grow_last_to_end(size / 512).unwrap());
    table.write_backup(&mut file).unwrap();
    table.write_primary(&mut file).unwrap();

    assert_sound(&path);
    assert_eq!(file.metadata().unwrap().len(), size);
    let after = Table::read(&mut file).unwrap().partitions();
    assert_eq!(after[..5], before[..5]);
    assert_eq!(after[5].sectors(), before[5].sectors() + 8192 * MIB / 512);
}

#[test]
fn filling_the_other_slot_keeps_the_disk_sound() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = disk(directory.path(), layout().disk_size());
    let mut table = Table::read(&mut file).unwrap();
    let update = RootHash(*b"another hash, to be found later.");
    for (role, guid) in
        [(Role::Root(Slot::B), update.root_guid()), (Role::Verity(Slot::B), update.verity_guid())]
    {
        let before = table.partition(role.number()).unwrap();
        table.put(&Partition { guid, label: role.label().to_string(), ..before }).unwrap();
    }
    table.write(&mut file).unwrap();
    assert_sound(&path);
    let report = run("sgdisk", &["-p".as_ref(), path.as_os_str()]);
    assert!(report.contains("root-b-verity"), "{report}");
}

#[test]
fn numbers_with_gaps_survive_reading_and_writing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.raw");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(64 * MIB).unwrap();
    let arguments =
        ["-n=1:2048:4095", "-n=4:8192:12287", "-n=9:4096:8191", "-c=4:four", "-A=9:set:48"];
    let mut arguments = arguments.map(OsStr::new).to_vec();
    arguments.push(path.as_os_str());
    run("sgdisk", &arguments);
    let before = run("sgdisk", &["-p".as_ref(), path.as_os_str()]);

    let mut table = Table::read(&mut file).unwrap();
    let nine = table.partition(9).unwrap();
    assert_eq!(nine.attributes, 1 << 48);
    table.put(&Partition { attributes: 1 << 48 | 1 << 56, ..nine }).unwrap();
    table.write(&mut file).unwrap();

    assert_sound(&path);
    assert_eq!(run("sgdisk", &["-p".as_ref(), path.as_os_str()]), before);
    let numbers: Vec<u32> = table.partitions().iter().map(|p| p.number).collect();
    assert_eq!(numbers, [1, 4, 9]);
}

#[test]
fn a_disk_with_a_destroyed_start_is_repaired_from_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut file) = disk(directory.path(), layout().disk_size());
    file.write_all_at(&[0xff; 34 * 512], 0).unwrap();
    let table = Table::read(&mut file).unwrap();
    assert!(table.recovered());
    table.write(&mut file).unwrap();
    assert_sound(&path);
    assert_eq!(table.disk_guid(), Guid::derive(b"seed", "disk"));
}
