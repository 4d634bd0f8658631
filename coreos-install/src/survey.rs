//! The disks of a machine, and what they are used for, from `/sys` and `/proc`.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Devices that are no disks to install on, unless somebody names one.
const VIRTUAL: [&str; 8] = ["ram", "loop", "dm-", "zram", "sr", "fd", "nbd", "md"];
/// How much of a disk's beginning and end is looked at: every partition table, file system, volume
/// manager and encryption header leaves something there.
const EDGE: u64 = 1 << 20;

/// A disk as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, such as `vda`.
    pub name: String,
    /// Its device node.
    pub node: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes of a sector.
    pub sector: u64,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Whether it can be pulled out, as a USB stick can.
    pub removable: bool,
    /// Maker and model, if it says so.
    pub model: String,
    /// Its serial number, if it has one.
    pub serial: String,
    /// What it is in use for: mount points, swap, volumes on top of it.
    pub uses: Vec<String>,
    /// What seems to be on it; none if its edges are empty.
    pub data: Option<String>,
}

/// Where a machine's disks are described; a test can be a machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/sys`.
    pub sysfs: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places { sysfs: "/sys".into(), dev: "/dev".into(), proc: "/proc".into() }
    }
}

/// A name that is no disk's.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// There is nothing of this name.
    #[error("there is no device {path}")]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// It is something else than a block device.
    #[error("{path} is no disk")]
    NotADisk {
        /// The path as given.
        path: PathBuf,
    },
    /// A part of a disk.
    #[error("{path} is a partition; the system takes a whole disk: use {disk}")]
    Partition {
        /// The path as given.
        path: PathBuf,
        /// The node of the disk it is on.
        disk: PathBuf,
    },
}

/// All disks to choose from, by name.
pub fn disks(places: &Places) -> Vec<Disk> {
    let blocks = places.sysfs.join("class/block");
    let mut names: Vec<String> = fs::read_dir(blocks)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| !entry.path().join("partition").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !VIRTUAL.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names.iter().map(|name| look(places, name)).filter(|disk| disk.size > 0).collect()
}

/// The disk that `path` names, be it a node or a link to one.
pub fn disk(places: &Places, path: &Path) -> Result<Disk, SurveyError> {
    let missing = |_| SurveyError::Missing { path: path.to_owned() };
    let node = fs::canonicalize(path).map_err(missing)?;
    let name = node.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let block = places.sysfs.join("class/block").join(&name);
    if !block.exists() {
        return Err(SurveyError::NotADisk { path: path.to_owned() });
    }
    if block.join("partition").exists() {
        let disk = fs::canonicalize(&block)
            .ok()
            .and_then(|path| Some(places.dev.join(path.parent()?.file_name()?)));
        let disk = disk.unwrap_or_else(|| places.dev.clone());
        return Err(SurveyError::Partition { path: path.to_owned(), disk });
    }
    Ok(look(places, &name))
}

fn look(places: &Places, name: &str) -> Disk {
    let block = places.sysfs.join("class/block").join(name);
    let text = |path: &str| {
        let text = fs::read_to_string(block.join(path)).unwrap_or_default();
        text.trim().to_owned()
    };
    let number = |path: &str| text(path).parse::<u64>().ok();
    let size = number("size").unwrap_or(0) * 512;
    let node = places.dev.join(name.replace('!', "/"));
    let partitions = partitions(&block);
    let model = [text("device/vendor"), text("device/model")].join(" ").trim().to_owned();
    // What virtio calls its vendor is a number of PCI.
    let model = if model.starts_with("0x") { "virtual disk".to_owned() } else { model };
    let serial = [text("serial"), text("device/serial")].into_iter().find(|s| !s.is_empty());
    Disk {
        size,
        sector: number("queue/logical_block_size").unwrap_or(512),
        read_only: number("ro") == Some(1),
        removable: number("removable") == Some(1),
        model,
        serial: serial.unwrap_or_default(),
        uses: uses(places, &block, name, &partitions),
        data: data(&node, size, partitions.len()),
        name: name.to_owned(),
        node,
    }
}

/// The names of a disk's partitions.
fn partitions(block: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(block)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("partition").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// What the disk and its partitions are in use for.
fn uses(places: &Places, block: &Path, name: &str, partitions: &[String]) -> Vec<String> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let mounts = read(places.proc.join("self/mountinfo"));
    let swaps = read(places.proc.join("swaps"));
    let mut uses = Vec::new();
    let parts = partitions.iter().map(|part| (part.as_str(), block.join(part)));
    for (name, path) in [(name, block.to_owned())].into_iter().chain(parts) {
        let device = read(path.join("dev")).trim().to_owned();
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(2);
            if fields.next().is_some_and(|field| field == device && !device.is_empty())
                && let Some(point) = fields.nth(1)
            {
                uses.push(format!("{name} is mounted on {point}"));
            }
        }
        let node = places.dev.join(name);
        if swaps.lines().any(|line| line.split_whitespace().next() == node.to_str()) {
            uses.push(format!("{name} is swap"));
        }
        for holder in fs::read_dir(path.join("holders")).into_iter().flatten().flatten() {
            uses.push(format!("{name} is part of {}", holder.file_name().to_string_lossy()));
        }
    }
    uses
}

