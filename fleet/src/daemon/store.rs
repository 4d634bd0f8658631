//! etcd, as this daemon uses it.

use std::path::Path;
use std::time::Duration;

use cluster::machine::{RECORD, RUN};
use cluster::{Client, Entry, Error, MachineCluster, Txn};

use super::settings::Settings;
use crate::model::{Key, Keys, World};

/// etcd below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) client: Client,
    pub(super) keys: Keys,
    /// Whether the machine's record says where etcd is, and no setting does.
    told: bool,
}

impl Store {
    pub(super) fn new(settings: &Settings) -> Result<Store, Error> {
        // A machine that has no etcd of its own was told where the others have theirs.
        let told = settings.etcd_servers == Settings::default().etcd_servers;
        let to = match MachineCluster::read(Path::new(RUN)).filter(|_| told) {
            Some(cluster) => cluster.settings(),
            None => cluster::Settings::new(settings.etcd_servers.iter().cloned()),
        };
        let mut to = to.with_deadline(settings.etcd_request_timeout.max(Duration::from_secs(2)));
        if settings.etcd_cafile.is_some() || settings.etcd_certfile.is_some() {
            let identity = settings.etcd_certfile.clone().zip(settings.etcd_keyfile.clone());
            to = to.with_tls(cluster::Tls {
                authority: settings.etcd_cafile.clone(),
                identity: identity
                    .map(|(certificate, key)| cluster::settings::Identity { certificate, key }),
            });
        }
        if let Some(name) = settings.etcd_username.clone() {
            let password = settings.etcd_password.clone().unwrap_or_default();
            to.user = Some(cluster::settings::User { name, password });
        }
        let keys = Keys::new(&settings.etcd_key_prefix);
        Ok(Store { client: Client::new(to)?, keys, told })
    }

    /// Learns of members that have come since, and puts them on the machine's record, for the
    /// other programs and the next start. Failing is no reason to stop.
    pub(super) async fn refresh(&self) {
        match self.client.refresh().await {
            Ok(members) => self.record(members),
            Err(error) => log::debug!("members of etcd: {}", host::error::chain(&error)),
        }
    }

    fn record(&self, mut members: Vec<String>) {
        let run = Path::new(RUN);
        let Some(record) = MachineCluster::read(run).filter(|_| self.told) else { return };
        let mut known = record.endpoints.clone();
        known.sort();
        members.sort();
        if members.is_empty() || members == known {
            return;
        }
        log::info!("etcd is at {}", members.join(","));
        let record = MachineCluster { endpoints: members, ..record };
        if let Err(error) = host::durable::write(&run.join(RECORD), &record.to_json(), 0o644) {
            log::warn!("{}", host::error::chain(&error));
        }
    }

    /// Reads the machine's record again: it may have joined only since this daemon started.
    pub(super) fn look_again(&self) {
        if let Some(record) = MachineCluster::read(Path::new(RUN)).filter(|_| self.told) {
            self.client.learn(&record.endpoints);
        }
    }

    pub(super) fn path(&self, key: &Key) -> String {
        self.keys.path(key)
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        self.client.get(&self.path(key)).await
    }

    /// Everything but texts and events, as of one revision for each kind.
    pub(super) async fn world(&self) -> Result<World, Error> {
        let mut world = World::default();
        for kind in [
            "units/",
            "machines/",
            "sched/",
            "global/",
            "state/",
            "failures/",
            "rollout/",
            "engine/",
        ] {
            self.read(kind, &mut world).await?;
        }
        Ok(world)
    }

    /// Adds one kind to a view.
    pub(super) async fn read(&self, kind: &str, world: &mut World) -> Result<(), Error> {
        let listing = self.client.list(&self.keys.below(kind)).await?;
        fill(&self.keys, world, &listing.entries);
        Ok(())
    }

    /// A unit file's text.
    pub(super) async fn body(&self, digest: &str) -> Result<Option<String>, Error> {
        let entry = self.get(&Key::Body(digest.to_string())).await?;
        Ok(entry.map(|entry| entry.text().into_owned()))
    }

    /// Writes down that something happened; kept for a day. Failing is no reason to stop.
    pub(super) async fn event(
        &self,
        lease: i64,
        at: u64,
        number: u64,
        event: &crate::model::Event,
    ) {
        let key = self.path(&Key::Event(format!("{at:015}-{number:06}")));
        let value = serde_json::to_vec(event).unwrap_or_default();
        if let Err(error) = self.client.commit(Txn::new().put_leased(&key, value, lease)).await {
            log::debug!("an event is not written: {}", host::error::chain(&error));
        }
    }
}

/// Puts entries into a view.
pub(super) fn fill(keys: &Keys, world: &mut World, entries: &[Entry]) {
    for entry in entries {
        let Some(key) = keys.parse(&entry.key) else { continue };
        if let Err(error) = world.set(&key, Some(&entry.value)) {
            log::warn!("{}", host::error::chain(&error));
        }
    }
}
