//! The one writable file system: created at the first boot, grown to the disk's end at every
//! boot, and never formatted over anything that may be somebody's data.
//!
//! ```text
//! /run/coreos/state      the file system itself
//! ├── etc/{upper,work}   → the overlay on /etc
//! └── var home root opt srv → bound over the directories of the read-only root
//! ```
//!
//! A state that cannot be mounted does not stop the boot: the machine comes up on a state in
//! memory, degraded, so that it can still be reached and the disk looked at.
#![allow(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::layout;
use nix::libc;
use nix::mount::MsFlags;

use super::console::Console;
use super::mounts::{self, MountError};
use super::system_disk::{SystemDisk, partition_node};

/// Where the state is mounted, before and after the handover.
pub(super) const MOUNT_POINT: &str = "/run/coreos/state";

/// Directories of the root that live on the state, with the mode they are created with.
pub(crate) const DIRECTORIES: [(&str, u32); 5] =
    [("var", 0o755), ("home", 0o755), ("root", 0o700), ("opt", 0o755), ("srv", 0o755)];

/// Where the upper layer of `/etc` is on the state.
pub(crate) const ETC_UPPER: &str = "etc/upper";

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// The disk has no state partition.
    #[error("the disk {0} has no partition of the type of `state`")]
    NoPartition(String),
    /// There is something on it that is no ext4 file system of ours.
    #[error("{0} holds something that is no ext4 file system; it is left as it is")]
    Foreign(PathBuf),
    /// The partition table or a device could not be read or written.
    #[error("cannot use {path}")]
    Device {
        /// The device.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The partition table could not be read or changed.
    #[error("cannot change the partition table of {disk}")]
    Table {
        /// The disk.
        disk: String,
        /// What happened.
        source: disk::gpt::GptError,
    },
    /// A program of the root that makes or checks file systems failed.
    #[error("{program} {device} failed: {reason}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it worked on.
        device: PathBuf,
        /// Its status and last words.
        reason: String,
    },
    /// The file system could not be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// What the boot found on the state partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// There was none: this is the machine's first boot.
    Created,
    /// It is the state of an earlier boot.
    Kept,
    /// It cannot be used: this boot's state is in memory and will be lost.
    Volatile,
}

/// Mounts the state of `disk` on [`MOUNT_POINT`] and puts its directories over those of the root
/// at `sysroot`. Falls back to memory, saying so on the console.
///
/// # Errors
///
/// Only if not even memory can be mounted.
pub(super) fn attach(
    disk: &mut SystemDisk,
    sysroot: &Path,
    console: &mut Console,
) -> Result<Condition, MountError> {
    let target = Path::new(MOUNT_POINT);
    let condition = prepare(disk, sysroot, console).and_then(|(node, condition)| {
        mounts::file_system(&node.to_string_lossy(), "ext4", target, MsFlags::MS_NOATIME, "")?;
        grow_file_system(&node, target, console);
        Ok(condition)
    });
    let condition = match condition {
        Ok(condition) => condition,
        Err(error) => {
            console.error(format_args!("the state cannot be used: {}", host::error::chain(&error)));
            console.error(
                "this boot keeps its state in memory: what is written now is lost at the next boot",
            );
            mounts::file_system("tmpfs", "tmpfs", target, MsFlags::empty(), "mode=0755,size=50%")?;
            Condition::Volatile
        }
    };
    cover(target, sysroot)?;
    Ok(condition)
}

/// Grows the partition, makes a file system on a fresh one, repairs one that needs it.
fn prepare(
    disk: &mut SystemDisk,
    sysroot: &Path,
    console: &mut Console,
) -> Result<(PathBuf, Condition), StateError> {
    let number = disk
        .table
        .partitions()
        .iter()
        .find(|p| p.type_guid == layout::STATE_TYPE)
        .map(|p| p.number)
        .ok_or_else(|| StateError::NoPartition(disk.name.clone()))?;
    let node = partition_node(&disk.name, number);
    let device = |source| StateError::Device { path: node.clone(), source };

    grow_partition(disk, number)?;
    let content = match disk.table.partition(number) {
        Some(partition) if partition.attributes & layout::FRESH != 0 => Content::Blank,
        _ => probe(&node).map_err(device)?,
    };
    match content {
        Content::Ext4 { errors: false } => Ok((node, Condition::Kept)),
        Content::Ext4 { errors: true } => {
            console.warn(format_args!("{} has errors, checking it", node.display()));
            run(sysroot, "/usr/sbin/e2fsck", &["-p"], &node, 0..=1)?;
            Ok((node, Condition::Kept))
        }
        Content::Blank => {
            let options = ["-q", "-t", "ext4", "-L", "state", "-m", "1", "-E", "nodiscard"];
            run(sysroot, "/usr/sbin/mke2fs", &options, &node, 0..=0)?;
            File::open(&node).and_then(|file| file.sync_all()).map_err(device)?;
            no_longer_fresh(disk, number)?;
            Ok((node, Condition::Created))
        }
        Content::Foreign => Err(StateError::Foreign(node)),
    }
}

