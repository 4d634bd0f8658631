//! One unit on its way to what is wanted of it.

use std::sync::{Arc, OnceLock};

use super::{
    Agent, Effect, FIRST_RETRY, GATHER, HEALTH_EVERY, HEALTH_FAILURES, LAST_RETRY, Millis, Status,
    Task, Wanted,
};
use crate::model::UnitState;
use crate::unit::{Mode, Requirements, UnitFile};

/// A unit's text, read once.
#[derive(Debug)]
pub struct Body {
    digest: String,
    text: String,
    file: Option<UnitFile>,
    requirements: OnceLock<(String, Requirements)>,
}

impl Body {
    pub(super) fn read(digest: &str, text: &str) -> Body {
        Body {
            digest: digest.to_string(),
            text: text.to_string(),
            file: UnitFile::read(text.as_bytes(), Mode::Lenient).ok(),
            requirements: OnceLock::new(),
        }
    }

    /// What the text asks for when it belongs to the unit `name`: instances share texts.
    pub(super) fn requirements(&self, name: &str) -> Requirements {
        let read = |name: &str| match &self.file {
            Some(file) => Requirements::read(name, file, Mode::Lenient).0,
            None => Requirements::default(),
        };
        let (known, requirements) =
            self.requirements.get_or_init(|| (name.to_string(), read(name)));
        if known == name { requirements.clone() } else { read(name) }
    }

    fn same_for_systemd(&self, other: &Body) -> bool {
        match (&self.file, &other.file) {
            (Some(a), Some(b)) => a.same_for_systemd(b),
            _ => self.digest == other.digest,
        }
    }
}

/// One unit.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The digest of the file that is in place.
    pub(super) loaded: Option<String>,
    pub(super) status: Option<Status>,
    busy: Option<Task>,
    /// The order it was started for.
    pub(super) started: Option<u64>,
    /// It was stopped because it changed or was cut off, and has to start again.
    again: bool,
    failures: u32,
    retry_at: Millis,
    error: Option<String>,
    pub(super) published: Option<UnitState>,
    pub(super) publish_at: Option<Millis>,
    healthy: Option<bool>,
    unwell: u32,
    health_at: Option<Millis>,
    checking: bool,
}

/// What one round of decisions asks for; loads and unloads are done together.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) load: Vec<(String, String)>,
    pub(super) unload: Vec<String>,
    pub(super) effects: Vec<Effect>,
}

impl Unit {
    pub(super) fn set_status(&mut self, now: Millis, status: Status) {
        if status.active == "active" {
            self.health_at.get_or_insert(now);
            self.error = None;
        } else {
            self.health_at = None;
            self.healthy = None;
            self.unwell = 0;
        }
        self.status = Some(status);
    }

    pub(super) fn set_health(&mut self, well: bool) {
        self.checking = false;
        self.unwell = if well { 0 } else { self.unwell + 1 };
        if well {
            self.healthy = Some(true);
        } else if self.unwell >= HEALTH_FAILURES {
            self.healthy = Some(false);
        }
    }

    pub(super) fn done(&mut self, now: Millis, task: Task, result: Result<(), String>) {
        if self.busy != Some(task) {
            return; // it was overtaken
        }
        self.busy = None;
        match result {
            Ok(()) => {
                self.failures = 0;
                self.retry_at = 0;
                self.error = None;
                if task == Task::Unload {
                    self.loaded = None;
                    self.started = None;
                    self.status = None;
                }
            }
            // Whether and where it is started again is not this machine's to decide.
            Err(reason) if task == Task::Start => self.error = Some(reason),
            Err(reason) => {
                self.error = Some(reason);
                if task == Task::Load {
                    // What is in place now is not known.
                    self.loaded = None;
                }
                let pause = FIRST_RETRY << self.failures.min(10);
                self.failures += 1;
                self.retry_at = now + pause.min(LAST_RETRY);
            }
        }
    }

    /// When the unit has to be looked at again.
    pub(super) fn due(&self, lease: bool) -> Option<Millis> {
        let retry = (self.busy.is_none() && self.retry_at > 0).then_some(self.retry_at);
        let publish = self.publish_at.filter(|_| lease);
        let health = self.health_at.filter(|_| !self.checking);
        [retry, publish, health].into_iter().flatten().min()
    }

    fn begin(&mut self, name: &str, work: &mut Work, task: Task) {
        self.busy = Some(task);
        match task {
            Task::Stop => work.effects.push(Effect::Stop(name.to_string())),
            Task::Start => work.effects.push(Effect::Start(name.to_string())),
            Task::Unload => work.unload.push(name.to_string()),
            Task::Load => {}
        }
    }

    fn is_down(&self) -> bool {
        self.status.as_ref().is_none_or(Status::is_down)
    }

    /// Whether nothing can be asked of it before a task has ended or a pause is over.
    pub(super) fn waits(&self) -> bool {
        self.busy.is_some() || self.retry_at > 0
    }

    pub(super) fn is_idle_and_down(&self) -> bool {
        self.busy.is_none() && self.is_down()
    }
}

