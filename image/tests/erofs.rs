//! Images that the EROFS writer makes, as the format's own tools read them.

use image::erofs::{BLOCK, Image, Options};
use image::tree::{Content, Kind, Node, Tree};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const OPTIONS: Options<'static> = Options {
    uuid: *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef",
    volume_name: "sixteen-bytes-ok",
    epoch: 1_700_000_000,
    last: &BTreeSet::new(),
};

/// An image in a directory of its own.
struct Built {
    directory: tempfile::TempDir,
    image: PathBuf,
}

impl Built {
    fn new(tree: &Tree) -> Built {
        Built::of(&Image::plan(tree, &OPTIONS).unwrap())
    }

    fn compressed(tree: &Tree) -> Built {
        Built::of(&Image::plan_compressed(tree, &OPTIONS).unwrap())
    }

    fn of(plan: &Image<'_>) -> Built {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        let blocks = plan.write(&mut File::create(&image).unwrap()).unwrap();
        assert_eq!(fs::metadata(&image).unwrap().len(), blocks * BLOCK);
        Built { directory, image }
    }

    /// Checks the image with fsck.erofs and unpacks it.
    fn extract(&self) -> PathBuf {
        let target = self.directory.path().join("extracted");
        let mut extract = std::ffi::OsString::from("--extract=");
        extract.push(&target);
        run(Command::new("fsck.erofs").arg(extract).arg("--preserve-perms").arg(&self.image));
        target
    }

    /// What dump.erofs says about a path.
    fn dump(&self, path: &str) -> String {
        run(Command::new("dump.erofs").arg(format!("--path=/{path}")).arg(&self.image))
    }

    /// The number of a path's inode, says dump.erofs.
    fn inode_number(&self, path: &str) -> u64 {
        let dump = self.dump(path);
        let number = dump.split("NID: ").nth(1).unwrap().split_whitespace().next().unwrap();
        number.parse().unwrap()
    }

    /// The inode of a path and what follows it.
    fn inode(&self, path: &str) -> Vec<u8> {
        let mut inode = vec![0; 4096];
        let file = File::open(&self.image).unwrap();
        let read = file.read_at(&mut inode, self.inode_number(path) * 32).unwrap();
        inode.truncate(read);
        inode
    }

    /// The extended attributes of a path.
    fn xattrs(&self, path: &str) -> BTreeMap<(u8, String), Vec<u8>> {
        let inode = self.inode(path);
        let word = |at: usize| usize::from(u16::from_le_bytes([inode[at], inode[at + 1]]));
        let mut at = if word(0) & 1 == 1 { 64 } else { 32 };
        let end = at + 12 + (word(2) - 1) * 4;
        at += 12;
        let mut found = BTreeMap::new();
        while at < end {
            let (name_len, index, value_len) =
                (usize::from(inode[at]), inode[at + 1], word(at + 2));
            let name = &inode[at + 4..at + 4 + name_len];
            let value = &inode[at + 4 + name_len..at + 4 + name_len + value_len];
            let name = String::from_utf8(name.to_vec()).unwrap();
            found.insert((index, name), value.to_vec());
            at += (4 + name_len + value_len).next_multiple_of(4);
        }
        found
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("erofs-utils must be installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // fsck.erofs 1.5 complains about the checksum and then exits with 0.
    let fine = output.status.success() && !text(&output.stderr).contains("<E>");
    assert!(fine, "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The tree that was extracted, with the contents it should have, or where they differ.
fn compare(tree: &Tree, root: &Path) -> Result<(), String> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut there = vec![String::new()];
    walk(root, "", &mut there);
    there.sort();
    let wanted: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
    if there != wanted {
        return Err(format!("extracted {there:?}, wanted {wanted:?}"));
    }
    for (path, node) in tree.iter() {
        let node = match &node.kind {
            Kind::HardLink(first) => tree.get(first).unwrap(),
            _ => node,
        };
        let on_disk = root.join(path);
        let metadata = fs::symlink_metadata(&on_disk).unwrap();
        let same = match &node.kind {
            Kind::Directory => metadata.is_dir(),
            Kind::File(content) => fs::read(&on_disk).unwrap() == content.to_vec().unwrap(),
            Kind::Symlink(target) => {
                fs::read_link(&on_disk).unwrap().as_os_str().as_bytes() == target.as_bytes()
            }
            Kind::Fifo => metadata.file_type().is_fifo(),
            other => return Err(format!("{path}: {other:?} is not compared")),
        };
        if !same {
            return Err(format!("{path} differs"));
        }
        let is_link = metadata.is_symlink();
        // fsck.erofs changes the owner last, which takes the set-id bits away.
        if !is_link && metadata.mode() & 0o1777 != node.mode & 0o1777 {
            return Err(format!("{path}: mode {:o}, wanted {:o}", metadata.mode(), node.mode));
        }
        if is_root && (metadata.uid(), metadata.gid()) != (node.uid, node.gid) {
            return Err(format!("{path}: owner {}:{}", metadata.uid(), metadata.gid()));
        }
    }
    Ok(())
}

fn walk(root: &Path, at: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(at)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            walk(root, &path, found);
        }
        found.push(path);
    }
}

/// Contents whose every block is different.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    })
    .take(len)
    .collect()
}

