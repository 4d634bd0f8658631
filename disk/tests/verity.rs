//! The verity tree, byte for byte as `veritysetup` makes it.

mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};

use common::{output, run};
use disk::verity::{self, BLOCK, Superblock};

const UUID: &str = "01234567-89ab-cdef-fedc-ba9876543210";

/// Data whose blocks differ, written to `file`.
fn fill(file: &mut File, blocks: u64) {
    let mut out = std::io::BufWriter::new(file);
    for index in 0..blocks {
        let mut block = [index as u8; BLOCK as usize];
        block[..8].copy_from_slice(&index.to_le_bytes());
        out.write_all(&block).unwrap();
    }
    out.flush().unwrap();
}

#[test]
fn trees_of_every_shape_are_those_of_veritysetup() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let long_salt = "5a".repeat(256);
    for (blocks, salt) in [
        (1, "a5"),
        (2, "-"),
        (127, "00112233"),
        (128, "00112233"),
        (129, "00112233"),
        (1024, &long_salt),
        (1025, "-"),
        (128 * 128, "00112233"),
        (128 * 128 + 1, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
    ] {
        let mut data = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path("data"))
            .unwrap();
        fill(&mut data, blocks);
        let _ = fs::remove_file(path("theirs"));
        let arguments = ["format", "--hash=sha256", "--uuid", UUID, "--salt", salt];
        let mut arguments = arguments.map(std::ffi::OsString::from).to_vec();
        arguments.extend([path("data").into(), path("theirs").into()]);
        let report = run("veritysetup", &arguments);

        let bytes: Vec<u8> = match salt {
            "-" => Vec::new(),
            salt => (0..salt.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&salt[at..at + 2], 16).unwrap())
                .collect(),
        };
        let superblock = Superblock::new(UUID.parse().unwrap(), &bytes, blocks).unwrap();
        data.seek(SeekFrom::Start(0)).unwrap();
        let mut ours = File::create(path("ours")).unwrap();
        let root = verity::build(&superblock, &mut data, &mut ours).unwrap();

        assert!(report.contains(&root.to_string()), "{blocks} blocks: {root} in {report}");
        let (ours, theirs) = (fs::read(path("ours")).unwrap(), fs::read(path("theirs")).unwrap());
        assert_eq!(ours.len() as u64, verity::partition_size(blocks), "{blocks} blocks");
        // A single block needs no tree: then there is only the superblock,
        // which veritysetup does not pad.
        assert!(theirs.len() <= ours.len() && ours.len() - theirs.len() < BLOCK as usize);
        assert!(ours[..theirs.len()] == theirs, "{blocks} blocks");
        assert!(ours[theirs.len()..].iter().all(|&byte| byte == 0));
        assert_eq!(Superblock::read(&mut theirs.as_slice()).unwrap(), superblock);
    }
}

#[test]
fn veritysetup_accepts_the_tree_and_refuses_changed_data() {
    let directory = tempfile::tempdir().unwrap();
    let (data_path, tree_path) = (directory.path().join("data"), directory.path().join("tree"));
    let mut data =
        File::options().read(true).write(true).create_new(true).open(&data_path).unwrap();
    fill(&mut data, 300);
    data.seek(SeekFrom::Start(0)).unwrap();
    let superblock = Superblock::new(UUID.parse().unwrap(), b"salt", 300).unwrap();
    let mut tree = File::create(&tree_path).unwrap();
    let root = verity::build(&superblock, &mut data, &mut tree).unwrap().to_string();

    let arguments =
        ["verify".as_ref(), data_path.as_os_str(), tree_path.as_os_str(), root.as_ref()];
    run("veritysetup", &arguments);
    data.seek(SeekFrom::Start(200 * BLOCK + 5)).unwrap();
    data.write_all(&[1]).unwrap();
    assert!(!output("veritysetup", &arguments).status.success());
}
