//! The one description of the disk, shared by everything that writes or reads
//! one: the image builder, the program in the initrd, the update agent.
//!
//! ```text
//! sizes, seed, root hash → Layout → Table → bytes on the disk → Table → Slot
//! root bytes → Superblock → tree, RootHash → partition GUIDs, dm target
//! a file name on the ESP → Entry → the name after a try, or for good
//! a config disc → Disc → the files asked for
//! a root partition → Reader → the files in it
//! a packed disk → Header → where its data go on a disk
//! ```
//!
//! All I/O goes through `Read`, `Write` and `Seek` arguments: nothing here
//! opens a file, knows a device path, or asks for the time.
//!
//! Follows the UAPI Group's Discoverable Partitions Specification (types, root
//! hash halves as partition GUIDs), Boot Loader Specification (boot counting)
//! and Version Format Specification, the UEFI specification's chapter on GPT,
//! and cryptsetup's on-disk format of dm-verity. Left out: MBR disks (but for
//! finding a config disc's partition), verity with forward error correction or
//! any hash but SHA-256, and UDF discs.

pub mod guid;
pub mod layout;

pub mod gpt;
pub mod verity;

pub mod entry;
pub mod version;

pub mod disc;
pub mod erofs;
pub mod packed;
pub mod window;
