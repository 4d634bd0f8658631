//! The service: checks, writes, and reboots when everything allows it.
//!
//! Every few seconds: settings and record are read again, and one step is taken. Nothing is
//! decided here that a plain function decides elsewhere.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use channels::time::{Time, format_span};
use jiff::tz::TimeZone;

use crate::agent::Agent;
use crate::error::AgentError;
use crate::etcd_gate::EtcdGate;
use crate::gate::{Answer, FleetLock, Open, RebootGate};
use crate::health::{self, Verdict};
use crate::lock::Lock;
use crate::reboot::{Situation, Step, decide};
use crate::record::HeldLock;
use crate::settings::{Lock as LockSettings, Settings, Strategy};
use crate::system;
use crate::trial::Standing;
use crate::{bus, metrics, status};

/// From one look to the next.
const TICK: Duration = Duration::from_secs(5);
/// From one question for leave to the next.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// What people who are logged in get to finish what they do.
const NOTICE: Duration = Duration::from_secs(300);
/// The first pause after a check that failed.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// What comes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Outside<'a> {
    /// The clock.
    pub now: fn() -> Time,
    /// Set when the service is to end.
    pub stop: &'a AtomicBool,
    /// Set when it is to check now.
    pub wake: &'a Arc<AtomicBool>,
    /// A number that differs from machine to machine and from start to start.
    pub random: u64,
}

/// The service's own memory.
struct Service {
    agent: Agent,
    next_check: Time,
    failures: u32,
    next_ask: Time,
    notified: Option<Time>,
    unproven: bool,
    fresh: bool,
    /// It was told that units do not come back.
    closed: bool,
    /// The gate that was asked last, and for what: it keeps the machine's place in the queue.
    gate: Option<(GateFor, Box<dyn RebootGate>)>,
}

/// What a gate was made for; with other settings it is made anew.
type GateFor = (Strategy, LockSettings, Option<String>);

/// Runs until it is told to stop.
pub fn run(root: &Path, outside: Outside<'_>) -> Result<(), AgentError> {
    let agent = Agent::open(root)?;
    let _only = Lock::take(&agent.run_directory(), "service.lock")?;
    let now = (outside.now)();
    // Machines that start together do not ask together.
    let first = Duration::from_secs(60 + outside.random % 300);
    let mut service = Service {
        agent,
        next_check: now.plus(first),
        failures: 0,
        next_ask: now,
        notified: None,
        unproven: true,
        fresh: true,
        closed: false,
        gate: None,
    };
    for warning in &service.agent.warnings {
        log::warn!("{warning}");
    }
    let run = service.agent.run_directory();
    bus::serve(&run, service.agent.facts.version.as_str(), Arc::clone(outside.wake));
    let (place, now) = (root.to_owned(), outside.now);
    let told = metrics::serve(&run, move || {
        Agent::open(&place).ok().map(|agent| status::document(&agent, now()))
    });
    if let Err(error) = told {
        log::warn!("no figures at {}: {error}", run.join(metrics::SOCKET).display());
    }
    let mut settled = false;
    while !outside.stop.load(Ordering::Relaxed) {
        if let Ok(_lock) = Lock::take(&service.agent.run_directory(), "lock")
            && let Err(error) = service.tick(&outside, &mut settled)
        {
            service.failed(&error, (outside.now)());
        }
        let mut slept = Duration::ZERO;
        while slept < TICK && !outside.stop.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(200));
            slept += Duration::from_millis(200);
        }
    }
    Ok(())
}

impl Service {
    fn failed(&mut self, error: &AgentError, now: Time) {
        let text = host::error::chain(error);
        log::error!("{text}");
        self.failures += 1;
        let pause = FIRST_RETRY
            .saturating_mul(1 << self.failures.min(10))
            .min(self.agent.settings.interval.max(FIRST_RETRY));
        self.next_check = now.plus(pause);
        let next = self.next_check;
        self.agent.board.set(|live| {
            live.activity = crate::live::Activity::Idle;
            live.error = Some(text);
            live.next_check = Some(next);
        });
    }

