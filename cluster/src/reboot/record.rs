//! What is stored of a group, as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in the queue. Its key's create revision is its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// The machine's id.
    pub machine: String,
    /// The boot in which it queued up.
    pub boot_id: String,
    /// The release that it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// A slot that is taken. Its key's create revision is the token of who took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine's id.
    pub machine: String,
    /// The boot in which it took the slot.
    pub boot_id: String,
    /// The release that it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its member of etcd, if it is one, in hexadecimal digits as etcd shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// How far it has come.
    pub phase: Phase,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When it wants to be back and healthy, in seconds since 1970.
    pub deadline: u64,
}

impl Holder {
    /// The number of its member of etcd.
    pub fn member_id(&self) -> Option<u64> {
        self.member.as_deref().and_then(|id| u64::from_str_radix(id, 16).ok())
    }
}

/// What a holder is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has the slot and has not begun.
    Granted,
    /// Its services move elsewhere.
    Draining,
    /// It goes down, or is down.
    Rebooting,
    /// It is up, and being looked at.
    Checking,
    /// Something that a later version of this program does.
    #[serde(other)]
    Other,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Granted => "granted",
            Self::Draining => "draining",
            Self::Rebooting => "rebooting",
            Self::Checking => "checking",
            Self::Other => "unknown",
        })
    }
}

/// A release failed on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The release.
    pub version: String,
    /// The machine's id.
    pub machine: String,
    /// What went wrong.
    pub reason: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// Nobody in the group reboots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Why.
    pub reason: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}
