//! Leading: winning the key, reading everything, writing what the engine decides.

use std::time::Duration;

use cluster::{Entry, Error, Event, Txn, Update, Watch};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::presence::Standing;
use super::run::Clock;
use super::store::{Store, fill};
use crate::engine::{Effect, Engine, Op, Times};
use crate::model::{Event as Record, Key, Leader, World};

const PAUSE: Duration = Duration::from_secs(1);
/// How long events are kept.
const EVENTS: Duration = Duration::from_secs(24 * 3600);
/// The kinds that others write and the engine watches.
const WATCHED: [&str; 5] = ["units/", "machines/", "state/", "rollout/", "engine/"];
/// The kinds that only the engine writes.
const OWN: [&str; 3] = ["sched/", "global/", "failures/"];

/// A machine's engine.
pub(super) struct Runner {
    pub(super) id: String,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) events: u64,
    pub(super) times: Times,
}

impl Runner {
    /// Leads whenever it can, for ever.
    pub(super) async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(error) => {
                    log::debug!("engine: {}", host::error::chain(&error));
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Waits until there is no leader, tries to be it, and leads for as long as that holds.
    async fn turn(&mut self) -> Result<(), Error> {
        let lease = match &*self.standing.borrow_and_update() {
            Standing::In(lease) => Some(*lease),
            Standing::Out(_) => None,
        };
        let Some(lease) = lease else {
            let _ = self.standing.changed().await;
            return Ok(());
        };
        let path = self.store.path(&Key::Leader);
        let leader = Leader { machine: self.id.clone(), since: self.clock.moment().wall };
        let value = serde_json::to_vec(&leader).unwrap_or_default();
        let txn = Txn::new().absent(&path).put_leased(&path, value, lease).or_get(&path);
        let answer = self.store.client.commit(txn).await?;
        let term = if answer.done {
            answer.revision
        } else {
            match answer.found.first().and_then(|found| found.first()) {
                // Of an earlier life under the same lease.
                Some(entry) if entry.lease == Some(lease) => entry.create_revision,
                Some(entry) => return self.wait(entry).await,
                None => return Ok(()),
            }
        };
        log::info!("leads the cluster");
        let result = self.lead(term).await;
        log::info!("leads no more");
        result
    }

    /// Follows a leader until its key is gone or this machine's standing changes.
    async fn wait(&mut self, entry: &Entry) -> Result<(), Error> {
        let mut watch = self.store.client.watch_after(&entry.key, entry.mod_revision);
        loop {
            tokio::select! {
                _ = self.standing.changed() => return Ok(()),
                update = watch.next() => match update {
                    Update::Changed(change)
                        if change.events.iter().any(|event| matches!(event, Event::Delete { .. })) =>
                    {
                        return Ok(());
                    }
                    Update::Snapshot { entries, .. } if entries.is_empty() => return Ok(()),
                    _ => {}
                },
            }
        }
    }

    async fn lead(&mut self, term: i64) -> Result<(), Error> {
        let mut engine = Engine::new(self.times);
        let mut sources: Vec<(Watch, bool)> = WATCHED
            .iter()
            .map(|kind| (self.store.client.watch(&self.store.keys.below(kind)), false))
            .collect();
        let mut snapshots: Vec<Vec<Entry>> = vec![Vec::new(); sources.len()];
        let mut interrupted = false;
        let mut events: Option<(i64, Instant)> = None;
        loop {
            let moment = self.clock.moment();
            let wake = engine.next(moment).map(|at| self.clock.instant(at));
            let (a, rest) = sources.split_at_mut(1);
            let (b, rest) = rest.split_at_mut(1);
            let (c, rest) = rest.split_at_mut(1);
            let (d, e) = rest.split_at_mut(1);
            let first = tokio::select! {
                update = a[0].0.next() => Some((0, update)),
                update = b[0].0.next() => Some((1, update)),
                update = c[0].0.next() => Some((2, update)),
                update = d[0].0.next() => Some((3, update)),
                update = e[0].0.next() => Some((4, update)),
                () = async { match wake { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => None,
                changed = self.standing.changed() => {
                    let out = matches!(&*self.standing.borrow_and_update(), Standing::Out(_));
                    if out || changed.is_err() {
                        return Ok(());
                    }
                    None
                }
            };
            let moment = self.clock.moment();
            let mut anew = false;
            if let Some((index, update)) = first {
                match update {
                    Update::Snapshot { entries, .. } => {
                        snapshots[index] = entries;
                        sources[index].1 = true;
                        anew = true;
                    }
                    Update::Changed(change) => {
                        for event in &change.events {
                            let Some(key) = self.store.keys.parse(event.key()) else { continue };
                            let value = match event {
                                Event::Put { entry, .. } => Some(entry.value.as_slice()),
                                Event::Delete { .. } if key == Key::Leader => return Ok(()),
                                Event::Delete { .. } => None,
                            };
                            engine.input(moment, &key, value);
                        }
                    }
                    Update::Interrupted { reason } => {
                        // All sources tell it.
                        if !std::mem::replace(&mut interrupted, true) {
                            log::info!("engine: etcd does not answer: {reason}");
                        }
                    }
                    Update::Resumed => {
                        interrupted = false;
                        engine.reconnected(moment);
                    }
                }
            }
            if anew && sources.iter().all(|(_, told)| *told) {
                let anew = engine.leads();
                let mut world = World::default();
                for (entries, kind) in snapshots.iter_mut().zip(WATCHED) {
                    if anew {
                        // One was told anew; the others have changed since they were.
                        self.store.read(kind, &mut world).await?;
                    } else {
                        fill(&self.store.keys, &mut world, entries);
                    }
                    entries.clear();
                }
                for kind in OWN {
                    self.store.read(kind, &mut world).await?;
                }
                engine.lead(moment, u64::try_from(term).unwrap_or_default(), world);
            }
            for effect in engine.react(moment) {
                match effect {
                    Effect::Write(ops) => {
                        if !self.write(term, &ops).await {
                            return Ok(());
                        }
                    }
                    Effect::Event { about, what } => {
                        log::info!("{about} {what}");
                        let now = Instant::now();
                        if events.is_none_or(|(_, since)| since.elapsed() > EVENTS / 24) {
                            let lease = self.store.client.lease(EVENTS + EVENTS / 24).await?;
                            events = Some((lease.detach(), now));
                        }
                        if let Some((lease, _)) = events {
                            self.events += 1;
                            let at = moment.wall;
                            let record = Record { at, about, what };
                            self.store.event(lease, at, self.events, &record).await;
                        }
                    }
                }
            }
        }
    }

    /// Writes if this engine still leads; tells whether it does. What may have been written is
    /// written again: all of it says the same the second time.
    async fn write(&mut self, term: i64, ops: &[Op]) -> bool {
        loop {
            let mut txn = Txn::new().created_in(&self.store.path(&Key::Leader), term);
            for op in ops {
                txn = match op {
                    Op::Put(key, value) => txn.put(&self.store.path(key), value.as_str()),
                    Op::Exchange(key, old, value) => {
                        let path = self.store.path(key);
                        txn.equal(&path, old.as_str()).put(&path, value.as_str())
                    }
                    Op::Delete(key) => txn.delete(&self.store.path(key)),
                };
            }
            match self.store.client.commit(txn).await {
                Ok(answer) => return answer.done,
                Err(error) => {
                    log::info!("engine: {}", host::error::chain(&error));
                    if matches!(&*self.standing.borrow(), Standing::Out(_)) {
                        return false;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}
