//! What any member of a cluster needs of etcd.
//!
//! ```text
//! Settings → Client → get, list, commit (guarded transactions)
//!                   → watch: a snapshot, then every change; resumes by itself
//!                   → lease: kept until it is dropped, or known to be lost
//!                   → members: list, add, promote, remove
//!                   → reboot: machines of a group take turns
//! ```
//!
//! The store is etcd v3, 3.4 or later, spoken to over gRPC. Everything has a deadline, and every
//! endpoint is tried before it has passed: a member that is gone, paused or cut off costs time,
//! not an error. What was read may be read again elsewhere; what was written is repeated only if
//! it certainly was not done, and otherwise the error says that it may have been
//! ([`Error::is_uncertain`]). Keys are text; those of others that are not are shown with
//! replacement characters.
//!
//! Everything runs on the caller's tokio runtime, of which one thread is enough.

pub mod error;
pub mod settings; // who is asked, as whom, for how long // what can go wrong, and whether it happened

pub mod client; // one request, whoever answers it
mod endpoints; // who is asked, and who first
pub mod entry; // what is stored, and what changed
pub mod lease; // keys that go when their owner does
pub mod machine; // where this machine's etcd is
pub mod members; // who etcd consists of
pub mod txn; // writes that happen only if nothing changed
pub mod watch; // what is there, and what becomes of it

pub mod reboot; // machines take turns

#[cfg(feature = "program")]
pub mod discovery; // machines that share a URL find each other
#[cfg(feature = "program")]
pub mod fleetlock; // the reboot lock for others
#[cfg(feature = "program")]
pub mod http;
#[cfg(feature = "program")]
pub mod join; // a machine's settings → a member of etcd, or none // what both serve with

#[cfg(feature = "testing")]
pub mod testing; // real servers

pub use client::Client;
pub use entry::{Change, Entry, Event, Listing};
pub use error::{Error, Result};
pub use lease::{Lease, LeaseState};
pub use machine::MachineCluster;
pub use members::{Health, Member};
pub use settings::{Settings, Tls};
pub use txn::{Committed, Txn};
pub use watch::{Update, Watch};