    fn tick(&mut self, outside: &Outside<'_>, settled: &mut bool) -> Result<(), AgentError> {
        self.agent.reload()?;
        let now = (outside.now)();
        if self.unproven || !*settled {
            self.unproven = self.agent.is_unproven()?;
        }
        if !*settled
            || (!self.unproven
                && self.agent.record.trial.as_ref().is_some_and(|trial| {
                    trial.release.version == self.agent.facts.version.as_str()
                }))
        {
            self.agent.settle(now)?;
            *settled = true;
        }
        if self.unproven {
            return Ok(());
        }
        if self.agent.record.drained && self.agent.record.trial.is_none() {
            // Before the lock is given back: others wait for the units of this machine.
            match system::uncordon(&self.agent.facts.machine_id) {
                Ok(()) => {
                    self.agent.record.drained = false;
                    self.agent.save()?;
                }
                Err(error) if !std::mem::replace(&mut self.closed, true) => {
                    log::warn!("no units come back yet: {}", host::error::chain(&error));
                }
                Err(_) => {}
            }
        }
        let woken = outside.wake.swap(false, Ordering::Relaxed);
        if (woken || now >= self.next_check) && self.agent.settings.server.is_some() {
            self.update(outside, now)?;
        }
        if self.fresh {
            // Leave that was granted a moment before a power cut is not in the record.
            self.fresh = false;
            if self.agent.record.lock.is_none() && self.agent.settings.strategy.locks() {
                self.gate()?.release().map_err(|reason| AgentError::Gate { reason })?;
            }
        }
        report(&mut self.agent, now)?;
        self.reboot(outside)
    }

    fn update(&mut self, outside: &Outside<'_>, now: Time) -> Result<(), AgentError> {
        let interval = self.agent.settings.interval;
        // A fuzz of a quarter, so that machines do not fall into step.
        let fuzz = interval.as_secs() / 4;
        let jitter = Duration::from_secs((outside.random >> 16) % fuzz.max(1));
        self.next_check = now.plus(interval - Duration::from_secs(fuzz / 2) + jitter);
        let next = self.next_check;
        self.agent.board.set(|live| live.next_check = Some(next));
        let source = self.agent.source()?;
        update(&mut self.agent, &source, outside.stop, now)?;
        self.failures = 0;
        Ok(())
    }

    /// The gate of the settings, the same one as long as they are.
    fn gate(&mut self) -> Result<&mut dyn RebootGate, AgentError> {
        let agent = &self.agent;
        let version = agent.record.trial.as_ref().map(|trial| trial.release.version.clone());
        let wanted = (agent.settings.strategy, agent.settings.lock.clone(), version);
        if self.gate.as_ref().is_none_or(|(made_for, _)| *made_for != wanted) {
            self.gate = Some((wanted, gate(agent)?));
        }
        let (_, gate) = self.gate.as_mut().expect("it was just made");
        Ok(&mut **gate)
    }

    fn situation(&self, now: Time) -> Situation {
        let record = &self.agent.record;
        let waits = record.trial.as_ref().is_some_and(|trial| {
            trial.release.version != self.agent.facts.version.as_str()
                && trial.boot_id == self.agent.facts.boot_id
        });
        let settings = &self.agent.settings;
        Situation {
            strategy: settings.strategy,
            opening: settings.windows.at(now, &zone(settings)),
            waits,
            unproven: self.unproven,
            held: record.lock.is_some(),
        }
    }

    fn reboot(&mut self, outside: &Outside<'_>) -> Result<(), AgentError> {
        let now = (outside.now)();
        match decide(&self.situation(now)) {
            Step::Wait(reason) => {
                self.notified = None;
                let waiting = self.situation(now).waits.then_some(reason);
                self.waiting(waiting);
            }
            Step::WaitUntil(time) => {
                self.notified = None;
                self.waiting(Some(format!("the next reboot window opens {}", time.to_minute())));
            }
            Step::Ask if now < self.next_ask => {}
            Step::Ask => {
                self.next_ask = now.plus(ASK_AGAIN);
                self.gate()?;
                let Some((_, gate)) = &mut self.gate else { return Ok(()) };
                match ask(&mut self.agent, &mut **gate, now)? {
                    Answer::Granted => self.waiting(None),
                    Answer::Wait(reason) => {
                        self.waiting(Some(format!("waiting for leave: {reason}")));
                    }
                }
            }
            Step::Release => {
                self.gate()?.release().map_err(|reason| AgentError::Gate { reason })?;
                self.agent.record.lock = None;
                self.agent.save()?;
            }
            Step::Reboot => self.go(outside)?,
        }
        Ok(())
    }

