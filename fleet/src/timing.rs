//! The times that machines and engine agree on.

use std::time::Duration;

/// How long a machine counts as present after its last sign of life.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a machine gives a sign of life.
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a machine must have been missing before its units are started elsewhere.
pub const GRACE: Duration = Duration::from_secs(60);
/// The longest `OnPartition=stop-after=`. A machine counts it from its last answered sign of
/// life, the engine starts another copy [`LEASE`] and [`GRACE`] after that: what remains between
/// is for the unit to stop in.
pub const LONGEST_STOP_AFTER: Duration = Duration::from_secs(60);
