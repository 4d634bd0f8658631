//! fleet's HTTP API, version 1, and what this fleet adds to it below `/fleet/v1/x/`.
//!
//! [`types`] is what goes over the wire, [`Client`] asks for it without any runtime. The server
//! is `crate::daemon`'s. docs/fleet-api.md specifies both parts.

mod client;
pub mod types;

pub use client::{Client, ClientError, Endpoint};

/// The path that everything is below.
pub const BASE: &str = "/fleet/v1";
/// The header by which a client says how many seconds it waits for the answer.
pub const PATIENCE: &str = "X-Fleet-Patience";
/// Where the daemon answers.
pub const SOCKET: &str = "/run/fleet.sock";
