//! The library against real servers, of Debian 12 and of Debian 13.

mod failover;
mod leases;
mod reboot;
mod server;
mod store;
mod tls;
mod watches;