/// Contents that repeat themselves, but not for ever.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let words = bytes(seed, 4096).into_iter().flat_map(|byte| [byte, b' ', b'w', byte / 4, 0]);
    words.cycle().enumerate().map(|(at, byte)| byte ^ (at / 20_480) as u8).take(len).collect()
}

fn put(tree: &mut Tree, path: &str, node: Node) {
    tree.insert(path, node).unwrap();
}

/// One of everything, owned by whoever runs the test unless that is the point.
fn everything() -> Tree {
    let mut tree = Tree::new();
    tree.get_mut("").unwrap().mode = 0o755;
    for len in [0, 1, 4095, 4096, 4097, 3_000_000] {
        put(&mut tree, &format!("files/{len}"), Node::file(0o640, bytes(len as u64, len)));
    }
    put(&mut tree, "setuid", Node::file(0o4755, "x"));
    put(&mut tree, "sticky", Node::directory(0o1777));
    put(&mut tree, "closed", Node::file(0o400, "y"));
    put(&mut tree, "+before the dots", Node::file(0o644, "z"));
    put(&mut tree, "ünïcödé", Node::directory(0o755));
    put(&mut tree, "empty", Node::directory(0o711));
    put(&mut tree, "link", Node::symlink("files/1"));
    put(&mut tree, "long link", Node::symlink("x/".repeat(2000) + "y"));
    put(&mut tree, &format!("names/{}", "n".repeat(255)), Node::file(0o644, "long"));
    put(&mut tree, "hard/2", Node::new(0, Kind::HardLink("files/4097".into())));
    put(&mut tree, "hard/1", Node::new(0, Kind::HardLink("files/4097".into())));
    for number in 0..2000 {
        put(&mut tree, &format!("big/entry-{number:04}"), Node::symlink("t"));
    }
    put(&mut tree, "pipe", Node::new(0o600, Kind::Fifo));
    tree
}

#[test]
fn fsck_extracts_what_was_put_in() {
    let tree = everything();
    compare(&tree, &Built::new(&tree).extract()).unwrap();
}

/// Everything, with files that become smaller: whole pieces, a short last one, and between them
/// what does not.
fn compressible() -> Tree {
    let mut tree = everything();
    for len in [4096, 4097, 8192, 65_536, 65_537, 69_633, 131_072, 1_000_000] {
        put(&mut tree, &format!("text/{len}"), Node::file(0o644, text(len as u64, len)));
        put(&mut tree, &format!("zeros/{len}"), Node::file(0o644, vec![0; len]));
    }
    let mixed = [text(1, 65_536), bytes(2, 131_072), text(3, 70_000), bytes(4, 5000)].concat();
    let mut mixed = Node::file(0o4755, mixed);
    mixed.xattrs.insert("user.odd".to_owned(), b"fills up".to_vec());
    put(&mut tree, "mixed", mixed);
    put(&mut tree, "mixed again", Node::new(0, Kind::HardLink("mixed".into())));
    put(&mut tree, "far", Node::file(0o644, text(9, 300_000)).owned_by(70_000, 1));
    tree
}

