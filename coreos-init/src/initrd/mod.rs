//! `/init` of the initrd: from the kernel's first process to a provisioned root with the service
//! manager running on it.
//!
//! modules → system disk → watchdog → verity root → was this try counted? → state → `/etc` overlay
//! → provisioning → handover
//!
//! There is no shell to drop to. A root that cannot be verified or mounted says why on the
//! console and reboots, so that the boot loader counts the attempt and falls back to the other
//! slot; anything after the root is mounted is reported and booted with.

mod assessment; // was this try counted?
mod console; // what the initrd says
mod handover; // the root becomes `/`
mod machine_id; // who this machine is
mod mapper; // device-mapper ioctls
mod mounts; // every mount, with its flags
mod provision; // sources → plan → apply, on the mounted root
pub(crate) mod state; // the writable file system
mod system_disk; // the disk that holds the root
mod watchdog; // over a boot that has yet to prove itself

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use disk::layout::Role;
use disk::verity::{RootHash, Superblock};
use host::error::chain;
use nix::mount::MsFlags;
use nix::sys::reboot::{RebootMode, reboot};

use crate::report::Stages;
use assessment::Worth;
use console::Console;
use handover::HandoverError;
use host::modules::Modules;
use mapper::Mapping;
use mounts::MountError;
use system_disk::{FindError, SystemDisk};

/// Where the root is put together before it becomes `/`.
const SYSROOT: &str = "/sysroot";
/// How long the reason of a failed boot stays readable before the machine reboots.
const READING_TIME: Duration = Duration::from_secs(5);

/// Why a machine does not come up.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("the kernel command line has no roothash=; the boot entry was not built by `image`")]
    NoRootHash,
    #[error("roothash= on the kernel command line is no SHA-256")]
    BadRootHash(#[source] disk::verity::VerityError),
    #[error("cannot read the kernel command line")]
    CommandLine(#[source] io::Error),
    #[error(transparent)]
    Disk(#[from] FindError),
    #[error("cannot read the verity partition {path}")]
    ReadVerity { path: PathBuf, source: io::Error },
    #[error("the verity partition {path} is damaged")]
    BadVerity { path: PathBuf, source: disk::verity::VerityError },
    #[error("cannot open the verified root")]
    Mapper(#[source] io::Error),
    #[error("the root does not verify or is no file system")]
    Root(#[source] MountError),
    #[error(
        "this release is on trial and the boot loader could not count the try; going back to {entry}"
    )]
    Uncounted { entry: String },
    #[error("this try was not counted, and the boot loader cannot be told to take {entry}")]
    Next { entry: String, source: io::Error },
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Handover(#[from] HandoverError),
}

/// Boots the machine. Returns never: it becomes the service manager, or it reboots.
pub fn run() -> ! {
    // Without /dev there is nowhere to say anything; the kernel's console is all there is.
    let mounted = mounts::kernel_interfaces();
    let mut console = Console::open();
    let error = match mounted.map_err(BootError::from).and_then(|()| boot(&mut console)) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    console.error(chain(&error));
    console
        .error(format_args!("cannot boot this system, rebooting in {} s", READING_TIME.as_secs()));
    sleep(READING_TIME);
    loop {
        nix::unistd::sync();
        let _ = reboot(RebootMode::RB_AUTOBOOT);
        // A reboot that the kernel refuses: nothing else can be done from here.
        sleep(READING_TIME);
    }
}

fn boot(console: &mut Console) -> Result<Infallible, BootError> {
    let mut stages = Stages::start("initrd");
    console.info(format_args!("version {}", env!("CARGO_PKG_VERSION")));
    let command_line = fs::read_to_string("/proc/cmdline").map_err(BootError::CommandLine)?;
    let hash = root_hash(&command_line)?;

    let mut modules = Modules::open(Path::new("/lib/modules"));
    modules.load_always();
    let mut disk = system_disk::find(&mut modules, &hash)?;
    stages.done("disk");

    let counted = assessment::counted();
    if counted.is_some() {
        watch(&command_line, console);
    }
    let sysroot = Path::new(SYSROOT);
    mount_root(&disk, &hash, sysroot)?;
    assess(&disk, sysroot, counted.as_deref(), console)?;
    stages.done("root");

    let condition = state::attach(&mut disk, sysroot, console)?;
    machine_id::ensure(sysroot, console);
    stages.done("state");

    provision::run(provision::Boot {
        command_line: &command_line,
        system_disk: &disk.name,
        sysroot,
        condition,
        console,
        stages,
    });
    for failure in modules.take_failures() {
        console.warn(failure);
    }
    Ok(handover::hand_over(sysroot)?)
}

/// Arms the watchdog. A machine without one is watched by nobody, as before there were any.
fn watch(command_line: &str, console: &mut Console) {
    if let Err(error) = watchdog::arm(watchdog::seconds(command_line)) {
        console.warn(format_args!("nothing watches over this boot: {error}"));
    }
}

/// Goes back to the other release if this one is on trial and the try was not counted.
fn assess(
    disk: &SystemDisk,
    sysroot: &Path,
    counted: Option<&str>,
    console: &mut Console,
) -> Result<(), BootError> {
    let esp = system_disk::partition_node(&disk.name, Role::Esp.number());
    match assessment::assess(&esp, sysroot, counted, console) {
        Worth::Proven => Ok(()),
        Worth::Counted => {
            console.info("this release has yet to prove itself");
            Ok(())
        }
        Worth::Alone => {
            console
                .warn("this release is on trial and the try was not counted; it is the only one");
            Ok(())
        }
        Worth::Uncounted(entry) => {
            assessment::boot_next(&entry)
                .map_err(|source| BootError::Next { entry: entry.clone(), source })?;
            Err(BootError::Uncounted { entry })
        }
    }
}

/// `roothash=` of the command line; the last one counts, as everywhere on it.
fn root_hash(command_line: &str) -> Result<RootHash, BootError> {
    command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("roothash="))
        .next_back()
        .ok_or(BootError::NoRootHash)?
        .parse()
        .map_err(BootError::BadRootHash)
}

/// Opens the verity device and mounts the root on it, read-only.
fn mount_root(disk: &SystemDisk, hash: &RootHash, sysroot: &Path) -> Result<(), BootError> {
    let verity = &disk.verity;
    let read = |source| BootError::ReadVerity { path: verity.clone(), source };
    let superblock = Superblock::read(&mut File::open(verity).map_err(read)?)
        .map_err(|source| BootError::BadVerity { path: verity.clone(), source })?;
    let (root_node, verity_node) = (disk.root.to_string_lossy(), verity.to_string_lossy());
    let node = mapper::create(&Mapping {
        name: "root",
        uuid: &format!("CRYPT-VERITY-{}-root", superblock.uuid.to_string().replace('-', "")),
        target: "verity",
        sectors: superblock.sectors(),
        parameters: &superblock.dm_table(&root_node, &verity_node, hash),
    })
    .map_err(BootError::Mapper)?;
    mounts::file_system(&node.to_string_lossy(), "erofs", sysroot, MsFlags::MS_RDONLY, "")
        .map_err(BootError::Root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_root_hash_of_the_command_line_counts() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let found = root_hash(&format!("quiet roothash={a} x roothash={b}\n"));
        assert_eq!(found.expect("a root hash").to_string(), b);
        assert!(matches!(root_hash("quiet"), Err(BootError::NoRootHash)));
        assert!(matches!(root_hash("roothash=xyz"), Err(BootError::BadRootHash(_))));
    }
}
