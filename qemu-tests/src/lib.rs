//! A machine as a test sees it: a virtual one, from power-on with UEFI
//! firmware, on nothing but Debian's QEMU.
//!
//! [`Hardware`] (folder, disks, wiring) → [`Machine`] (console, ssh, buttons)
//! → hardware again. Every wait has a limit, every error shows the console's
//! last lines, and nothing that was started outlives the process.
//!
//! The programs of this project are used as built, never as crates: what the
//! scenarios see is what a newcomer gets.

// What the host has.
pub mod accelerator; // its processor, or an emulator
pub mod firmware; // OVMF
pub mod ports; // free ports of its loopback address
pub mod workspace; // the built programs and the built image

// A machine that is off.
pub mod config_disc; // a config on a disc
mod disks; // overlays and flipped bytes
pub mod hardware; // folder, disks, wiring
mod trunk; // its network as a VLAN
pub mod wiring; // parts → QEMU's command line

// A machine that is on.
pub mod console; // its serial line
pub mod control; // its buttons
pub mod machine; // all of it
pub mod ssh; // its shell

// What it tells of its boot.
pub mod provisioning; // power-on → a machine as its config asks
pub mod report; // its own words
pub mod stages; // what took how long

// Several systems at once.
pub mod node; // the image's root tree, booted by systemd-nspawn

// What all of them stand on.
pub mod child; // processes that die with us
pub mod deadline; // a moment by which
pub mod error; // what can go wrong
pub mod escape; // terminal output taken apart

pub use accelerator::Accelerator;
pub use console::{Console, Line, Mark};
pub use deadline::Deadline;
pub use error::{Error, Result};
pub use firmware::Firmware;
pub use hardware::Hardware;
pub use machine::Machine;
pub use workspace::Workspace;
