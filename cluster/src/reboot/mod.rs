//! The reboot lock: machines of a group take turns.
//!
//! ```text
//! Request → Ticket (a place in the queue) → Hold (a slot) → reboot → healthy → release
//!                                                                 → failed  → verdict
//! ```
//!
//! A group has a number of slots, one unless it was told otherwise. Who wants to reboot queues up
//! and is served in the order of arrival. A place in the queue hangs on a lease and goes with its
//! machine; a slot does not, for a machine that reboots must keep it. It carries the moment by
//! which the machine wants to be back: after that it is *stale*, which is shown and never mended
//! by itself, since a machine that did not come back must not be followed by the next.
//!
//! A slot is granted only if the group is not halted, the release that the machine goes to has
//! not failed elsewhere in the group, and, for a member of etcd, the others are a quorum without
//! it and without every member that holds a slot in any group. All of that is checked in the
//! transaction that grants it.
//!
//! The keys are specified in `docs/reboot-lock.md`. Times are the wall clock's, in whole seconds
//! since 1970, and come from the caller.

mod record; // what is stored
mod state; // what is there → what stands in the way; touches nothing

mod hold; // a slot that is held
mod operator; // what people do to a group
mod quorum; // whether etcd can do without a member
mod report; // a group in words
mod ticket; // a place in the queue

pub mod locksmith; // the document of CoreOS's locksmith

pub use hold::Hold;
pub use quorum::{Quorum, local_member};
pub use record::{Halt, Holder, Phase, Verdict, Waiter};
pub use report::report;
pub use state::{GroupState, Held, Obstacle, State, Waiting};
pub use ticket::{Outcome, Ticket};

use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::client::Client;
use crate::error::Error;

/// Below which all groups are.
pub const ROOT: &str = "/coreos/reboot/";

/// The group of machines that name none.
pub const DEFAULT_GROUP: &str = "default";

/// The longest name of a group or machine.
const LONGEST_NAME: usize = 128;

/// What stays as it is in a key.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// The result of everything about reboots.
pub type Result<T> = std::result::Result<T, RebootError>;

/// Why something about a reboot did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RebootError {
    /// The store.
    #[error(transparent)]
    Etcd(#[from] Error),
    /// A name that cannot be one.
    #[error(
        "{name:?} cannot be the name of a {what}: letters, digits, `.`, `-` and `_`, at most {LONGEST_NAME}"
    )]
    Name {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Another machine has the same machine id, or this one has lost what it knew.
    #[error(
        "machine {machine} is already {doing} in group {group}, in another boot ({boot_id}): \
         if that is another machine with the same machine id, give one of them a new one; \
         if not, release it with `cluster lock unlock {machine}`"
    )]
    Duplicate {
        /// The machine.
        machine: String,
        /// What the other does.
        doing: &'static str,
        /// The group.
        group: String,
        /// The boot in which the other does it.
        boot_id: String,
    },
    /// The slot is not, or no longer, the caller's.
    #[error("machine {machine} does not hold a slot of group {group}{}", token.map_or(String::new(), |t| format!(" with token {t}")))]
    NotHeld {
        /// The machine.
        machine: String,
        /// The group.
        group: String,
        /// The token that the caller has.
        token: Option<i64>,
    },
    /// The place in the queue is gone: its lease ran out, or it was removed.
    #[error("machine {machine} is no longer in the queue of group {group}")]
    NotQueued {
        /// The machine.
        machine: String,
        /// The group.
        group: String,
    },
    /// A group without slots would wait for ever.
    #[error(
        "a group has between 1 and {MOST_SLOTS} slots, not {0}: to stop reboots, halt the group"
    )]
    Slots(u32),
}

/// The most slots of a group.
pub const MOST_SLOTS: u32 = 10_000;

/// What a machine wants.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its `/etc/machine-id`.
    pub machine: String,
    /// Its `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The release that it goes to, if it does.
    pub version: Option<String>,
    /// Its member of etcd, if it is one: see [`local_member`].
    pub member: Option<u64>,
    /// How long after the grant it wants to be back and healthy.
    pub hold: Duration,
    /// The token of a hold that it remembers from before, if it does.
    pub token: Option<i64>,
}

/// A group's lock.
#[derive(Clone, Debug)]
pub struct RebootLock {
    client: Client,
    group: String,
}

impl RebootLock {
    /// The lock of `group`.
    ///
    /// # Errors
    /// [`RebootError::Name`].
    pub fn new(client: Client, group: &str) -> Result<Self> {
        check_name("group", group)?;
        Ok(Self { client, group: group.to_owned() })
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The group as it is now.
    ///
    /// # Errors
    /// As of [`Client::list`]; [`Error::Malformed`] if somebody wrote what cannot be read.
    pub async fn status(&self) -> Result<GroupState> {
        Ok(self.state().await?.group(&self.group))
    }

    async fn state(&self) -> Result<State> {
        Ok(State::read(&self.client.list(ROOT).await?)?)
    }

    fn key(&self, rest: &str) -> String {
        format!("{ROOT}{}/{rest}", self.group)
    }

    fn queue_key(&self, machine: &str) -> String {
        self.key(&format!("queue/{}", escaped(machine)))
    }

    fn holder_key(&self, machine: &str) -> String {
        self.key(&format!("holders/{}", escaped(machine)))
    }

    fn verdict_key(&self, version: &str, machine: &str) -> String {
        self.key(&format!("verdicts/{}/{}", escaped(version), escaped(machine)))
    }
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let sound = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(sound) {
        return Err(RebootError::Name { what, name: name.chars().take(LONGEST_NAME).collect() });
    }
    Ok(())
}

fn escaped(part: &str) -> String {
    utf8_percent_encode(part, PLAIN).to_string()
}

/// Whole seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
