//! Disk images as the builder makes them, small, and as machines leave them.

use std::fs::{self, File};
use std::io::{self, Cursor};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::gpt::Table;
use disk::guid::Guid;
use disk::layout::{self, FRESH, Layout, Role, Sizes, Slot};
use disk::verity::{self, BLOCK, RootHash, Superblock};
use tempfile::TempDir;

use crate::root::Root;

const MIB: u64 = 1 << 20;

/// A disk image, and what it was made of.
pub(crate) struct Drive {
    directory: TempDir,
    table: Table,
}

impl Drive {
    /// A disk whose slot A holds a root of release 1.0.0, tried and kept, as an image is built.
    pub(crate) fn new() -> Drive {
        let mut drive = Drive::empty();
        drive.put_release(Slot::A, "1.0.0", &Drive::tree("1.0.0"));
        drive.put_entries(&["coreos_1.0.0.efi"]);
        drive
    }

    /// A disk without a release. Both slots say that they have one.
    pub(crate) fn empty() -> Drive {
        let sizes = Sizes { esp: 34 * MIB, root: 8 * MIB, verity: MIB, state: 16 * MIB };
        // Of the first release that is put there.
        let hash = RootHash(*b"the first half..the second half.");
        let layout = Layout::plan(&sizes, b"seed", Some(&hash)).unwrap();
        let table = Table::from_layout(&layout).unwrap();
        let mut drive = Drive { directory: tempfile::tempdir().unwrap(), table };
        let mut file = File::create_new(drive.path()).unwrap();
        file.set_len(layout.disk_size()).unwrap();
        drive.table.write(&mut file).unwrap();
        for slot in Slot::ALL {
            drive.put_release(slot, "0.0.1", &Drive::tree("0.0.1"));
        }
        drive
    }

    /// The root of a release.
    pub(crate) fn tree(version: &str) -> Root {
        let root = Root::new();
        for directory in ["var", "home", "root", "opt", "srv", "run", "tmp"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        let text = format!("ID=coreos-rs\nIMAGE_VERSION=\"{version}\"\n");
        fs::write(root.path().join("usr/lib/os-release"), text).unwrap();
        for (path, text) in
            [("etc/motd", "welcome\n"), ("etc/pair/a", "a\n"), ("etc/pair/b", "b\n")]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("disk.raw")
    }

    pub(crate) fn file(&self) -> File {
        File::options().read(true).write(true).open(self.path()).unwrap()
    }

    /// Where a partition begins, in bytes.
    pub(crate) fn offset(&self, role: Role) -> u64 {
        self.table.byte_range(&self.table.partition(role.number()).unwrap()).start
    }

    fn size(&self, role: Role) -> u64 {
        let range = self.table.byte_range(&self.table.partition(role.number()).unwrap());
        range.end - range.start
    }

    /// Writes a root into a slot, its tree, and its root hash into the table.
    pub(crate) fn put_release(&mut self, slot: Slot, version: &str, tree: &Root) {
        let image = self.directory.path().join(format!("{slot}-{version}.erofs"));
        let mut command = Command::new("mkfs.erofs");
        run(command.arg("--quiet").arg("--all-root").arg(&image).arg(tree.path()));
        self.put(Role::Root(slot), &image);
        self.protect(slot, &fs::read(&image).unwrap());
    }

    /// Makes the tree over what a slot holds.
    pub(crate) fn protect(&mut self, slot: Slot, data: &[u8]) {
        let superblock = Superblock::new(Guid::NIL, b"salt", data.len() as u64 / BLOCK).unwrap();
        let mut tree = Cursor::new(Vec::new());
        let hash = verity::build(&superblock, &mut &*data, &mut tree).unwrap();
        self.write_at(self.offset(Role::Verity(slot)), tree.get_ref()).unwrap();
        for (role, guid) in
            [(Role::Root(slot), hash.root_guid()), (Role::Verity(slot), hash.verity_guid())]
        {
            let mut partition = self.table.partition(role.number()).unwrap();
            partition.label = role.label().to_owned();
            partition.guid = guid;
            self.table.put(&partition).unwrap();
        }
        self.table.write(&mut self.file()).unwrap();
    }

    /// What the table says a slot's root hash is.
    pub(crate) fn root_hash(&self, slot: Slot) -> RootHash {
        layout::root_hash(&self.table.partitions(), slot).unwrap()
    }

    /// Makes an ESP with these boot entries.
    pub(crate) fn put_entries(&self, names: &[&str]) {
        let image = self.directory.path().join("esp.fat");
        let _ = fs::remove_file(&image);
        let size = (self.size(Role::Esp) / 1024).to_string();
        run(Command::new("mkfs.vfat").args(["-F", "32", "-C"]).arg(&image).arg(size));
        run(Command::new("mmd").arg("-i").arg(&image).args(["::EFI", "::EFI/Linux"]));
        for name in names {
            let file = self.directory.path().join(name);
            fs::write(&file, "an EFI program").unwrap();
            run(Command::new("mcopy").arg("-i").arg(&image).arg(file).arg("::EFI/Linux/"));
        }
        self.put(Role::Esp, &image);
    }

    /// Makes the state's file system with what a directory has, as a machine that has booted
    /// leaves it.
    pub(crate) fn put_state(&mut self, from: &Path) {
        let image = self.directory.path().join("state.ext4");
        let size = format!("{}k", self.size(Role::State) / 1024);
        let mut command = Command::new("mke2fs");
        command.args(["-q", "-t", "ext4", "-L", "state", "-d"]).arg(from).arg(&image).arg(size);
        run(&mut command);
        self.put(Role::State, &image);
        self.no_longer_fresh();
    }

    /// Says in the table that the state has its file system.
    pub(crate) fn no_longer_fresh(&mut self) {
        let mut partition = self.table.partition(Role::State.number()).unwrap();
        partition.attributes &= !FRESH;
        self.table.put(&partition).unwrap();
        self.table.write(&mut self.file()).unwrap();
    }

    /// Copies a file to where a partition begins.
    fn put(&self, role: Role, from: &Path) {
        let bytes = fs::read(from).unwrap();
        assert!(bytes.len() as u64 <= self.size(role), "{role:?}");
        self.write_at(self.offset(role), &bytes).unwrap();
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file().write_all_at(bytes, offset)
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}
