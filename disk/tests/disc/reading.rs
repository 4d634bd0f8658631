//! Config discs made by `xorriso`, `mkfs.fat` and `mcopy`.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use crate::discs::{self, META_DATA, Names, USER_DATA, fat, iso};
use disk::disc::{self, Disc, DiscError, Format, Shortened};
use disk::gpt::{Partition, Table};
use disk::guid::Guid;
use disk::layout::ESP_TYPE;

const LIMIT: u64 = 4 * 1024 * 1024;
const MIB: usize = 1024 * 1024;

fn open(bytes: Vec<u8>) -> Disc<Cursor<Vec<u8>>> {
    disc::open(Cursor::new(bytes)).unwrap()
}

fn read(disc: &mut Disc<Cursor<Vec<u8>>>, path: &str) -> Option<Vec<u8>> {
    disc.read(path, LIMIT).unwrap()
}

/// A directory with files that `fill` puts there.
fn files(fill: impl Fn(&Path)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    directory
}

#[test]
fn a_config_drive_is_read_by_its_documented_paths() {
    let directory = files(discs::config_drive);
    for (names, format) in [
        (Names::RockRidgeAndJoliet, Format::RockRidge),
        (Names::RockRidge, Format::RockRidge),
        (Names::Joliet, Format::Joliet),
        (Names::Plain, Format::PlainIso),
        (Names::PlainShort, Format::PlainIso),
    ] {
        let mut disc = open(iso(directory.path(), "config-2", names));
        assert_eq!(disc.format(), format, "{names:?}");
        assert_eq!(disc.label(), "config-2", "{names:?}");
        assert!(disc.has_label("CONFIG-2") && !disc.has_label("config"));
        assert_eq!(read(&mut disc, "openstack/latest/user_data").unwrap(), USER_DATA, "{names:?}");
        assert_eq!(read(&mut disc, "/openstack/latest/meta_data.json").unwrap(), META_DATA);
        assert_eq!(read(&mut disc, "openstack/latest/vendor_data.json"), None);
        assert_eq!(read(&mut disc, "user-data"), None);
        assert_eq!(read(&mut disc, "openstack/latest/user_data/more"), None);
        assert_eq!(disc.list().unwrap().len(), 22, "{names:?}");
    }
}

#[test]
fn names_that_were_cut_short_are_found_and_told() {
    let directory = files(discs::nocloud);
    let mut disc = open(iso(directory.path(), "cidata", Names::PlainShort));
    let found: Vec<String> = disc.list().unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, ["META_DAT", "NETWORK_", "USER_DAT"]);
    assert_eq!(read(&mut disc, "user-data").unwrap(), USER_DATA);
    assert_eq!(read(&mut disc, "user-data").unwrap(), USER_DATA);
    assert_eq!(read(&mut disc, "network-config").unwrap(), b"version: 2\n");
    let told = [("user-data", "USER_DAT"), ("network-config", "NETWORK_")]
        .map(|(wanted, found)| Shortened { wanted: wanted.to_string(), found: found.to_string() });
    assert_eq!(disc.truncated(), told);

    let directory = files(discs::config_drive);
    let mut disc = open(iso(directory.path(), "config-2", Names::PlainShort));
    assert_eq!(read(&mut disc, "openstack/latest/user_data").unwrap(), USER_DATA);
    let found: Vec<&str> = disc.truncated().iter().map(|name| name.found.as_str()).collect();
    assert_eq!(found, ["OPENSTAC", "USER_DAT"]);
}

#[test]
fn an_exact_name_wins_over_one_in_another_case() {
    let directory = files(|directory| {
        fs::write(directory.join("USER-DATA"), "upper").unwrap();
        fs::write(directory.join("user-data"), "exact").unwrap();
        fs::write(directory.join("User_Data"), "mixed").unwrap();
    });
    let mut disc = open(iso(directory.path(), "cidata", Names::RockRidge));
    assert_eq!(read(&mut disc, "user-data").unwrap(), b"exact");
    assert_eq!(read(&mut disc, "user_data").unwrap(), b"mixed");
    assert_eq!(read(&mut disc, "USER-data").unwrap(), b"upper");
    assert_eq!(disc.truncated(), []);
}

#[test]
fn links_depth_and_long_names_of_rock_ridge_are_followed() {
    let directory = files(|directory| {
        discs::config_drive(directory);
        discs::rock_ridge_extras(directory);
    });
    let mut disc = open(iso(directory.path(), "config-2", Names::RockRidge));
    assert_eq!(read(&mut disc, "openstack/2012-08-10/user_data").unwrap(), USER_DATA);
    assert_eq!(read(&mut disc, "a/b/c/d/e/f/g/h/i/j/bottom").unwrap(), b"deep");
    assert_eq!(read(&mut disc, &discs::long_name()).unwrap(), b"long");
    assert!(matches!(disc.read("loop", LIMIT), Err(DiscError::Damaged { .. })));
    let paths: Vec<String> = disc.list().unwrap().into_iter().map(|(path, _)| path).collect();
    assert!(paths.contains(&"a/b/c/d/e/f/g/h/i/j/bottom".to_string()), "{paths:?}");
}

