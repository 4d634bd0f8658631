//! Real fleetd processes on a real etcd, each with a systemd that answers on a socket: what
//! happens when something breaks.

mod failures;
mod interface;
mod node;
mod services;
mod systemd;
