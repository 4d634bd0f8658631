//! What goes over the wire. Names are fleet's; fields that fleet did not have are optional.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Brake, Cordon, Desired, Failure, Leader};
use crate::place::{Nearest, RuleReport};

/// One line of a unit file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitOption {
    /// The section, without brackets.
    pub section: String,
    /// The key.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A unit: `GET` and `PUT /units/NAME`, and the entries of `GET /units`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// Its name; in a `PUT` it may be left out.
    #[serde(default)]
    pub name: String,
    /// Its unit file, line by line.
    #[serde(default)]
    pub options: Vec<UnitOption>,
    /// What it should be: `inactive`, `loaded`, `launched`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<String>,
    /// What it is, as far as fleet's word for it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_state: Option<String>,
    /// The machine it is on.
    #[serde(default, rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// Not in fleet. Its unit file byte for byte; in a `PUT` it counts before `options`. Only in
    /// answers about one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Not in fleet. In a `PUT`: read the file as fleet did, and store it though it has mistakes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lenient: bool,
    /// Not in fleet. The digest of the unit file, SHA-256 in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// A page of `GET /units`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitPage {
    /// The units, by name.
    #[serde(default)]
    pub units: Vec<Unit>,
    /// Asks for the next page, as `?nextPageToken=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// What a unit is on one machine: `GET /state/NAME`, and the entries of `GET /state`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitState {
    /// The unit.
    pub name: String,
    /// The digest of the file that is loaded, SHA-256 in hex.
    #[serde(default)]
    pub hash: String,
    /// The machine.
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// systemd's word: `loaded`.
    pub systemd_load_state: String,
    /// systemd's word: `active`.
    pub systemd_active_state: String,
    /// systemd's word: `running`.
    pub systemd_sub_state: String,
    /// Not in fleet. What `HealthCmd` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Not in fleet. Why the machine could not do what it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A page of `GET /state`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitStatePage {
    /// By unit, then machine.
    #[serde(default)]
    pub states: Vec<UnitState>,
    /// Asks for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// A machine: the entries of `GET /machines`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its machine id.
    pub id: String,
    /// Its address.
    #[serde(rename = "primaryIP", default)]
    pub primary_ip: String,
    /// Its metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Not in fleet. Why it takes no new units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// A page of `GET /machines`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachinePage {
    /// By id.
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// Asks for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Every answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorEntity,
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEntity {
    /// The status code.
    pub code: u16,
    /// What is wrong.
    #[serde(default)]
    pub message: String,
}

/// `GET /x/units/NAME/why`: why a unit is where it is, or nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The unit.
    pub unit: String,
    /// What it should be.
    pub desired: Desired,
    /// Where it is, and why there.
    pub places: Vec<Place>,
    /// One sentence.
    pub verdict: String,
    /// What each rule said about the machines.
    pub rules: Vec<RuleReport>,
    /// The machine that would need the least change, if none can run it.
    pub nearest: Option<Nearest>,
    /// What went wrong, and when it is tried again.
    pub failure: Option<Failure>,
    /// Nothing moves at the moment.
    pub brake: Option<Brake>,
}

/// A machine that has, or had, a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The machine's id.
    pub machine: String,
    /// What it was told: `launch`, `load`, `release`, `superseded`, `global`.
    pub order: String,
    /// Why this machine.
    pub why: String,
    /// What the unit is there: `active (running)`, or what is waited for.
    pub state: String,
}

/// `POST /x/plan`: what would become of these units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// The units: `name`, `body`, `desiredState`.
    pub units: Vec<Unit>,
}

/// The answer, in the order of the units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// A decision for each.
    pub decisions: Vec<PlannedUnit>,
}

/// What would become of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUnit {
    /// The unit.
    pub name: String,
    /// The machine it would go to; for a global unit, all of them.
    pub machines: Vec<String>,
    /// What each rule says about the machines.
    pub rules: Vec<RuleReport>,
    /// The nearest miss, if no machine can run it.
    pub nearest: Option<Nearest>,
}

/// `POST /x/machines/ID/cordon`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonRequest {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Move its units away, too.
    #[serde(default)]
    pub drain: bool,
}

/// `GET /x/machines/ID`: one machine in full. ID may be the beginning of the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineDetail {
    /// Its machine id.
    pub id: String,
    /// Whether it gives signs of life.
    pub present: bool,
    /// Its address.
    pub ip: String,
    /// Why it takes no new units.
    pub cordon: Option<Cordon>,
    /// What is on it.
    pub units: Vec<UnitState>,
    /// It is being drained, and nothing runs there any more.
    pub drained: bool,
}

/// `GET /x/cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Whose engine decides.
    pub leader: Option<Leader>,
    /// The storm brake, while it holds. `DELETE /x/brake` releases it.
    pub brake: Option<Brake>,
    /// Machines that give signs of life.
    pub machines: usize,
    /// Machines that do not and still have units.
    pub missing: Vec<String>,
    /// Submitted units.
    pub units: usize,
    /// Units that should be on a machine and are on none.
    pub unplaced: Vec<String>,
}

/// `GET /x/rollouts`: groups of units whose versions differ from what is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The template's name, or the unit's.
    pub group: String,
    /// Units that have their newest version.
    pub updated: usize,
    /// All of the group that are on machines.
    pub total: usize,
    /// Somebody stopped it. `POST /x/rollouts/GROUP/pause|resume|undo`.
    pub paused: bool,
}