    fn waiting(&mut self, reason: Option<String>) {
        if self.agent.board.live.waiting != reason {
            if let Some(reason) = &reason {
                log::info!("not rebooting yet: {reason}");
            }
            self.agent.board.set(|live| live.waiting = reason);
        }
    }

    /// The last steps before the reboot; each may find that it is not the moment any more.
    fn go(&mut self, outside: &Outside<'_>) -> Result<(), AgentError> {
        let now = (outside.now)();
        let version = self.agent.record.trial.as_ref().map(|trial| trial.release.version.clone());
        let version = version.unwrap_or_default();
        if self.notified.is_none() && system::has_users() {
            let minutes = format_span(NOTICE);
            system::tell_users(&format!(
                "This machine reboots in {minutes} to update to {version}."
            ));
            self.notified = Some(now);
        }
        if let Some(since) = self.notified
            && now.since(since) < NOTICE
        {
            self.waiting(Some("people are logged in and have been told".to_owned()));
            return Ok(());
        }
        // What boots is what was written, or nothing is rebooted for.
        if self.agent.settle(now)? != Some(Standing::Waiting) {
            return Ok(());
        }
        if system::fleet_runs() {
            self.agent.record.drained = true;
            self.agent.save()?;
            // A cluster that cannot be asked must not keep the machine from updates for ever.
            if let Err(error) = system::drain(&self.agent.facts.machine_id) {
                log::warn!("units stay until the reboot: {}", host::error::chain(&error));
            }
        }
        // Moving units away takes its time: the window may have closed.
        if decide(&self.situation((outside.now)())) != Step::Reboot {
            return Ok(());
        }
        log::info!("rebooting to update to {version}");
        self.agent.note(now, "reboot", Some(&version), "");
        system::reboot()?;
        sleep(Duration::from_secs(600));
        Ok(())
    }
}

/// The time zone of the windows.
pub fn zone(settings: &Settings) -> TimeZone {
    match &settings.zone {
        None => TimeZone::system(),
        Some(name) => TimeZone::get(name).unwrap_or_else(|error| {
            log::warn!("REBOOT_TIMEZONE: {error}; windows are taken as UTC");
            TimeZone::UTC
        }),
    }
}

/// Checks, and writes the release if there is one to be taken. Returns its version.
pub fn update(
    agent: &mut Agent,
    source: &crate::source::Source,
    stop: &AtomicBool,
    now: Time,
) -> Result<Option<String>, AgentError> {
    agent.check(source, now, |agent, decision| {
        let Some(offer) = decision.offer() else { return Ok(None) };
        let version = offer.release.version.to_string();
        let waits = agent.record.trial.as_ref();
        if waits.is_some_and(|trial| trial.release.version == version) {
            return Ok(Some(version));
        }
        if agent.settings.strategy == Strategy::EtcdLock {
            // If nobody can be asked now, the lock will be before the reboot.
            match etcd_gate(agent)?.stopped(&version) {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    log::warn!("not taking {version}: {reason}");
                    agent.board.set(|live| live.waiting = Some(reason));
                    return Ok(None);
                }
                Err(reason) => log::warn!("the group cannot be asked about {version}: {reason}"),
            }
        }
        let found = health::units(&agent.settings.health.units);
        let excused = found
            .into_iter()
            .filter(|finding| finding.problem.is_some())
            .map(|finding| finding.name)
            .collect();
        log::info!("updating to {version}");
        let installed = agent.apply(decision, offer, source, stop, excused, now)?;
        log::info!(
            "{version} is written ({} bytes fetched); it is tried at the next boot",
            installed.fetched
        );
        Ok(Some(version))
    })
}

/// The gate of the strategy.
pub fn gate(agent: &Agent) -> Result<Box<dyn RebootGate>, AgentError> {
    let reason = |reason: String| AgentError::Gate { reason };
    let lock = &agent.settings.lock;
    let group = lock.group.as_deref().unwrap_or("default");
    match agent.settings.strategy {
        Strategy::Reboot | Strategy::Off => Ok(Box::new(Open)),
        Strategy::FleetLock => {
            let base = lock.fleet_lock.as_deref();
            let base = base.ok_or_else(|| reason("FLEET_LOCK_URL is not set".to_owned()))?;
            let gate = FleetLock::new(base, group, &agent.facts.machine_id).map_err(reason)?;
            Ok(Box::new(gate))
        }
        Strategy::EtcdLock => Ok(Box::new(etcd_gate(agent)?)),
    }
}

