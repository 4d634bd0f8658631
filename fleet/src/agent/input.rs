//! What an agent is told, and what it asks for.

use std::collections::BTreeMap;

use crate::model::{CordonPhase, GlobalOrder, Order, UnitState};

/// systemd's words for a unit's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `loaded`, `not-found`, `bad-setting` …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating` …
    pub active: String,
    /// `running`, `dead`, `exited` …
    pub sub: String,
}

impl Status {
    /// A unit that systemd does not know.
    pub fn absent() -> Status {
        Status { load: "not-found".into(), active: "inactive".into(), sub: "dead".into() }
    }

    /// Whether there is nothing to stop.
    pub fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }
}

/// Something that systemd is asked to do with one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Write its file, link it, reload.
    Load,
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Remove its file, reload.
    Unload,
}

/// What an agent is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// Everything that etcd has for this machine.
    Orders {
        /// Orders by unit.
        orders: BTreeMap<String, Order>,
        /// Global units.
        globals: BTreeMap<String, GlobalOrder>,
        /// The machine's metadata.
        metadata: BTreeMap<String, String>,
        /// The machine's cordon.
        cordon: Option<CordonPhase>,
    },
    /// An order came, changed or went.
    Order(String, Option<Order>),
    /// The same for a global unit.
    Global(String, Option<GlobalOrder>),
    /// The machine's metadata changed.
    Metadata(BTreeMap<String, String>),
    /// The machine's cordon changed.
    Cordon(Option<CordonPhase>),
    /// A unit's text; none if etcd does not have it.
    Body {
        /// Its digest.
        digest: String,
        /// The text.
        text: Option<String>,
    },
    /// Files of an earlier life, each with its text. Only at the start.
    Found(Vec<(String, String)>),
    /// The states of all found units have been told. Only at the start.
    Surveyed,
    /// Whether the machine's lease is alive.
    Lease {
        /// It is.
        live: bool,
        /// When the sign of life was sent that this is the answer to.
        sent: u64,
    },
    /// The machine has a new lease: nothing hangs on it yet.
    Registered,
    /// systemd's word on a unit.
    Status(String, Status),
    /// A task ended.
    Done {
        /// The unit.
        name: String,
        /// The task.
        task: Task,
        /// How.
        result: Result<(), String>,
    },
    /// `HealthCmd` ended.
    Health {
        /// The unit.
        name: String,
        /// Whether it succeeded.
        well: bool,
    },
}

/// What an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Fetch the text with this digest.
    Fetch(String),
    /// Write these files, link them, reload once; each ends as [`Task::Load`].
    Load(Vec<(String, String)>),
    /// Remove these, reload once; each ends as [`Task::Unload`].
    Unload(Vec<String>),
    /// Start a unit, whatever failed before.
    Start(String),
    /// Stop a unit.
    Stop(String),
    /// Write a unit's state.
    PutState(String, UnitState),
    /// Delete it.
    DeleteState(String),
    /// Run a unit's `HealthCmd`.
    Health(String, String),
    /// Store [`super::Agent::memory`].
    Persist,
}