/// Makes the last partition reach the disk's end, in the table and in the kernel's mind.
fn grow_partition(disk: &mut SystemDisk, number: u32) -> Result<(), StateError> {
    let device = |source| StateError::Device { path: disk.node.clone(), source };
    let sectors: u64 = fs::read_to_string(format!("/sys/class/block/{}/size", disk.name))
        .and_then(|text| text.trim().parse().map_err(io::Error::other))
        .map_err(device)?;
    let grown = disk.table.grow_last_to_end(sectors);
    if !grown.map_err(|source| StateError::Table { disk: disk.name.clone(), source })? {
        return Ok(());
    }
    let whole = write_table(disk)?;
    let Some(grown) = disk.table.partition(number) else { return Ok(()) };
    let range = disk.table.byte_range(&grown);
    resize_in_kernel(&whole, number, range.start, range.end - range.start).map_err(device)
}

/// Records that the state has its file system: from now on it is never formatted again.
fn no_longer_fresh(disk: &mut SystemDisk, number: u32) -> Result<(), StateError> {
    let Some(mut partition) = disk.table.partition(number) else { return Ok(()) };
    partition.attributes &= !layout::FRESH;
    let table = |source| StateError::Table { disk: disk.name.clone(), source };
    disk.table.put(&partition).map_err(table)?;
    write_table(disk).map(drop)
}

/// Writes the partition table, its backup first: a power cut leaves one of the two whole.
fn write_table(disk: &SystemDisk) -> Result<File, StateError> {
    let device = |source| StateError::Device { path: disk.node.clone(), source };
    let table = |source| StateError::Table { disk: disk.name.clone(), source };
    let mut whole = OpenOptions::new().read(true).write(true).open(&disk.node).map_err(device)?;
    disk.table.write_backup(&mut whole).map_err(table)?;
    whole.sync_all().map_err(device)?;
    disk.table.write_primary(&mut whole).map_err(table)?;
    whole.sync_all().map_err(device)?;
    Ok(whole)
}

/// What is on the state partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing of anybody: the image says so, or nothing was ever written.
    Blank,
    Ext4 {
        errors: bool,
    },
    Foreign,
}

/// How much of the start of a partition tells whether somebody wrote to it: the place of every
/// file system's and volume manager's own mark.
pub(crate) const PROBED: u64 = 1024 * 1024;

fn probe(node: &Path) -> io::Result<Content> {
    let mut start = Vec::new();
    File::open(node)?.take(PROBED).read_to_end(&mut start)?;
    Ok(classify(&start))
}

pub(crate) fn classify(start: &[u8]) -> Content {
    let word = |at: usize| start.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    const MAGIC: usize = 1024 + 0x38;
    const STATE: usize = 1024 + 0x3a;
    const ERRORS: u16 = 2;
    match (word(MAGIC), word(STATE)) {
        (Some(0xef53), Some(state)) => Content::Ext4 { errors: state & ERRORS != 0 },
        _ if start.iter().all(|&b| b == 0) => Content::Blank,
        _ => Content::Foreign,
    }
}

/// Runs a program of the root on `device`, inside the root.
fn run(
    sysroot: &Path,
    program: &'static str,
    options: &[&str],
    device: &Path,
    success: std::ops::RangeInclusive<i32>,
) -> Result<(), StateError> {
    let failed =
        |reason: String| StateError::Program { program, device: device.to_owned(), reason };
    mounts::bind(Path::new("/dev"), &sysroot.join("dev"))?;
    let mut command = Command::new(program);
    command.args(options).arg(device).env_clear();
    let root = sysroot.to_owned();
    // SAFETY: chroot and chdir are plain system calls, allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::chroot(&root)?;
            nix::unistd::chdir("/")?;
            Ok(())
        })
    };
    let output = command.output();
    let _ = nix::mount::umount(&sysroot.join("dev"));
    let output = output.map_err(|e| failed(e.to_string()))?;
    match output.status.code() {
        Some(code) if success.contains(&code) => Ok(()),
        _ => Err(failed(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
        ))),
    }
}