fn etcd_gate(agent: &Agent) -> Result<EtcdGate, AgentError> {
    let version = agent.record.trial.as_ref().map(|trial| trial.release.version.clone());
    let token = agent.record.lock.as_ref().and_then(|lock| lock.token);
    EtcdGate::new(&agent.settings.lock, &agent.facts, version, token)
        .map_err(|reason| AgentError::Gate { reason })
}

/// Asks for leave, and remembers it.
pub fn ask(agent: &mut Agent, gate: &mut dyn RebootGate, now: Time) -> Result<Answer, AgentError> {
    let answer = gate.ask(now).map_err(|reason| AgentError::Gate { reason })?;
    if answer == Answer::Granted {
        let strategy = agent.settings.strategy.name().to_owned();
        agent.record.lock = Some(HeldLock { strategy, since: now, token: gate.token() });
        agent.save()?;
    }
    Ok(answer)
}

/// Tells the group which releases failed here, so that a bad one costs one machine.
fn report(agent: &mut Agent, now: Time) -> Result<(), AgentError> {
    if agent.settings.strategy != Strategy::EtcdLock {
        return Ok(());
    }
    let open: Vec<_> = agent
        .record
        .failed
        .iter()
        .filter(|(_, failure)| !failure.reported)
        .map(|(version, failure)| (version.clone(), failure.reason.clone()))
        .collect();
    for (version, reason) in open {
        let told = etcd_gate(agent)?.report(&version, &reason, now);
        told.map_err(|reason| AgentError::Gate { reason })?;
        if let Some(failure) = agent.record.failed.get_mut(&version) {
            failure.reported = true;
        }
        // The slot went with it.
        agent.record.lock = None;
        agent.save()?;
    }
    Ok(())
}

/// The health gate of this boot: waits until the release is good or its time is over. Returns
/// whether the machine stays with it.
pub fn health(root: &Path, outside: Outside<'_>) -> Result<bool, AgentError> {
    let mut agent = Agent::open(root)?;
    // Something else may look at the boot partition for a moment.
    let busy = |agent: &Agent| Lock::take_within(&agent.run_directory(), "lock", TICK * 6);
    {
        let _lock = busy(&agent)?;
        if !agent.is_unproven()? {
            agent.settle((outside.now)())?;
            return Ok(true);
        }
    }
    let version = agent.facts.version.clone();
    if agent.way_back()?.is_none() {
        // A new machine: a trial would protect nothing, and keep updates from it.
        let _lock = busy(&agent)?;
        agent.bless()?;
        agent.settle((outside.now)())?;
        log::info!("{version} is kept: there is nothing to go back to");
        return Ok(true);
    }
    log::info!("{version} has yet to prove itself");
    let excused =
        agent.record.trial.as_ref().map(|trial| trial.excused.clone()).unwrap_or_default();
    let begin = std::time::Instant::now();
    let deadline = agent.settings.health.deadline;
    let mut said = String::new();
    loop {
        let findings = health::look(root, &agent.settings.health);
        match health::judge(&findings, &excused, begin.elapsed(), deadline) {
            Verdict::Good => break,
            Verdict::Waiting(bad) => {
                let text = health::told(&bad);
                if text != said {
                    log::info!("waiting for {text}");
                    said = text;
                }
            }
            Verdict::Bad(bad) => {
                let reason =
                    format!("not well after {}: {}", format_span(deadline), health::told(&bad));
                log::error!("{version} is {reason}");
                let _lock = busy(&agent)?;
                agent.reload()?;
                return match agent.give_up(&reason, (outside.now)()) {
                    Ok(good) => {
                        log::error!("going back to {good}");
                        system::reboot()?;
                        Ok(false)
                    }
                    Err(AgentError::NothingToGoBackTo) => {
                        log::error!("there is nothing to go back to; staying with {version}");
                        Ok(true)
                    }
                    Err(error) => Err(error),
                };
            }
        }
        if outside.stop.load(Ordering::Relaxed) {
            return Ok(true);
        }
        sleep(health::interval(begin.elapsed()));
    }
    let _lock = busy(&agent)?;
    agent.reload()?;
    agent.bless()?;
    agent.settle((outside.now)())?;
    log::info!("{version} is good and is kept");
    Ok(true)
}