/// What seems to be on a disk: its partitions, or something at its edges.
fn data(node: &Path, size: u64, partitions: usize) -> Option<String> {
    match partitions {
        0 => {}
        1 => return Some("1 partition".to_owned()),
        many => return Some(format!("{many} partitions")),
    }
    let mut file = File::open(node).ok()?;
    let mut edge = vec![0; EDGE.min(size) as usize];
    for start in [0, size.saturating_sub(EDGE)] {
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut edge));
        if read.is_err() {
            return Some("something that cannot be read".to_owned());
        }
        if edge.iter().any(|&byte| byte != 0) {
            return Some("data without a partition table".to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A machine of files: `vda` with two partitions, one mounted; `sdb` empty; a CD drive.
    fn machine() -> (tempfile::TempDir, Places) {
        let root = tempfile::tempdir().expect("temporary directory");
        let write = |path: &str, text: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("inside")).expect("made");
            fs::write(path, text).expect("written");
        };
        for (name, size, dev) in
            [("vda", 4096, "254:0"), ("sdb", 8192, "8:16"), ("sr0", 100, "11:0")]
        {
            write(&format!("sys/devices/{name}/size"), format!("{size}\n").as_bytes());
            write(&format!("sys/devices/{name}/dev"), format!("{dev}\n").as_bytes());
            write(&format!("dev/{name}"), &vec![0; size * 512]);
        }
        for (name, dev) in [("vda1", "254:1"), ("vda2", "254:2")] {
            write(&format!("sys/devices/vda/{name}/partition"), b"1\n");
            write(&format!("sys/devices/vda/{name}/dev"), format!("{dev}\n").as_bytes());
            write(&format!("dev/{name}"), b"");
        }
        write("sys/devices/vda/vda2/holders/dm-0", b"");
        write("sys/devices/sdb/device/model", b"Old Disk   \n");
        write("sys/devices/sdb/ro", b"1\n");
        write("proc/self/mountinfo", b"22 1 254:1 / /boot rw - ext4 /dev/vda1 rw\n");
        fs::create_dir_all(root.path().join("sys/class/block")).expect("made");
        for (name, to) in [
            ("vda", "vda"),
            ("sdb", "sdb"),
            ("sr0", "sr0"),
            ("vda1", "vda/vda1"),
            ("vda2", "vda/vda2"),
        ] {
            let link = root.path().join("sys/class/block").join(name);
            symlink(format!("../../devices/{to}"), link).expect("linked");
        }
        let places = Places {
            sysfs: root.path().join("sys"),
            dev: root.path().join("dev"),
            proc: root.path().join("proc"),
        };
        (root, places)
    }

    #[test]
    fn disks_are_found_with_what_they_are_used_for() {
        let (_root, places) = machine();
        let found = disks(&places);
        let names: Vec<&str> = found.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["sdb", "vda"]);
        assert_eq!(found[1].uses, ["vda1 is mounted on /boot", "vda2 is part of dm-0"]);
        assert_eq!(found[1].data.as_deref(), Some("2 partitions"));
        assert_eq!((found[0].size, found[0].model.as_str()), (8192 * 512, "Old Disk"));
        assert!(found[0].read_only && found[0].uses.is_empty() && found[0].data.is_none());
    }

    #[test]
    fn what_is_at_the_edges_is_seen() {
        let (root, places) = machine();
        for at in [0, 1080, 8192 * 512 - 4096] {
            let mut bytes = vec![0; 8192 * 512];
            bytes[at] = 1;
            fs::write(root.path().join("dev/sdb"), bytes).expect("written");
            let found = disk(&places, &places.dev.join("sdb")).expect("a disk");
            assert_eq!(found.data.as_deref(), Some("data without a partition table"), "{at}");
        }
    }

    #[test]
    fn a_partition_or_a_file_is_no_disk() {
        let (root, places) = machine();
        let told = |path: PathBuf| disk(&places, &path).expect_err("no disk").to_string();
        let error = told(places.dev.join("vda1"));
        assert!(error.ends_with(&format!("use {}", places.dev.join("vda").display())), "{error}");
        assert!(told(places.dev.join("vdz")).contains("there is no device"));
        fs::write(root.path().join("dev/file"), "").expect("written");
        assert!(told(places.dev.join("file")).ends_with("is no disk"));
        symlink("vda", places.dev.join("by-id")).expect("linked");
        assert_eq!(disk(&places, &places.dev.join("by-id")).expect("a disk").name, "vda");
    }
}
