//! What the builder writes as EROFS, read back by the reader that the whole system shares.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use disk::erofs::{SUPERBLOCK_OFFSET, content, list};
use image::erofs::{Image, Options};
use image::tree::{Kind, Node, Tree};

fn tree() -> Tree {
    let mut tree = Tree::new();
    let mut put = |path: &str, node: Node| tree.insert(path, node).expect("a good path");
    put("etc", Node::directory(0o755).owned_by(7, 70_000));
    put("etc/empty", Node::file(0o600, Vec::new()));
    put("etc/small", Node::file(0o644, b"small".to_vec()));
    put("usr/large", Node::file(0o755, (0..20_000).map(|n| n as u8).collect::<Vec<_>>()));
    put("usr/link", Node::symlink("large"));
    put("usr/again", Node::new(0o644, Kind::HardLink("usr/large".to_owned())));
    put("dev/null", Node::new(0o666, Kind::CharDevice { major: 1, minor: 3 }));
    for number in 0..900 {
        put(&format!("many/file-with-a-longer-name-{number:04}"), Node::file(0o644, vec![1]));
    }
    tree
}

fn image(compressed: bool) -> File {
    let tree = tree();
    let last = BTreeSet::new();
    let options = Options { uuid: [1; 16], volume_name: "root", epoch: 5, last: &last };
    let plan = if compressed { Image::plan_compressed } else { Image::plan };
    let image = plan(&tree, &options).expect("fits");
    let mut file = tempfile::tempfile().expect("temporary file");
    image.write(&mut file).expect("written");
    file.flush().expect("written");
    file
}

#[test]
fn what_was_written_is_read_back() {
    [false, true].into_iter().for_each(read_back);
}

fn read_back(compressed: bool) {
    let image = image(compressed);
    let found = list(&image).expect("readable");
    let tree = tree();
    let paths: Vec<&str> = tree.iter().map(|(path, _)| path).filter(|p| !p.is_empty()).collect();
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), paths);
    assert_eq!((found["etc"].uid, found["etc"].gid), (7, 70_000));
    assert_eq!(found["etc/small"].mode, 0o100_644);
    assert_eq!(found["usr/large"].compressed, compressed);
    assert_eq!(found["usr/again"].inode, found["usr/large"].inode);
    let read = |path: &str| content(&image, &found[path], 1 << 20).expect("readable");
    assert_eq!(read("etc/small"), b"small");
    assert_eq!(read("etc/empty"), b"");
    assert_eq!(read("usr/link"), b"large");
    assert_eq!(Some(read("usr/large")), tree.read_file("usr/large").expect("readable"));
    assert!(content(&image, &found["usr/large"], 100).is_err());
}

#[test]
fn no_damage_is_more_than_an_error() {
    [false, true].into_iter().for_each(damage);
}

fn damage(compressed: bool) {
    let image = image(compressed);
    let size = image.metadata().expect("there").len();
    let mut original = [0; 1];
    // The metadata are at the front; every byte of their first blocks in turn.
    for at in
        (SUPERBLOCK_OFFSET as u64..SUPERBLOCK_OFFSET as u64 + 128).chain((2048..9000).step_by(23))
    {
        image.read_exact_at(&mut original, at).expect("readable");
        for value in [!original[0], 0xff] {
            image.write_all_at(&[value], at).expect("written");
            if let Ok(found) = list(&image) {
                for node in found.values().filter(|node| node.is_file()).take(5) {
                    let _ = content(&image, node, 1 << 20);
                }
            }
        }
        image.write_all_at(&original, at).expect("written");
    }
    for length in [0, 100, 1024, 4096, size / 2] {
        image.set_len(length).expect("cut");
        let _ = list(&image);
    }
}
