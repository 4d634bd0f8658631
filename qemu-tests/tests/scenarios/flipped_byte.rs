//! One wrong byte in the root: never wrong data, never a half-broken system.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use qemu_tests::{Error, Mark, Result, child, provisioning};

use crate::checks::{Checks, Outcome};
use crate::lab::{self, BOOT, Lab};

/// A file that no boot reads.
const FILE: &str = "/usr/bin/etcdctl";

/// Where EROFS has its superblock, from the partition's start.
const SUPERBLOCK: u64 = 1024;

const CONFIG: &str = "#cloud-config\nhostname: flipped\nssh_authorized_keys:\n  - KEY\n";

/// The name under which QEMU hands over a config.
const FW_CFG: &str = "opt/coreos-init/user-data";

/// The file with the byte cannot be read; all else works. The config comes
/// without a disc, through QEMU's own device.
pub(crate) fn in_a_file(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let hardware = lab.hardware("flipped-file")?;
    let config = CONFIG.replace("KEY", hardware.public_key());
    let user_data = lab::user_data(&hardware, &config)?;
    let hardware = hardware.fw_cfg(FW_CFG, user_data);
    let (start, size) = root_partition(lab)?;
    let root = hardware.folder().join("root.erofs");
    copy_range(&lab.workspace.image()?, start, size, &root)?;
    hardware.flip_byte(start + place_of(FILE, &root)?)?;
    fs::remove_file(&root)?;
    let machine = hardware.boot(None)?;
    let report = provisioning::wait(&machine, BOOT)?.report;
    checks.holds("the config's source", report.source() == "fw-cfg", report.source());
    let read = machine.run(&format!("cat {FILE} | wc --bytes"), BOOT)?;
    let complaint = String::from_utf8_lossy(&read.stderr).into_owned();
    checks.holds("reading the file fails", complaint.contains("Input/output error"), complaint);
    let kernel = machine.read("sudo dmesg | grep -i verity")?;
    checks.holds("the kernel says why", kernel.contains("is corrupted"), kernel);
    let copy = machine.hardware().folder().join("copy");
    machine.copy_from("/usr/bin/etcd", &copy, BOOT)?;
    machine.copy_to(&copy, "copy", BOOT)?;
    fs::remove_file(&copy)?;
    checks.equal("a whole file", machine.read("cmp copy /usr/bin/etcd"), "");
    checks.contains("its neighbours work", machine.read("etcd --version"), "etcd Version");
    checks.finish()
}

/// Nothing can be mounted: the machine says why and starts anew, again and
/// again, so that the boot loader can give up on it.
pub(crate) fn in_the_superblock(lab: &Lab) -> Outcome {
    let hardware = lab.hardware("flipped-superblock")?;
    hardware.flip_byte(root_partition(lab)?.0 + SUPERBLOCK)?;
    let machine = hardware.boot(None)?;
    let console = machine.console();
    for attempt in 0..2 {
        let mark = if attempt == 0 { Mark::default() } else { console.mark() };
        console.wait_for(&["the root does not verify"], mark, BOOT)?;
        machine.wait_for_reset(attempt, BOOT)?;
    }
    let systemd = console.lines().into_iter().find(|line| line.text.contains("systemd[1]"));
    let mut checks = Checks::default();
    checks.holds("systemd never starts", systemd.is_none(), format_args!("{systemd:?}"));
    checks.finish()
}

/// Where the root partition begins in the image, and its size, in bytes.
fn root_partition(lab: &Lab) -> Result<(u64, u64)> {
    let mut command = Command::new("sgdisk");
    command.arg("--info=2").arg(lab.workspace.image()?);
    let printed = String::from_utf8_lossy(&child::run(command, TOOL)?).into_owned();
    let first = number_after(&printed, "First sector:");
    let sectors = number_after(&printed, "Partition size:");
    let place = first.zip(sectors).map(|(first, sectors)| (first * 512, sectors * 512));
    place.ok_or_else(|| unreadable("sgdisk", &printed))
}

/// Where in the root the first block of `file` is, in bytes.
fn place_of(file: &str, root: &Path) -> Result<u64> {
    let mut command = Command::new("dump.erofs");
    command.arg("-e").arg(format!("--path={file}")).arg(root);
    let printed = String::from_utf8_lossy(&child::run(command, TOOL)?).into_owned();
    // ` 0:  0..  16384 |  16384 :  49152..  65536 |  16384`
    let extent = printed.lines().find(|line| line.trim_start().starts_with("0:"));
    let physical = extent.and_then(|line| line.split(':').nth(2)).map(str::trim_start);
    let digits = physical.and_then(|text| text.split(|c: char| !c.is_ascii_digit()).next());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| unreadable("dump.erofs", &printed))
}

/// Copies `size` bytes of `image` from `start` on, for tools that take no
/// offset.
fn copy_range(image: &Path, start: u64, size: u64, to: &Path) -> Result<()> {
    let mut from = File::open(image).map_err(Error::file("open", image))?;
    from.seek(SeekFrom::Start(start)).map_err(Error::file("read", image))?;
    let mut copy = File::create(to).map_err(Error::file("write", to))?;
    io::copy(&mut from.take(size), &mut copy).map_err(Error::file("write", to))?;
    Ok(())
}

const TOOL: Duration = Duration::from_secs(60);

fn number_after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next()?.parse().ok()
}

fn unreadable(program: &str, printed: &str) -> Error {
    Error::Control { command: program.to_owned(), message: format!("unexpected answer: {printed}") }
}
