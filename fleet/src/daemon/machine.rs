//! Who this machine is.

use std::io;
use std::path::Path;

use crate::place::Capacity;

/// What the machine is, read once at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `/etc/machine-id`.
    pub id: String,
    /// This boot.
    pub boot_id: String,
    /// What it has to give.
    pub capacity: Capacity,
}

impl Identity {
    /// Reads it below `root`.
    pub fn read(root: &Path) -> io::Result<Identity> {
        let read = |path: &str| -> io::Result<String> {
            let path = root.join(path);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
            Ok(text.trim().to_string())
        };
        let id = read("etc/machine-id")?;
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(io::Error::other(format!("etc/machine-id: `{id}` is not a machine id")));
        }
        let boot_id = read("proc/sys/kernel/random/boot_id")?;
        let meminfo = read("proc/meminfo").unwrap_or_default();
        let total = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok())
            .unwrap_or(0);
        let processors =
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        Ok(Identity {
            id,
            boot_id,
            capacity: Capacity { cpu: processors * 1000, memory: total << 10 },
        })
    }
}
