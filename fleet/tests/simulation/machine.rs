//! One machine: its systemd, its agent, and perhaps an engine.

use std::collections::{BTreeMap, BTreeSet};

use fleet::agent::{Agent, Memory, Status};
use fleet::engine::{Engine, Op};
use fleet::model::UnitState;

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: String,
    /// Counts lives of the machine: what is under way in an older one is void.
    pub(crate) boot: u64,
    /// Counts lives of the agent.
    pub(crate) life: u64,
    pub(crate) powered: bool,
    pub(crate) linked: bool,
    pub(crate) agent: Option<Agent>,
    pub(crate) lease: Option<u64>,
    /// How far the agent's watch has read.
    pub(crate) cursor: usize,
    pub(crate) listed: bool,
    /// What the agent wants written, the newest of each unit.
    pub(crate) outbox: BTreeMap<String, Option<UnitState>>,
    /// What survives the agent, and the machine unless it loses its disk.
    pub(crate) memory: Memory,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) systemd: BTreeMap<String, Status>,
    pub(crate) candidate: bool,
    pub(crate) engine: Engine,
    pub(crate) term: u64,
    pub(crate) engine_cursor: usize,
    pub(crate) engine_queue: Vec<Vec<Op>>,
    /// How long the machine's agent has been dead or cut off; it cannot keep its promises then.
    pub(crate) agent_gone: bool,
    /// It is rebooting because it holds the reboot lock.
    pub(crate) rebooting: bool,
    pub(crate) wake: Option<u64>,
    /// The newest job of each unit: it takes the place of those before it.
    pub(crate) jobs: BTreeMap<String, u64>,
    /// The units with a job under way.
    pub(crate) busy: BTreeSet<String>,
    /// Signs of life without an answer.
    pub(crate) misses: u32,
}

impl Machine {
    pub(crate) fn new(id: String, candidate: bool) -> Machine {
        Machine {
            id,
            boot: 1,
            life: 0,
            powered: true,
            linked: true,
            agent: None,
            lease: None,
            cursor: 0,
            listed: false,
            outbox: BTreeMap::new(),
            memory: Memory::default(),
            texts: BTreeMap::new(),
            files: BTreeMap::new(),
            systemd: BTreeMap::new(),
            candidate,
            engine: Engine::default(),
            term: 0,
            engine_cursor: 0,
            engine_queue: Vec::new(),
            agent_gone: false,
            rebooting: false,
            wake: None,
            jobs: BTreeMap::new(),
            busy: BTreeSet::new(),
            misses: 0,
        }
    }

    /// The units that run or are about to.
    pub(crate) fn running(&self) -> BTreeSet<&str> {
        self.systemd
            .iter()
            .filter(|(_, status)| !status.is_down())
            .map(|(unit, _)| unit.as_str())
            .collect()
    }

    /// A new job of a unit.
    pub(crate) fn job(&mut self, unit: &str) -> u64 {
        let job = self.jobs.entry(unit.to_string()).or_default();
        *job += 1;
        self.busy.insert(unit.to_string());
        *job
    }

    /// The power goes: everything but the disk.
    pub(crate) fn power_off(&mut self) {
        self.powered = false;
        self.boot += 1;
        self.systemd.clear();
        self.busy.clear();
        self.files.clear();
        self.kill_agent();
    }

    /// The agent's process goes; units and files stay.
    pub(crate) fn kill_agent(&mut self) {
        self.life += 1;
        self.agent = None;
        self.lease = None;
        self.listed = false;
        self.outbox.clear();
        self.engine.follow();
        self.engine_queue.clear();
        self.agent_gone = true;
    }
}

/// systemd's words.
pub(crate) fn status(active: &str, sub: &str) -> Status {
    Status { load: "loaded".into(), active: active.into(), sub: sub.into() }
}
