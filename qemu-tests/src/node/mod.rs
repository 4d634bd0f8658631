//! Nodes: the image's own root tree, booted by systemd-nspawn at native speed.
//!
//! [`Network`] (a bridge in a network namespace) → [`Node`] (state, config) →
//! a running system → a command in it. What a firmware, a kernel and an initrd
//! do is not in it: machines are for that. Nodes are for what several systems
//! do to each other.
//!
//! Mounts live in the namespace of each node's processes, and those die with
//! the test: nothing is left behind, however it ends.

mod cgroup; // where its processes are counted and killed
mod console; // its terminal
mod network; // what nodes are wired to
mod system; // a node

pub use network::Network;
pub use system::{Node, Specification};
