//! A signed image on firmware that enforces Secure Boot: it enrols the keys and boots; a changed
//! UKI and a kernel that somebody else signed do not, and an edited command line counts for nothing.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use qemu_tests::config_disc::Label;
use qemu_tests::{Error, Hardware, Mark, Result, child, provisioning};

use crate::checks::{Checks, Outcome};
use crate::lab::{BOOT, Lab, SETTLE};

const CONFIG: &str = "#cloud-config\nhostname: signed\nssh_authorized_keys:\n  - KEY\n";

/// What systemd-boot says of a program that the firmware does not start.
const REFUSED: [&str; 2] = ["Access denied", "Security violation"];

/// What nobody may see of a system that must not start.
const STARTED: &str = "coreos-init";

/// How long firmware and boot loader may take, emulated on a busy host.
const FIRMWARE: Duration = Duration::from_secs(180);

/// The boot loader's own variables, and what makes one last.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let signed = Signed::build(lab)?;
    signed.edit_entries()?;
    let firmware = lab.secure_firmware()?;
    let hardware = lab.hardware_with("secure-boot", &signed.disk(), &firmware)?;
    let config = CONFIG.replace("KEY", hardware.public_key());
    let hardware = lab.insert(hardware, &config, "other", Label::NoCloud)?;

    // In setup mode the boot loader enrols the keys and starts the machine anew.
    let machine = hardware.boot(None)?;
    let report = provisioning::wait(&machine, 2 * BOOT)?.report;
    checks.holds("it is provisioned", report.is_provisioned(), report.status());
    checks.holds("it was started anew", machine.resets() >= 1, machine.resets());
    let variable = |name: &str| {
        let guid = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
        machine.read(&format!("od -An -t u1 -j 4 /sys/firmware/efi/efivars/{name}-{guid}"))
    };
    checks.contains("Secure Boot is on", variable("SecureBoot"), "1");
    checks.contains("setup mode is off", variable("SetupMode"), "0");
    let kernel = machine.read("sudo dmesg | grep -i 'secure boot'");
    checks.contains("the kernel knows", kernel, "enabled");
    let lockdown = machine.read("cat /sys/kernel/security/lockdown");
    checks.contains("the kernel is locked down", lockdown, "[integrity]");
    let cmdline = machine.read("cat /proc/cmdline")?;
    checks.holds("an edited command line is not used", !cmdline.contains("edited"), &cmdline);

    // The next start shall take the other edited entry.
    machine.read(&format!(
        "printf '\\007\\000\\000\\000{}\\000\\000' | \
         sudo tee /sys/firmware/efi/efivars/LoaderEntryOneShot-{LOADER} > /dev/null",
        "kernel.conf".chars().map(|c| format!("{c}\\000")).collect::<String>()
    ))?;
    let hardware = machine.power_off(SETTLE)?;
    let hardware = refused(hardware, "another kernel", &mut checks)?;

    let at = signed.place_in_uki()?;
    hardware.flip_byte(at)?;
    let hardware = refused(hardware, "a changed UKI", &mut checks)?;
    hardware.scrap()?;
    signed.remove()?;
    checks.finish()
}

/// Switches the machine on, which must not come further than to its boot loader.
fn refused(hardware: Hardware, what: &str, checks: &mut Checks) -> Result<Hardware> {
    let machine = hardware.boot(None)?;
    let console = machine.console();
    let words: Vec<&str> = REFUSED.into_iter().chain([STARTED]).collect();
    let line = console.wait_for(&words, Mark::default(), FIRMWARE)?;
    checks.holds(&format!("{what} is refused"), !line.text.contains(STARTED), &line.text);
    Ok(machine.power_cut())
}

/// A signed build of its own, and the keys.
struct Signed {
    folder: PathBuf,
}

