//! A file system of any bytes: it is listed or refused within bounds, and what it lists can be
//! read as long as it says.
#![no_main]

use std::io::Cursor;

use disk::erofs::{content, list};
use libfuzzer_sys::fuzz_target;

/// More than is read of one file here.
const LIMIT: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(found) = list(Cursor::new(bytes)) else { return };
    // Every name takes its bytes in a directory of its own.
    assert!(found.len() <= bytes.len() / 12, "{} names in {} bytes", found.len(), bytes.len());
    for (path, node) in found.iter().take(256) {
        assert!(!path.starts_with('/') && !path.contains("//"), "{path:?}");
        if let Ok(read) = content(Cursor::new(bytes), node, LIMIT) {
            assert_eq!(read.len() as u64, node.size, "{path:?}");
        }
    }
});
