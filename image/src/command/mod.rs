//! The commands, as the command line has them.

pub(crate) mod lock;
pub(crate) mod tree;
pub(crate) mod verify_build;