impl Signed {
    fn build(lab: &Lab) -> Result<Self> {
        let folder = lab.workspace.machines().join("secure-boot-image");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
        }
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let (keys, build) = (path("keys"), path("build"));
        lab.image(&["keys", "--output", &keys])?;
        lab.image(&["build", "--no-qcow2", "--secure-boot-keys", &keys, "--output", &build])?;
        Ok(Self { folder })
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("build/coreos.raw")
    }

    fn uki(&self) -> Result<PathBuf> {
        let folder = self.folder.join("build");
        let entries = fs::read_dir(&folder).map_err(Error::file("list", &folder))?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        let uki = paths.find(|path| path.extension().is_some_and(|end| end == "efi"));
        uki.ok_or_else(|| {
            Error::file("find", folder.join("*.efi"))(std::io::ErrorKind::NotFound.into())
        })
    }

    /// Does to the ESP what somebody with access to the disk can: entries with a command line of
    /// their own, for the signed UKI and for its kernel, which the distribution has signed.
    fn edit_entries(&self) -> Result<()> {
        let uki = self.uki()?;
        let kernel = self.folder.join("vmlinuz");
        let mut command = Command::new("objcopy");
        command.args(["-O", "binary", "--only-section=.linux"]).arg(&uki).arg(&kernel);
        child::run(command, TOOL)?;
        let name = uki.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let entries = [
            (
                "loader.conf",
                "timeout 0\nsecure-boot-enroll if-safe\ndefault edited.conf\n".to_owned(),
            ),
            (
                "edited.conf",
                format!("title Edited\nefi /EFI/Linux/{name}+3.efi\noptions edited init=/bin/sh\n"),
            ),
            (
                "kernel.conf",
                "title Kernel\nlinux /vmlinuz\noptions edited init=/bin/sh\n".to_owned(),
            ),
        ];
        self.copy_in(&kernel, "vmlinuz")?;
        for (name, text) in entries {
            let path = self.folder.join(name);
            fs::write(&path, text).map_err(Error::file("write", &path))?;
            let folder = if name == "loader.conf" { "loader" } else { "loader/entries" };
            self.make_folder(folder)?;
            self.copy_in(&path, &format!("{folder}/{name}"))?;
        }
        Ok(())
    }

    fn esp(&self) -> String {
        format!("{}@@1M", self.disk().display())
    }

    fn make_folder(&self, folder: &str) -> Result<()> {
        let mut command = Command::new("mmd");
        command.args(["-D", "s", "-i", &self.esp()]).arg(format!("::/{folder}"));
        // It may be there.
        child::output(command, TOOL).map(drop)
    }

    fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        let mut command = Command::new("mcopy");
        command.args(["-o", "-i", &self.esp()]).arg(from).arg(format!("::/{to}"));
        child::run(command, TOOL).map(drop)
    }

    /// Where on the disk the middle of the UKI is, in its initrd or kernel.
    fn place_in_uki(&self) -> Result<u64> {
        let (uki, disk) = (self.uki()?, self.disk());
        let bytes = fs::read(&uki).map_err(Error::file("read", &uki))?;
        let middle = bytes.len() / 2 / 4096 * 4096;
        let wanted = &bytes[middle..middle + 4096];
        let mut file = File::open(&disk).map_err(Error::file("open", &disk))?;
        file.seek(SeekFrom::Start(1 << 20)).map_err(Error::file("read", &disk))?;
        // Files of a fresh file system lie at its beginning, in blocks of their own.
        let mut block = vec![0; 512];
        let mut window = Vec::new();
        for sector in 0..(128 << 20) / 512_u64 {
            file.read_exact(&mut block).map_err(Error::file("read", &disk))?;
            if block == wanted[..512] || !window.is_empty() {
                window.extend_from_slice(&block);
            }
            if window.len() == 4096 {
                if window == wanted {
                    return Ok((1 << 20) + (sector - 7) * 512);
                }
                window.clear();
            }
        }
        Err(Error::file("find the UKI in", disk)(std::io::ErrorKind::NotFound.into()))
    }

    fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(Error::file("remove", &self.folder))
    }
}

const TOOL: Duration = Duration::from_secs(60);
