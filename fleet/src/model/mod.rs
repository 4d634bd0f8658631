//! What is kept in etcd: records (JSON) and the keys they are under.
//!
//! | key below the prefix | value | written by |
//! |---|---|---|
//! | `units/NAME` | [`UnitRecord`] | the API |
//! | `bodies/SHA256` | the unit file's text | the API; goes with its last unit |
//! | `machines/ID/info` | [`MachineInfo`], on the machine's lease | the agent |
//! | `machines/ID/meta/KEY` | metadata set by people; empty: the key is gone | the API |
//! | `machines/ID/cordon` | [`Cordon`] | the API, the engine (its phase) |
//! | `sched/ID/NAME` | [`Order`] | the engine |
//! | `global/NAME` | [`GlobalOrder`] | the engine |
//! | `state/ID/NAME` | [`UnitState`], on the machine's lease | the agent, on change |
//! | `failures/NAME` | [`Failure`] | the engine |
//! | `rollout/GROUP` | [`Rollout`] | the API (paused), the engine |
//! | `engine/leader` | [`Leader`], on its machine's lease | the engine |
//! | `engine/brake` | [`Brake`] while the storm brake holds | the engine; deleting it releases |
//! | `events/REVISION` | [`Event`], on a lease of a day | whoever it happened to |
//!
//! Everything that an agent writes hangs on its lease: a machine that dies takes its states with
//! it in one revision, and what is gone is not listed.

mod keys;
mod records;
mod world;

pub use keys::{Key, Keys};
pub use records::{
    Brake, Cordon, CordonPhase, Desired, Event, Failure, GlobalOrder, Leader, MachineInfo, Order,
    OrderKind, Previous, Rollout, UnitRecord, UnitState,
};

pub use world::{Host, World};

/// The digest a unit file's text is kept under: SHA-256 in hex.
pub fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text.as_bytes()))
}
