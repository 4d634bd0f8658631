//! The records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::place::Capacity;

/// What a unit should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// Known, on no machine.
    Inactive,
    /// On a machine, known to its systemd, not started by us.
    Loaded,
    /// On a machine and started.
    #[default]
    Launched,
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Desired::Inactive => "inactive",
            Desired::Loaded => "loaded",
            Desired::Launched => "launched",
        })
    }
}

impl FromStr for Desired {
    type Err = String;

    fn from_str(text: &str) -> Result<Desired, String> {
        match text {
            "inactive" => Ok(Desired::Inactive),
            "loaded" => Ok(Desired::Loaded),
            "launched" => Ok(Desired::Launched),
            other => Err(format!("`{other}` is none of inactive, loaded and launched")),
        }
    }
}

/// A unit that has been submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// The digest of its text.
    pub body: String,
    /// What it should be.
    pub desired: Desired,
    /// Counts the versions of its text.
    #[serde(rename = "gen")]
    pub version: u64,
    /// Its `[X-Fleet]`, each line as key and value, so that the engine needs no texts.
    pub x_fleet: Vec<(String, String)>,
    /// The version before, to which `AutoRevert` goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
}

/// The version of a unit before the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The digest of its text.
    pub body: String,
    /// Its `[X-Fleet]`.
    pub x_fleet: Vec<(String, String)>,
}

/// A machine that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Tells two boots of one machine apart, and two machines with one id.
    pub boot_id: String,
    /// The address that people see, and that other daemons reach it under.
    pub ip: String,
    /// The version of the system's fleetd.
    pub version: String,
    /// Metadata of its own configuration.
    pub metadata: BTreeMap<String, String>,
    /// What it has to give.
    pub capacity: Capacity,
    /// Where its daemon answers other daemons, as `HOST:PORT`; empty if it does not.
    #[serde(default)]
    pub relay: String,
}

/// A machine that takes no new units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Seconds since 1970.
    pub since: u64,
    /// How far it goes.
    pub phase: CordonPhase,
}

/// How far a cordon goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CordonPhase {
    /// New units go elsewhere.
    Closed,
    /// Units move away, one after the other.
    Moving,
    /// What cannot move is stopped.
    Stopping,
}

/// What a machine is to do with a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number: no two orders have the same.
    pub ticket: u64,
    /// The digest of the unit's text.
    pub body: String,
    /// The version of the unit.
    #[serde(rename = "gen")]
    pub version: u64,
    /// What to do.
    pub kind: OrderKind,
    /// Milliseconds since 1970.
    pub since: u64,
    /// Why this machine.
    pub why: String,
}

/// What an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderKind {
    /// Have it loaded.
    Load,
    /// Have it started.
    Launch,
    /// Stop and forget it, then say so: only then does it start elsewhere.
    Release,
    /// The machine was missing for so long that the unit was started elsewhere: start nothing,
    /// keep what runs until told to release it.
    Superseded,
}

impl OrderKind {
    /// The order that brings a unit to what it should be; `None` if it should not be there.
    pub fn of(desired: Desired) -> Option<OrderKind> {
        match desired {
            Desired::Inactive => None,
            Desired::Loaded => Some(OrderKind::Load),
            Desired::Launched => Some(OrderKind::Launch),
        }
    }
}

/// A global unit, for every machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalOrder {
    /// As in [`Order`].
    pub ticket: u64,
    /// The digest of the unit's text.
    pub body: String,
    /// The version of the unit.
    #[serde(rename = "gen")]
    pub version: u64,
    /// What to do where it is admitted.
    pub kind: OrderKind,
    /// The metadata that a machine must have.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// Machines with a unit that conflicts with it.
    pub refused: BTreeSet<String>,
    /// During a rolling update: the machines that already take this version. The others stay
    /// with the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<BTreeSet<String>>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// The order that this is about.
    pub ticket: u64,
    /// The digest of the text that is loaded.
    pub body: String,
    /// systemd's words for it: `loaded`, `active`, `running`.
    pub load: String,
    /// See `load`.
    pub active: String,
    /// See `load`.
    pub sub: String,
    /// Stopped and forgotten, as the order said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// What `HealthCmd` says, once it has been run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Why the machine could not do as the order said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl UnitState {
    /// Whether it runs, and is well as far as anybody can tell.
    pub fn is_well(&self) -> bool {
        self.active == "active" && self.healthy != Some(false)
    }

    /// Whether it is not running although it should, and systemd has given up.
    pub fn has_failed(&self) -> bool {
        self.active == "failed" || self.error.is_some() || self.load == "bad-setting"
    }
}

/// A unit that did not work, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How often in a row.
    pub count: u32,
    /// The order that failed last.
    pub ticket: u64,
    /// The machine it failed on.
    pub machine: String,
    /// The version that failed.
    #[serde(rename = "gen")]
    pub version: u64,
    /// What the machine said.
    pub reason: String,
    /// When it is tried again, in milliseconds since 1970.
    pub retry: u64,
}

/// A rolling update that somebody stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Nothing more is changed.
    pub paused: bool,
    /// Why.
    pub reason: String,
}

/// The machine whose engine decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its machine id.
    pub machine: String,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
}

/// The storm brake: so many machines went missing at once that nothing is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// The missing machines.
    pub machines: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The unit or machine it happened to.
    pub about: String,
    /// What.
    pub what: String,
}
