//! The rules: which release may go where, for the publisher and for the machine alike.
//!
//! [`Channel`]s are ordered, a [`Release`] enters at alpha and moves on to beta and stable, and a
//! machine goes only upwards: in its channel by [`Machine::judge`], between channels by
//! [`may_follow`]. Everything here is a function of its arguments; the time is one of them.

mod channel;
mod machine;
mod publishing;
mod release;
mod rollout;

pub use channel::{Channel, ParseChannelError, Refused, may_follow};
pub use machine::{Machine, Rule, Verdict};
pub use publishing::{NotAllowed, may_enter, may_promote};
pub use release::{Halt, Release};
pub use rollout::Rollout;
