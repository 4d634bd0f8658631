//! The small edges that more than one program of the system needs.
//!
//! Each module is one edge to the machine or to the net, with its limits built in:
//!
//! - [`durable`]: a file that is either the old one or the new one, whatever happens.
//! - [`command`]: running another program and saying what it complained about.
//! - [`log`]: messages with priorities, to a terminal, the journal or the kernel's log.
//! - [`http`]: fetching a small document with every wait, size and retry bounded.
//! - [`modules`]: kernel modules that an initrd carries, loaded as the hardware asks.
//! - [`error`]: an error and its causes as one line.
//!
//! Nothing here reads the environment or the clock of the day, or prints an error.

pub mod command;
pub mod durable;
pub mod error;
pub mod http;
pub mod log;
pub mod modules;
mod privileged_port;
