//! What fleetd does around the agent and the engine, without its edges.

use fleet::agent::{Agent, Effect, Input, Status, Task};
use fleet::engine::{Effect as EngineEffect, Moment};
use fleet::model::{Key, Leader, MachineInfo, World};

use super::{Event, Story, code};
use crate::machine::status;

/// 1970 for a story.
const EPOCH: u64 = 1_700_000_000_000;

impl Story {
    fn moment(&self) -> Moment {
        Moment { mono: self.now, wall: EPOCH + self.now }
    }

    pub(super) fn start_agent(&mut self, m: usize) {
        let now = self.now;
        let machine = &mut self.machines[m];
        if !machine.powered || machine.agent.is_some() {
            return;
        }
        machine.life += 1;
        machine.agent_gone = false;
        let memory = machine.memory.clone().in_boot(&machine.boot.to_string());
        let mut agent = Agent::new(&machine.id, memory, now);
        agent.input(now, Input::Found(machine.files.clone().into_iter().collect()));
        for (digest, text) in &machine.texts {
            agent.input(now, Input::Body { digest: digest.clone(), text: Some(text.clone()) });
        }
        for (unit, status) in &machine.systemd {
            agent.input(now, Input::Status(unit.clone(), status.clone()));
        }
        agent.input(now, Input::Surveyed);
        machine.agent = Some(agent);
        machine.wake = None;
        let life = machine.life;
        let candidate = machine.candidate;
        self.soon(10, 400, Event::Connect(m, life));
        self.soon(9_000, 11_000, Event::KeepAlive(m, life));
        if candidate {
            self.soon(500, 2_500, Event::Election(m, life));
        }
        self.set_wake(m);
    }

    /// A lease, the machine's own key, and everything that is there for it.
    pub(super) fn connect(&mut self, m: usize) {
        let life = self.machines[m].life;
        if self.machines[m].lease.is_some() {
            return;
        }
        if !self.reaches(m) {
            self.soon(500, 2_000, Event::Connect(m, life));
            return;
        }
        let now = self.now;
        // Who comes back after a crash takes its old lease away first.
        let lease = self.store.grant(now);
        let id = self.machines[m].id.clone();
        let info = MachineInfo {
            boot_id: self.machines[m].boot.to_string(),
            ip: "10.0.0.1".into(),
            metadata: [("rack".to_string(), ["a", "b", "c"][m % 3].to_string())].into(),
            ..MachineInfo::default()
        };
        let old: Vec<Key> =
            self.store.below(&format!("state/{id}/")).into_iter().map(|(key, _)| key).collect();
        for key in old {
            self.store.delete(&key);
        }
        self.store.put(&Key::Info(id), serde_json::to_vec(&info).expect("JSON"), Some(lease));
        self.machines[m].lease = Some(lease);
        self.list(m);
        self.tell(m, Input::Registered);
        self.tell(m, Input::Lease { live: true, sent: now });
        self.drive(m).expect("checked at every start");
    }

    fn list(&mut self, m: usize) {
        let id = self.machines[m].id.clone();
        let mut world = World::default();
        for tail in [format!("sched/{id}/"), "global/".into(), format!("machines/{id}/")] {
            for (key, value) in self.store.below(&tail) {
                world.set(&key, Some(&value)).expect("our own JSON");
            }
        }
        let host = world.machines.remove(&id).unwrap_or_default();
        self.machines[m].cursor = self.store.history.len();
        self.machines[m].listed = true;
        self.tell(
            m,
            Input::Orders {
                metadata: host.metadata(),
                cordon: host.cordon.as_ref().map(|cordon| cordon.phase),
                orders: host.orders,
                globals: world.globals,
            },
        );
    }

    fn tell(&mut self, m: usize, input: Input) {
        let now = self.now;
        if let Some(agent) = &mut self.machines[m].agent {
            agent.input(now, input);
        }
    }

