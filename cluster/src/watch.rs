//! What is there, and what becomes of it.
//!
//! A watch outlives connections, members and leaders: it goes on at another endpoint after the
//! last revision that it has seen, so nothing is missed and nothing is told twice. If that
//! revision has been compacted, everything is listed again and told as a snapshot.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{ResponseHeader, WatchOptions, WatchStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::client::{Client, MESSAGE_LIMIT};
use crate::endpoints::Endpoint;
use crate::entry::{Change, Entry, Event};
use crate::error::{Error, Failure, failure};
use crate::txn::prefix_end;

/// Updates that wait to be taken; with more the watch itself waits.
const WAITING: usize = 256;
/// How long making a watch may take.
const BEGIN: Duration = Duration::from_secs(5);
/// Pauses between attempts to go on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Everything that is there, in place of all that was told before.
    Snapshot {
        /// All entries, ordered by key.
        entries: Vec<Entry>,
        /// The revision at which they are so.
        revision: i64,
    },
    /// One revision's changes.
    Changed(Change),
    /// etcd cannot be reached or has no leader: what was told may be out of date. Told once, until
    /// the watch goes on.
    Interrupted {
        /// What the last endpoint did.
        reason: String,
    },
    /// The watch goes on after an interruption; what was missed follows.
    Resumed,
}

/// A running watch, which ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    updates: mpsc::Receiver<Update>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(client: Client, prefix: String, after: Option<i64>) -> Self {
        let (sender, updates) = mpsc::channel(WAITING);
        let watcher = Watcher { client, prefix, sender, seen: after, interrupted: false };
        Self { updates, task: tokio::spawn(watcher.run()) }
    }

    /// The next update, however long it takes. May be given up and called again without missing
    /// anything.
    pub async fn next(&mut self) -> Update {
        match self.updates.recv().await {
            Some(update) => update,
            // The task ends only with its runtime, and then nobody waits.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watcher {
    client: Client,
    prefix: String,
    sender: mpsc::Sender<Update>,
    /// The last revision that has been told.
    seen: Option<i64>,
    interrupted: bool,
}

/// Why a stream ended.
enum End {
    /// Nobody listens any more.
    Unheard,
    /// What should come next is not there any more.
    Compacted,
    /// The connection or the member.
    Broken(String),
}

impl Watcher {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.seen;
            match self.follow().await {
                End::Unheard => return,
                End::Compacted => self.seen = None,
                End::Broken(reason) => {
                    if !self.interrupted {
                        self.interrupted = true;
                        log::debug!("watch of {} interrupted: {reason}", self.prefix);
                        if self.sender.send(Update::Interrupted { reason }).await.is_err() {
                            return;
                        }
                    }
                    if self.seen != before {
                        pause = FIRST_PAUSE;
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Goes on from where it is, until something ends it.
    async fn follow(&mut self) -> End {
        let seen = match self.seen {
            Some(revision) => revision,
            None => match self.client.list(&self.prefix).await {
                Ok(listing) => {
                    self.interrupted = false;
                    let (entries, revision) = (listing.entries, listing.revision);
                    if self.sender.send(Update::Snapshot { entries, revision }).await.is_err() {
                        return End::Unheard;
                    }
                    self.seen = Some(revision);
                    revision
                }
                Err(error) => return End::Broken(error.to_string()),
            },
        };
        let (endpoint, mut stream) = match self.begin(seen + 1).await {
            Ok(begun) => begun,
            Err(end) => return end,
        };
        let end = self.read(&mut stream).await;
        if matches!(end, End::Broken(_)) {
            self.client.move_on(&endpoint);
        }
        end
    }

    async fn begin(&self, from: i64) -> Result<(Arc<Endpoint>, WatchStream), End> {
        let options = WatchOptions::new()
            .with_range(prefix_end(&self.prefix))
            .with_start_revision(from)
            .with_prev_key()
            .with_progress_notify();
        let (endpoint, connection) = self.client.any().await.map_err(broken)?;
        let mut watch = connection.watch_client().max_decoding_message_size(MESSAGE_LIMIT);
        let begun = timeout(BEGIN, watch.watch(&*self.prefix, Some(options))).await;
        let failed = match begun {
            Ok(Ok(stream)) => return Ok((endpoint, stream)),
            Ok(Err(error)) => broken(failure(error)),
            Err(_) => End::Broken("no answer in time".to_owned()),
        };
        self.client.move_on(&endpoint);
        Err(failed)
    }

    async fn read(&mut self, stream: &mut WatchStream) -> End {
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = self.sender.closed() => return End::Unheard,
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return End::Broken("the stream ended".to_owned()),
                Err(error) => return broken(failure(error)),
            };
            if message.compact_revision() != 0 {
                return End::Compacted;
            }
            if message.canceled() {
                return End::Broken(message.cancel_reason().to_owned());
            }
            if self.interrupted {
                self.interrupted = false;
                if self.sender.send(Update::Resumed).await.is_err() {
                    return End::Unheard;
                }
            }
            for change in changes(message.events()) {
                self.seen = Some(change.revision);
                if self.sender.send(Update::Changed(change)).await.is_err() {
                    return End::Unheard;
                }
            }
            // A message without events says how far the member is; the one that confirms the
            // watch may be ahead of what it has sent.
            if message.events().is_empty() && !message.created() {
                let revision = message.header().map_or(0, ResponseHeader::revision);
                self.seen = self.seen.max(Some(revision));
            }
        }
    }
}

fn broken(failed: Failure) -> End {
    End::Broken(match failed {
        Failure::NotDone(why) | Failure::Unknown(why) | Failure::Insecure(why) => why,
        Failure::Final(Error::Refused { message, .. }) => message,
        Failure::Final(error) => error.to_string(),
    })
}

/// Events by revision.
fn changes(events: &[etcd_client::Event]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (revision, event) in events.iter().filter_map(Event::read) {
        match changes.last_mut() {
            Some(last) if last.revision == revision => last.events.push(event),
            _ => changes.push(Change { revision, events: vec![event] }),
        }
    }
    changes
}
