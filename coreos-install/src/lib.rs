//! Puts the system on a disk, and never on the wrong one.
//!
//! ```text
//! packed image → Image ─┐
//! /sys, /proc → Disk ───┼─▶ judge (refuse the wrong disk) ─▶ write (first MiB last) ─▶ a disk that boots
//! config → Config ──────┘
//! ```
//!
//! The image is verified while it is written and once more as it is read back from the disk. Until
//! all of that has gone well the first MiB of the disk is zero, so that nothing half-written, and
//! nothing that is not the image, ever boots.

pub mod config; // what the machine will be configured by
pub mod image; // the packed image and its digest
pub mod survey; // the disks of this machine

pub mod judge; // whether a disk may be overwritten

pub mod esp; // the config's place on the new disk
pub mod install; // all of it, in order
pub mod write; // bytes onto the disk

// The installer's own system.
pub mod dialogue; // what it asks
pub mod system; // what it does as the first program of a machine
pub mod terminal; // whom it asks
pub mod words; // what it was told beforehand

/// A size for people: `7.6 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}
