//! What the initrd says: to the consoles for whoever watches, to the kernel log for the journal.
//!
//! Lines carry the time since the kernel started, as the kernel's own do.
//! There is no journal yet and nobody to ask; a line is written at once, whole, and a console
//! that cannot be written to is no reason to stop a boot.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::Write;

use nix::time::{ClockId, clock_gettime};

/// Where the initrd's lines go.
#[derive(Debug)]
pub(super) struct Console {
    consoles: Vec<File>,
    kmsg: Option<File>,
    /// Records below this severity number the kernel shows on its consoles itself.
    shown: u32,
}

/// Severities, by the numbers of the kernel log.
#[derive(Debug, Clone, Copy)]
enum Severity {
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// The facility of system daemons, as `/dev/kmsg` takes it.
const DAEMON: u32 = 3 << 3;

impl Console {
    /// Opens the kernel log and every console; `/dev`, `/proc` and `/sys` must be mounted.
    pub(super) fn open() -> Self {
        let open = |name: &str| OpenOptions::new().write(true).open(format!("/dev/{name}")).ok();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let shown =
            read("/proc/sys/kernel/printk").split_whitespace().next().and_then(|n| n.parse().ok());
        Self {
            consoles: read("/sys/class/tty/console/active")
                .split_whitespace()
                .filter_map(open)
                .collect(),
            kmsg: open("kmsg"),
            shown: shown.unwrap_or(0),
        }
    }

    /// Says what was done.
    pub(super) fn info(&mut self, line: impl Display) {
        self.write(Severity::Info, &line.to_string());
    }

    /// Says what the operator should look at.
    pub(super) fn warn(&mut self, line: impl Display) {
        self.write(Severity::Warning, &line.to_string());
    }

    /// Says what went wrong.
    pub(super) fn error(&mut self, line: impl Display) {
        self.write(Severity::Error, &line.to_string());
    }

    fn write(&mut self, severity: Severity, text: &str) {
        let number = severity as u32;
        let mark = match severity {
            Severity::Error => "\x1b[1;31merror:\x1b[0m ",
            Severity::Warning => "\x1b[1;33mwarning:\x1b[0m ",
            Severity::Info => "",
        };
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok();
        let (seconds, micros) = now.map_or((0, 0), |now| (now.tv_sec(), now.tv_nsec() / 1000));
        for line in text.lines() {
            // One write is one record.
            let record = format!("<{}>coreos-init: {line}\n", DAEMON | number);
            let logged =
                self.kmsg.as_mut().is_some_and(|kmsg| kmsg.write_all(record.as_bytes()).is_ok());
            if logged && number < self.shown {
                continue;
            }
            for console in &mut self.consoles {
                let _ = console.write_all(
                    format!("\r[{seconds:>5}.{micros:06}] coreos-init: {mark}{line}\r\n")
                        .as_bytes(),
                );
            }
        }
    }
}
