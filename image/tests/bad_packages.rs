//! Packages that are broken, or that want to do harm: each is one clear error, and nothing is
//! touched but the output and the cache.

mod support;

use std::fs;
use std::io::Read;
use support::Project;
use support::deb::{self, Locked, deb_of, header};
use tar::{Builder, EntryType};

/// Builds a project whose archive has these packages too.
fn build(packages: &[(&str, Vec<u8>)]) -> (Project, support::Run) {
    let project = Project::new();
    let small = fs::read(project.path("archive/small.deb")).unwrap();
    let mut locked = vec![Locked::new("small", "1.0-1", "small.deb", &small)];
    for (name, bytes) in packages {
        fs::write(project.path(&format!("archive/{name}.deb")), bytes).unwrap();
        locked.push(Locked::new(name, "1", &format!("{name}.deb"), bytes));
    }
    let url = format!("file:{}", project.path("archive").display());
    project.write("manifest.lock", &deb::lock(&url, &["small"], &locked));
    let run = project.build(&["--no-qcow2"]);
    (project, run)
}

/// The error of such a build, which leaves no results.
fn refused(packages: &[(&str, Vec<u8>)], what: &str) {
    let (project, run) = build(packages);
    run.failed(what);
    assert_eq!(project.names("output"), [""; 0]);
    assert_eq!(project.names("cache/trees"), [""; 0]);
}

fn control(name: &str, more: &str) -> String {
    format!("Package: {name}\nVersion: 1\nArchitecture: amd64\n{more}Description: test\n")
}

fn package(name: &str, more: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
    deb::deb(&control(name, more), &files)
}

/// A package with one entry of any path, which the writer of archives would refuse.
fn entry(kind: EntryType, path: &str, target: &str) -> Vec<u8> {
    let mut header = header(kind, 0o644, 0);
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    if !target.is_empty() {
        header.set_link_name_literal(target).unwrap();
    }
    header.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&header, &b""[..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn a_file_of_two_packages_needs_one_that_replaces_the_other() {
    let (one, two) = (("usr/share/x", "one"), ("usr/share/x", "two"));
    refused(
        &[("one", package("one", "", &[one])), ("two", package("two", "", &[two]))],
        "usr/share/x is in one and in two, and neither replaces the other",
    );
    let newer = package("two", "Replaces: one (<< 2)\n", &[two]);
    build(&[("one", package("one", "", &[one])), ("two", newer)]).1.succeeded();
    let older = package("two", "Replaces: one (<< 1)\n", &[two]);
    refused(&[("one", package("one", "", &[one])), ("two", older)], "neither replaces");
}

#[test]
fn paths_do_not_lead_out() {
    for (path, wanted) in [
        ("/etc/passwd", "its path is absolute"),
        ("../../etc/passwd", "its path leads out of the system"),
        ("usr/../../etc/passwd", "its path leads out of the system"),
    ] {
        let bytes = deb_of(&control("evil", ""), &[], &entry(EntryType::Regular, path, ""));
        refused(&[("evil", bytes)], wanted);
    }
    let hard = deb_of(&control("evil", ""), &[], &entry(EntryType::Link, "x", "/etc/passwd"));
    refused(&[("evil", hard)], "hard link to /etc/passwd");
}

#[test]
fn links_that_lead_out_lead_into_the_tree() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let mut data = Builder::new(Vec::new());
    data.append_link(&mut header(EntryType::Symlink, 0o777, 0), "usr/way-out", target).unwrap();
    data.append_data(&mut header(EntryType::Regular, 0o644, 4), "usr/way-out/file", &b"evil"[..])
        .unwrap();
    let bytes = deb_of(&control("evil", ""), &[], &data.into_inner().unwrap());
    build(&[("evil", bytes)]).1.succeeded();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_bomb_does_not_go_off() {
    let mut data = Builder::new(Vec::new());
    let size = 80 << 20;
    let zeros = std::io::repeat(0).take(size);
    let mut header = header(EntryType::Regular, 0o644, size as usize);
    data.append_data(&mut header, "usr/share/zeros", zeros).unwrap();
    let mut packed = Vec::new();
    let tar = data.into_inner().unwrap();
    flate2::read::GzEncoder::new(tar.as_slice(), flate2::Compression::best())
        .read_to_end(&mut packed)
        .unwrap();
    let records = deb::records(&control("bomb", ""), &[]);
    let bytes = deb::members(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &records),
        ("data.tar.gz", &packed),
    ]);
    refused(&[("bomb", bytes)], "not a package but a bomb");
}

#[test]
fn a_package_that_is_none_is_named() {
    refused(&[("cut", package("cut", "", &[])[..500].to_vec())], "it is cut short");
    refused(&[("rubbish", vec![7; 5000])], "it does not begin as an archive");
    refused(&[("other", package("another", "", &[]))], "it is another package than the lock says");
    let no_files = deb::members(&[("debian-binary", b"2.0\n"), ("control.tar", &[0; 1024])]);
    refused(&[("none", no_files)], "it has no control file");
    let odd = deb::members(&[("debian-binary", b"3.0\n")]);
    refused(&[("odd", odd)], "it is of another version than 2");
}

#[test]
fn a_module_that_is_none_is_named() {
    let module = ("usr/lib/modules/6.1.0-test/kernel/bad.ko", "rubbish");
    refused(
        &[("bad", package("bad", "", &[module]))],
        "bad.ko of the packages: it is no kernel module",
    );
}
