//! A config disc of any bytes: it is read or refused, within bounds, and says the same twice.
#![no_main]

use std::io::Cursor;

use disk::disc;
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 6] = [
    "openstack/latest/user_data",
    "openstack/latest/meta_data.json",
    "user-data",
    "meta-data",
    "ovf-env.xml",
    "a/../b",
];

fuzz_target!(|bytes: &[u8]| {
    // What makes a disc one of either kind stands far behind its beginning: a disc of nothing
    // but what matters is spread out.
    let image = spread(bytes);
    let Ok(mut disc) = disc::open(Cursor::new(&image)) else { return };
    assert!(disc.has_label(disc.label()));
    let files = disc.list();
    for path in PATHS {
        if let Ok(Some(content)) = disc.read(path, 4096) {
            assert!(content.len() <= 4096);
        }
    }
    if let Ok(files) = files {
        for (path, _) in files.iter().take(64) {
            let _ = disc.read(path, 1 << 16);
        }
    }
});

/// A first byte of zero: the rest begins at sector 16, as ISO 9660 has it. Else the bytes are the
/// disc.
fn spread(bytes: &[u8]) -> Vec<u8> {
    match bytes.split_first() {
        Some((0, rest)) => {
            let mut image = vec![0; 16 * 2048];
            image.extend(rest);
            image.resize(image.len().next_multiple_of(2048), 0);
            image
        }
        Some((_, rest)) => rest.to_vec(),
        None => Vec::new(),
    }
}
