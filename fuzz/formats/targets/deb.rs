//! A package of any bytes, or of sound members around any tar: it is unpacked or refused, and
//! nothing of it leads out of a tree.
#![no_main]

use std::fs::File;
use std::io::Write;

use image::deb::package;
use image::deb::spool::Spool;
use image::tree::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let whole = match how % 3 {
        0 => rest.to_vec(),
        1 => package_of(&[("debian-binary", b"2.0\n"), ("control.tar", rest), ("data.tar", rest)]),
        // The control member ends at the first byte that no text has.
        _ => {
            let end = rest.iter().position(|&byte| byte == 0xff).unwrap_or(rest.len());
            let control = tar_of("./control", &rest[..end]);
            let data = rest.get(end + 1..).unwrap_or_default();
            let name = ["data.tar", "data.tar.xz", "data.tar.zst", "data.tar.gz"];
            let name = name[usize::from(how / 3) % 4];
            package_of(&[("debian-binary", b"2.0\n"), ("control.tar", &control), (name, data)])
        }
    };
    let file = file(&whole);
    let _ = package::control(&file);
    let spool = Spool::new(tempfile::tempfile().expect("a temporary file"));
    let Ok(unpacked) = package::unpack(&file, &spool) else { return };
    for entry in unpacked.entries {
        assert!(!entry.path.starts_with('/'), "{:?}", entry.path);
        assert!(entry.path.split('/').all(|part| part != ".."), "{:?}", entry.path);
        if let Kind::File(content) = entry.node.kind {
            content.to_vec().expect("what was unpacked can be read");
        }
    }
});

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    file
}

/// An ar archive of these members.
fn package_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let length = content.len();
        out.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 100_644).bytes(),
        );
        out.extend(*content);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

/// A tar of one file.
fn tar_of(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = header.to_vec();
    out.extend(content);
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}
