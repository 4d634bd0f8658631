//! Putting the parts together.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::disk::{Disk, found};
use super::engine::Runner;
use super::machine::Identity;
use super::presence::{Presence, Standing};
use super::settings::Settings;
use super::store::Store;
use super::systemd::{Command, Systemd};
use super::{api, health, relay, writer};
use crate::agent::{Agent, Effect, Input, Millis};
use crate::engine::{Moment, Times};
use crate::model::{MachineInfo, UnitState};

/// How long changes of what is remembered are gathered.
const REMEMBER: Duration = Duration::from_millis(200);
/// How long a text that is not there is waited for.
const TEXT: Duration = Duration::from_secs(2);

/// Where the API is asked.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Sockets in the file system.
    pub unix: Vec<UnixListener>,
    /// Sockets of TCP, for the API in the open: only as somebody hands them over.
    pub tcp: Vec<TcpListener>,
}

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings for etcd cannot be used.
    #[error("cannot use the settings for etcd")]
    Etcd(#[source] cluster::Error),
    /// The directory for what survives a reboot cannot be used.
    #[error("cannot use {path}")]
    State {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
    now: fn() -> Duration,
}

impl Clock {
    pub(super) fn millis(&self, at: Instant) -> Millis {
        at.saturating_duration_since(self.start).as_millis() as Millis
    }

    pub(super) fn instant(&self, at: Millis) -> Instant {
        self.start + Duration::from_millis(at)
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { mono: self.millis(Instant::now()), wall: (self.now)().as_millis() as u64 }
    }
}

/// Runs the daemon until `stop` is told. Units outlive it. `now` is the time since 1970.
pub async fn run(
    mut settings: Settings,
    identity: Identity,
    listeners: Listeners,
    now: fn() -> Duration,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    // A lease that starts a little after the clock counts from before it.
    let clock = Clock { start: Instant::now() - Duration::from_millis(1), now };
    let store = Store::new(&settings).map_err(RunError::Etcd)?;
    if settings.public_ip.is_empty() {
        settings.public_ip = address(&store.client.settings().endpoints).unwrap_or_default();
    }
    let state = |source| RunError::State { path: settings.state_directory.clone(), source };
    let disk = Arc::new(Disk::open(&settings.state_directory).map_err(state)?);
    let relay = relay::listen(&settings).await?;

    let (inputs, agent_inputs) = mpsc::unbounded_channel();
    let (states, written) = mpsc::unbounded_channel();
    let (standing, standings) = watch::channel(Standing::Out("not yet registered".to_string()));
    let systemd = Systemd::start(
        settings.systemd_bus.clone(),
        settings.units_directory.clone(),
        inputs.clone(),
    );

    let info = MachineInfo {
        boot_id: identity.boot_id.clone(),
        ip: settings.public_ip.clone(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        metadata: settings.metadata.clone(),
        capacity: identity.capacity,
        relay: relay.as_ref().map(|relay| relay.address.clone()).unwrap_or_default(),
    };
    let presence = Presence {
        id: identity.id.clone(),
        info,
        ttl: settings.agent_ttl,
        store: store.clone(),
        disk: Arc::clone(&disk),
        clock,
        inputs: inputs.clone(),
        standing,
    };
    tokio::spawn(presence.run());
    tokio::spawn(writer::run(store.clone(), identity.id.clone(), written, standings.clone()));
    if !settings.disable_engine {
        let runner = Runner {
            id: identity.id.clone(),
            store: store.clone(),
            clock,
            standing: standings.clone(),
            events: 0,
            times: Times {
                lease: settings.agent_ttl.as_millis() as Millis,
                grace: settings.engine_grace.as_millis() as Millis,
            },
        };
        tokio::spawn(runner.run());
    }
    let context = Arc::new(api::Context {
        store: store.clone(),
        machine: identity.id.clone(),
        page: settings.token_limit,
        standing: standings,
        clock,
    });
    api::serve(&context, listeners)?;
    if let Some(relay) = relay {
        relay.serve(&context);
    }

    let memory = disk.memory().in_boot(&identity.boot_id);
    let agent = Agent::new(&identity.id, memory, clock.moment().mono);
    let hands = Hands { store, disk, systemd, inputs, states, clock, persist: None };
    tokio::select! {
        () = hands.work(agent, agent_inputs, &settings) => {}
        () = stop => log::info!("stopping; units keep running"),
    }
    Ok(())
}

/// The address that this machine is known by: the one that it uses towards the members of etcd,
/// else towards the rest of the world. Nothing is sent for it.
fn address(etcd: &[String]) -> Option<String> {
    let members = etcd.iter().filter_map(|url| {
        let (_, authority) = url.split_once("://")?;
        authority.trim_end_matches('/').parse::<SocketAddr>().ok()
    });
    // An address that is nobody's (RFC 5737): the route to it is the default one.
    let nobody = SocketAddr::from(([192, 0, 2, 1], 9));
    let mut towards = members.filter(|member| !member.ip().is_loopback()).chain([nobody]);
    towards.find_map(|other| {
        let any = if other.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(other).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_unspecified()).then(|| address.to_string())
    })
}

/// What carries out what the agent asks for.
struct Hands {
    store: Store,
    disk: Arc<Disk>,
    systemd: Systemd,
    inputs: UnboundedSender<Input>,
    states: UnboundedSender<(String, Option<UnitState>)>,
    clock: Clock,
    persist: Option<Instant>,
}

impl Hands {
    async fn work(
        mut self,
        mut agent: Agent,
        mut inputs: UnboundedReceiver<Input>,
        settings: &Settings,
    ) {
        self.recall(&mut agent, settings);
        loop {
            let next = agent.next().map(|at| self.clock.instant(at));
            let wake = [next, self.persist].into_iter().flatten().min();
            tokio::select! {
                input = inputs.recv() => {
                    let Some(input) = input else { return };
                    let now = self.clock.moment().mono;
                    agent.input(now, input);
                    // What has come meanwhile is decided together.
                    while let Ok(input) = inputs.try_recv() {
                        agent.input(now, input);
                    }
                }
                () = async { match wake { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
            }
            for effect in agent.react(self.clock.moment().mono) {
                self.carry_out(effect);
            }
            if self.persist.is_some_and(|at| at <= Instant::now()) {
                self.persist = None;
                if let Err(error) = self.disk.remember(&agent.memory(), &agent.digests()) {
                    log::warn!("what is ordered cannot be remembered: {error}");
                }
            }
        }
    }

    /// Tells the agent what is there from an earlier life.
    fn recall(&self, agent: &mut Agent, settings: &Settings) {
        let now = self.clock.moment().mono;
        for (digest, text) in self.disk.bodies() {
            agent.input(now, Input::Body { digest, text: Some(text) });
        }
        let files = found(&settings.units_directory);
        let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        agent.input(now, Input::Found(files));
        self.systemd.ask(Command::Survey(names));
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Fetch(digest) => {
                tokio::spawn(fetch(
                    self.store.clone(),
                    Arc::clone(&self.disk),
                    digest,
                    self.inputs.clone(),
                ));
            }
            Effect::Load(units) => self.systemd.ask(Command::Load(units)),
            Effect::Unload(units) => self.systemd.ask(Command::Unload(units)),
            Effect::Start(unit) => self.systemd.ask(Command::Start(unit)),
            Effect::Stop(unit) => self.systemd.ask(Command::Stop(unit)),
            Effect::PutState(unit, state) => {
                let _ = self.states.send((unit, Some(state)));
            }
            Effect::DeleteState(unit) => {
                let _ = self.states.send((unit, None));
            }
            Effect::Health(unit, command) => {
                let inputs = self.inputs.clone();
                tokio::spawn(async move {
                    let well = health::check(&command).await;
                    let _ = inputs.send(Input::Health { name: unit, well });
                });
            }
            Effect::Persist => {
                self.persist.get_or_insert_with(|| Instant::now() + REMEMBER);
            }
        }
    }
}

/// Fetches a text, however long it takes.
async fn fetch(store: Store, disk: Arc<Disk>, digest: String, inputs: UnboundedSender<Input>) {
    let text = loop {
        match store.body(&digest).await {
            Ok(text) => break text,
            Err(error) => {
                log::debug!("a unit's text cannot be fetched: {}", host::error::chain(&error));
                tokio::time::sleep(TEXT).await;
            }
        }
    };
    match &text {
        Some(text) => {
            if let Err(error) = disk.store_body(&digest, text) {
                log::warn!("a unit's text cannot be kept: {error}");
            }
        }
        None => tokio::time::sleep(TEXT).await,
    }
    let _ = inputs.send(Input::Body { digest, text });
}

/// The query of a URL, with percent signs resolved; of several values the first counts.
pub(super) fn query(text: Option<&str>) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.entry(decode(key)).or_insert_with(|| decode(value));
    }
    pairs
}

/// Resolves percent signs.
pub(super) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
