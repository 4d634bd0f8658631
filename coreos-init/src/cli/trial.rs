//! `try`: a configuration for a while. It is applied to the running machine, and taken back
//! unless somebody confirms it in time.
//!
//! ```text
//! try ── plan ──▶ coreos-init-trial.service: apply ▶ wait ▶ end: keep it, or take it back
//! confirm ────────────────────────────────────▲
//! ```
//!
//! The service outlives the connection that it was asked for from. Its end is run by systemd also
//! if the rest of it was killed, and the whole again if its end was; if the machine stops before,
//! the initrd does it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cloud_config::has_errors;
use host::error::chain;
use nix::fcntl::{Flock, FlockArg};

use super::apply::{ApplyOptions, plan_for};
use super::here::{self, Here, HereError};
use super::input::{self, Input, Keep};
use super::{Streams, Verdict};
use crate::apply::{self, Applied, Outcome, Owners, Root};
use crate::extension::merged;
use crate::ledger::Trace;
use crate::plan::Plan;
use crate::reading::Reading;
use crate::report::{REPORT, Report};
use crate::source::{self, Found, SourceName};
use crate::trial::{self, Departure, Snapshot, Touched, Trial};
use crate::verbs::{self, JobOutcome, JobReport, Jobs, UnitJob, Verb};

/// Held by whoever begins a trial.
const LOCK: &str = "/run/coreos-init/trial.lock";
/// What became of a trial, for the person who waits.
const RESULT: &str = "/run/coreos-init/trial.result";
const SERVICE: &str = "coreos-init-trial.service";
const ROOT: &str = "/";
/// What the report says meanwhile.
const NOTE: &str = "this configuration is on trial: it is taken back unless confirmed";
/// What a confirmed trial says first.
const KEPT: &str = "kept";

/// How long applying may take, units included.
const DEADLINE: Duration = Duration::from_secs(120);
/// How often it is looked whether somebody confirmed.
const POLL: Duration = Duration::from_millis(100);

/// One part of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialStep {
    /// Applies what is tried.
    Apply,
    /// Waits until it is confirmed or so many seconds are over.
    Wait(u64),
    /// Keeps it, or takes it back.
    End,
}

