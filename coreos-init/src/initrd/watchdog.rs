//! A watchdog over a boot that has yet to prove itself: if nobody says for some minutes that all is
//! well, the machine starts anew, and the boot loader has one try less to give.
//!
//! It is armed as soon as there is a device for it, and left running when the service manager
//! starts, which goes on with it.
#![allow(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::libc;

/// Seconds until it bites, if the kernel command line says nothing else.
const SECONDS: u32 = 300;
/// On the kernel command line: other seconds, or 0 for no watchdog.
const ARGUMENT: &str = "coreos.watchdog=";
/// What the service manager reads: the device, and for how long it may be silent.
const SETTINGS: &str = "/run/systemd/system.conf.d/50-unproven.conf";
/// What the unit that judges the release gets: the end of patience.
const GATE: &str = "/run/systemd/system/update-health.service.d/50-unproven.conf";
/// If the judge itself hangs, or never starts, the machine starts anew. Longer than any deadline
/// that it has by default.
const PATIENCE: &str = "\
[Unit]
JobTimeoutSec=30min
JobTimeoutAction=reboot-force
FailureAction=reboot-force
";

nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);

/// Seconds that the kernel command line asks for.
pub(super) fn seconds(command_line: &str) -> u32 {
    let words = command_line.split_whitespace();
    let found = words.filter_map(|word| word.strip_prefix(ARGUMENT)).next_back();
    found.and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// Arms it, and tells the service manager to go on with it.
pub(super) fn arm(seconds: u32) -> io::Result<()> {
    write(GATE, PATIENCE)?;
    if seconds == 0 {
        return Ok(());
    }
    let device = device(Path::new("/sys/class/watchdog")).ok_or(io::ErrorKind::NotFound)?;
    let node = format!("/dev/{device}");
    let file = OpenOptions::new().write(true).open(&node)?;
    let mut timeout = seconds as libc::c_int;
    // SAFETY: the kernel reads and writes one int, which lives as long as the call. What it could
    // not set it has set to what it can; the default of a device is shorter, never none.
    let _ = unsafe { set_timeout(file.as_raw_fd(), &raw mut timeout) };
    // Closed without the magic letter it goes on running.
    drop(file);
    write(SETTINGS, &format!("[Manager]\nWatchdogDevice={node}\nRuntimeWatchdogSec={seconds}\n"))
}

fn write(path: &str, text: &str) -> io::Result<()> {
    let path = Path::new(path);
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)
}

/// The device to use: one of hardware if there is one, since it needs no kernel that is well.
fn device(class: &Path) -> Option<String> {
    let names = fs::read_dir(class).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let is_software = |name: &String| {
        fs::read_to_string(class.join(name).join("identity"))
            .is_ok_and(|identity| identity.trim() == "Software Watchdog")
    };
    let hardware = names.iter().find(|name| !is_software(name));
    hardware.or(names.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_the_last_word() {
        for (line, expected) in [
            ("quiet", SECONDS),
            ("coreos.watchdog=60 quiet", 60),
            ("coreos.watchdog=60 coreos.watchdog=0", 0),
            ("coreos.watchdog=soon", SECONDS),
        ] {
            assert_eq!(seconds(line), expected, "{line}");
        }
    }

    #[test]
    fn hardware_is_preferred() {
        let class = tempfile::tempdir().unwrap();
        assert_eq!(device(class.path()), None);
        for (name, identity) in
            [("watchdog0", "Software Watchdog\n"), ("watchdog1", "i6300ESB timer\n")]
        {
            fs::create_dir(class.path().join(name)).unwrap();
            fs::write(class.path().join(name).join("identity"), identity).unwrap();
        }
        assert_eq!(device(class.path()).as_deref(), Some("watchdog1"));
        fs::remove_dir_all(class.path().join("watchdog1")).unwrap();
        assert_eq!(device(class.path()).as_deref(), Some("watchdog0"));
    }
}
