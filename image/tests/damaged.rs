//! Damaged files of every format that is read: whatever is in them, the answer is an error or a
//! result, never a panic, and never more memory than the format may take.
//!
//! A short round runs with the other tests; `make fuzz` runs a long one.

mod support;

use image::deb::package;
use image::deb::spool::Spool;
use image::inspect::inspect;
use image::tree::Tree;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use support::Project;
use support::deb::{self, deb_of, header};
use tar::{Builder, EntryType};

/// Damages in the short round and in the long one, for each format.
const SHORT: u32 = 150;
const LONG: u32 = 50_000;

/// Numbers that look random and are the same every time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// Changes some bytes, cuts, repeats or swaps parts.
fn damage(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(out.len());
        match numbers.below(6) {
            0 => out.truncate(place),
            1 | 2 => {
                for byte in out.iter_mut().skip(place).take(1 + numbers.below(8)) {
                    *byte = numbers.below(256) as u8;
                }
            }
            3 => {
                for byte in out.iter_mut().skip(place).take(8) {
                    *byte = [0, 0xff, b'9', b'/'][numbers.below(4)];
                }
            }
            4 => {
                let part = out[place..].iter().take(512).copied().collect::<Vec<_>>();
                let at = numbers.below(out.len());
                out.splice(at..at, part);
            }
            _ => {
                let other = numbers.below(out.len());
                if let Some(last) = out.len().checked_sub(1) {
                    out.swap(place.min(last), other.min(last));
                }
            }
        }
        if out.is_empty() {
            break;
        }
    }
    out
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A tar with an entry of every kind.
fn example_tar() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    tar.append_pax_extensions([("SCHILY.xattr.user.x", &b"value"[..])]).unwrap();
    let long = format!("usr/{}", "long/".repeat(40));
    for path in ["usr/bin/x", long.trim_end_matches('/')] {
        tar.append_data(&mut header(EntryType::Regular, 0o755, 9), path, &b"contents\n"[..])
            .unwrap();
    }
    tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), "usr/link", "bin").unwrap();
    tar.append_link(&mut header(EntryType::Link, 0o755, 0), "usr/hard", "usr/bin/x").unwrap();
    tar.append_data(&mut header(EntryType::Directory, 0o755, 0), "etc/", std::io::empty()).unwrap();
    tar.into_inner().unwrap()
}

fn debs(rounds: u32) {
    let control = "Package: x\nVersion: 1\nArchitecture: amd64\nDescription: x\n more\n";
    let plain = deb_of(control, &[("postinst", "#!/bin/sh\n")], &example_tar());
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new(example_tar().as_slice(), 0).read_to_end(&mut packed).unwrap();
    let zst = zstd::encode_all(deb::records(control, &[]).as_slice(), 1).unwrap();
    let compressed = deb::members(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.zst", &zst),
        ("data.tar.xz", &packed),
    ]);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for whole in [plain, compressed] {
        let spool = Spool::new(tempfile::tempfile().unwrap());
        package::unpack(&file(&whole), &spool).unwrap();
        for _ in 0..rounds {
            let _ = package::unpack(&file(&damage(&whole, &mut numbers)), &spool);
        }
    }
}

fn tars(rounds: u32) {
    let whole = example_tar();
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    for _ in 0..rounds {
        if let Ok(from) = Tree::from_tar(file(&damage(&whole, &mut numbers))) {
            // What was read is whole: every content can be read, every link has its file.
            for (path, _) in from.tree.iter() {
                let _ = from.tree.read_file(path).unwrap();
            }
        }
    }
}

/// File systems, verity trees, boot images and disks, through `image inspect`.
fn outputs(rounds: u32) {
    let project = Project::new();
    project.build(&["--no-qcow2"]).succeeded();
    let mut numbers = Numbers(0x0bad_cafe_dead_beef);
    for (name, reach) in [
        ("coreos_1.2.3.root", 64 << 10),
        ("coreos_1.2.3.verity", 8 << 10),
        ("coreos_1.2.3.efi", 4 << 10),
        ("coreos.raw", 34 * 512),
    ] {
        let path = project.path("damaged");
        let whole = project.path(&format!("output/{name}"));
        inspect(&whole).unwrap();
        // Where the format's own structures are; the rest of the file stays.
        let mut begin = vec![0; reach];
        let length = File::open(&whole).unwrap().read(&mut begin).unwrap();
        begin.truncate(length);
        fs::copy(&whole, &path).unwrap();
        for _ in 0..rounds / 3 {
            let mut bytes = damage(&begin, &mut numbers);
            bytes.resize(begin.len(), 0);
            let mut file = File::options().write(true).open(&path).unwrap();
            file.write_all(&bytes).unwrap();
            let _ = inspect(&path).map(|report| report.to_string());
        }
    }
}

#[test]
fn a_short_round_breaks_nothing() {
    debs(SHORT);
    tars(SHORT);
    outputs(SHORT);
}

#[test]
#[ignore = "takes minutes: make fuzz"]
fn a_long_round_breaks_nothing() {
    debs(LONG);
    tars(LONG);
    outputs(LONG / 10);
}
