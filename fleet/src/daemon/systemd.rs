//! systemd over D-Bus: jobs, and states by signals. Nothing is polled.
//!
//! Unit files are written to a directory of our own below `/run`, linked for this boot only and
//! told to systemd by one reload for all that changed together. A unit's state is asked for once
//! when it is loaded, when a job of ours ends and when the connection was lost; everything in
//! between comes as signals of that unit alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, OwnedObjectPath, Variant};

use crate::agent::{Input, Status, Task};
use crate::unit::{Mode, UnitFile};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/";
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a task may not have been done.
const BROKE: &str = "the connection to systemd broke";

/// What systemd is asked for.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// Write, link and load these; each ends as [`Task::Load`].
    Load(Vec<(String, String)>),
    /// Forget these; each ends as [`Task::Unload`].
    Unload(Vec<String>),
    /// Start a unit.
    Start(String),
    /// Stop a unit.
    Stop(String),
    /// Tell the states of these, now and whenever they change, then [`Input::Surveyed`].
    Survey(Vec<String>),
}

/// Where commands go.
#[derive(Debug, Clone)]
pub(super) struct Systemd(UnboundedSender<Command>);

impl Systemd {
    /// Starts the task that talks to systemd. What it has to tell goes to `inputs`.
    pub(super) fn start(bus: String, units: PathBuf, inputs: UnboundedSender<Input>) -> Systemd {
        let (sender, commands) = mpsc::unbounded_channel();
        let worker = Worker {
            bus,
            units,
            inputs,
            states: BTreeMap::new(),
            hand: None,
            jobs: HashMap::new(),
            matched: BTreeSet::new(),
        };
        tokio::spawn(worker.run(commands));
        Systemd(sender)
    }

    pub(super) fn ask(&self, command: Command) {
        let _ = self.0.send(command);
    }
}

struct Worker {
    bus: String,
    units: PathBuf,
    inputs: UnboundedSender<Input>,
    /// The units that are watched, with what is known of them.
    states: BTreeMap<String, Status>,
    /// The command that is being carried out.
    hand: Option<Command>,
    /// Our jobs under way.
    jobs: HashMap<String, (String, Task)>,
    /// The units whose signals come.
    matched: BTreeSet<String>,
}

impl Worker {
    async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut said = false;
        loop {
            match self.connect().await {
                Ok((connection, mut signals)) => {
                    said = false;
                    if let Err(error) = self.serve(&connection, &mut signals, &mut commands).await {
                        log::warn!("{BROKE}: {}", host::error::chain(&error));
                    } else {
                        return;
                    }
                    self.matched.clear();
                }
                Err(error) if !said => {
                    log::warn!("cannot talk to systemd: {}", host::error::chain(&error));
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> zbus::Result<(Connection, UnboundedReceiver<Message>)> {
        let connection = if self.bus == "system" {
            Connection::system().await?
        } else {
            let stream = std::os::unix::net::UnixStream::connect(&self.bus)?;
            zbus::connection::Builder::unix_stream(stream).p2p().build().await?
        };
        // Read without a pause: an answer that is waited for stands in the same row.
        let (sender, signals) = mpsc::unbounded_channel();
        let mut stream = MessageStream::from(&connection);
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if message.header().message_type() == Type::Signal && sender.send(message).is_err()
                {
                    break;
                }
            }
        });
        if self.bus == "system" {
            self.watch(
                &connection,
                &format!("type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved'"),
            )
            .await?;
        }
        call(&connection, "Subscribe", &()).await?;
        Ok((connection, signals))
    }