    pub(super) fn keep_alive(&mut self, m: usize) {
        let life = self.machines[m].life;
        self.soon(9_000, 11_000, Event::KeepAlive(m, life));
        let now = self.now;
        if !self.reaches(m) {
            self.tell_if_expired(m);
            return;
        }
        match self.machines[m].lease {
            Some(lease) if self.store.keep_alive(lease, now) => {
                self.machines[m].misses = 0;
                self.tell(m, Input::Lease { live: true, sent: now });
                self.drive(m).expect("checked at every start");
            }
            Some(_) => {
                self.machines[m].lease = None;
                self.tell(m, Input::Lease { live: false, sent: 0 });
                self.connect(m);
            }
            None => self.connect(m),
        }
    }

    /// Three answers are missing: the lease counts as gone.
    fn tell_if_expired(&mut self, m: usize) {
        self.machines[m].misses += 1;
        if self.machines[m].misses >= 3 {
            self.tell(m, Input::Lease { live: false, sent: 0 });
        }
        self.drive(m).expect("checked at every start");
    }

    pub(super) fn watch(&mut self, m: usize) -> Result<(), String> {
        if !self.reaches(m) || !self.machines[m].listed {
            return Ok(());
        }
        let id = self.machines[m].id.clone();
        let news = self.store.history[self.machines[m].cursor..].to_vec();
        self.machines[m].cursor = self.store.history.len();
        let mut relist = false;
        for (key, value) in news {
            let mut world = World::default();
            let _ = world.set(&key, value.as_deref());
            match key {
                Key::Order(machine, unit) if machine == id => {
                    let order =
                        world.machines.remove(&id).and_then(|mut host| host.orders.remove(&unit));
                    self.tell(m, Input::Order(unit, order));
                }
                Key::Global(unit) => {
                    self.tell(m, Input::Global(unit.clone(), world.globals.remove(&unit)));
                }
                Key::Cordon(machine) if machine == id => {
                    let cordon = world.machines.remove(&id).and_then(|host| host.cordon);
                    self.tell(m, Input::Cordon(cordon.map(|cordon| cordon.phase)));
                }
                Key::Meta(machine, _) if machine == id => relist = true,
                _ => {}
            }
        }
        if relist {
            self.list(m);
        }
        self.drive(m)
    }

    /// Lets the agent decide and carries out what it asks for.
    pub(super) fn drive(&mut self, m: usize) -> Result<(), String> {
        let now = self.now;
        let Some(agent) = &mut self.machines[m].agent else { return Ok(()) };
        let effects = agent.react(now);
        let (life, boot) = (self.machines[m].life, self.machines[m].boot);
        for effect in effects {
            match effect {
                Effect::Fetch(digest) => self.soon(2, 40, Event::Fetch(m, life, digest)),
                Effect::Load(units) => {
                    for (unit, text) in units {
                        self.machines[m].files.insert(unit.clone(), text);
                        let job = self.machines[m].job(&unit);
                        self.soon(20, 200, Event::JobDone(m, boot, unit, code(Task::Load), job));
                    }
                }
                Effect::Unload(units) => {
                    for unit in units {
                        let job = self.machines[m].job(&unit);
                        self.soon(20, 200, Event::JobDone(m, boot, unit, code(Task::Unload), job));
                    }
                }
                Effect::Start(unit) => {
                    self.check_start(m, &unit)?;
                    self.say(|| format!("{m} starts {unit}"));
                    self.machines[m].systemd.insert(unit.clone(), status("activating", "start"));
                    let job = self.machines[m].job(&unit);
                    self.soon(50, 2_000, Event::JobDone(m, boot, unit, code(Task::Start), job));
                }
                Effect::Stop(unit) => {
                    self.say(|| format!("{m} stops {unit}"));
                    let job = self.machines[m].job(&unit);
                    self.soon(50, 2_000, Event::JobDone(m, boot, unit, code(Task::Stop), job));
                }
                Effect::PutState(unit, state) => {
                    self.machines[m].outbox.insert(unit, Some(state));
                    self.soon(2, 40, Event::Flush(m, life));
                }
                Effect::DeleteState(unit) => {
                    self.machines[m].outbox.insert(unit, None);
                    self.soon(2, 40, Event::Flush(m, life));
                }
                Effect::Health(unit, _) => {
                    self.tell(m, Input::Health { name: unit, well: true });
                }
                Effect::Persist => {
                    let machine = &mut self.machines[m];
                    if let Some(agent) = &machine.agent {
                        machine.memory = agent.memory();
                    }
                }
            }
        }
        self.set_wake(m);
        Ok(())
    }

