//! A place in the queue.

use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::record::{Holder, Phase, Waiter};
use super::state::{Held, Obstacle};
use super::{Hold, ROOT, RebootError, RebootLock, Request, Result, check_name, quorum, unix};
use crate::error::Error;
use crate::lease::{Lease, LeaseState};
use crate::txn::Txn;
use crate::watch::Watch;

/// How long a machine that has gone keeps its place.
const PLACE: Duration = Duration::from_secs(30);
/// How often a slot is asked for again if nothing changes: members of etcd come back without a
/// key changing.
const AGAIN: Duration = Duration::from_secs(15);
/// How often a grant is tried against others that are quicker.
const ATTEMPTS: u32 = 8;

/// A place in the queue. It is given up by [`Ticket::leave`], or within half a minute after it is
/// dropped.
#[derive(Debug)]
pub struct Ticket {
    lock: RebootLock,
    request: Request,
    place: Place,
    changes: Watch,
}

/// What keeps the place.
#[derive(Debug)]
enum Place {
    /// A lease that is kept.
    Kept(Lease),
    /// The machine holds a slot already and needs none.
    None,
}

/// Whether a slot was granted.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was. Remember the hold's token: it is what makes the slot yours after the reboot.
    Granted(Hold),
    /// Not now, for these reasons.
    Waiting(Vec<Obstacle>),
}

impl RebootLock {
    /// Queues up. A machine that holds a slot already, from this boot or with the token that it
    /// remembers, is given it by the first [`Ticket::take`].
    ///
    /// # Errors
    /// [`RebootError::Duplicate`] if another machine has the same id.
    pub async fn enqueue(&self, request: Request, now: SystemTime) -> Result<Ticket> {
        check_name("machine", &request.machine)?;
        let held = self.status().await?.held_by(&request.machine).cloned();
        let place = match held {
            Some(held) => {
                self.own(&request, &held)?;
                Place::None
            }
            None => {
                let lease = self.client.lease(PLACE).await?;
                self.queue(&request, now, lease.id()).await?;
                Place::Kept(lease)
            }
        };
        let changes = self.client.watch(ROOT);
        Ok(Ticket { lock: self.clone(), request, place, changes })
    }

    /// Queues up for `place` from now and asks once: for whoever cannot keep a place, and asks
    /// again before it is over.
    ///
    /// # Errors
    /// As of [`RebootLock::enqueue`] and [`Ticket::take`].
    pub async fn ask(
        &self,
        request: &Request,
        place: Duration,
        now: SystemTime,
    ) -> Result<Outcome> {
        check_name("machine", &request.machine)?;
        if let Some(held) = self.status().await?.held_by(&request.machine) {
            self.own(request, held)?;
        } else {
            let lease = self.client.lease(place).await?.detach();
            self.queue(request, now, lease).await?;
        }
        self.take(request, now).await
    }

    /// Whether a slot under this machine's name is its own.
    fn own(&self, request: &Request, held: &Held) -> Result<()> {
        let same_boot = held.holder.boot_id == request.boot_id;
        if request.token == Some(held.token) || same_boot {
            return Ok(());
        }
        Err(self.duplicate("holding a slot", &held.holder.machine, &held.holder.boot_id))
    }

    fn duplicate(&self, doing: &'static str, machine: &str, boot_id: &str) -> RebootError {
        let (machine, boot_id) = (machine.to_owned(), boot_id.to_owned());
        RebootError::Duplicate { machine, doing, group: self.group.clone(), boot_id }
    }