#[test]
fn what_is_compressed_comes_out_as_it_went_in() {
    let tree = compressible();
    let built = Built::compressed(&tree);
    compare(&tree, &built.extract()).unwrap();
    let dump = run(Command::new("dump.erofs").arg("-s").arg(&built.image));
    assert!(dump.contains("0padding big_pcluster"), "{dump}");
    // By the reader of this project, too.
    let image = File::open(&built.image).unwrap();
    let found = disk::erofs::list(&image).unwrap();
    for (path, node) in tree.iter().filter(|(_, node)| matches!(node.kind, Kind::File(_))) {
        let read = disk::erofs::content(&image, &found[path], 1 << 24).unwrap();
        assert!(Some(read) == tree.read_file(path).unwrap(), "{path}");
        assert_eq!((found[path].uid, found[path].gid), (node.uid, node.gid));
    }
}

#[test]
fn compressing_saves_what_can_be_saved_and_is_the_same_every_time() {
    let size = |built: &Built| fs::metadata(&built.image).unwrap().len();
    let (plain, packed) = (Built::new(&compressible()), Built::compressed(&compressible()));
    // About half of the 6.5 MB repeats itself.
    assert!(size(&packed) * 4 < size(&plain) * 3, "{} {}", size(&packed), size(&plain));
    let again = Built::compressed(&compressible());
    assert!(fs::read(&packed.image).unwrap() == fs::read(&again.image).unwrap());
    // Nothing to compress costs a configuration in the first block and nothing else.
    let mut tree = Tree::new();
    put(&mut tree, "bytes", Node::file(0o644, bytes(1, 500_000)));
    assert_eq!(size(&Built::new(&tree)), size(&Built::compressed(&tree)));
}

#[test]
fn the_superblock_says_what_it_was_told() {
    let built = Built::new(&everything());
    let dump = run(Command::new("dump.erofs").arg("-s").arg(&built.image));
    assert!(dump.contains("01234567-89ab-cdef-0123-456789abcdef"), "{dump}");
    let features = dump.lines().find(|line| line.contains("features")).unwrap();
    assert!(features.ends_with("sb_csum mtime "), "{features:?}");
    let mut name = [0; 16];
    let mut epoch = [0; 8];
    let file = File::open(&built.image).unwrap();
    file.read_exact_at(&mut name, 1024 + 64).unwrap();
    file.read_exact_at(&mut epoch, 1024 + 24).unwrap();
    assert_eq!(&name, b"sixteen-bytes-ok");
    assert_eq!(u64::from_le_bytes(epoch), OPTIONS.epoch);
}

#[test]
fn owners_links_and_devices_are_as_dump_reads_them() {
    let mut tree = everything();
    put(&mut tree, "other", Node::file(0o644, "x").owned_by(65_535, 12));
    put(&mut tree, "far", Node::file(0o644, "x").owned_by(65_536, 4_000_000_000));
    put(&mut tree, "null", Node::new(0o666, Kind::CharDevice { major: 1, minor: 3 }));
    put(&mut tree, "disk", Node::new(0o660, Kind::BlockDevice { major: 259, minor: 700 }));
    let built = Built::new(&tree);
    for (path, wanted) in [
        ("other", "Uid: 65535 Gid: 12 Access: 0644/rw-r--r--"),
        ("far", "Uid: 65536 Gid: 4000000000 Access: 0644/rw-r--r--"),
        ("files/4097", "Links: 3"),
        ("hard", "Links: 2"),
        ("", "Links: 9"),
        ("null", "char dev"),
    ] {
        let dump = built.dump(path).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(dump.contains(wanted), "{path}: {wanted} is not in {dump}");
    }
    for (path, mode, place) in [
        ("setuid", 0o104_755_u16, None),
        ("sticky", 0o041_777, None),
        ("pipe", 0o010_600, None),
        ("null", 0o020_666, Some(0x103_u32)),
        ("disk", 0o060_660, Some(0x0021_03bc)),
    ] {
        let inode = built.inode(path);
        assert_eq!(u16::from_le_bytes([inode[4], inode[5]]), mode, "{path}");
        let found = u32::from_le_bytes(inode[16..20].try_into().unwrap());
        assert_eq!(found, place.unwrap_or(found), "{path}");
    }
    assert_eq!(built.inode_number("hard/1"), built.inode_number("files/4097"));
    assert_eq!(built.inode_number("hard/2"), built.inode_number("files/4097"));
    assert_ne!(built.inode_number("files/1"), built.inode_number("files/4097"));
}

