//! `fleetd`: the agent and the engine with their edges: etcd, systemd, the disk, the socket.
//!
//! settings ─▶ [`run`] ─▶ presence (lease, registration, orders) ─▶ agent ─▶ systemd
//!                     ─▶ leadership ─▶ engine ─▶ etcd
//!                     ─▶ API on the socket, relay to other daemons
//!
//! Everything runs on one thread. Each part is a task of its own and tells the others by
//! channels; one that waits holds up nobody.

mod api;
mod disk;
mod engine;
mod health;
mod http;
mod journal;
mod machine;
mod presence;
mod relay;
mod run;
mod settings;
mod store;
mod systemd;
mod writer;

pub use machine::Identity;
pub use run::{Listeners, RunError, run};
pub use settings::{Settings, SettingsError};
