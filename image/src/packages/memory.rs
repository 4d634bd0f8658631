//! A directory in memory to install in.
//!
//! The installed root is packed and thrown away, twelve thousand files in half a minute: on a
//! disk most of the time goes into writing and removing them.

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use std::fs;
use std::path::{Path, PathBuf};

/// Where systems have a file system in memory that anyone may use.
const DIRECTORY: &str = "/dev/shm";
/// What an installation takes there at most, with room for other package sets.
const NEEDED_SPACE: u64 = 2 << 30;
/// Memory that must be available, so that the rest of the machine keeps some.
const NEEDED_MEMORY: u64 = 4 << 30;

/// The directory in memory, if this machine has one that is large enough.
pub(super) fn directory() -> Option<PathBuf> {
    let path = Path::new(DIRECTORY);
    let file_system = statfs(path).ok()?;
    let may_execute = !file_system.flags().contains(nix::sys::statvfs::FsFlags::ST_NOEXEC);
    let free = file_system.blocks_available().checked_mul(file_system.block_size() as u64)?;
    let memory = available(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let in_memory = file_system.filesystem_type() == TMPFS_MAGIC;
    (in_memory && may_execute && free >= NEEDED_SPACE && memory >= NEEDED_MEMORY)
        .then(|| path.to_owned())
}

/// Bytes of memory that programs can still get, from the text of `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:  24 kB\nMemFree: 2 kB\nMemAvailable:   20332328 kB\nBuffers: 1 kB\n";
        assert_eq!(available(text), Some(20_332_328 * 1024));
        for text in ["", "MemAvailable: many kB\n", "MemAvailable: 5\n"] {
            assert_eq!(available(text), None, "{text:?}");
        }
    }
}