    async fn watch(&self, connection: &Connection, rule: &str) -> zbus::Result<()> {
        let bus = "org.freedesktop.DBus";
        connection
            .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "AddMatch", &rule)
            .await
            .map(drop)
    }

    async fn serve(
        &mut self,
        connection: &Connection,
        signals: &mut UnboundedReceiver<Message>,
        commands: &mut UnboundedReceiver<Command>,
    ) -> zbus::Result<()> {
        let known: Vec<String> = self.states.keys().cloned().collect();
        self.survey(connection, &known).await?;
        self.settle();
        self.carry_out(connection).await?;
        loop {
            tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(signal) => self.signal(connection, &signal).await?,
                    None => return Err(zbus::Error::from(io::Error::from(io::ErrorKind::BrokenPipe))),
                },
                command = commands.recv() => match command {
                    Some(command) => {
                        self.hand = Some(command);
                        self.carry_out(connection).await?;
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    /// Ends the jobs of another connection, whose end nobody will tell: as the units' states have
    /// it.
    fn settle(&mut self) {
        for (name, task) in std::mem::take(&mut self.jobs).into_values() {
            let down = self.states.get(&name).is_none_or(Status::is_down);
            let done = match task {
                Task::Start => !down,
                _ => down,
            };
            self.done(&name, task, if done { Ok(()) } else { Err(BROKE.to_string()) });
        }
    }

    /// Does what is in hand. It stays there if the connection breaks, to be done again. Asking
    /// twice changes nothing, but for a unit that was started and has ended already: it runs again.
    async fn carry_out(&mut self, connection: &Connection) -> zbus::Result<()> {
        if let Some(command) = self.hand.clone() {
            self.command(connection, command).await?;
            self.hand = None;
        }
        Ok(())
    }

    fn tell(&self, input: Input) {
        let _ = self.inputs.send(input);
    }

    fn done(&self, name: &str, task: Task, result: Result<(), String>) {
        self.tell(Input::Done { name: name.to_string(), task, result });
    }

    async fn command(&mut self, connection: &Connection, command: Command) -> zbus::Result<()> {
        match command {
            Command::Survey(names) => {
                self.survey(connection, &names).await?;
                self.tell(Input::Surveyed);
            }
            Command::Load(units) => self.load(connection, units).await?,
            Command::Unload(names) => self.unload(connection, names).await?,
            Command::Start(name) => {
                if self.states.get(&name).is_some_and(|state| state.active == "failed") {
                    refused(call(connection, "ResetFailedUnit", &(name.as_str(),)).await)?.ok();
                }
                self.job(connection, name, Task::Start, "StartUnit").await?;
            }
            Command::Stop(name) => self.job(connection, name, Task::Stop, "StopUnit").await?,
        }
        Ok(())
    }

    async fn job(
        &mut self,
        connection: &Connection,
        name: String,
        task: Task,
        method: &str,
    ) -> zbus::Result<()> {
        let reply = call(connection, method, &(name.as_str(), "replace")).await;
        match refused(reply)? {
            Ok(message) => {
                let job: OwnedObjectPath = message.body().deserialize()?;
                self.jobs.insert(job.to_string(), (name, task));
            }
            // What systemd does not know does not run.
            Err((kind, _)) if task == Task::Stop && kind.ends_with(".NoSuchUnit") => {
                self.tell(Input::Status(name.clone(), Status::absent()));
                self.done(&name, task, Ok(()));
            }
            Err((_, reason)) => self.done(&name, task, Err(reason)),
        }
        Ok(())
    }

    async fn load(
        &mut self,
        connection: &Connection,
        units: Vec<(String, String)>,
    ) -> zbus::Result<()> {
        let mut results: BTreeMap<String, Result<(), String>> = BTreeMap::new();
        let mut written = Vec::new();
        for (name, text) in &units {
            match write(&self.units, name, text) {
                Ok(path) => {
                    results.insert(name.clone(), Ok(()));
                    written.push((name.as_str(), path, installs(text)));
                }
                Err(error) => {
                    results
                        .insert(name.clone(), Err(format!("its file cannot be written: {error}")));
                }
            }
        }
        let paths: Vec<&str> = written.iter().map(|(_, path, _)| path.as_str()).collect();
        let together = call(connection, "LinkUnitFiles", &(&paths, true, true)).await;
        if refused(together)?.is_err() {
            // One of them: find out which.
            for (name, path, _) in &written {
                let reply =
                    call(connection, "LinkUnitFiles", &(&[path.as_str()][..], true, true)).await;
                if let Err((_, reason)) = refused(reply)? {
                    results.insert((*name).to_string(), Err(reason));
                }
            }
        }
        for (name, path, _) in written.iter().filter(|(_, _, installs)| *installs) {
            let reply =
                call(connection, "EnableUnitFiles", &(&[path.as_str()][..], true, true)).await;
            if let Err((_, reason)) = refused(reply)? {
                results.insert((*name).to_string(), Err(format!("it cannot be enabled: {reason}")));
            }
        }
        if let Err((_, reason)) = refused(call(connection, "Reload", &()).await)? {
            for result in results.values_mut().filter(|result| result.is_ok()) {
                *result = Err(format!("systemd does not reload: {reason}"));
            }
        }
        let names: Vec<String> = results.keys().cloned().collect();
        self.survey(connection, &names).await?;
        for (name, result) in results {
            self.done(&name, Task::Load, result);
        }
        Ok(())
    }

    async fn unload(&mut self, connection: &Connection, names: Vec<String>) -> zbus::Result<()> {
        // Takes the links away, those of [Install] too.
        let reply = call(connection, "DisableUnitFiles", &(&names, true)).await;
        if let Err((_, reason)) = refused(reply)? {
            log::debug!("disabling {names:?}: {reason}");
        }
        let mut results = Vec::new();
        for name in &names {
            let result = match std::fs::remove_file(self.units.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            };
            results.push((name.clone(), result));
            if self.states.remove(name).is_some_and(|state| state.active == "failed") {
                refused(call(connection, "ResetFailedUnit", &(name.as_str(),)).await)?.ok();
            }
        }
        refused(call(connection, "Reload", &()).await)?.ok();
        for (name, result) in results {
            self.done(&name, Task::Unload, result);
        }
        Ok(())
    }

    /// Asks for the states of units once, and has their signals sent.
    async fn survey(&mut self, connection: &Connection, names: &[String]) -> zbus::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if self.bus == "system" && self.matched.insert(name.clone()) {
                let path = format!("{UNIT_PATH}{}", escape(name));
                let rule = format!(
                    "type='signal',sender='{NAME}',path='{path}',\
                     interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'"
                );
                self.watch(connection, &rule).await?;
            }
        }
        type Row = (
            String,
            String,
            String,
            String,
            String,
            String,
            OwnedObjectPath,
            u32,
            String,
            OwnedObjectPath,
        );
        let reply = call(connection, "ListUnitsByNames", &names).await?;
        let rows: Vec<Row> = reply.body().deserialize()?;
        for (name, _, load, active, sub, ..) in rows {
            let status = Status { load, active, sub };
            self.states.insert(name.clone(), status.clone());
            self.tell(Input::Status(name, status));
        }
        Ok(())
    }

    async fn signal(&mut self, connection: &Connection, message: &Message) -> zbus::Result<()> {
        let header = message.header();
        let (Some(member), Some(path)) = (header.member(), header.path()) else { return Ok(()) };
        match member.as_str() {
            "JobRemoved" => {
                let body = message.body();
                let Ok((_, job, _, result)) =
                    body.deserialize::<(u32, OwnedObjectPath, String, String)>()
                else {
                    return Ok(());
                };
                let Some((name, task)) = self.jobs.get(job.as_str()).cloned() else {
                    return Ok(());
                };
                // The state first: the end of a job says nothing about it.
                self.survey(connection, std::slice::from_ref(&name)).await?;
                self.jobs.remove(job.as_str());
                let result = match result.as_str() {
                    "done" | "skipped" => Ok(()),
                    "dependency" => Err("a unit that it needs failed".to_string()),
                    "timeout" => Err("it took too long".to_string()),
                    "canceled" => Err("another job took its place".to_string()),
                    "failed" => Err("it failed".to_string()),
                    other => Err(other.to_string()),
                };
                self.done(&name, task, result);
            }
            "PropertiesChanged" => {
                let Some(name) = path.as_str().strip_prefix(UNIT_PATH).and_then(unescape) else {
                    return Ok(());
                };
                let Some(state) = self.states.get_mut(&name) else { return Ok(()) };
                let body = message.body();
                type Changed<'a> = (String, HashMap<String, Variant<'a>>, Vec<String>);
                let Ok((interface, changed, _)) = body.deserialize::<Changed<'_>>() else {
                    return Ok(());
                };
                if interface != "org.freedesktop.systemd1.Unit" {
                    return Ok(());
                }
                let text = |key: &str| {
                    changed
                        .get(key)
                        .and_then(|value| String::try_from(value.try_clone().ok()?).ok())
                };
                let new = Status {
                    load: text("LoadState").unwrap_or_else(|| state.load.clone()),
                    active: text("ActiveState").unwrap_or_else(|| state.active.clone()),
                    sub: text("SubState").unwrap_or_else(|| state.sub.clone()),
                };
                if new != *state {
                    *state = new.clone();
                    self.tell(Input::Status(name, new));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

async fn call<B>(connection: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::DynamicType,
{
    connection.call_method(Some(NAME), PATH, Some(MANAGER), method, body).await
}

/// The answer, or the kind and words of a refusal; only a broken connection is an error.
fn refused(reply: zbus::Result<Message>) -> zbus::Result<Result<Message, (String, String)>> {
    match reply {
        Ok(message) => Ok(Ok(message)),
        Err(zbus::Error::MethodError(name, text, _)) => {
            let kind = name.to_string();
            Ok(Err((kind.clone(), text.unwrap_or(kind))))
        }
        Err(error) => Err(error),
    }
}

/// Writes a unit file so that systemd sees the old one or the new one.
fn write(directory: &Path, name: &str, text: &str) -> io::Result<String> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join(name);
    let temporary = directory.join(format!(".{name}.new"));
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, &path)?;
    path.into_os_string().into_string().map_err(|_| io::Error::other("its path is not UTF-8"))
}

fn installs(text: &str) -> bool {
    UnitFile::read(text.as_bytes(), Mode::Lenient).is_ok_and(|file| file.has_install())
}

/// A unit's name as part of an object path: letters and digits stay, a digit not at the front.
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("_{byte:02x}"));
        }
    }
    escaped
}

fn unescape(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'_' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_object_paths() {
        assert_eq!(escape("web@1.service"), "web_401_2eservice");
        assert_eq!(escape("1web-a.service"), "_31web_2da_2eservice");
        for name in ["web@1.service", "1.mount", "a_b\\x2d.path", "-.slice"] {
            assert_eq!(unescape(&escape(name)).as_deref(), Some(name));
        }
        assert_eq!(unescape("a_"), None);
        assert_eq!(unescape("a_zz"), None);
    }
}
