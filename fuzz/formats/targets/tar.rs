//! A tar of any bytes: it becomes a tree or is refused, and what became a tree can be read whole.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};

use image::tree::Content;
use image::tree::archive::{ArchiveError, Entry, read_entries};
use image::tree::{Kind, Tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let mut archive = rest.to_vec();
    if how % 2 == 0 {
        mend(&mut archive);
    }
    // As a stream, entry by entry.
    let mut entries = Vec::new();
    let streamed = read_entries::<ArchiveError>(
        archive.as_slice(),
        &mut |_, content, size| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(content, size), &mut bytes)?;
            Ok(Content::from(bytes))
        },
        &mut |entry: Entry| {
            entries.push(entry);
            Ok(())
        },
    );
    if streamed.is_ok() {
        let mut tree = Tree::new();
        for entry in entries {
            let _ = tree.insert_entry(&entry.path, entry.node);
        }
        whole(&tree);
    }
    // As a file, whose contents stay where they are.
    if let Ok(from) = Tree::from_tar(file(&archive)) {
        whole(&from.tree);
    }
});

/// Every path stays inside, every link leads to a file, every content is there.
fn whole(tree: &Tree) {
    for (path, node) in tree.iter() {
        assert!(!path.starts_with('/'), "{path:?}");
        assert!(path.split('/').all(|part| part != ".." && part != "."), "{path:?}");
        if matches!(node.kind, Kind::File(_) | Kind::HardLink(_)) {
            tree.read_file(path).expect("what is in a tree can be read");
        }
    }
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    file.rewind().expect("its beginning");
    file
}

/// Makes the checksums of headers right, which no fuzzer finds by chance.
fn mend(archive: &mut [u8]) {
    const BLOCK: usize = 512;
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + BLOCK) {
        if header.iter().all(|&byte| byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 8).ok()).unwrap_or(0);
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
}
