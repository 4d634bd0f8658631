//! One story: what happens, in the order of a virtual clock.

#[path = "acts.rs"]
mod acts;
#[path = "checks.rs"]
mod checks;
#[path = "daemon.rs"]
mod daemon;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use fleet::agent::Task;
use fleet::model::Key;

use crate::machine::Machine;
use crate::random::Random;
use crate::store::Store;

/// How large a story is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) machines: usize,
    /// How many units are submitted in its course.
    pub(crate) units: usize,
    /// How long things happen, in minutes of the virtual clock.
    pub(crate) minutes: u64,
    pub(crate) faults: u64,
}

impl Scale {
    /// With so many machines; 0: three to nine, by the seed.
    pub(crate) fn of(machines: usize, seed: u64) -> Scale {
        let machines = if machines == 0 { 3 + (seed % 7) as usize } else { machines };
        Scale { machines, units: 4 + machines * 2, minutes: 12, faults: 4 + seed % 8 }
    }
}

/// Something that happens to a machine, in a life of its own or of its agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    PowerOn(usize),
    StartAgent(usize),
    Connect(usize, u64),
    KeepAlive(usize, u64),
    Watch(usize, u64),
    Wake(usize, u64),
    Flush(usize, u64),
    Fetch(usize, u64, String),
    JobDone(usize, u64, String, u8, u64),
    Election(usize, u64),
    EngineWatch(usize, u64),
    EngineFlush(usize, u64),
    EngineWake(usize, u64),
    Link(usize),
    StoreUp(bool),
    Expire,
    Act,
    Fault,
    AskReboot(usize),
    Drained(usize, u64),
    Rebooted(usize),
    Calm,
    End,
}

/// A story under way.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) verbose: bool,
    pub(crate) events: usize,
    scale: Scale,
    now: u64,
    number: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    random: Random,
    store: Store,
    machines: Vec<Machine>,
    by_id: BTreeMap<String, usize>,
    /// How much of the store's history has been announced to those who watch.
    announced: usize,
    watching: BTreeSet<usize>,
    engine_watching: BTreeSet<usize>,
    names: Vec<String>,
    submitted: usize,
    calm: bool,
    /// The most machines that may reboot together.
    slots: usize,
}

impl Story {
    pub(crate) fn new(seed: u64, scale: Scale) -> Story {
        let mut random = Random::new(seed);
        let machines: Vec<Machine> = (0..scale.machines)
            .map(|index| Machine::new(format!("{index:08x}{:024x}", random.next()), index < 3))
            .collect();
        let by_id = machines.iter().enumerate().map(|(i, m)| (m.id.clone(), i)).collect();
        Story {
            verbose: false,
            events: 0,
            scale,
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            slots: 1 + (seed % 2) as usize,
            random,
            store: Store::new(),
            machines,
            by_id,
            announced: 0,
            watching: BTreeSet::new(),
            engine_watching: BTreeSet::new(),
            names: Vec::new(),
            submitted: 0,
            calm: false,
        }
    }

    pub(crate) fn writes(&self) -> u64 {
        self.store.revision
    }

