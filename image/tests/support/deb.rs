//! Packages and locks, made for a test.

use sha2::{Digest, Sha256};
use std::fmt::Write;
use tar::{Builder, EntryType, Header};

/// What a lock says of a package.
pub(crate) struct Locked {
    name: String,
    version: String,
    path: String,
    size: usize,
    sha256: String,
}

impl Locked {
    pub(crate) fn new(name: &str, version: &str, path: &str, bytes: &[u8]) -> Locked {
        let sha256 = Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let [name, version, path] = [name, version, path].map(str::to_owned);
        Locked { name, version, path, size: bytes.len(), sha256 }
    }
}

/// The text of a lock whose packages are all in the first archive, at `url`.
pub(crate) fn lock(url: &str, asked: &[&str], packages: &[Locked]) -> String {
    let mut text = format!("format = 1\narchitecture = \"amd64\"\nasked = {asked:?}\n");
    for suite in ["trixie", "trixie-updates", "trixie-security"] {
        let _ = write!(
            text,
            "[[archive]]\nurl = {url:?}\nsuite = {suite:?}\ncomponents = [\"main\"]\ndate = 0\n\
             release = \"\"\nsigners = []\n"
        );
    }
    for Locked { name, version, path, size, sha256 } in packages {
        let _ = write!(
            text,
            "[[package]]\nname = {name:?}\nversion = {version:?}\narchitecture = \"amd64\"\n\
             source = {name:?}\narchive = 0\npath = {path:?}\nsize = {size}\nsha256 = {sha256:?}\n"
        );
    }
    text
}

/// A package of files, root's and 0644.
pub(crate) fn deb(control: &str, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut data = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = header(EntryType::Regular, 0o644, content.len());
        data.append_data(&mut header, format!("./{path}"), content.as_slice()).expect("appended");
    }
    deb_of(control, &[], &data.into_inner().expect("written"))
}

/// The header of a file of root's.
pub(crate) fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header
}

/// A package of records, scripts and a tar of its files.
pub(crate) fn deb_of(control: &str, scripts: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let records = records(control, scripts);
    members(&[("debian-binary", b"2.0\n"), ("control.tar", &records), ("data.tar", data)])
}

/// The tar of a package's records.
pub(crate) fn records(control: &str, scripts: &[(&str, &str)]) -> Vec<u8> {
    let mut records = Builder::new(Vec::new());
    for (name, text) in [("control", control)].iter().chain(scripts) {
        let mut header = header(EntryType::Regular, 0o755, text.len());
        records.append_data(&mut header, format!("./{name}"), text.as_bytes()).expect("appended");
    }
    records.into_inner().expect("written")
}

/// An ar archive.
pub(crate) fn members(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let header =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len());
        out.extend(header.bytes());
        out.extend(*content);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}
