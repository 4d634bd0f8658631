//! Real servers for tests: etcd of this machine or of Debian 13, alone or as a cluster.
//!
//! A server listens on free ports of the loopback address, keeps its data in a temporary folder,
//! and is gone when its value is dropped or the test process ends in whatever way.
#![allow(missing_docs, reason = "tests are its only readers")]

mod certificates;
mod guarded;
mod program;
mod server;

pub use certificates::Certificates;
pub use guarded::Guarded;
pub use program::{Program, debian12, debian13};
pub use server::{Cluster, Member, Options, free_ports};
