//! The machine's place in the cluster: its lease, its registration, and what it is told there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Error, Event, Lease, LeaseState, Txn, Update, Watch};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::disk::Disk;
use super::run::Clock;
use super::store::{Store, fill};
use crate::agent::Input;
use crate::model::{Key, MachineInfo, World};

/// Between two attempts to register.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a machine that is not let in says so.
const COMPLAIN: Duration = Duration::from_secs(30);
/// How often it is looked which members etcd has.
const MEMBERS: Duration = Duration::from_secs(300);

/// The machine's standing, for whoever has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not registered, and why.
    Out(String),
    /// Registered under this lease.
    In(i64),
}

/// What presence needs.
pub(super) struct Presence {
    pub(super) id: String,
    pub(super) info: MachineInfo,
    pub(super) ttl: Duration,
    pub(super) store: Store,
    pub(super) disk: Arc<Disk>,
    pub(super) clock: Clock,
    pub(super) inputs: UnboundedSender<Input>,
    pub(super) standing: watch::Sender<Standing>,
}

impl Presence {
    /// Registers, and again whenever the lease is lost, for ever.
    pub(super) async fn run(self) {
        let mut said: Option<(String, Instant)> = None;
        loop {
            match self.register().await {
                Ok(lease) => {
                    said = None;
                    let reason = self.stay(lease).await;
                    log::warn!("no longer registered: {reason}");
                    let _ = self.standing.send(Standing::Out(reason));
                    let _ = self.inputs.send(Input::Lease { live: false, sent: 0 });
                }
                Err(reason) => {
                    let due = said
                        .as_ref()
                        .is_none_or(|(old, at)| *old != reason || at.elapsed() >= COMPLAIN);
                    if due {
                        log::warn!("not registered: {reason}");
                        said = Some((reason.clone(), Instant::now()));
                    }
                    let _ = self.standing.send(Standing::Out(reason));
                    self.store.look_again();
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// A lease with the machine's own key on it.
    async fn register(&self) -> Result<Lease, String> {
        let say = |error: Error| host::error::chain(&error);
        let key = Key::Info(self.id.clone());
        let path = self.store.path(&key);
        let old = self.store.get(&key).await.map_err(say)?;
        let mut rebooted = false;
        if let Some(entry) = &old {
            let known: Option<MachineInfo> = serde_json::from_slice(&entry.value).ok();
            let of_this_boot = known.is_some_and(|known| known.boot_id == self.info.boot_id);
            // This machine before its reboot, or a copy of its disk; of two copies the later one
            // gets a lease that the other does not know, so they do not take turns.
            let of_this_disk = entry.lease.is_some() && entry.lease == self.disk.lease();
            if !of_this_boot && !of_this_disk {
                return Err(format!(
                    "machine id {} is registered by another boot; if this stays so for longer than {} s, \
                     two machines have one machine id",
                    self.id,
                    self.ttl.as_secs()
                ));
            }
            rebooted = !of_this_boot;
        }
        let known = match &old {
            Some(entry) => entry.lease.filter(|_| !rebooted),
            None => self.disk.lease(),
        };
        let lease = match known {
            Some(number) => self.store.client.lease_again(number, self.ttl).await,
            None => self.store.client.lease(self.ttl).await,
        }
        .map_err(say)?;
        let value = serde_json::to_vec(&self.info).map_err(|error| error.to_string())?;
        let txn = match &old {
            Some(entry) => Txn::new().unchanged(entry),
            None => Txn::new().absent(&path),
        };
        let done = self
            .store
            .client
            .commit(txn.put_leased(&path, value, lease.id()))
            .await
            .map_err(say)?;
        if !done.done {
            return Err("somebody else registered under this machine id just now".to_string());
        }
        self.disk.store_lease(lease.id());
        Ok(lease)
    }

    /// Keeps the machine registered and the agent informed, until the lease is lost.
    async fn stay(&self, mut lease: Lease) -> String {
        let watch = |tail: &str| self.store.client.watch(&self.store.keys.below(tail));
        let mut sources = [
            Source::new(watch(&format!("sched/{}/", self.id))),
            Source::new(watch("global/")),
            Source::new(watch(&format!("machines/{}/", self.id))),
        ];
        let mut announced = false;
        let mut doubt: Option<Instant> = None;
        let store = self.store.clone();
        let learning = async move {
            loop {
                store.refresh().await;
                sleep(MEMBERS).await;
            }
        };
        let mut learning = std::pin::pin!(learning);
        loop {
            let [orders, globals, own] = &mut sources;
            let update = tokio::select! {
                state = lease.changed() => {
                    match state {
                        LeaseState::Kept { until } => {
                            doubt = None;
                            if announced {
                                self.alive(until);
                            }
                        }
                        LeaseState::Doubtful { until } => doubt = Some(until),
                        LeaseState::Lost => return "the lease ran out".to_string(),
                    }
                    continue;
                }
                () = async { match doubt { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                    doubt = None;
                    log::warn!("etcd has not answered for {} s; units keep running", self.ttl.as_secs());
                    let _ = self.inputs.send(Input::Lease { live: false, sent: 0 });
                    continue;
                }
                () = &mut learning => continue,
                update = orders.watch.next() => (0, update),
                update = globals.watch.next() => (1, update),
                update = own.watch.next() => (2, update),
            };
            let (index, update) = update;
            let fresh = match update {
                Update::Snapshot { entries, .. } => {
                    sources[index].world = World::default();
                    fill(&self.store.keys, &mut sources[index].world, &entries);
                    sources[index].told = true;
                    true
                }
                Update::Changed(change) => {
                    for event in &change.events {
                        if let Err(reason) = self.changed(&mut sources, index, event, announced) {
                            return reason;
                        }
                    }
                    false
                }
                Update::Interrupted { reason } => {
                    log::debug!("orders may be out of date: {reason}");
                    false
                }
                Update::Resumed => false,
            };
            if fresh && sources.iter().all(|source| source.told) {
                self.inform(&sources);
                if !announced {
                    announced = true;
                    self.sweep(&sources).await;
                    let _ = self.inputs.send(Input::Registered);
                    let until = match lease.state() {
                        LeaseState::Kept { until } | LeaseState::Doubtful { until } => until,
                        LeaseState::Lost => return "the lease ran out".to_string(),
                    };
                    self.alive(until);
                    let _ = self.standing.send(Standing::In(lease.id()));
                    log::info!("registered as {}", self.id);
                }
            }
        }
    }

    fn alive(&self, until: Instant) {
        let sent = until.checked_sub(self.ttl).unwrap_or(until);
        let _ = self.inputs.send(Input::Lease { live: true, sent: self.clock.millis(sent) });
    }

    fn changed(
        &self,
        sources: &mut [Source; 3],
        index: usize,
        event: &Event,
        announced: bool,
    ) -> Result<(), String> {
        let Some(key) = self.store.keys.parse(event.key()) else { return Ok(()) };
        let value = match event {
            Event::Put { entry, .. } => Some(entry.value.as_slice()),
            Event::Delete { .. } => None,
        };
        let world = &mut sources[index].world;
        if let Err(error) = world.set(&key, value) {
            log::warn!("{}", host::error::chain(&error));
        }
        if !announced {
            return Ok(());
        }
        let host = world.machines.get(&self.id);
        let input = match key {
            Key::Order(_, unit) => {
                let order = host.and_then(|host| host.orders.get(&unit).cloned());
                Input::Order(unit, order)
            }
            Key::Global(unit) => {
                let order = world.globals.get(&unit).cloned();
                Input::Global(unit, order)
            }
            Key::Meta(..) => Input::Metadata(self.metadata(world)),
            Key::Cordon(_) => {
                Input::Cordon(host.and_then(|host| host.cordon.as_ref()).map(|cordon| cordon.phase))
            }
            Key::Info(_) => {
                let info = host.and_then(|host| host.info.as_ref());
                return match info {
                    Some(info) if info.boot_id != self.info.boot_id => Err(format!(
                        "another machine registered under machine id {}: two machines have one machine id",
                        self.id
                    )),
                    Some(_) => Ok(()),
                    None => Err("the registration was deleted".to_string()),
                };
            }
            _ => return Ok(()),
        };
        let _ = self.inputs.send(input);
        Ok(())
    }

    fn metadata(&self, world: &World) -> BTreeMap<String, String> {
        let mut host = world.machines.get(&self.id).cloned().unwrap_or_default();
        host.info = Some(self.info.clone());
        host.metadata()
    }

    fn inform(&self, sources: &[Source; 3]) {
        let host = |index: usize| sources[index].world.machines.get(&self.id);
        let _ = self.inputs.send(Input::Orders {
            orders: host(0).map(|host| host.orders.clone()).unwrap_or_default(),
            globals: sources[1].world.globals.clone(),
            metadata: self.metadata(&sources[2].world),
            cordon: host(2).and_then(|host| host.cordon.as_ref()).map(|cordon| cordon.phase),
        });
    }

    /// Deletes states of an earlier life that nobody would ever change again.
    async fn sweep(&self, sources: &[Source; 3]) {
        let below = self.store.keys.below(&format!("state/{}/", self.id));
        let Ok(listing) = self.store.client.list(&below).await else { return };
        let orders = sources[0].world.machines.get(&self.id).map(|host| &host.orders);
        for entry in listing.entries {
            let Some(Key::State(_, unit)) = self.store.keys.parse(&entry.key) else { continue };
            let ordered = orders.is_some_and(|orders| orders.contains_key(&unit));
            if !ordered && !sources[1].world.globals.contains_key(&unit) {
                let _ = self.store.client.delete(&entry.key).await;
            }
        }
    }
}

/// One watched prefix and what is there.
struct Source {
    watch: Watch,
    world: World,
    told: bool,
}

impl Source {
    fn new(watch: Watch) -> Source {
        Source { watch, world: World::default(), told: false }
    }
}
