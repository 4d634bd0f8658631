//! A service manager on a socket: systemd's interface as far as fleetd uses it, without processes.
//! The image's own systemd is asked the same in the scenarios of whole machines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, Guid, Message, MessageStream, ObjectPath, Variant};

/// What is known of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) active: &'static str,
    pub(crate) file: Option<PathBuf>,
    pub(crate) starts: usize,
    pub(crate) stops: usize,
}

#[derive(Debug, Default)]
struct State {
    units: BTreeMap<String, Unit>,
    jobs: u32,
    /// The calls of this method that are not answered: the connection breaks instead.
    breaks: Option<(&'static str, u32)>,
    /// To whoever is connected now: a unit's new state.
    listeners: Vec<UnboundedSender<(String, &'static str)>>,
}

/// One machine's systemd. It lives on while fleetd is killed.
#[derive(Debug, Clone)]
pub(crate) struct Systemd {
    state: Arc<Mutex<State>>,
    pub(crate) socket: PathBuf,
}

impl Systemd {
    /// Answers at `socket` until the test ends.
    pub(crate) fn start(socket: &Path) -> Systemd {
        let systemd = Systemd { state: Arc::default(), socket: socket.to_path_buf() };
        let ours = systemd.clone();
        let (ready, listening) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::UnixListener::bind(&ours.socket).expect("a socket");
                ready.send(()).expect("the test waits");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    let ours = ours.clone();
                    tokio::spawn(
                        async move { ours.serve(stream.into_std().expect("a stream")).await },
                    );
                }
            });
        });
        listening.recv().expect("it listens");
        systemd
    }

    pub(crate) fn unit(&self, name: &str) -> Option<Unit> {
        self.state.lock().expect("no panic").units.get(name).cloned()
    }

    /// The units that run.
    pub(crate) fn running(&self) -> Vec<String> {
        let state = self.state.lock().expect("no panic");
        state
            .units
            .iter()
            .filter(|(_, unit)| unit.active == "active")
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Breaks the connection at the next so many calls of a method, as a systemd that executes
    /// itself anew does.
    pub(crate) fn break_at(&self, method: &'static str, times: u32) {
        self.state.lock().expect("no panic").breaks = Some((method, times));
    }

    /// Whether every break has come.
    pub(crate) fn has_broken(&self) -> bool {
        self.state.lock().expect("no panic").breaks.is_none()
    }

    /// Whether the connection breaks at this call.
    fn breaks(&self, method: &str) -> bool {
        let mut state = self.state.lock().expect("no panic");
        match &mut state.breaks {
            Some((at, times)) if *at == method => {
                *times -= 1;
                if *times == 0 {
                    state.breaks = None;
                }
                true
            }
            _ => false,
        }
    }

    /// The machine reboots: nothing runs any more.
    pub(crate) fn reboot(&self) {
        self.state.lock().expect("no panic").units.clear();
    }

    fn set(&self, name: &str, active: &'static str) {
        let mut state = self.state.lock().expect("no panic");
        if let Some(unit) = state.units.get_mut(name) {
            unit.active = active;
        }
        state.listeners.retain(|listener| listener.send((name.to_string(), active)).is_ok());
    }

    fn link(&self, files: &[String]) {
        let mut state = self.state.lock().expect("no panic");
        for file in files {
            let path = PathBuf::from(file);
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
            let new = Unit { active: "inactive", file: None, starts: 0, stops: 0 };
            state.units.entry(name).or_insert(new).file = Some(path);
        }
    }

    fn unlink(&self, names: &[String]) {
        let mut state = self.state.lock().expect("no panic");
        for name in names {
            state.units.remove(name);
        }
    }

    /// The number of a new job for a unit; none if there is no such unit.
    fn begin(&self, name: &str, start: bool) -> Option<u32> {
        let mut state = self.state.lock().expect("no panic");
        state.jobs += 1;
        let job = state.jobs;
        let unit = state.units.get_mut(name)?;
        if start {
            unit.starts += 1;
        } else {
            unit.stops += 1;
        }
        Some(job)
    }

    async fn serve(&self, stream: std::os::unix::net::UnixStream) {
        let guid = Guid::generate();
        let bus = Builder::unix_stream(stream).server(guid).p2p().build().await;
        let Ok(bus) = bus else { return };
        let (sender, mut changes) = unbounded_channel();
        self.state.lock().expect("no panic").listeners.push(sender);
        let mut calls = MessageStream::from(&bus);
        loop {
            tokio::select! {
                call = calls.next() => match call {
                    Some(Ok(call)) if call.header().message_type() == Type::MethodCall => {
                        let method = call.header().member().map(ToString::to_string);
                        if self.breaks(&method.unwrap_or_default()) {
                            return;
                        }
                        self.answer(&bus, &call).await;
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
                Some((unit, active)) = changes.recv() => changed(&bus, &unit, active).await,
            }
        }
    }

    async fn answer(&self, bus: &Connection, call: &Message) {
        let header = call.header();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        let body = call.body();
        match member.as_str() {
            "LinkUnitFiles" | "EnableUnitFiles" => {
                let (files, _, _): (Vec<String>, bool, bool) = body.deserialize().expect("files");
                self.link(&files);
                let none: Vec<(String, String, String)> = Vec::new();
                if member == "LinkUnitFiles" {
                    bus.reply(&header, &(none,)).await.expect("answered");
                } else {
                    bus.reply(&header, &(true, none)).await.expect("answered");
                }
            }
            "DisableUnitFiles" => {
                let (names, _): (Vec<String>, bool) = body.deserialize().expect("names");
                self.unlink(&names);
                let none: Vec<(String, String, String)> = Vec::new();
                bus.reply(&header, &(none,)).await.expect("answered");
            }
            "ListUnitsByNames" => {
                let names: Vec<String> = body.deserialize().expect("names");
                let path = ObjectPath::try_from("/").expect("a path");
                let rows: Vec<_> = names
                    .iter()
                    .map(|name| {
                        let unit = self.unit(name);
                        let load = if unit.is_some() { "loaded" } else { "not-found" };
                        let active = unit.map_or("inactive", |unit| unit.active);
                        let sub = sub(active);
                        (
                            name.as_str(),
                            "",
                            load,
                            active,
                            sub,
                            "",
                            path.clone(),
                            0_u32,
                            "",
                            path.clone(),
                        )
                    })
                    .collect();
                bus.reply(&header, &(rows,)).await.expect("answered");
            }
            "StartUnit" | "StopUnit" => {
                let (name, _): (String, String) = body.deserialize().expect("a name");
                let Some(job) = self.begin(&name, member == "StartUnit") else {
                    let error = "org.freedesktop.systemd1.NoSuchUnit";
                    bus.reply_error(&header, error, &"no such unit").await.expect("answered");
                    return;
                };
                let path = ObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{job}"))
                    .expect("a path");
                bus.reply(&header, &path).await.expect("answered");
                let file = self.unit(&name).and_then(|unit| unit.file);
                let text =
                    file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
                let active = match member.as_str() {
                    "StopUnit" => "inactive",
                    _ if text.contains("/bin/false") => "failed",
                    _ => "active",
                };
                let (ours, bus) = (self.clone(), bus.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    ours.set(&name, active);
                    let result = if active == "failed" { "failed" } else { "done" };
                    let _ = bus
                        .emit_signal(
                            None::<&str>,
                            "/org/freedesktop/systemd1",
                            "org.freedesktop.systemd1.Manager",
                            "JobRemoved",
                            &(job, path, name, result),
                        )
                        .await;
                });
            }
            _ => bus.reply(&header, &()).await.expect("answered"),
        }
    }
}

fn sub(active: &str) -> &'static str {
    match active {
        "active" => "running",
        "failed" => "failed",
        _ => "dead",
    }
}

async fn changed(bus: &Connection, unit: &str, active: &'static str) {
    let escaped: String = unit
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("_{b:02x}") }
        })
        .collect();
    let values: BTreeMap<&str, Variant<'_>> =
        [("ActiveState", Variant::from(active)), ("SubState", Variant::from(sub(active)))].into();
    let none: Vec<String> = Vec::new();
    let _ = bus
        .emit_signal(
            None::<&str>,
            format!("/org/freedesktop/systemd1/unit/{escaped}"),
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            &("org.freedesktop.systemd1.Unit", values, none),
        )
        .await;
}