    async fn queue(&self, request: &Request, now: SystemTime, lease: i64) -> Result<()> {
        let key = self.queue_key(&request.machine);
        let waiter = Waiter {
            machine: request.machine.clone(),
            boot_id: request.boot_id.clone(),
            version: request.version.clone(),
            since: unix(now),
        };
        let value = serde_json::to_vec(&waiter).unwrap_or_default();
        loop {
            let txn = Txn::new().absent(&key).put_leased(&key, value.clone(), lease).or_get(&key);
            let committed = self.client.commit(txn).await?;
            if committed.done {
                return Ok(());
            }
            let Some(entry) = committed.found.into_iter().flatten().next() else { continue };
            // A place of an earlier run in this boot is still good; one of an earlier boot, or of
            // another machine, is not.
            match serde_json::from_slice::<Waiter>(&entry.value) {
                Ok(other) if other.boot_id == request.boot_id => {
                    let since = Waiter { since: other.since, ..waiter.clone() };
                    let value = serde_json::to_vec(&since).unwrap_or_default();
                    let txn = Txn::new().unchanged(&entry).put_leased(&key, value, lease);
                    if self.client.commit(txn).await?.done {
                        return Ok(());
                    }
                }
                Ok(other) => {
                    return Err(self.duplicate("waiting", &request.machine, &other.boot_id));
                }
                Err(error) => {
                    let reason = error.to_string();
                    return Err(Error::Malformed { key, reason }.into());
                }
            }
        }
    }

    async fn take(&self, request: &Request, now: SystemTime) -> Result<Outcome> {
        let (machine, version) = (&*request.machine, request.version.as_deref());
        for attempt in 0..ATTEMPTS {
            let state = self.state().await?;
            let group = state.group(&self.group);
            if let Some(held) = group.held_by(machine) {
                self.own(request, held)?;
                return Ok(Outcome::Granted(Hold::new(self.clone(), held.clone())));
            }
            let queued = group.queue.iter().find(|waiting| waiting.waiter.machine == machine);
            let Some(queued) = queued else {
                let (machine, group) = (machine.to_owned(), self.group.clone());
                return Err(RebootError::NotQueued { machine, group });
            };
            let mut obstacles = group.obstacles(machine, version);
            if let (true, Some(member)) = (obstacles.is_empty(), request.member) {
                let mut gone = state.rebooting_members();
                gone.push(member);
                let quorum = quorum::without(&self.client, &gone).await?;
                obstacles.extend((!quorum.holds()).then_some(Obstacle::Quorum(quorum)));
            }
            if !obstacles.is_empty() {
                return Ok(Outcome::Waiting(obstacles));
            }
            let holder = Holder {
                machine: machine.to_owned(),
                boot_id: request.boot_id.clone(),
                version: request.version.clone(),
                member: request.member.map(|id| format!("{id:x}")),
                phase: Phase::Granted,
                since: unix(now),
                deadline: unix(now + request.hold),
            };
            let (queue_key, holder_key) = (self.queue_key(machine), self.holder_key(machine));
            let txn = Txn::new()
                .none_set_below(ROOT, state.revision)
                .created_in(&queue_key, queued.number)
                .absent(&holder_key)
                .put(&holder_key, serde_json::to_vec(&holder).unwrap_or_default())
                .delete(&queue_key);
            match self.client.commit(txn).await {
                Ok(committed) if committed.done => {
                    let held = Held { holder, token: committed.revision };
                    return Ok(Outcome::Granted(Hold::new(self.clone(), held)));
                }
                // Somebody changed something, or nobody knows: look again.
                Ok(_) => {}
                Err(error) if error.is_uncertain() => {}
                Err(error) => return Err(error.into()),
            }
            sleep(Duration::from_millis(5) * (1 << attempt)).await;
        }
        Ok(Outcome::Waiting(vec![Obstacle::Contended]))
    }
}

impl Ticket {
    /// Takes a slot if there is nothing in the way.
    ///
    /// # Errors
    /// [`RebootError::NotQueued`] if the place is gone: queue up again.
    pub async fn take(&mut self, now: SystemTime) -> Result<Outcome> {
        if let Place::Kept(lease) = &self.place
            && lease.state() == LeaseState::Lost
        {
            let (machine, group) = (self.request.machine.clone(), self.lock.group.clone());
            return Err(RebootError::NotQueued { machine, group });
        }
        self.lock.take(&self.request, now).await
    }

    /// Waits until asking again may have another answer, a quarter of a minute at most. May be
    /// given up at any time.
    pub async fn changed(&mut self) {
        let _ = timeout(AGAIN, self.changes.next()).await;
    }

    /// Leaves the queue.
    ///
    /// # Errors
    /// Any; the place is then given up half a minute later.
    pub async fn leave(self) -> Result<()> {
        match self.place {
            Place::Kept(lease) => Ok(lease.revoke().await?),
            Place::None => Ok(()),
        }
    }
}
