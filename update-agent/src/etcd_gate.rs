//! Leave to reboot from the slots that a group has in etcd.
//!
//! The one module that knows the cluster's library and its runtime. A place in the queue is kept
//! alive beside everything else that the agent does, so nobody loses his turn by waiting.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use channels::time::Time;
use cluster::machine::RUN;
use cluster::reboot::{Outcome, Phase, RebootLock, Request, Ticket, local_member};
use cluster::settings::Identity;
use cluster::{Client, MachineCluster, Settings, Tls};
use tokio::runtime::Runtime;

use crate::facts::Facts;
use crate::gate::{Answer, RebootGate};
use crate::settings::Lock;

/// How long after the grant a machine wants to be back: shutdown, a boot on slow hardware, the
/// health gate's whole deadline, and once more for going back.
const HOLD: Duration = Duration::from_secs(3600);

/// A group's slots in etcd.
pub struct EtcdGate {
    runtime: Runtime,
    lock: RebootLock,
    local: Settings,
    request: Request,
    ticket: Option<Ticket>,
    /// The token of the slot that is held.
    token: Option<i64>,
}

impl fmt::Debug for EtcdGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdGate").field("lock", &self.lock).finish_non_exhaustive()
    }
}

impl EtcdGate {
    /// The slots of the settings' group. `version` is what the machine goes to, `token` what it
    /// remembers of a slot that it holds.
    pub fn new(
        settings: &Lock,
        facts: &Facts,
        version: Option<String>,
        token: Option<i64>,
    ) -> Result<EtcdGate, String> {
        let told = |error: &dyn std::error::Error| host::error::chain(error);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| told(&error))?;
        let (etcd, local) = etcd_settings(settings);
        let group = settings.group.as_deref().unwrap_or(cluster::reboot::DEFAULT_GROUP);
        let lock = runtime.block_on(async {
            let client = Client::new(etcd).map_err(|error| told(&error))?;
            RebootLock::new(client, group).map_err(|error| told(&error))
        })?;
        let request = Request {
            machine: facts.machine_id.clone(),
            boot_id: facts.boot_id.clone(),
            version,
            member: None,
            hold: HOLD,
            token,
        };
        Ok(EtcdGate { runtime, lock, local, request, ticket: None, token })
    }

    /// Says in the group that a release failed on this machine: enough of that, and nobody takes
    /// it. The slot is given back with it, if one is held.
    pub fn report(&mut self, version: &str, reason: &str, now: Time) -> Result<(), String> {
        let (lock, machine, token) = (&self.lock, self.request.machine.clone(), self.token);
        self.runtime.block_on(async {
            if let Some(token) = token
                && let Some(hold) =
                    lock.held(&machine, token).await.map_err(|e| host::error::chain(&e))?
            {
                let failed = hold.fail(version, reason, system(now)).await;
                return failed.map_err(|error| host::error::chain(&error));
            }
            let told = lock.report_failure(version, &machine, reason, system(now)).await;
            told.map_err(|error| host::error::chain(&error))
        })
    }

    /// Why nobody in the group takes a release, if that is so.
    pub fn stopped(&self, version: &str) -> Result<Option<String>, String> {
        let status = self.runtime.block_on(self.lock.status());
        let status = status.map_err(|error| host::error::chain(&error))?;
        let halted =
            status.halt.as_ref().map(|halt| format!("the group is halted: {}", halt.reason));
        Ok(status.stopped(version).map(|obstacle| obstacle.to_string()).or(halted))
    }
}

/// How etcd is reached: for the lock, and the member of this machine.
fn etcd_settings(lock: &Lock) -> (Settings, Settings) {
    let path = |at: usize| lock.files[at].as_ref().map(PathBuf::from);
    let identity = match (path(1), path(2)) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        _ => None,
    };
    let tls = Tls { authority: path(0), identity };
    let with = |settings: Settings| match tls == Tls::default() {
        true => settings,
        false => settings.with_tls(tls.clone()),
    };
    let etcd = match lock.endpoints.is_empty() {
        // A machine that has no etcd of its own was told where the others have theirs.
        true => match MachineCluster::read(Path::new(RUN)) {
            Some(cluster) => cluster.settings(),
            None => Settings::local(),
        },
        false => Settings::new(lock.endpoints.clone()),
    };
    (with(etcd), Settings::local())
}