impl Agent {
    /// Brings one unit a step nearer to what is wanted of it.
    pub(super) fn reconcile(&mut self, now: Millis, name: &str, work: &mut Work) {
        let wanted = self.wanted(now, name);
        if wanted == Wanted::Gone(None) && !self.units.contains_key(name) {
            return;
        }
        self.units.entry(name.to_string()).or_default();
        self.step(now, name, &wanted, work);
        self.check_health(now, name, work);
        self.publish(now, name, &wanted, work);
    }

    fn step(&mut self, now: Millis, name: &str, wanted: &Wanted, work: &mut Work) {
        let Some(unit) = self.units.get_mut(name) else { return };
        let overtakes =
            unit.busy == Some(Task::Start) && !matches!(wanted, Wanted::Launched { .. });
        if (unit.busy.is_some() && !overtakes) || now < unit.retry_at {
            return;
        }
        unit.retry_at = 0;
        let (ticket, digest, launch) = match wanted {
            Wanted::Kept(_) => return,
            Wanted::Gone(_) => {
                if !unit.is_down() {
                    unit.begin(name, work, Task::Stop);
                } else if unit.loaded.is_some() {
                    unit.begin(name, work, Task::Unload);
                }
                return;
            }
            Wanted::Stopped { ticket, body } => (*ticket, body, false),
            Wanted::Launched { ticket, body } => (*ticket, body, true),
        };
        let Some(body) = self.bodies.get(digest).cloned() else {
            if self.asked.insert(digest.clone()) {
                work.effects.push(Effect::Fetch(digest.clone()));
            }
            return;
        };
        if unit.loaded.as_ref() != Some(digest) {
            let old = unit.loaded.as_ref().and_then(|old| self.bodies.get(old));
            let changed = old.is_none_or(|old: &Arc<Body>| !old.same_for_systemd(&body));
            if changed && !unit.is_down() {
                unit.again = true;
                unit.begin(name, work, Task::Stop);
                return;
            }
            unit.busy = Some(Task::Load);
            unit.loaded = Some(digest.clone());
            work.load.push((name.to_string(), body.text.clone()));
            return;
        }
        if !launch {
            unit.started = None;
            unit.again = true;
            if !unit.is_down() {
                unit.begin(name, work, Task::Stop);
            }
            return;
        }
        let stale = unit.again || unit.started != Some(ticket);
        if !stale {
            return;
        }
        if !unit.is_down() {
            // It runs what is wanted: a new order for it is no reason to start it again.
            unit.started = Some(ticket);
            unit.again = false;
            self.persist = true;
            return;
        }
        if !self.lease && body.requirements(name).is_exclusive() {
            return;
        }
        unit.started = Some(ticket);
        unit.again = false;
        unit.error = None;
        unit.begin(name, work, Task::Start);
    }

    fn check_health(&mut self, now: Millis, name: &str, work: &mut Work) {
        let Some(unit) = self.units.get_mut(name) else { return };
        if unit.checking || unit.health_at.is_none_or(|at| at > now) {
            return;
        }
        let body = unit.loaded.as_ref().and_then(|digest| self.bodies.get(digest));
        match body.and_then(|body| body.requirements(name).health) {
            Some(command) => {
                unit.checking = true;
                unit.health_at = Some(now + HEALTH_EVERY);
                work.effects.push(Effect::Health(name.to_string(), command));
            }
            None => unit.health_at = None,
        }
    }

    fn publish(&mut self, now: Millis, name: &str, wanted: &Wanted, work: &mut Work) {
        let Some(unit) = self.units.get_mut(name) else { return };
        let gone = unit.loaded.is_none() && unit.is_idle_and_down();
        let ticket = match wanted {
            Wanted::Gone(None) if gone => {
                if unit.published.is_some() {
                    work.effects.push(Effect::DeleteState(name.to_string()));
                }
                self.units.remove(name);
                return;
            }
            Wanted::Gone(ticket) => ticket.or_else(|| unit.published.as_ref().map(|p| p.ticket)),
            Wanted::Kept(ticket) => Some(*ticket),
            Wanted::Stopped { ticket, .. } => Some(*ticket),
            // Until it has been started, or has been found running, the order is not carried out.
            Wanted::Launched { ticket, .. } if unit.started == Some(*ticket) => Some(*ticket),
            Wanted::Launched { ticket, .. } => {
                unit.error.as_ref().map(|_| *ticket).or(unit.started)
            }
        };
        let (true, Some(ticket)) = (self.lease, ticket) else {
            unit.publish_at = None;
            return;
        };
        let status = unit.status.clone().unwrap_or_else(Status::absent);
        let state = UnitState {
            ticket,
            body: unit.loaded.clone().unwrap_or_default(),
            load: status.load,
            active: status.active,
            sub: status.sub,
            released: matches!(wanted, Wanted::Gone(Some(_))) && gone,
            healthy: unit.healthy,
            error: unit.error.clone(),
        };
        if unit.published.as_ref() == Some(&state) {
            unit.publish_at = None;
            return;
        }
        let at = *unit.publish_at.get_or_insert(now + GATHER);
        if at <= now || state.released {
            unit.publish_at = None;
            unit.published = Some(state.clone());
            work.effects.push(Effect::PutState(name.to_string(), state));
        }
    }
}
