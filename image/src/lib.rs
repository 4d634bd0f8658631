//! Builds the disk image of the system.
//!
//! manifest → lock → packages → root tree → EROFS → verity → UKI → ESP → GPT disk
//!
//! [`manifest`] says what goes in. [`lock`] writes down exactly which packages that means today,
//! with [`archive`] reading what Debian signed. [`packages`] makes them one tree of files, kept
//! for the next build: [`deb`] unpacks them, [`configure`] does what installing would do. [`tree`]
//! finishes it: what the image does not need goes, what the project adds comes. [`erofs`] writes
//! the finished tree as a read-only file system. Nothing here mounts, loops, needs root or runs
//! anything that is in a package.

pub mod bill;
pub mod manifest;

// Which packages, and their files.
pub mod archive;
pub mod configure;
pub mod deb;
pub mod lock;
pub mod packages;
pub mod sandbox;
pub mod tree;

pub mod erofs;

// What the firmware starts, and what the kernel starts first.
pub mod initrd;
pub mod uki;

pub mod secure_boot;

// The disk: what stands where on it, then the files it becomes.
pub mod assemble;
pub mod contents;
pub mod esp;
pub mod sparse;

pub mod patch;
pub mod qcow2;
pub mod raw;
pub mod vmdk;

// The disk in the formats of others, and on media that install it.
pub mod export;

// A release, and one build from the manifest to results in their places.
pub mod make;
pub mod release;

pub mod digest;
pub mod earlier;
pub mod pipeline;
pub mod progress;
pub mod scratch;
pub mod spare;
pub mod stamp;

// The other commands.
pub mod compare;
pub mod config_iso;
pub mod inspect;
pub mod nodes;
pub mod sysext;
pub mod verify;
