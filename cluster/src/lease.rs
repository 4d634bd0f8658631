//! Keys that go when their owner does.
//!
//! A lease is kept by a task that asks etcd for more time at a third of it, through whichever
//! member answers. Whether it still is there is known from etcd alone: while nobody answers it is
//! doubtful, even past its time, for a cluster whose leader changed gives every lease its whole
//! time again.

use std::time::Duration;

use etcd_client::{LeaseGrantOptions, LeaseKeepAliveStream, LeaseKeeper};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Code;

use crate::client::{Client, Kind};
use crate::error::{Error, Result};

/// The longest wait for an answer, and the longest pause before asking again.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What is known of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It lasts at least until then, on this machine's monotonic clock.
    Kept {
        /// Its time as last granted, counted from before it was asked for.
        until: Instant,
    },
    /// etcd has not answered since it was last extended.
    Doubtful {
        /// Until when it lasted for certain.
        until: Instant,
    },
    /// It is gone, and with it every key that hung on it.
    Lost,
}

/// A lease that is kept. Dropping it stops that, and etcd takes its keys when its time is over;
/// [`Lease::revoke`] gives them up at once.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    id: i64,
    state: watch::Receiver<LeaseState>,
    task: JoinHandle<()>,
}

impl Client {
    /// A new lease of `time`, kept until it is dropped. etcd counts whole seconds.
    ///
    /// # Errors
    /// Any; after [`Error::Uncertain`] a lease may be there that nobody keeps.
    pub async fn lease(&self, time: Duration) -> Result<Lease> {
        let asked = Instant::now();
        let answer = self
            .call(Kind::Change, |client| {
                let mut leases = client.lease_client();
                async move { leases.grant(seconds(time), None).await }
            })
            .await?;
        Ok(self.kept(answer.id(), Duration::from_secs(answer.ttl().unsigned_abs()), asked))
    }

    /// The lease that has this number, extended and kept, or a new one under this number: for
    /// programs that start again and want their keys to stay.
    ///
    /// # Errors
    /// Any; after [`Error::Uncertain`] a lease may be there that nobody keeps.
    pub async fn lease_again(&self, id: i64, time: Duration) -> Result<Lease> {
        let asked = Instant::now();
        let result = self
            .call(Kind::Change, |client| {
                let mut leases = client.lease_client();
                let options = LeaseGrantOptions::new().with_id(id);
                async move { leases.grant(seconds(time), Some(options)).await }
            })
            .await;
        match result {
            Ok(answer) => {
                Ok(self.kept(id, Duration::from_secs(answer.ttl().unsigned_abs()), asked))
            }
            // "lease already exists"
            Err(Error::Refused { code: Code::FailedPrecondition, .. }) => {
                let asked = Instant::now();
                let (_, _, granted) = extend(self, id).await?;
                Ok(self.kept(id, granted, asked))
            }
            Err(error) => Err(error),
        }
    }

    fn kept(&self, id: i64, granted: Duration, asked: Instant) -> Lease {
        let (sender, state) = watch::channel(LeaseState::Kept { until: asked + granted });
        let keeper = Keeper { client: self.clone(), id, granted, asked, sender };
        Lease { client: self.clone(), id, state, task: tokio::spawn(keeper.run()) }
    }
}

impl Lease {
    /// Its number, for [`crate::Txn::put_leased`].
    pub fn id(&self) -> i64 {
        self.id
    }

    /// What is known of it now.
    pub fn state(&self) -> LeaseState {
        *self.state.borrow()
    }