#[test]
fn xattrs_lie_behind_their_inodes() {
    let attributes = BTreeMap::from([
        (
            "security.capability".to_owned(),
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        ),
        ("system.posix_acl_access".to_owned(), vec![2, 0, 0, 0]),
        ("user.note".to_owned(), b"odd".to_vec()),
        ("trusted.overlay.opaque".to_owned(), b"y".to_vec()),
        ("user.large".to_owned(), vec![b'l'; 2000]),
    ]);
    let mut tree = everything();
    let with = |mut node: Node| {
        node.xattrs.clone_from(&attributes);
        node
    };
    put(&mut tree, "ping", with(Node::file(0o755, bytes(5, 5000))));
    put(&mut tree, "directory/entry", Node::file(0o644, "x"));
    *tree.get_mut("directory").unwrap() = with(Node::directory(0o755));
    put(&mut tree, "big link", with(Node::symlink("t".repeat(3000))));
    let built = Built::new(&tree);
    compare(&tree, &built.extract()).unwrap();
    let wanted: BTreeMap<(u8, String), Vec<u8>> = [
        ((6, "capability"), "security.capability"),
        ((2, ""), "system.posix_acl_access"),
        ((1, "note"), "user.note"),
        ((4, "overlay.opaque"), "trusted.overlay.opaque"),
        ((1, "large"), "user.large"),
    ]
    .map(|((index, suffix), name)| ((index, suffix.to_owned()), attributes[name].clone()))
    .into();
    for path in ["ping", "directory", "big link"] {
        assert_eq!(built.xattrs(path), wanted, "{path}");
    }
}

#[test]
fn a_damaged_superblock_is_noticed() {
    let built = Built::new(&everything());
    let file = fs::OpenOptions::new().write(true).open(&built.image).unwrap();
    file.write_all_at(b"\xff", 4000).unwrap();
    let output = Command::new("fsck.erofs").arg(&built.image).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("checksum"), "{complaint}");
}

/// A name without the bytes that cannot be in one.
fn name() -> impl Strategy<Value = String> {
    "[a-z+,.é]{1,12}|[!-.0-~]{1,255}".prop_filter("dots", |name| name != "." && name != "..")
}

fn content() -> impl Strategy<Value = Content> {
    let len = prop_oneof![0..200_usize, 4090..4100_usize, Just(40_000)];
    let len = prop_oneof![len, 60_000..140_000_usize];
    (any::<u64>(), len, any::<bool>()).prop_map(|(seed, len, repeats)| {
        if repeats { text(seed, len).into() } else { bytes(seed, len).into() }
    })
}

fn node() -> impl Strategy<Value = Node> {
    let mode = 0..0o7777_u32;
    prop_oneof![
        3 => (content(), mode.clone()).prop_map(|(content, mode)| Node::file(mode | 0o400, content)),
        2 => mode.prop_map(|mode| Node::directory(mode | 0o700)),
        1 => "[!-~]{1,300}".prop_map(Node::symlink),
    ]
}

fn trees() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"));
    prop::collection::vec((path, node()), 0..60).prop_map(|nodes| {
        let mut tree = Tree::new();
        let mut files = Vec::new();
        for (path, node) in nodes {
            let is_file = matches!(node.kind, Kind::File(_));
            // A path below a file, or a file over a directory, is not part of this tree.
            if tree.real_parents(&path).is_ok_and(|real| real == path)
                && tree.insert(&path, node).is_ok()
                && is_file
            {
                files.push(path);
            }
        }
        for (number, first) in files.iter().enumerate().filter(|(number, _)| number % 5 == 0) {
            let link = Node::new(0, Kind::HardLink(first.clone()));
            // Fails where a later node took the place of the file.
            let _ = tree.insert(&format!("another-name-{number}"), link);
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_tree_survives(tree in trees()) {
        let built = Built::new(&tree);
        compare(&tree, &built.extract()).map_err(TestCaseError::fail)?;
        let built = Built::compressed(&tree);
        compare(&tree, &built.extract()).map_err(TestCaseError::fail)?;
    }
}