    fn set_wake(&mut self, m: usize) {
        let life = self.machines[m].life;
        let Some(next) = self.machines[m].agent.as_ref().and_then(Agent::next) else { return };
        let next = next.max(self.now + 1);
        if self.machines[m].wake.is_none_or(|wake| wake > next || wake <= self.now) {
            self.machines[m].wake = Some(next);
            self.at(next - self.now, Event::Wake(m, life));
        }
    }

    pub(super) fn fetch(&mut self, m: usize, digest: String) -> Result<(), String> {
        if !self.reaches(m) {
            let life = self.machines[m].life;
            self.soon(900, 1_100, Event::Fetch(m, life, digest));
            return Ok(());
        }
        let text = self
            .store
            .get(&Key::Body(digest.clone()))
            .map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        if let Some(text) = &text {
            self.machines[m].texts.insert(digest.clone(), text.clone());
        }
        self.tell(m, Input::Body { digest, text });
        self.drive(m)
    }

    /// Writes what the agent wants written, in one go.
    pub(super) fn flush(&mut self, m: usize) {
        let (Some(lease), true) = (self.machines[m].lease, self.reaches(m)) else {
            if !self.machines[m].outbox.is_empty() {
                let life = self.machines[m].life;
                self.soon(900, 1_100, Event::Flush(m, life));
            }
            return;
        };
        let id = self.machines[m].id.clone();
        for (unit, state) in std::mem::take(&mut self.machines[m].outbox) {
            let key = Key::State(id.clone(), unit);
            match state {
                Some(state) => {
                    self.store.put(&key, serde_json::to_vec(&state).expect("JSON"), Some(lease));
                }
                None => self.store.delete(&key),
            }
        }
    }

    /// systemd has done something; the agent hears of it if it lives.
    pub(super) fn job_done(&mut self, m: usize, unit: String, code: u8) -> Result<(), String> {
        let broken = self.is_broken(m, &unit);
        self.machines[m].busy.remove(&unit);
        let machine = &mut self.machines[m];
        let (task, result, new) = match code {
            0 => {
                let known = machine.systemd.get(&unit).cloned();
                (Task::Load, Ok(()), Some(known.unwrap_or_else(|| status("inactive", "dead"))))
            }
            1 if broken => {
                (Task::Start, Err("failed".to_string()), Some(status("failed", "failed")))
            }
            1 => (Task::Start, Ok(()), Some(status("active", "running"))),
            2 => (Task::Stop, Ok(()), Some(status("inactive", "dead"))),
            _ => {
                machine.files.remove(&unit);
                machine.systemd.remove(&unit);
                (Task::Unload, Ok(()), None)
            }
        };
        if let Some(new) = new {
            machine.systemd.insert(unit.clone(), new.clone());
            self.tell(m, Input::Status(unit.clone(), new));
        }
        self.tell(m, Input::Done { name: unit, task, result });
        self.drive(m)
    }

    pub(super) fn crash_unit(&mut self, m: usize, unit: &str, restarts: bool) {
        let boot = self.machines[m].boot;
        let new: Status = if restarts {
            status("activating", "auto-restart")
        } else {
            status("failed", "failed")
        };
        self.machines[m].systemd.insert(unit.to_string(), new.clone());
        self.tell(m, Input::Status(unit.to_string(), new));
        if restarts {
            let job = self.machines[m].job(unit);
            self.soon(
                100,
                1_000,
                Event::JobDone(m, boot, unit.to_string(), code(Task::Start), job),
            );
        }
        self.drive(m).expect("a crash starts nothing else");
    }