    pub(crate) fn trace(&self) -> u64 {
        self.store.trace
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse((self.now + delay, self.number, event)));
    }

    fn soon(&mut self, low: u64, high: u64, event: Event) {
        let delay = self.random.range(low, high);
        self.at(delay, event);
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>9.3}  {}", self.now as f64 / 1000.0, text());
        }
    }

    /// Plays it to the end.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        let minute = 60_000;
        let span = self.scale.minutes * minute;
        for machine in 0..self.machines.len() {
            self.soon(0, 3_000, Event::StartAgent(machine));
        }
        self.at(500, Event::Expire);
        for _ in 0..self.scale.units * 3 {
            self.soon(5_000, span, Event::Act);
        }
        for _ in 0..self.scale.faults {
            self.soon(minute, span, Event::Fault);
        }
        for _ in 0..2 {
            let machine = self.random.range(0, self.machines.len() as u64) as usize;
            self.soon(minute, span, Event::AskReboot(machine));
        }
        self.at(span + minute, Event::Calm);
        self.at(span + 25 * minute, Event::End);
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            self.now = at;
            self.events += 1;
            if event == Event::End {
                return self.check_end();
            }
            self.happen(event)?;
            self.announce();
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::PowerOn(m) => self.power_on(m),
            Event::StartAgent(m) => self.start_agent(m),
            Event::Connect(m, life) if self.lives(m, life) => self.connect(m),
            Event::KeepAlive(m, life) if self.lives(m, life) => self.keep_alive(m),
            Event::Watch(m, life) => {
                self.watching.remove(&m);
                if self.lives(m, life) {
                    self.watch(m)?;
                }
            }
            Event::Wake(m, life) if self.lives(m, life) => {
                self.machines[m].wake = None;
                self.drive(m)?;
            }
            Event::Flush(m, life) if self.lives(m, life) => self.flush(m),
            Event::Fetch(m, life, digest) if self.lives(m, life) => self.fetch(m, digest)?,
            Event::JobDone(m, boot, unit, task, job)
                if self.machines[m].boot == boot
                    && self.machines[m].jobs.get(&unit) == Some(&job) =>
            {
                self.job_done(m, unit, task)?;
            }
            Event::Election(m, life) if self.lives(m, life) => self.election(m),
            Event::EngineWatch(m, life) => {
                self.engine_watching.remove(&m);
                if self.lives(m, life) {
                    self.engine_watch(m);
                }
            }
            Event::EngineWake(m, life) if self.lives(m, life) => self.drive_engine(m),
            Event::EngineFlush(m, life) if self.lives(m, life) => self.engine_flush(m),
            Event::Link(m) => self.link(m),
            Event::StoreUp(paused) => self.store_up(paused),
            Event::Expire => {
                if self.store.up {
                    self.store.expire(self.now);
                }
                self.at(500, Event::Expire);
            }
            Event::Act => self.act(),
            Event::Fault => self.fault(),
            Event::AskReboot(m) => self.ask_reboot(m),
            Event::Drained(m, since) => self.drained(m, since)?,
            Event::Rebooted(m) => self.rebooted(m),
            Event::Calm => self.calm_down(),
            _ => {} // of a life that has ended
        }
        Ok(())
    }

    fn lives(&self, m: usize, life: u64) -> bool {
        self.machines[m].powered
            && self.machines[m].life == life
            && self.machines[m].agent.is_some()
    }

    fn reaches(&self, m: usize) -> bool {
        self.store.up && self.machines[m].linked && self.machines[m].powered
    }

    /// Tells those who watch that there is news for them; they read it a little later.
    fn announce(&mut self) {
        let mut readers = BTreeSet::new();
        let mut all = false;
        let news = self.announced < self.store.history.len();
        for (key, _) in &self.store.history[self.announced..] {
            match key {
                Key::Order(id, _) | Key::Meta(id, _) | Key::Cordon(id) => {
                    readers.extend(self.by_id.get(id));
                }
                Key::Global(_) => all = true,
                _ => {}
            }
        }
        self.announced = self.store.history.len();
        if all {
            readers.extend(0..self.machines.len());
        }
        for m in readers {
            if self.machines[m].agent.is_some() && self.watching.insert(m) {
                let life = self.machines[m].life;
                self.soon(2, 60, Event::Watch(m, life));
            }
        }
        for m in 0..self.machines.len().min(3) {
            if news && self.machines[m].engine.leads() && self.engine_watching.insert(m) {
                let life = self.machines[m].life;
                self.soon(2, 60, Event::EngineWatch(m, life));
            }
        }
    }
}

/// A task as an event carries it.
fn code(task: Task) -> u8 {
    match task {
        Task::Load => 0,
        Task::Start => 1,
        Task::Stop => 2,
        Task::Unload => 3,
    }
}