#[test]
fn every_kind_of_fat_is_read() {
    let directory = files(|directory| {
        discs::nocloud(directory);
        discs::config_drive(directory);
    });
    for (bits, kib) in [("12", 1440), ("16", 8192), ("32", 36 * 1024)] {
        let mut disc = open(fat(directory.path(), "CIDATA", bits, kib));
        assert_eq!(disc.format(), Format::Fat);
        assert_eq!(disc.label(), "CIDATA");
        assert!(disc.has_label("cidata"));
        assert_eq!(read(&mut disc, "user-data").unwrap(), USER_DATA, "FAT{bits}");
        assert_eq!(read(&mut disc, "openstack/latest/user_data").unwrap(), USER_DATA);
        assert_eq!(read(&mut disc, "OpenStack/Latest/meta_data.json").unwrap(), META_DATA);
        assert_eq!(read(&mut disc, "vendor-data"), None);
        assert_eq!(disc.list().unwrap().len(), 25);
        assert_eq!(disc.truncated(), []);
    }
}

#[test]
fn a_fat_without_long_names_is_understood() {
    let directory = files(|directory| fs::write(directory.join("USER-DAT"), USER_DATA).unwrap());
    let mut disc = open(fat(directory.path(), "CIDATA", "12", 1440));
    assert_eq!(read(&mut disc, "user-data").unwrap(), USER_DATA);
    assert_eq!(disc.truncated().len(), 1);
}

#[test]
fn the_label_may_be_in_the_boot_sector_alone() {
    let directory = files(discs::nocloud);
    for (bits, kib, root) in [("12", 1440, 19 * 512), ("32", 36 * 1024, 0)] {
        let mut bytes = fat(directory.path(), "CIDATA", bits, kib);
        let entry = match root {
            0 => bytes.windows(12).rposition(|window| window == b"CIDATA     \x08").unwrap(),
            root => (root..).find(|&at| &bytes[at..at + 12] == b"CIDATA     \x08").unwrap(),
        };
        // The mark of a deleted entry.
        bytes[entry] = 0xe5;
        assert_eq!(open(bytes).label(), "CIDATA", "FAT{bits}");
    }
}

#[test]
fn a_volume_in_a_partition_is_found() {
    let directory = files(discs::nocloud);
    let volume = fat(directory.path(), "CIDATA", "16", 8192);

    let mut mbr = vec![0; MIB];
    mbr[446 + 4] = 0x0e;
    mbr[446 + 8..446 + 12].copy_from_slice(&2048u32.to_le_bytes());
    mbr[446 + 12..446 + 16].copy_from_slice(&16384u32.to_le_bytes());
    mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
    mbr.extend(&volume);
    let mut disc = open(mbr);
    assert_eq!(read(&mut disc, "user-data").unwrap(), USER_DATA);

    // A partition with something else comes first.
    let mut table = Table::new(Guid::derive(b"", "disk"), 40960).unwrap();
    for (number, first_lba) in [(1, 2048), (2, 4096)] {
        let guid = Guid::derive(b"", &number.to_string());
        let last_lba = first_lba + 2047 + 14336 * u64::from(number - 1);
        let (label, attributes) = (String::new(), 0);
        let type_guid = ESP_TYPE;
        let partition =
            Partition { number, label, type_guid, guid, first_lba, last_lba, attributes };
        table.put(&partition).unwrap();
    }
    let mut gpt = Cursor::new(Vec::new());
    table.write(&mut gpt).unwrap();
    let mut bytes = gpt.into_inner();
    bytes[2 * MIB..2 * MIB + volume.len()].copy_from_slice(&volume);
    let mut disc = open(bytes);
    assert_eq!(disc.label(), "CIDATA");
    assert_eq!(read(&mut disc, "user-data").unwrap(), USER_DATA);
}

#[test]
fn large_files_are_whole_and_limits_are_kept() {
    let contents: Vec<u8> = (0..3 * MIB + 17).map(|at| (at * 31 / 7) as u8).collect();
    let directory = files(|directory| fs::write(directory.join("large"), &contents).unwrap());
    for bytes in [
        iso(directory.path(), "config-2", Names::RockRidgeAndJoliet),
        fat(directory.path(), "CIDATA", "16", 8192),
    ] {
        let mut disc = open(bytes);
        assert!(read(&mut disc, "large").unwrap() == contents);
        let size = contents.len() as u64;
        assert!(disc.read("large", size).unwrap().unwrap() == contents);
        match disc.read("large", size - 1) {
            Err(DiscError::TooLarge { path, size: found, limit }) => {
                assert_eq!((path.as_str(), found, limit), ("large", size, size - 1));
            }
            other => panic!("{:?}", other.map(|contents| contents.map(|bytes| bytes.len()))),
        }
    }
}

#[test]
fn a_directory_has_no_contents() {
    let directory = files(discs::config_drive);
    for bytes in [
        iso(directory.path(), "config-2", Names::RockRidge),
        fat(directory.path(), "CIDATA", "12", 1440),
    ] {
        let error = open(bytes).read("openstack/latest", LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "`openstack/latest` is not a file");
    }
}

#[test]
fn what_is_no_disc_is_told_as_such() {
    let zeros = vec![0; MIB];
    let text = b"#cloud-config\n".repeat(5000);
    for bytes in [Vec::new(), vec![0; 100], vec![0xff; 512], zeros, text] {
        let result = disc::open(Cursor::new(bytes));
        assert!(matches!(result, Err(DiscError::Unknown)), "{result:?}");
    }
    assert_eq!(DiscError::Unknown.to_string(), "the disc is neither ISO 9660 nor FAT");
}
