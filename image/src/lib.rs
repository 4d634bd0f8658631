//! Builds the disk image of the system.
//!
//! manifest → packages (one tar) → root tree → EROFS → verity → UKI → ESP → GPT disk
//!
//! [`manifest`] says what goes in. [`packages`] turns the package list into one tar, cached by
//! its inputs. [`tree`] reads that tar into memory (names and owners; contents stay in the tar)
//! and finishes it: what the image does not need goes, what the project adds comes. [`erofs`]
//! writes the finished tree as a read-only file system. Nothing here mounts, loops or needs root,
//! except the package installer when it has no user namespaces.

pub mod bill;
pub mod manifest;
pub mod packages;
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

pub mod qcow2;
pub mod raw;
pub mod vmdk;

// The disk in the formats of others, and on media that install it.
pub mod export;

// A release, and one build from the manifest to results in their places.
pub mod make;
pub mod release;

pub mod digest;
pub mod pipeline;
pub mod progress;
pub mod scratch;
pub mod stamp;

// The other commands.
pub mod compare;
pub mod config_iso;
pub mod inspect;
pub mod nodes;
pub mod sysext;