fn system(time: Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.unix()).unwrap_or(0))
}

impl RebootGate for EtcdGate {
    fn ask(&mut self, now: Time) -> Result<Answer, String> {
        let EtcdGate { runtime, lock, local, request, ticket, token } = self;
        runtime.block_on(async {
            let told = |error: cluster::reboot::RebootError| host::error::chain(&error);
            if ticket.is_none() {
                // Whether etcd can do without this machine is its own affair.
                request.member = local_member(local).await;
                *ticket = Some(lock.enqueue(request.clone(), system(now)).await.map_err(told)?);
            }
            let Some(place) = ticket else { return Err("no place in the queue".to_owned()) };
            match place.take(system(now)).await {
                Ok(Outcome::Granted(mut hold)) => {
                    *token = Some(hold.token());
                    *ticket = None;
                    hold.enter(Phase::Rebooting).await.map_err(told)?;
                    Ok(Answer::Granted)
                }
                Ok(Outcome::Waiting(obstacles)) => {
                    let reasons: Vec<_> = obstacles.iter().map(ToString::to_string).collect();
                    Ok(Answer::Wait(reasons.join("; ")))
                }
                Err(error) => {
                    // The next time it queues up again.
                    *ticket = None;
                    Err(told(error))
                }
            }
        })
    }

    fn release(&mut self) -> Result<(), String> {
        let EtcdGate { runtime, lock, request, ticket, token, .. } = self;
        runtime.block_on(async {
            let told = |error: cluster::reboot::RebootError| host::error::chain(&error);
            if let Some(place) = ticket.take() {
                place.leave().await.map_err(told)?;
            }
            if let Some(held) = *token
                && let Some(hold) = lock.held(&request.machine, held).await.map_err(told)?
            {
                hold.release().await.map_err(told)?;
            }
            *token = None;
            Ok(())
        })
    }

    fn token(&self) -> Option<i64> {
        self.token
    }
}

/// What people do to a group's slots, by the words of locksmithctl.
#[derive(Debug)]
pub struct Operator {
    runtime: Runtime,
    lock: RebootLock,
}

/// The slots of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// How many there are.
    pub most: u32,
    /// The machines that hold one.
    pub holders: Vec<String>,
}

impl Operator {
    /// For the group of the settings.
    pub fn new(settings: &Lock) -> Result<Operator, String> {
        let told = |error: &dyn std::error::Error| host::error::chain(error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| told(&error))?;
        let group = settings.group.as_deref().unwrap_or(cluster::reboot::DEFAULT_GROUP);
        let lock = runtime.block_on(async {
            let client = Client::new(etcd_settings(settings).0).map_err(|error| told(&error))?;
            RebootLock::new(client, group).map_err(|error| told(&error))
        })?;
        Ok(Operator { runtime, lock })
    }

    /// The slots and who holds them.
    pub fn slots(&self) -> Result<Slots, String> {
        let status = self.runtime.block_on(self.lock.status());
        let status = status.map_err(|error| host::error::chain(&error))?;
        let holders = status.holders.into_iter().map(|held| held.holder.machine).collect();
        Ok(Slots { most: status.slots, holders })
    }

    /// Sets how many there are; returns how many there were.
    pub fn set_slots(&self, slots: u32) -> Result<u32, String> {
        let before = self.runtime.block_on(self.lock.set_slots(slots));
        before.map_err(|error| host::error::chain(&error))
    }

    /// Releases the slot of a machine that will not do it.
    pub fn unlock(&self, machine: &str) -> Result<(), String> {
        let done = self.runtime.block_on(self.lock.unlock(machine));
        done.map_err(|error| host::error::chain(&error))
    }
}
