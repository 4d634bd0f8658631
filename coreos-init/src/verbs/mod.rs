//! What only a running service manager can do: the `command:` of units, and a script given as
//! user data.
//!
//! The plan's jobs are stored in the initrd ([`Jobs`]) and carried out from
//! `coreos-init.service` ([`carry_out`]). All are enqueued before the first is waited for, so
//! that the service manager orders them by their dependencies and not by the list. A job still
//! under way at the deadline is not a failure: a member of a cluster that waits for its peers
//! may take longer than this machine's boot.

use std::fmt;
use std::time::Duration;

use crate::extension::merged::Expected;
use cloud_config::Command;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, Variant};

/// What the service manager is to be asked for, as it is stored between the initrd and the
/// running system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// In the order of the configuration.
    pub units: Vec<UnitJob>,
    /// Programs to run once in this boot, in order: absolute paths.
    #[serde(default)]
    pub scripts: Vec<String>,
    /// Extensions that are to be merged.
    #[serde(default)]
    pub extensions: Vec<Expected>,
}

/// One `command:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitJob {
    /// The unit.
    pub unit: String,
    /// What is asked.
    pub verb: Verb,
    /// The line of the user data that asks for it.
    pub line: Option<usize>,
}

/// What can be asked of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // each is the systemd verb of the same name
pub enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    TryRestart,
    ReloadOrRestart,
    ReloadOrTryRestart,
    /// Runs the script of the user data.
    Run,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// The unit.
    pub unit: String,
    /// What was asked.
    pub verb: Verb,
    /// The line of the user data that asked for it.
    pub line: Option<usize>,
    /// How it ended.
    pub outcome: JobOutcome,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobOutcome {
    /// As asked.
    Done,
    /// The unit's own conditions spoke against it.
    Skipped,
    /// Not yet, when the deadline came.
    UnderWay,
    /// With this reason.
    Failed(String),
}

/// Why no job could be asked for or watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or it broke.
    #[error("cannot talk to the service manager over D-Bus")]
    Bus(#[source] zbus::Error),
    /// The bus closed while jobs were under way.
    #[error("the service manager closed the connection")]
    Closed,
}

const MANAGER: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// The unit that the first script runs as; the others have a number in its name.
pub const SCRIPT_UNIT: &str = "coreos-init-script.service";

/// The unit that a script runs as.
fn script_unit(index: usize) -> String {
    match index {
        0 => SCRIPT_UNIT.to_string(),
        _ => format!("coreos-init-script-{}.service", index + 1),
    }
}

/// Asks for all jobs, then waits until each has ended or the deadline has come. The reports are
/// in the order of the jobs, those of scripts last.
///
/// # Errors
/// [`Error`]; what the service manager refuses or fails is in the reports.
pub async fn carry_out(
    bus: &Connection,
    jobs: &Jobs,
    deadline: Duration,
) -> Result<Vec<JobReport>, Error> {
    let scripts = jobs.scripts.iter().enumerate();
    let scripts = scripts.map(|(index, _)| (script_unit(index), Verb::Run, None));
    let units = jobs.units.iter().map(|job| (job.unit.clone(), job.verb, job.line));
    let mut reports: Vec<JobReport> = units
        .chain(scripts)
        .map(|(unit, verb, line)| {
            let outcome = JobOutcome::Failed("the service manager did not answer".to_string());
            JobReport { unit, verb, line, outcome }
        })
        .collect();
    let done = async {
        let mut ended = listen(bus, reports.len()).await?;
        let mut open = Vec::new();
        for (index, report) in reports.iter_mut().enumerate() {
            let script = index.checked_sub(jobs.units.len()).map(|number| {
                (jobs.scripts[number].as_str(), number.checked_sub(1).map(script_unit))
            });
            let reply = match (report.verb, script) {
                (Verb::Run, Some((script, before))) => {
                    start_script(bus, &report.unit, script, before).await
                }
                (verb, _) => call(bus, verb.method(), &(report.unit.as_str(), "replace")).await,
            };
            report.outcome = match job_of(reply)? {
                Ok(path) => {
                    open.push((path, index));
                    JobOutcome::UnderWay
                }
                Err(reason) => JobOutcome::Failed(reason),
            };
        }
        while !open.is_empty() {
            let message = ended.next().await.ok_or(Error::Closed)?.map_err(Error::Bus)?;
            let body = message.body();
            let Ok((_id, path, _unit, result)) =
                body.deserialize::<(u32, OwnedObjectPath, String, String)>()
            else {
                continue;
            };
            open.retain(|(job, index)| {
                if *job == path {
                    reports[*index].outcome = JobOutcome::from_result(&result);
                }
                *job != path
            });
        }
        Ok(())
    };
    match tokio::time::timeout(deadline, done).await {
        Ok(result) => result?,
        Err(_elapsed) => {} // what is still open says so already
    }
    Ok(reports)
}

