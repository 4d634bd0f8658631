//! EROFS as `mkfs.erofs` writes it, read.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::run;
use disk::erofs::{ReadError, Reader, content, list};

/// Has mkfs.erofs write what a directory has.
fn image(directory: &Path, options: &[&str]) -> File {
    let image = directory.with_extension("erofs");
    let paths = [&image, directory].map(|path| path.to_str().unwrap().to_owned());
    let options = options.iter().map(ToString::to_string);
    let arguments: Vec<String> = options.chain(paths).collect();
    run("mkfs.erofs", &arguments);
    File::open(image).unwrap()
}

#[test]
fn what_mkfs_erofs_writes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("usr/many")).unwrap();
    let large: Vec<u8> = (0..70_000).map(|n| (n % 251) as u8).collect();
    for (path, bytes) in [("usr/large", &large[..]), ("usr/small", b"small"), ("usr/empty", b"")] {
        fs::write(root.join(path), bytes).unwrap();
    }
    fs::set_permissions(root.join("usr/small"), fs::Permissions::from_mode(0o4750)).unwrap();
    symlink("../usr/large", root.join("usr/link")).unwrap();
    fs::hard_link(root.join("usr/large"), root.join("usr/same")).unwrap();
    for number in 0..500 {
        fs::write(root.join(format!("usr/many/of-a-name-that-is-long-{number}")), "x").unwrap();
    }
    for options in [&[][..], &["-Eforce-inode-extended"], &["-Eforce-inode-compact"]] {
        let image = image(&root, options);
        let found = list(&image).unwrap();
        assert_eq!(found.len(), 2 + 5 + 500, "{options:?}");
        let read = |path: &str| content(&image, &found[path], 1 << 20).unwrap();
        assert!(read("usr/large") == large, "{options:?}");
        assert_eq!(read("usr/small"), b"small");
        assert_eq!(read("usr/empty"), b"");
        assert_eq!(read("usr/link"), b"../usr/large");
        assert_eq!(read("usr/many/of-a-name-that-is-long-499"), b"x");
        assert_eq!(found["usr/small"].mode, 0o104_750);
        assert_eq!(found["usr/same"].inode, found["usr/large"].inode);
        assert!(found["usr"].is_directory() && found["usr/link"].is_link());
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("text"), "text ".repeat(10_000)).unwrap();
    let refused = |result: Result<_, ReadError>| match result {
        Err(ReadError::Damaged(what)) => what,
        Err(error) => panic!("{error}"),
        Ok(()) => panic!("it is read"),
    };
    for (options, complaint) in [
        (&["-zlz4"][..], "it is compressed in an unknown way"),
        (&["-zlz4", "-C65536"], "a file is compressed in an unknown way, or in chunks"),
    ] {
        assert_eq!(refused(list(&image(&root, options)).map(drop)), complaint);
    }
    let nothing = std::io::Cursor::new(vec![0; 8192]);
    let complaint = refused(Reader::open(nothing).map(drop));
    assert_eq!(complaint, "no superblock with blocks of 4096 bytes");
    assert_eq!(refused(list(std::io::empty()).map(drop)), "it is shorter than a block");
}