    pub(super) fn election(&mut self, m: usize) {
        let life = self.machines[m].life;
        self.soon(1_500, 2_500, Event::Election(m, life));
        let (true, Some(lease)) = (self.reaches(m), self.machines[m].lease) else { return };
        let id = self.machines[m].id.clone();
        let mine = |value: &[u8]| {
            serde_json::from_slice::<Leader>(value).is_ok_and(|leader| leader.machine == id)
        };
        let leader = self.store.get(&Key::Leader).map(|entry| (entry.created, mine(&entry.value)));
        match leader {
            None => {
                let leader = Leader { machine: id, since: self.moment().wall };
                self.store.put(
                    &Key::Leader,
                    serde_json::to_vec(&leader).expect("JSON"),
                    Some(lease),
                );
                self.say(|| format!("{m} leads"));
                self.lead(m);
            }
            Some((term, true))
                if !self.machines[m].engine.leads() || self.machines[m].term != term =>
            {
                self.lead(m);
            }
            Some((_, true)) => self.drive_engine(m),
            Some((_, false)) => self.machines[m].engine.follow(),
        }
    }

    fn lead(&mut self, m: usize) {
        let Some(term) = self.store.get(&Key::Leader).map(|entry| entry.created) else { return };
        let mut world = World::default();
        for (key, entry) in self.store.all() {
            world.set(&key, Some(&entry.value)).expect("our own JSON");
        }
        let now = self.moment();
        let machine = &mut self.machines[m];
        machine.engine_queue.clear();
        machine.engine_cursor = self.store.history.len();
        machine.term = term;
        machine.engine.lead(now, term, world);
        self.drive_engine(m);
    }

    pub(super) fn engine_watch(&mut self, m: usize) {
        if !self.reaches(m) || !self.machines[m].engine.leads() {
            return;
        }
        let now = self.moment();
        let from = self.machines[m].engine_cursor;
        self.machines[m].engine_cursor = self.store.history.len();
        for (key, value) in &self.store.history[from..] {
            self.machines[m].engine.input(now, key, value.as_deref());
        }
        self.drive_engine(m);
    }

    pub(super) fn drive_engine(&mut self, m: usize) {
        let now = self.moment();
        let effects = self.machines[m].engine.react(now);
        let life = self.machines[m].life;
        for effect in effects {
            match effect {
                EngineEffect::Write(ops) => {
                    self.machines[m].engine_queue.push(ops);
                    self.soon(2, 40, Event::EngineFlush(m, life));
                }
                EngineEffect::Event { about, what } => {
                    self.say(|| format!("engine {m}: {about} {what}"));
                }
            }
        }
        if let Some(next) = self.machines[m].engine.next(now) {
            let delay = next.saturating_sub(self.now).clamp(1, 2_000);
            if delay < 1_500 {
                self.at(delay, Event::EngineWake(m, life));
            }
        }
    }

    pub(super) fn engine_flush(&mut self, m: usize) {
        if !self.reaches(m) {
            return; // tried again when the link is back, or never
        }
        let queue = std::mem::take(&mut self.machines[m].engine_queue);
        let term = self.machines[m].term;
        for ops in queue {
            if !self.store.transact(term, &ops) {
                self.say(|| format!("engine {m}: its writes are refused"));
                self.machines[m].engine.follow();
                return;
            }
        }
    }

    pub(super) fn link(&mut self, m: usize) {
        self.machines[m].linked = true;
        self.say(|| format!("{m} is linked again"));
        self.relinked(m);
    }

    pub(super) fn store_up(&mut self, paused: bool) {
        self.say(|| format!("the store is back, paused: {paused}"));
        self.store.resume(self.now, paused);
        for m in 0..self.machines.len() {
            self.relinked(m);
        }
    }

    fn relinked(&mut self, m: usize) {
        if self.machines[m].agent.is_none() || !self.reaches(m) {
            return;
        }
        self.machines[m].misses = 0;
        let now = self.moment();
        let life = self.machines[m].life;
        self.machines[m].engine.reconnected(now);
        self.soon(10, 2_000, Event::KeepAlive(m, life));
        if !self.machines[m].engine_queue.is_empty() {
            self.soon(10, 100, Event::EngineFlush(m, life));
        }
        self.soon(10, 1_000, Event::EngineWatch(m, life));
        self.soon(10, 1_000, Event::Watch(m, life));
    }
}