/// Why there is no trial.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("only root can do that: try `sudo coreos-init …`")]
    NotRoot,
    #[error(transparent)]
    Here(#[from] HereError),
    #[error("a trial is under way: `coreos-init confirm` keeps it, or wait until it is taken back")]
    UnderWay,
    #[error("no trial is under way{0}")]
    None(String),
    #[error(transparent)]
    Input(#[from] input::InputError),
    #[error(transparent)]
    Plan(#[from] super::apply::Failure),
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error(transparent)]
    Trial(#[from] trial::Error),
    #[error(transparent)]
    Last(#[from] source::LastError),
    #[error(transparent)]
    Report(#[from] crate::report::Error),
    #[error("cannot use {LOCK}")]
    Lock(#[source] io::Error),
    #[error("cannot tell where this program is")]
    Program(#[source] io::Error),
    #[error("cannot wait for the service manager")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Jobs(#[from] verbs::Error),
    #[error("{0}")]
    Refused(String),
}

/// Begins a trial.
pub(super) fn begin(file: &Path, period: Duration, streams: &mut Streams<'_>) -> Verdict {
    tell(try_it(file, period, streams), streams)
}

/// Keeps what is tried.
pub(super) fn confirm(streams: &mut Streams<'_>) -> Verdict {
    tell(keep_it(streams), streams)
}

/// Does one part of the service.
pub(super) fn step(step: TrialStep, streams: &mut Streams<'_>) -> Verdict {
    let trial = Trial::of(Path::new(ROOT));
    let done = match step {
        TrialStep::Apply => apply_it(&trial, streams).inspect_err(|error| conclude(&chain(error))),
        TrialStep::Wait(seconds) => {
            wait_for_it(&trial, Duration::from_secs(seconds));
            Ok(Verdict::Yes)
        }
        TrialStep::End => end_it(&trial, streams),
    };
    tell(done, streams)
}

fn tell(done: Result<Verdict, Failure>, streams: &mut Streams<'_>) -> Verdict {
    done.unwrap_or_else(|error| {
        streams.fail(&error);
        match error {
            Failure::NotRoot | Failure::Here(_) | Failure::Input(_) => Verdict::None,
            _ => Verdict::No,
        }
    })
}

fn only_root() -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Failure::NotRoot) }
}

fn try_it(file: &Path, period: Duration, streams: &mut Streams<'_>) -> Result<Verdict, Failure> {
    only_root()?;
    let here = Here::look()?;
    let _lock = lock()?;
    let trial = Trial::of(Path::new(ROOT));
    if trial.is_under_way() {
        if service_runs() {
            return Err(Failure::UnderWay);
        }
        streams.say("an earlier trial was cut off: it is ended first");
        end_it(&trial, streams)?;
    }
    let found = input::find(&Input::File(file.to_path_buf()), &mut io::stdin().lock())?;
    let found = here.with(Found { source: SourceName::File, ..found });
    let overrides = std::collections::BTreeMap::new();
    let options = ApplyOptions { root: Path::new(ROOT), dry_run: true, overrides: &overrides };
    match super::plan::show_plan(&found, &options, false, streams)? {
        Verdict::Changes => {}
        other => return Ok(other),
    }
    let program = fs::read_link("/proc/self/exe").map_err(Failure::Program)?;
    let program = program.display().to_string();
    let _ = fs::remove_file(RESULT);
    trial.begin(&found)?;
    let seconds = period.as_secs();
    let begun =
        on_bus(
            async |bus| Ok(verbs::start_trial(bus, SERVICE, &program, seconds, DEADLINE).await?),
        );
    match begun {
        Ok(JobOutcome::Done) => {
            streams.say(format_args!(
                "applied; it is taken back in {seconds} s unless you say `coreos-init confirm`"
            ));
            Ok(Verdict::Yes)
        }
        Ok(outcome) => {
            // What the service has changed, its own end takes back; one that never ran has
            // changed nothing.
            match trial.departure() {
                Ok(None) if trial.is_under_way() && !service_runs() => trial.end()?,
                _ => wait_until(|| !trial.is_under_way(), DEADLINE),
            }
            let told = fs::read_to_string(RESULT).unwrap_or_default();
            let why = match (told.trim(), outcome) {
                ("", JobOutcome::Failed(why)) => why,
                ("", _) => format!("see `journalctl -u {SERVICE}`"),
                (told, _) => told.to_string(),
            };
            Err(Failure::Refused(format!("the trial failed: {why}")))
        }
        Err(error) => {
            if matches!(trial.departure(), Ok(None)) {
                trial.end()?;
            }
            Err(error)
        }
    }
}

/// Whether the service is at it; if that cannot be told, it may be.
fn service_runs() -> bool {
    on_bus(async |bus| Ok(verbs::is_running(bus, SERVICE).await?)).unwrap_or(true)
}

/// Only one begins at a time; the other is told.
fn lock() -> Result<Flock<File>, Failure> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(LOCK);
    Flock::lock(file.map_err(Failure::Lock)?, FlockArg::LockExclusiveNonblock).map_err(
        |(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => Failure::UnderWay,
            errno => Failure::Lock(errno.into()),
        },
    )
}

fn keep_it(streams: &mut Streams<'_>) -> Result<Verdict, Failure> {
    only_root()?;
    let trial = Trial::of(Path::new(ROOT));
    let none = || match fs::read_to_string(RESULT) {
        Ok(told) => Failure::None(format!("; of the last one: {}", told.trim())),
        Err(_) => Failure::None(String::new()),
    };
    if !trial.is_under_way() {
        return Err(none());
    }
    if matches!(trial.departure(), Ok(None)) {
        return Err(Failure::Refused("the trial is still being applied".to_string()));
    }
    match trial.confirm() {
        Err(_) if !trial.is_under_way() => return Err(none()),
        result => result?,
    }
    if service_runs() {
        wait_until(|| !trial.is_under_way(), DEADLINE);
    } else {
        end_it(&trial, streams)?;
    }
    match fs::read_to_string(RESULT) {
        Ok(told) if told.starts_with(KEPT) => {
            streams.say(told.trim());
            Ok(Verdict::Yes)
        }
        Ok(told) => Err(Failure::Refused(told.trim().to_string())),
        Err(_) => Err(Failure::Refused(format!("see `journalctl -u {SERVICE}`"))),
    }
}

fn wait_until(done: impl Fn() -> bool, limit: Duration) {
    let start = Instant::now();
    while !done() && start.elapsed() < limit {
        sleep(POLL);
    }
}

fn wait_for_it(trial: &Trial, period: Duration) {
    wait_until(|| trial.is_confirmed() || !trial.is_under_way(), period);
}

fn apply_it(trial: &Trial, streams: &mut Streams<'_>) -> Result<Verdict, Failure> {
    // systemd starts the service again if it was killed. Then there is nothing left to do, or
    // its end was killed as well.
    if !trial.is_under_way() {
        return Ok(Verdict::Yes);
    }
    if trial.departure()?.is_some() {
        return Err(Failure::Refused("the trial was cut off".to_string()));
    }
    let here = Here::look()?;
    let found = trial.tried()?;
    let root = Root::open(Path::new(ROOT), Owners::Set)?;
    let none = std::collections::BTreeMap::new();
    // What was fetched for the configuration of before stays, for the way back.
    let reading = input::read(&found, Path::new(ROOT), Keep::Images, &none, streams);
    if has_errors(&reading.findings) || !reading.failures.is_empty() {
        return Err(Failure::Refused("the configuration is refused".to_string()));
    }
    let mut plan = plan_for(&reading, &root, here::image(Path::new(ROOT)).as_ref(), streams)?;
    if has_errors(&plan.findings) {
        return Err(Failure::Refused("this machine cannot be configured so".to_string()));
    }
    plan.actions.extend(passing(&here.report, &plan)?);

    let snapshot = Snapshot::take(&plan, &root)?;
    let touched = Touched::by(apply::changes(&plan, &root)?.iter().map(|change| change.action));
    let concerned = touched.units(&plan);
    let units = on_bus(async |bus| {
        let mut units = std::collections::BTreeMap::new();
        for unit in concerned {
            let running = verbs::is_running(bus, &unit).await?;
            units.insert(unit, running);
        }
        Ok(units)
    })?;
    let departure = Departure { snapshot, units, report: here.report.clone() };
    trial.depart(&departure)?;

    let applied = apply::apply(&plan, &root)?;
    take_name(touched.hostname);
    let reports = on_bus(async |bus| {
        // What is not loaded cannot be stopped, and need not be.
        carry_out(bus, touched.stops()).await?;
        verbs::reload(bus, touched.network).await?;
        let mut reports = carry_out(bus, touched.merges()).await?;
        reports.extend(carry_out(bus, touched.starts(&plan, &departure.units)).await?);
        Ok(reports)
    })?;
    let mut failed = failures(&applied, &reports);
    let mut report = report_of(&here.report, &found, &reading, &plan, applied, reports);
    report.extensions = merged::look(&plan.extensions, Path::new(ROOT));
    failed.extend(report.extensions.iter().filter_map(|one| match &one.outcome {
        merged::Outcome::Failed(why) => Some(format!("extension {}: {why}", one.name)),
        _ => None,
    }));
    report.conclude();
    report.write(Path::new(REPORT))?;
    match failed.is_empty() {
        true => Ok(Verdict::Yes),
        false => Err(Failure::Refused(failed.join("; "))),
    }
}

/// The removal of what only the configuration of before has put into `/run`.
fn passing(report: &Report, plan: &Plan) -> Result<Vec<crate::plan::Action>, Failure> {
    let planned = |path: &str| plan.actions.iter().any(|action| action.path == path);
    let made = report.items.iter().filter(|item| {
        matches!(item.outcome, Outcome::Written | Outcome::Unchanged)
            && item.path.starts_with("/run/")
            && !planned(&item.path)
    });
    let mut actions = Vec::new();
    for path in made.map(|item| item.path.as_str()) {
        let there = fs::symlink_metadata(path).ok();
        let now = match there {
            Some(state) if state.is_file() => fs::read(path).ok().map(|now| Trace::file(&now)),
            Some(state) if state.is_symlink() => {
                fs::read_link(path).ok().map(|to| Trace::link(&to.to_string_lossy()))
            }
            _ => None,
        };
        actions.extend(now.map(|now| trial::passing_removal(path, now)));
    }
    Ok(actions)
}

fn end_it(trial: &Trial, streams: &mut Streams<'_>) -> Result<Verdict, Failure> {
    if !trial.is_under_way() {
        return Ok(Verdict::Yes);
    }
    if trial.is_confirmed() {
        let word = keep(trial)?;
        streams.say(&word);
        // Who waits for the end reads it then.
        conclude(&word);
        trial.end()?;
        return Ok(Verdict::Yes);
    }
    let failed = match trial.departure()? {
        None => Vec::new(),
        Some(departure) => take_back(trial, &departure)?,
    };
    let state = match failed.is_empty() {
        true => "the machine is as it was".to_string(),
        false => format!("not all of it could be taken back: {}", failed.join("; ")),
    };
    let why = fs::read_to_string(RESULT).ok();
    let word = format!("{}: {state}", why.as_deref().unwrap_or("not confirmed in time"));
    streams.say(&word);
    conclude(&word);
    // Until here, the next boot would do it again.
    trial.end()?;
    Ok(Verdict::Yes)
}

/// Makes what was tried the last configuration; what is to be said of it.
fn keep(trial: &Trial) -> Result<String, Failure> {
    let found = trial.tried()?;
    source::save_last(Path::new(ROOT), &found)?;
    source::store(Path::new(crate::report::FOUND), &found)?;
    let mut report = Report::read(Path::new(REPORT))?;
    report.notes.retain(|note| note != NOTE);
    report.write(Path::new(REPORT))?;
    let before = trial.departure()?.and_then(|before| before.report.configuration);
    Ok(match before {
        Some(used) if !matches!(used.source, SourceName::Last | SourceName::File) => format!(
            "{KEPT} until the next boot; then {} ({}) comes first: give it the same configuration",
            used.source, used.place
        ),
        _ => format!("{KEPT}: the next boot uses it, unless a source has another configuration"),
    })
}

/// Takes a trial back: first the files, whatever becomes of the units. What went wrong with
/// those.
fn take_back(trial: &Trial, departure: &Departure) -> Result<Vec<String>, Failure> {
    // A machine that stops starts nothing again, and stops everything by itself.
    let stopping = on_bus(async |bus| Ok(verbs::is_stopping(bus).await?)).unwrap_or(false);
    let leaves = match stopping {
        true => Vec::new(),
        false => Touched::leaves(&departure.units),
    };
    let left = on_bus(async |bus| carry_out(bus, leaves).await);
    let applied = trial.take_back(departure, true)?;
    departure.report.write(Path::new(REPORT))?;
    let touched = Touched::of(applied.items.iter().filter_map(|item| match item.outcome {
        Outcome::Removed => Some((item.path.as_str(), true)),
        Outcome::Written | Outcome::Restored => Some((item.path.as_str(), false)),
        _ => None,
    }));
    let mut failed = failures(&applied, &[]);
    if stopping {
        return Ok(failed);
    }
    take_name(touched.hostname);
    let returned = on_bus(async |bus| {
        verbs::reload(bus, touched.network).await?;
        carry_out(bus, touched.merges()).await?;
        let idle = departure.units.iter().filter(|(_, ran)| !**ran).map(|(unit, _)| unit);
        verbs::forget_failures(bus, idle).await?;
        carry_out(bus, touched.returns(&departure.units)).await
    });
    match returned {
        Ok(reports) => failed.extend(failures(&Applied::default(), &reports)),
        Err(error) => failed.push(chain(&error)),
    }
    failed.extend(left.err().map(|error| chain(&error)));
    Ok(failed)
}

fn take_name(changed: bool) {
    let name = changed.then(|| fs::read_to_string("/etc/hostname").ok()).flatten();
    if let Some(name) = name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        // What of the system tells it to others reads the file.
        let _ = nix::unistd::sethostname(name);
    }
}

/// What went wrong, one line each.
fn failures(applied: &Applied, reports: &[JobReport]) -> Vec<String> {
    let items = applied.items.iter().filter_map(|item| match &item.outcome {
        Outcome::Failed(why) => Some(format!("cannot write {}: {why}", item.path)),
        _ => None,
    });
    let jobs = reports.iter().filter_map(|report| match &report.outcome {
        JobOutcome::Failed(why) => Some(format!("{} {}: {why}", report.verb, report.unit)),
        _ => None,
    });
    items.chain(jobs).collect()
}

/// How the machine is configured while something is tried.
fn report_of(
    before: &Report,
    found: &Found,
    reading: &Reading,
    plan: &Plan,
    applied: Applied,
    jobs: Vec<JobReport>,
) -> Report {
    let mut report = Report::begin(Some(found), &[]);
    report.sources.clone_from(&before.sources);
    report.stages.clone_from(&before.stages);
    report.peak_memory_kib = before.peak_memory_kib;
    report.add_variables(&reading.values);
    report.set_names(reading.bundle.names());
    report.add_findings(&reading.findings, &reading.bundle);
    report.add_findings(&plan.findings, &reading.bundle);
    report.notes.extend(reading.notes.iter().chain(&plan.notes).cloned());
    report.notes.push(NOTE.to_string());
    report.add_applied(applied);
    report.add_uses(plan, &reading.uses);
    report.jobs = jobs;
    report.conclude();
    report
}

/// Leaves a word for the person who waits.
fn conclude(word: &str) {
    // Nobody may be waiting.
    let _ = host::durable::write(Path::new(RESULT), word.as_bytes(), 0o600);
}

pub(super) async fn carry_out(
    bus: &zbus::Connection,
    units: Vec<UnitJob>,
) -> Result<Vec<JobReport>, Failure> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = Jobs { units, ..Jobs::default() };
    let mut reports = verbs::carry_out(bus, &jobs, DEADLINE).await?;
    // A unit that is not there runs no more.
    reports.retain(|report| report.verb != Verb::Stop || !report.outcome.is_failure());
    Ok(reports)
}

pub(super) fn on_bus<T>(
    work: impl AsyncFnOnce(&zbus::Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::Runtime)?.block_on(async {
        let bus = zbus::Connection::system().await.map_err(verbs::Error::Bus)?;
        work(&bus).await
    })
}
