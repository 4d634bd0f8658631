//! The commands, as the command line has them.

pub(crate) mod config_iso;
pub(crate) mod export;
pub(crate) mod lock;
mod sources; // what an image is made of
pub(crate) mod sysext;
pub(crate) mod tree;
pub(crate) mod verify_build;
