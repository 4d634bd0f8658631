//! The discovery service: machines that share nothing but a URL find each other.
//!
//! ```text
//! GET /new?size=3 → URL/TOKEN → each member registers below it → all read the same list
//! ```
//!
//! The protocol is discovery.etcd.io's, which is etcd's v2 store of keys for one folder a token;
//! `docs/discovery.md` specifies it. Clusters are files of a folder of this service's own, written
//! durably before anything is answered. What a stranger can do is bounded: tokens, members and
//! bytes of each, connections, and new tokens an hour.

mod cluster; // one token's members; touches nothing
mod server; // requests
mod store; // files

pub use cluster::{Cluster, MOST_MEMBERS, Token};
pub use server::{Discovery, Options, serve};
pub use store::StoreError;