/// The jobs that end from now on.
async fn listen(bus: &Connection, jobs: usize) -> Result<MessageStream, Error> {
    let removed = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(MANAGER)
        .interface(MANAGER_INTERFACE)
        .member("JobRemoved")
        .build()
        .map_err(Error::Bus)?;
    // A boot ends many jobs while ours are being asked for; none of ours may be pushed out.
    let room = 1024 + jobs;
    let ended = MessageStream::for_match_rule(removed, bus, room.try_into().ok());
    let ended = ended.await.map_err(Error::Bus)?;
    match call(bus, "Subscribe", &()).await {
        // This connection has asked before.
        Err(zbus::Error::MethodError(name, ..)) if name.ends_with(".AlreadySubscribed") => {}
        reply => drop(reply.map_err(Error::Bus)?),
    }
    Ok(ended)
}

/// The job that an answer names, or why there is none; only a broken bus is an error.
fn job_of(reply: zbus::Result<Message>) -> Result<Result<OwnedObjectPath, String>, Error> {
    match reply {
        Ok(message) => {
            let path = message.body().deserialize::<OwnedObjectPath>();
            Ok(path.map_err(|error| format!("unexpected answer: {error}")))
        }
        Err(zbus::Error::MethodError(name, text, _)) => {
            Ok(Err(text.unwrap_or_else(|| name.to_string())))
        }
        Err(error) => Err(Error::Bus(error)),
    }
}

async fn call<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::DynamicType,
{
    bus.call_method(Some(MANAGER), MANAGER_PATH, Some(MANAGER_INTERFACE), method, body).await
}

/// Runs a script as a unit of its own, so that its output is found under its name. The unit
/// stays when the script has ended, which is why a second run in one boot is refused.
/// One script follows the other, whatever became of it.
async fn start_script(
    bus: &Connection,
    unit: &str,
    script: &str,
    before: Option<String>,
) -> zbus::Result<Message> {
    let command = vec![(script, vec![script], false)];
    let mut properties: Vec<(&str, Variant<'_>)> = vec![
        ("Description", Variant::from("Script given as user data")),
        ("Type", Variant::from("oneshot")),
        ("RemainAfterExit", Variant::from(true)),
        ("ExecStart", Variant::from(command)),
    ];
    properties.extend(before.map(|before| ("After", Variant::from(vec![before]))));
    let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
    call(bus, "StartTransientUnit", &(unit, "fail", properties, auxiliary)).await
}

/// Starts the service of a trial, and waits until what it is to try is applied: `program` does
/// each step of it.
///
/// # Errors
/// [`Error`]; what the service manager refuses or fails is the outcome.
pub async fn start_trial(
    bus: &Connection,
    unit: &str,
    program: &str,
    seconds: u64,
    deadline: Duration,
) -> Result<JobOutcome, Error> {
    let seconds = seconds.to_string();
    let step = |arguments: &[&str]| {
        let line: Vec<String> =
            [program, "trial"].iter().chain(arguments).map(|part| (*part).to_string()).collect();
        Variant::from(vec![(program.to_string(), line, false)])
    };
    let limit = u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX);
    let properties: Vec<(&str, Variant<'_>)> = vec![
        ("Description", Variant::from("A configuration on trial")),
        ("Type", Variant::from("exec")),
        ("CollectMode", Variant::from("inactive-or-failed")),
        ("ExecStartPre", step(&["apply"])),
        ("ExecStart", step(&["wait", &seconds])),
        ("ExecStopPost", step(&["end"])),
        // The end may be killed, too.
        ("Restart", Variant::from("on-abnormal")),
        ("TimeoutStartUSec", Variant::from(limit)),
        ("TimeoutStopUSec", Variant::from(limit)),
    ];
    let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
    let mut ended = listen(bus, 1).await?;
    let reply = call(bus, "StartTransientUnit", &(unit, "fail", properties, auxiliary)).await;
    let job = match job_of(reply)? {
        Ok(job) => job,
        Err(reason) => return Ok(JobOutcome::Failed(reason)),
    };
    let result = async {
        loop {
            let message = ended.next().await.ok_or(Error::Closed)?.map_err(Error::Bus)?;
            let body = message.body();
            if let Ok((_id, path, _unit, result)) =
                body.deserialize::<(u32, OwnedObjectPath, String, String)>()
                && path == job
            {
                return Ok(JobOutcome::from_result(&result));
            }
        }
    };
    tokio::time::timeout(deadline, result).await.unwrap_or(Ok(JobOutcome::UnderWay))
}

