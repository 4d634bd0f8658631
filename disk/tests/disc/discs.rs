//! Config discs made by the programs that people make them with.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::run;

pub(crate) const USER_DATA: &[u8] = b"#cloud-config\nhostname: node\n";
pub(crate) const META_DATA: &[u8] = b"{\"uuid\": \"1\"}\n";

/// A config drive's files, and some to get lost in.
pub(crate) fn config_drive(directory: &Path) {
    let latest = directory.join("openstack/latest");
    fs::create_dir_all(&latest).unwrap();
    fs::write(latest.join("user_data"), USER_DATA).unwrap();
    fs::write(latest.join("meta_data.json"), META_DATA).unwrap();
    for number in 0..20 {
        fs::write(directory.join(format!("a file with number {number}.text")), "x").unwrap();
    }
}

/// A NoCloud disc's files.
pub(crate) fn nocloud(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("user-data"), USER_DATA).unwrap();
    fs::write(directory.join("meta-data"), "instance-id: 1\n").unwrap();
    fs::write(directory.join("network-config"), "version: 2\n").unwrap();
}

/// A name that takes more room than a directory record has.
pub(crate) fn long_name() -> String {
    format!("{}.yaml", "long-".repeat(40))
}

/// What only Rock Ridge can hold: links, depth, long names.
pub(crate) fn rock_ridge_extras(directory: &Path) {
    symlink("latest", directory.join("openstack/2012-08-10")).unwrap();
    symlink("loop", directory.join("loop")).unwrap();
    let deep = directory.join("a/b/c/d/e/f/g/h/i/j");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "deep").unwrap();
    fs::write(directory.join(long_name()), "long").unwrap();
}

/// How an ISO 9660 disc keeps its names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Names {
    RockRidgeAndJoliet,
    RockRidge,
    Joliet,
    /// Upper case, up to 31 characters.
    Plain,
    /// Upper case, eight characters and three.
    PlainShort,
}

/// The bytes of an ISO 9660 disc with the files of `directory`.
pub(crate) fn iso(directory: &Path, label: &str, names: Names) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disc.iso");
    let (path, directory) = (path.to_str().unwrap(), directory.to_str().unwrap());
    let native = |rock_ridge, joliet, compliance| {
        let outdev = ["-outdev", path, "-volid", label, "-rockridge", rock_ridge];
        let rest = ["-joliet", joliet, "-compliance", compliance, "-map", directory, "/"];
        run("xorriso", &[&outdev[..], &rest[..]].concat());
    };
    match names {
        Names::RockRidgeAndJoliet | Names::RockRidge => {
            let joliet: &[&str] =
                if matches!(names, Names::RockRidge) { &[] } else { &["-J", "-joliet-long"] };
            let arguments = ["-as", "mkisofs", "-quiet", "-R", "-V", label, "-o", path, directory];
            run("xorriso", &[&arguments[..4], joliet, &arguments[4..]].concat());
        }
        Names::Joliet => native("off", "on", "iso_9660_level=2"),
        Names::Plain => native("off", "off", "iso_9660_level=2"),
        Names::PlainShort => native("off", "off", "iso_9660_level=1"),
    }
    fs::read(path).unwrap()
}

/// The bytes of a FAT volume of `kib` KiB with the files of `directory`.
pub(crate) fn fat(directory: &Path, label: &str, bits: &str, kib: u64) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disc.fat");
    fs::File::create(&path).unwrap().set_len(kib * 1024).unwrap();
    let path = path.to_str().unwrap();
    run("mkfs.fat", &["-F", bits, "-s", "1", "-n", label, "-i", "12345678", path]);
    let mut arguments = vec!["-s".to_string(), "-i".to_string(), path.to_string()];
    let mut entries: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_string())
        .collect();
    entries.sort();
    arguments.extend(entries);
    arguments.push("::".to_string());
    run("mcopy", &arguments);
    fs::read(path).unwrap()
}
