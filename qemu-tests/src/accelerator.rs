//! What executes the guest's instructions: the processor, or an emulator.
//!
//! A `/dev/kvm` that is there may still not work, in nested virtual machines
//! above all: QEMU then ends with an assertion about a register, or stands
//! still with "KVM internal error". Only running a guest tells.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;

use crate::child::Child;
use crate::control::Control;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::firmware::Firmware;
use crate::wiring::QEMU;

/// How long the trial guest may take, on a busy host too.
const TRIAL: Duration = Duration::from_secs(10);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's emulation, "tiny code generator": five to ten times slower.
    Tcg,
}

impl Accelerator {
    /// QEMU's arguments for it. Emulated, the plainest processor is the
    /// quickest: with `max` the C library and the kernel choose vector code
    /// that has to be emulated at great length, and the kernel loads drivers
    /// for KVM and AES (35 to 80 processor seconds for a boot, with `qemu64`
    /// 25). `cx16` is off because QEMU 7.2 emulates `cmpxchg16b` such that
    /// Debian 13's kernel dies in its first memory allocations.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "qemu64,-cx16,-svm"],
        }
    }

    /// The one to use: `wish` (`kvm` or `tcg`) if there is one, else KVM if a
    /// trial guest runs on it, tried once per process.
    pub fn choose(wish: Option<&str>) -> Result<Self> {
        match wish {
            Some("kvm") => Ok(Self::Kvm),
            Some("tcg") => Ok(Self::Tcg),
            Some(value) => Err(Error::UnknownAccelerator { value: value.to_owned() }),
            None => {
                static TRIED: OnceLock<bool> = OnceLock::new();
                Ok(if *TRIED.get_or_init(kvm_works) { Self::Kvm } else { Self::Tcg })
            }
        }
    }
}

impl Accelerator {
    /// Whether guests have System Management Mode, which nested KVM often lacks.
    pub fn has_management_mode(self) -> bool {
        static TRIED: OnceLock<bool> = OnceLock::new();
        self == Self::Tcg || *TRIED.get_or_init(|| trial("q35,smm=on").unwrap_or(false))
    }
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation",
        })
    }
}

fn kvm_works() -> bool {
    let device = File::options().read(true).write(true).open(Path::new("/dev/kvm"));
    device.is_ok() && trial("q35,smm=off").unwrap_or(false)
}

/// Whether UEFI firmware, on a machine of the type `machine`, gets as far as to 64-bit code, its
/// first milliseconds on a processor: where nested KVM fails, it stands still long before.
fn trial(machine: &str) -> Result<bool> {
    let broke = |source| Error::Channel { channel: "control channel", source };
    let (ours, theirs) = UnixStream::pair().map_err(broke)?;
    let firmware = Firmware::find(Path::new(crate::firmware::FOLDER))?;
    let mut command = Command::new(QEMU);
    command.args(Accelerator::Kvm.arguments());
    command.args(["-machine", machine, "-m", "256M", "-nodefaults", "-no-user-config"]);
    let mut flash = OsString::from("if=pflash,format=raw,unit=0,readonly=on,file=");
    flash.push(firmware.code);
    command.arg("-drive").arg(flash);
    command.args(["-display", "none", "-chardev", "socket,id=control,fd=1"]);
    command.args(["-mon", "chardev=control,mode=control"]);
    command.stdin(Stdio::null()).stdout(OwnedFd::from(theirs)).stderr(Stdio::null());
    let mut guest = Child::start(command)?;
    let control = Control::start(ours)?;
    let deadline = Deadline::after(TRIAL);
    while guest.ended().is_none() {
        let status = control.command("query-status", &json!({}))?;
        if status["status"] != "running" {
            return Ok(false);
        }
        let registers = json!({ "command-line": "info registers" });
        let registers = control.command("human-monitor-command", &registers)?;
        if registers.as_str().is_some_and(is_in_long_mode) {
            return Ok(true);
        }
        if !deadline.pause(LOOK) {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Whether a processor that shows these registers runs 64-bit code.
fn is_in_long_mode(registers: &str) -> bool {
    const ACTIVE: u64 = 1 << 10;
    let value = registers.split("EFER=").nth(1).and_then(|rest| rest.split_whitespace().next());
    value.and_then(|digits| u64::from_str_radix(digits, 16).ok()).is_some_and(|v| v & ACTIVE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_mode_is_seen_in_the_registers() {
        for (registers, want) in [
            ("DR7=0000000000000400\nEFER=0000000000000500\nFCW=037f", true),
            ("DR7=0000000000000400\nEFER=0000000000000000\nFCW=037f", false),
            ("EFER=zz", false),
            ("", false),
        ] {
            assert_eq!(is_in_long_mode(registers), want, "{registers}");
        }
    }

    #[test]
    fn a_wish_decides_and_must_be_one_of_two_words() {
        assert_eq!(Accelerator::choose(Some("kvm")).unwrap(), Accelerator::Kvm);
        assert_eq!(Accelerator::choose(Some("tcg")).unwrap(), Accelerator::Tcg);
        let error = Accelerator::choose(Some("hvf")).unwrap_err();
        assert_eq!(error.to_string(), "MACHINE_ACCEL is `hvf`, expected `kvm` or `tcg`");
    }
}