/// Whether a unit runs, or is about to, or not quite ended.
///
/// # Errors
/// [`Error`]; a unit that is not loaded does not run.
pub async fn is_running(bus: &Connection, unit: &str) -> Result<bool, Error> {
    let Ok(path) = job_of(call(bus, "GetUnit", &(unit,)).await)? else { return Ok(false) };
    let state =
        property(bus, path.as_str(), "org.freedesktop.systemd1.Unit", "ActiveState").await?;
    Ok(matches!(state.as_str(), "active" | "activating" | "reloading" | "deactivating"))
}

/// Whether the machine is going down.
///
/// # Errors
/// [`Error`].
pub async fn is_stopping(bus: &Connection) -> Result<bool, Error> {
    Ok(property(bus, MANAGER_PATH, MANAGER_INTERFACE, "SystemState").await? == "stopping")
}

/// A property that is a word; empty where there is no such thing, or not any more.
async fn property(
    bus: &Connection,
    path: &str,
    interface: &str,
    name: &str,
) -> Result<String, Error> {
    let properties = Some("org.freedesktop.DBus.Properties");
    let asked = (interface, name);
    let reply = match bus.call_method(Some(MANAGER), path, properties, "Get", &asked).await {
        Err(zbus::Error::MethodError(..)) => return Ok(String::new()),
        reply => reply.map_err(Error::Bus)?,
    };
    let body = reply.body();
    let value = body.deserialize::<Variant<'_>>().map_err(Error::Bus)?;
    Ok(String::try_from(value).unwrap_or_default())
}

/// Lets the service manager forget that these units failed, if they did.
///
/// # Errors
/// [`Error`].
pub async fn forget_failures(
    bus: &Connection,
    units: impl IntoIterator<Item = &String>,
) -> Result<(), Error> {
    for unit in units {
        match call(bus, "ResetFailedUnit", &(unit.as_str(),)).await {
            // It is not loaded.
            Err(zbus::Error::MethodError(..)) => {}
            reply => drop(reply.map_err(Error::Bus)?),
        }
    }
    Ok(())
}

/// Lets the service manager read its units again, and networkd its files.
///
/// # Errors
/// [`Error`]; that there is no networkd is none.
pub async fn reload(bus: &Connection, network: bool) -> Result<(), Error> {
    call(bus, "Reload", &()).await.map_err(Error::Bus)?;
    if network {
        let (name, path) = ("org.freedesktop.network1", "/org/freedesktop/network1");
        let interface = Some("org.freedesktop.network1.Manager");
        match bus.call_method(Some(name), path, interface, "Reload", &()).await {
            Ok(_) | Err(zbus::Error::MethodError(..)) => {}
            Err(error) => return Err(Error::Bus(error)),
        }
    }
    Ok(())
}

impl Verb {
    fn method(self) -> &'static str {
        match self {
            Verb::Start => "StartUnit",
            Verb::Stop => "StopUnit",
            Verb::Restart => "RestartUnit",
            Verb::Reload => "ReloadUnit",
            Verb::TryRestart => "TryRestartUnit",
            Verb::ReloadOrRestart => "ReloadOrRestartUnit",
            Verb::ReloadOrTryRestart => "ReloadOrTryRestartUnit",
            Verb::Run => "StartTransientUnit",
        }
    }
}

impl From<Command> for Verb {
    fn from(command: Command) -> Verb {
        match command {
            Command::Start => Verb::Start,
            Command::Stop => Verb::Stop,
            Command::Restart => Verb::Restart,
            Command::Reload => Verb::Reload,
            Command::TryRestart => Verb::TryRestart,
            Command::ReloadOrRestart => Verb::ReloadOrRestart,
            Command::ReloadOrTryRestart => Verb::ReloadOrTryRestart,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
            Verb::Reload => "reload",
            Verb::TryRestart => "try-restart",
            Verb::ReloadOrRestart => "reload-or-restart",
            Verb::ReloadOrTryRestart => "reload-or-try-restart",
            Verb::Run => "run",
        })
    }
}

impl JobOutcome {
    /// From the service manager's word for it.
    fn from_result(result: &str) -> JobOutcome {
        match result {
            "done" => JobOutcome::Done,
            "skipped" => JobOutcome::Skipped,
            "dependency" => JobOutcome::Failed("a unit that it needs failed".to_string()),
            "timeout" => JobOutcome::Failed("it took too long".to_string()),
            "canceled" => JobOutcome::Failed("another job took its place".to_string()),
            "failed" => JobOutcome::Failed("it failed".to_string()),
            other => JobOutcome::Failed(other.to_string()),
        }
    }

    /// Whether the machine is not what the configuration asks for because of it.
    pub fn is_failure(&self) -> bool {
        matches!(self, JobOutcome::Failed(_))
    }
}

#[cfg(test)]
mod tests;
