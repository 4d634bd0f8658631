//! What is made of a built disk for others, each on a machine that starts from it: the disc and
//! the pair that install the system on an empty disk, and the disk of Google's archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use qemu_tests::config_disc::Label;
use qemu_tests::{Error, Hardware, Result, child, provisioning};

use crate::checks::{Checks, Outcome};
use crate::lab::{BOOT, Lab, SETTLE};

/// To write the system on a disk and switch off, emulated on a busy host.
const INSTALL: Duration = Duration::from_secs(600);
/// To take an archive apart.
const UNPACK: Duration = Duration::from_secs(120);

const CONFIG: &str = "#cloud-config\nhostname: NAME\nssh_authorized_keys:\n  - KEY\n";

/// A bootable disc in an empty machine: nobody is asked, and the disk boots.
pub(crate) fn disc(lab: &Lab) -> Outcome {
    let (hardware, folder) = empty(lab, "installed-from-disc", "iso")?;
    let hardware = hardware.disc(Some(folder.join("coreos.iso")));
    installed(hardware, "installed-from-disc")
}

/// The same from kernel and initrd, as a network would hand them out.
pub(crate) fn pair(lab: &Lab) -> Outcome {
    let (hardware, folder) = empty(lab, "installed-from-network", "pxe")?;
    let initrd = folder.join("coreos-pxe.initrd");
    let hardware = hardware.kernel(folder.join("coreos-pxe.vmlinuz"), Some(initrd));
    installed(hardware, "installed-from-network")
}

/// A machine with an empty disk, and the directory of an export that installs on it.
fn empty(lab: &Lab, name: &str, format: &str) -> Result<(Hardware, PathBuf)> {
    let mut hardware = lab.hardware(name)?;
    hardware.empty_disk()?;
    let folder = hardware.folder().join("export");
    let config = hardware.folder().join("user-data");
    let text = CONFIG.replace("NAME", name).replace("KEY", hardware.public_key());
    fs::write(&config, text).map_err(Error::file("write", &config))?;
    let (config, output) = (config.to_string_lossy(), folder.to_string_lossy());
    let unattended = ["--install-device", "auto", "--power-off", "--config", &config];
    export(lab, format, &output, &unattended)?;
    // The installer holds the packed image in memory.
    Ok((hardware.memory(3072), folder))
}

fn export(lab: &Lab, format: &str, output: &str, more: &[&str]) -> Result<()> {
    let image = lab.workspace.image()?;
    let built = image.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let fixed = ["export", built.as_str(), "--format", format, "--output", output];
    lab.image(&[&fixed[..], more].concat())
}

/// Lets the installer do its work, takes it out, and looks at what starts from the disk.
fn installed(hardware: Hardware, name: &str) -> Outcome {
    let mut checks = Checks::default();
    let machine = hardware.boot(None)?;
    machine.wait_off(INSTALL)?;
    let console = machine.console().tail();
    let hardware = machine.power_cut().disc(None).no_kernel();
    let machine = hardware.boot(None)?;
    let provisioned = provisioning::wait(&machine, BOOT);
    checks.holds("the disk boots", provisioned.is_ok(), console);
    let report = provisioned?.report;
    checks.holds("it is provisioned", report.is_provisioned(), report.status());
    checks.equal("its name", machine.read("hostname"), name);
    checks.equal(
        "failed units",
        machine.read("systemctl list-units --failed --plain --no-legend"),
        "",
    );
    let grown =
        machine.read("lsblk --noheadings --bytes --output SIZE /dev/disk/by-partlabel/state");
    let grown = grown?.trim().parse::<u64>().unwrap_or(0);
    checks.holds("the state fills the disk", grown > 5 << 30, grown);
    machine.power_off(SETTLE)?.scrap()?;
    checks.finish()
}

/// The disk in the archive for Google's cloud.
pub(crate) fn google(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let folder = lab.workspace.machines().join("google-archive");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
    }
    export(lab, "gce", &folder.to_string_lossy(), &[])?;
    let mut command = Command::new("tar");
    command.args(["-xSzf", "coreos-gce.tar.gz"]).current_dir(&folder);
    child::run(command, UNPACK)?;
    let hardware = lab.hardware_of("google", &folder.join("disk.raw"))?;
    let config = CONFIG.replace("NAME", "google").replace("KEY", hardware.public_key());
    let hardware = lab.insert(hardware, &config, "other", Label::NoCloud)?;
    let machine = hardware.boot(None)?;
    let report = provisioning::wait(&machine, BOOT)?.report;
    checks.holds("it is provisioned", report.is_provisioned(), report.status());
    checks.equal("its name", machine.read("hostname"), "google");
    machine.power_off(SETTLE)?.scrap()?;
    fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
    checks.finish()
}

/// The disk in the appliance for VMware, in a folder of its own.
pub(crate) fn disk_of_appliance(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.workspace.machines().join("appliance");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
    }
    export(lab, "ova", &folder.to_string_lossy(), &[])?;
    let mut command = Command::new("tar");
    command.args(["-xf", "coreos.ova"]).current_dir(&folder);
    child::run(command, UNPACK)?;
    Ok(folder.join("coreos-disk1.vmdk"))
}