    /// Waits until something else is known of it than what was last seen by this.
    pub async fn changed(&mut self) -> LeaseState {
        // The task ends only after it has said that the lease is lost.
        let _ = self.state.changed().await;
        *self.state.borrow_and_update()
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| *state == LeaseState::Lost).await;
    }

    /// Stops keeping it, and returns its number: it ends when its time is over.
    pub fn detach(self) -> i64 {
        self.id
    }

    /// Gives it up: all keys that hang on it are deleted now.
    ///
    /// # Errors
    /// Any; etcd then deletes them when its time is over.
    pub async fn revoke(self) -> Result<()> {
        self.task.abort();
        let id = self.id;
        let result = self
            .client
            .call(Kind::Change, |client| {
                let mut leases = client.lease_client();
                async move { leases.revoke(id).await }
            })
            .await;
        match result {
            Ok(_) | Err(Error::Refused { code: Code::NotFound, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    client: Client,
    id: i64,
    granted: Duration,
    /// When the last time was asked for that was granted.
    asked: Instant,
    sender: watch::Sender<LeaseState>,
}

impl Keeper {
    async fn run(mut self) {
        sleep_until(self.asked + self.interval()).await;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.keep().await {
                Error::NoLease { .. } => {
                    self.sender.send_replace(LeaseState::Lost);
                    return;
                }
                error => {
                    let until = self.asked + self.granted;
                    let doubtful = LeaseState::Doubtful { until };
                    let new = self.sender.send_if_modified(|state| {
                        let new = matches!(state, LeaseState::Kept { .. });
                        *state = doubtful;
                        new
                    });
                    if new {
                        pause = FIRST_PAUSE;
                        log::debug!("lease {:x} is doubtful: {error}", self.id);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(PATIENCE);
                }
            }
        }
    }

    /// Keeps it over one connection, for as long as that works.
    async fn keep(&mut self) -> Error {
        let asked = Instant::now();
        let (mut keeper, mut answers, granted) = match extend(&self.client, self.id).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        self.extended(asked, granted);
        loop {
            sleep(self.interval()).await;
            let asked = Instant::now();
            let answer = async {
                keeper.keep_alive().await?;
                answers.message().await
            };
            match timeout(self.patience(), answer).await {
                Ok(Ok(Some(answer))) if answer.ttl() > 0 => {
                    self.extended(asked, Duration::from_secs(answer.ttl().unsigned_abs()));
                }
                Ok(Ok(Some(_))) => return Error::NoLease { lease: self.id },
                Ok(Ok(None)) => return self.gone("the stream ended"),
                Ok(Err(error)) => return self.gone(&error.to_string()),
                Err(_) => return self.gone("no answer in time"),
            }
        }
    }

    fn extended(&mut self, asked: Instant, granted: Duration) {
        self.asked = asked;
        self.granted = granted;
        self.sender.send_replace(LeaseState::Kept { until: asked + granted });
    }

    fn gone(&self, reason: &str) -> Error {
        let endpoint = self.client.current();
        self.client.move_on(&endpoint);
        Error::Uncertain { endpoint: endpoint.url.clone(), reason: reason.to_owned() }
    }

    /// A third of the time, and up to a tenth of that less, so that a thousand machines that
    /// started together do not ask together.
    fn interval(&self) -> Duration {
        let third = self.granted / 3;
        let spread = u32::try_from(self.id.unsigned_abs() % 100).unwrap_or(0);
        third - third / 1000 * spread
    }

    fn patience(&self) -> Duration {
        PATIENCE.min(self.granted / 3).max(Duration::from_millis(500))
    }
}

/// Extends the lease over a stream on which it can be extended again, and says by how much.
async fn extend(client: &Client, id: i64) -> Result<(LeaseKeeper, LeaseKeepAliveStream, Duration)> {
    let result = client
        .call(Kind::Read, |connection| {
            let mut leases = connection.lease_client();
            async move {
                let stream = leases.keep_alive(id).await?;
                let remaining = leases.time_to_live(id, None).await?;
                Ok((stream, remaining.granted_ttl()))
            }
        })
        .await;
    match result {
        Ok(((keeper, answers), granted)) if granted > 0 => {
            Ok((keeper, answers, Duration::from_secs(granted.unsigned_abs())))
        }
        Ok(_) | Err(Error::Refused { code: Code::NotFound, .. }) => {
            Err(Error::NoLease { lease: id })
        }
        Err(error) => Err(error),
    }
}

/// Whole seconds, at least one.
fn seconds(time: Duration) -> i64 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i64::try_from(whole.max(1)).unwrap_or(i64::MAX)
}
