//! Installing onto a file that stands for a disk, and what a failure leaves of it.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use coreos_install::config::Config;
use coreos_install::image::Image;
use coreos_install::install::onto;
use coreos_install::write::Target;
use disk::gpt::Table;
use disk::layout::{Layout, Role, Sizes, Slot};
use disk::packed::Header;
use disk::verity::RootHash;
use hadris_fat::sync::write as write_fat;
use hadris_fat::{FatKind, FatOptions};
use hadris_fs::{Content, Node, Tree};
use hadris_storage::{BlockSize, MemDevice};
use sha2::{Digest as _, Sha256};

const MIB: u64 = 1 << 20;
const DISK: u64 = 72 * MIB;

/// A disk in memory that stops taking bytes, or does not keep one.
#[derive(Default)]
struct Memory {
    bytes: Cursor<Vec<u8>>,
    /// Bytes that may still be written; all if there is none.
    left: Option<u64>,
    /// A byte that always reads as its inverse.
    bad: Option<usize>,
}

impl Memory {
    fn new() -> Memory {
        // What was on it before must not shine through.
        Memory { bytes: Cursor::new(vec![0xaa; DISK as usize]), ..Memory::default() }
    }

    fn boots(&self) -> bool {
        self.bytes.get_ref()[..MIB as usize].iter().any(|&byte| byte != 0)
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.bytes.position() as usize;
        let count = self.bytes.read(buffer)?;
        if let Some(bad) = self.bad.and_then(|bad| bad.checked_sub(at)).filter(|&bad| bad < count) {
            buffer[bad] ^= 0xff;
        }
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = &mut self.left {
            if *left < bytes.len() as u64 {
                return Err(io::Error::other("the disk has failed"));
            }
            *left -= bytes.len() as u64;
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

impl Target for Memory {
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn layout() -> Layout {
    let sizes = Sizes { esp: 40 * MIB, root: 4 * MIB, verity: MIB, state: 8 * MIB };
    Layout::plan(&sizes, b"test", Some(&RootHash(std::array::from_fn(|at| at as u8))))
        .expect("fits")
}

/// A disk of this system with a file on its ESP, and its runs.
fn disk() -> (Vec<u8>, Vec<(u64, u64)>) {
    let layout = layout();
    let mut disk = Cursor::new(vec![0; layout.disk_size() as usize]);
    Table::from_layout(&layout).and_then(|table| table.write(&mut disk)).expect("written");
    let mut disk = disk.into_inner();
    let esp = layout.partition(Role::Esp);
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(Content::bytes("boot loader"))).expect("a path");
    let sector = BlockSize::new(512).expect("not zero");
    let mut fat = MemDevice::new(vec![0; esp.size() as usize], sector);
    let options = FatOptions::new().with_kind(FatKind::Fat32).with_partition_offset(esp.offset());
    write_fat(&mut fat, &tree, &options).expect("written");
    let range = esp.offset() as usize..(esp.offset() + esp.size()) as usize;
    disk[range].copy_from_slice(&fat.into_inner());
    let root = layout.partition(Role::Root(Slot::A));
    for (index, byte) in disk[root.offset() as usize..][..3 * MIB as usize].iter_mut().enumerate() {
        *byte = (index / 512) as u8;
    }
    let end = layout.disk_size() - 64 * 1024;
    let runs =
        vec![(0, 64 * 1024), (esp.offset(), 3 * MIB), (root.offset(), 3 * MIB), (end, 64 * 1024)];
    (disk, runs)
}

/// The disk as an installer carries it.
fn packed() -> Vec<u8> {
    let (disk, runs) = disk();
    let data: Vec<u8> = runs
        .iter()
        .flat_map(|&(offset, length)| &disk[offset as usize..(offset + length) as usize])
        .copied()
        .collect();
    let sha256 = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
    let header = Header { version: "1.2.3".to_owned(), size: disk.len() as u64, sha256, runs };
    [header.to_text().into_bytes(), zstd::encode_all(&data[..], 3).expect("compressed")].concat()
}

fn install(packed: &[u8], target: &mut Memory, config: Option<&Config>) -> Result<(), String> {
    let image = Image::new(BufReader::new(Cursor::new(packed.to_vec())));
    let image = image.map_err(|error| host::error::chain(&error))?;
    let installed = onto(image, target, DISK, config, &mut |_, _| ());
    installed.map_err(|error| host::error::chain(&error))
}

fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(path).output().expect("see host-packages.txt");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn an_installed_disk_is_whole_up_to_its_own_end() {
    let mut target = Memory::new();
    let user_data = b"#cloud-config\nhostname: one\n".to_vec();
    let config = Config::check(vec![("user-data", user_data.clone())]).expect("good");
    install(&packed(), &mut target, Some(&config)).expect("installed");
    let bytes = target.bytes.into_inner();

    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("disk");
    fs::write(&path, &bytes).expect("written");
    let verdict = run("sgdisk", &["--verify"], &path);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let table = Table::read(&mut Cursor::new(&bytes)).expect("a table");
    let range = |role: Role| table.byte_range(&table.partition(role.number()).expect("there"));
    assert_eq!(range(Role::State).end, DISK - MIB, "the state reaches the end");
    let (image, _) = disk();
    let root = layout().partition(Role::Root(Slot::A)).offset() as usize;
    let root = root..root + 3 * MIB as usize;
    assert!(bytes[root.clone()] == image[root]);
    // What was on the disk is not taken for a file system of the new one.
    for role in [Role::Root(Slot::B), Role::Verity(Slot::B), Role::State] {
        let start = range(role).start as usize;
        assert!(bytes[start..start + 65_536].iter().all(|&byte| byte == 0), "{role:?}");
    }
    let esp = directory.path().join("esp");
    let place = range(Role::Esp);
    fs::write(&esp, &bytes[place.start as usize..place.end as usize]).expect("written");
    run("fsck.fat", &["-n"], &esp);
    let mut volume = disk::disc::open(File::open(&esp).expect("there")).expect("a volume");
    assert_eq!(volume.read("coreos/user-data", 1 << 20).expect("readable"), Some(user_data));
    let loader = volume.read("EFI/BOOT/BOOTX64.EFI", 1 << 20).expect("readable");
    assert_eq!(loader.as_deref(), Some(&b"boot loader"[..]));
}

#[test]
fn a_second_installation_takes_the_place_of_the_first() {
    let mut target = Memory::new();
    install(&packed(), &mut target, None).expect("installed");
    let first = target.bytes.get_ref().clone();
    install(&packed(), &mut target, None).expect("installed");
    assert!(*target.bytes.get_ref() == first);
}

#[test]
fn a_damaged_image_never_boots() {
    let good = packed();
    let text = good.windows(2).position(|pair| pair == b"\n\n").expect("an end") + 2;
    let mut cases = vec![(good[..good.len() - 9].to_vec(), "cut off")];
    for at in [text + 9, (text + good.len()) / 2, good.len() - 20] {
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        cases.push((changed, "a changed byte"));
    }
    let digest = String::from_utf8_lossy(&good[..text]).find("sha256 ").expect("there") + 8;
    let mut other = good.clone();
    other[digest] = if other[digest] == b'0' { b'1' } else { b'0' };
    cases.push((other, "another digest"));
    for (image, what) in cases {
        let mut target = Memory::new();
        let error = install(&image, &mut target, None).expect_err(what);
        assert!(error.contains("holds nothing that boots"), "{what}: {error}");
        assert!(!target.boots(), "{what}");
    }
}

#[test]
fn whenever_the_disk_fails_it_does_not_boot_and_else_it_is_whole() {
    let whole = {
        let mut target = Memory::new();
        install(&packed(), &mut target, None).expect("installed");
        target.bytes.into_inner()
    };
    let mut refused = 0;
    for left in (0..16).map(|step| step * 1_200_000) {
        let mut target = Memory { left: Some(left), ..Memory::new() };
        match install(&packed(), &mut target, None) {
            Ok(()) => assert!(*target.bytes.get_ref() == whole, "{left}"),
            Err(_) => {
                // The first MiB is what was there before, or zero; never the new one.
                let first = &target.bytes.get_ref()[..MIB as usize];
                assert!(first.iter().all(|&byte| byte == 0xaa || byte == 0), "{left}");
                refused += 1;
            }
        }
    }
    assert!(refused > 4, "{refused}");
}

#[test]
fn a_disk_that_does_not_keep_a_byte_is_found_out() {
    let root = layout().partition(Role::Root(Slot::A)).offset() as usize + 12_345;
    let mut target = Memory { bad: Some(root), ..Memory::new() };
    let error = install(&packed(), &mut target, None).expect_err("a bad disk");
    assert!(error.contains("does not keep what is written to it"), "{error}");
    assert!(!target.boots());
}

#[test]
fn the_program_tells_mistakes_in_one_line() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("image"), packed()).expect("written");
    fs::write(path("broken"), "#cloud-config\nhostname: [\n").expect("written");
    fs::write(path("file"), "").expect("written");
    let image = path("image");
    for (arguments, code, complaint) in [
        (vec!["--image", "/nowhere", "--device", "/dev/null"], 1, "cannot open the image /nowhere"),
        (vec!["--image", &path("broken")], 1, "is no installable image"),
        (vec!["--image", &image, "--device", "/nowhere"], 1, "there is no device /nowhere"),
        (vec!["--image", &image, "--device", &path("file")], 1, "is no disk"),
        (vec!["--image", &image, "--config", &path("broken")], 1, "would be refused"),
        (vec!["--image", &image], 1, "name the disk with --device"),
        (vec!["--image", &image, "--force-erase", "vda"], 2, "--device"),
        (vec![], 2, "--image"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-install"));
        let output = command.args(&arguments).stdin(std::process::Stdio::null()).output();
        let output = output.expect("runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(complaint), "{arguments:?}: {told}");
    }
}