/// `struct blkpg_partition`.
#[repr(C)]
struct PartitionChange {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct PartitionRequest {
    operation: i32,
    flags: i32,
    length: i32,
    change: *const PartitionChange,
}

/// Tells the kernel a partition's new length (`BLKPG_RESIZE_PARTITION`), which works while its
/// neighbours are in use.
fn resize_in_kernel(disk: &File, number: u32, start: u64, length: u64) -> io::Result<()> {
    const BLKPG: u64 = 0x1269;
    const RESIZE_PARTITION: i32 = 3;
    let change = PartitionChange {
        start: start as i64,
        length: length as i64,
        number: number as i32,
        names: [0; 128],
    };
    let request = PartitionRequest {
        operation: RESIZE_PARTITION,
        flags: 0,
        length: size_of::<PartitionChange>() as i32,
        change: &raw const change,
    };
    // SAFETY: both structures have the kernel's layout and outlive the call.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG as _, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the mounted file system fill its partition (`EXT4_IOC_RESIZE_FS`). A failure costs
/// space, not data, so it is only told.
fn grow_file_system(node: &Path, mounted: &Path, console: &mut Console) {
    const EXT4_IOC_RESIZE_FS: u64 = 0x4008_6610;
    let grow = || -> io::Result<()> {
        let mut device = File::open(node)?;
        let mut superblock = [0; 1024];
        device.seek(SeekFrom::Start(1024))?;
        device.read_exact(&mut superblock)?;
        let block = 1024
            << u32::from_le_bytes([superblock[24], superblock[25], superblock[26], superblock[27]])
                .min(6);
        let blocks: u64 = device.seek(SeekFrom::End(0))? / block;
        let low = u32::from_le_bytes([superblock[4], superblock[5], superblock[6], superblock[7]]);
        // Growing by less than a block group changes nothing.
        if blocks.saturating_sub(u64::from(low)) < 8 * block || blocks > u64::from(u32::MAX) {
            return Ok(());
        }
        let directory = File::open(mounted)?;
        // SAFETY: the kernel reads one u64 from the pointer.
        let result = unsafe {
            libc::ioctl(directory.as_raw_fd(), EXT4_IOC_RESIZE_FS as _, &raw const blocks)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    if let Err(error) = grow() {
        console.warn(format_args!("the state cannot be grown to the disk's end: {error}"));
    }
}

/// Lays the state's directories over those of the root.
fn cover(state: &Path, sysroot: &Path) -> Result<(), MountError> {
    let create = |path: &Path, mode: u32| -> Result<(), MountError> {
        if path.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .map_err(|source| MountError {
                what: "a directory of the state".to_owned(),
                target: path.to_owned(),
                source,
            })
    };
    let (upper, work) = (state.join(ETC_UPPER), state.join("etc/work"));
    create(&upper, 0o755)?;
    create(&work, 0o700)?;
    let etc = sysroot.join("etc");
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        etc.display(),
        upper.display(),
        work.display()
    );
    mounts::file_system("overlay", "overlay", &etc, MsFlags::empty(), &layers)?;
    for (name, mode) in DIRECTORIES {
        create(&state.join(name), mode)?;
        mounts::bind(&state.join(name), &sysroot.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(words: &[(usize, u16)]) -> Vec<u8> {
        let mut bytes = vec![0; PROBED as usize];
        for (at, word) in words {
            bytes[*at..at + 2].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn only_a_partition_without_a_single_written_byte_is_formatted() {
        for (name, start, expected) in [
            ("zeros", with(&[]), Content::Blank),
            ("ext4, clean", with(&[(1080, 0xef53), (1082, 1)]), Content::Ext4 { errors: false }),
            (
                "ext4, mounted when the power went",
                with(&[(1080, 0xef53)]),
                Content::Ext4 { errors: false },
            ),
            (
                "ext4, with errors",
                with(&[(1080, 0xef53), (1082, 3)]),
                Content::Ext4 { errors: true },
            ),
            ("a boot sector", with(&[(510, 0xaa55)]), Content::Foreign),
            ("one byte at the very end", with(&[(PROBED as usize - 2, 1)]), Content::Foreign),
            ("a device of no length", Vec::new(), Content::Blank),
        ] {
            assert_eq!(classify(&start), expected, "{name}");
        }
    }
}
