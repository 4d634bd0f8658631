//! Services that find a machine.
//!
//! unit file → requirements → placement → orders for machines → jobs of systemd → states
//!
//! The language and the rules of placement are fleet's; without keys that fleet did not have, each
//! decision is the one that fleet would have made. What fleet did badly is done otherwise: states
//! hang on the machine's lease, so nothing that is gone is still listed; an agent watches its own
//! orders only; an idle cluster writes nothing; units outlive their agent, etcd and a pause of
//! its leader.

pub mod agent;
pub mod api;
pub mod ctl;
pub mod daemon;
pub mod engine;
pub mod model;
pub mod place;
pub mod timing;
pub mod unit;
