//! Joining: from a machine's settings to an etcd that is a member, or to none.
//!
//! ```text
//! ETCD_* → Intent ─┐
//! data folder ─────┤
//! discovery ───────┼→ Facts → Step → effect ─→ … → Start: etcd with this environment
//! members ─────────┘                            → Client: no etcd on this machine
//! ```
//!
//! Called by etcd's unit before it starts ([`join`]), instead of etcd itself ([`started`]) and
//! after ([`finish`]). It makes one thing of founding a cluster, starting again, and coming back
//! without data; a machine too many becomes a client.
//!
//! What it never does: found a cluster anew that has existed, if the discovery service remembers
//! that; remove a member that answers; delete data. Data of a member that others have removed are
//! put aside under another name.

pub mod dns; // the peers that the DNS names
mod facts; // what is asked of the world
mod intent; // ETCD_* → what the machine is to be
mod plan; // facts → the next step; touches nothing
mod records; // what is left for others to read
mod registry; // a discovery service, as its client
mod web; // the little HTTP that this takes

pub use facts::{Facts, Peer};
pub use intent::{Intent, Named, Way};
pub use plan::{Step, decide};
pub use registry::Registry;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::Error;
use crate::machine::{MachineCluster, Role};
use crate::members::Member;
use crate::settings::Settings;

/// How often the world is asked while something is missing.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a new member may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(600);
/// A key of no meaning, written so that something is.
const SETTLED: &str = "/coreos/cluster/settled";
/// How long an etcd that says it is ready may take to answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Why a machine does not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The settings of etcd.
    #[error("{0}")]
    Settings(String),
    /// Something that a person must see to.
    #[error("{0}")]
    Refused(String),
    /// etcd.
    #[error(transparent)]
    Etcd(#[from] Error),
    /// A file.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a machine is in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// etcd is to start.
    Member,
    /// etcd is not to start: there are members enough.
    Client,
}

/// Does whatever it takes until etcd can start, or is not to, and leaves the decision below `run`
/// for [`started`]. Waits as long as something is missing, and says what.
///
/// # Errors
/// What waiting does not mend.
pub async fn join(
    environment: &BTreeMap<String, String>,
    run: &Path,
    now: fn() -> SystemTime,
) -> Result<Joined, JoinError> {
    let intent = Intent::read(environment).map_err(JoinError::Settings)?;
    let mut told = String::new();
    loop {
        let facts = facts::gather(&intent).await;
        let step = decide(&intent, &facts);
        let line = step.to_string();
        if line != told {
            log::info!("{line}");
            told = line;
        }
        let failed = match step {
            Step::Start { overrides } => {
                records::write_overrides(run, &overrides)?;
                return Ok(Joined::Member);
            }
            Step::Client { endpoints } => {
                let tls = intent.client_tls();
                let cluster = MachineCluster { role: Role::Client, endpoints, tls };
                records::write_cluster(run, &cluster)?;
                return Ok(Joined::Client);
            }
            Step::Refuse { why } => return Err(JoinError::Refused(why)),
            Step::Wait { .. } => None,
            Step::Register => registry::register(&intent).err(),
            Step::PutAside => {
                put_aside(&intent.data, now())?;
                None
            }
            Step::Replace { id, .. } => replace(&intent, &facts, Some(id)).await.err(),
            Step::Add => replace(&intent, &facts, None).await.err(),
        };
        // A failure to change something is one of the world's facts: look again.
        if let Some(error) = failed
            && error != told
        {
            log::warn!("{error}");
            told = error;
        }
        sleep(AGAIN).await;
    }
}

/// The changes to the environment with which etcd is to be started, as [`join`] left them.
///
/// # Errors
/// [`JoinError::File`] if there are none.
pub fn started(run: &Path) -> Result<BTreeMap<String, String>, JoinError> {
    records::read_overrides(run)
}

/// After etcd has started: gives a member without a vote its vote, tells the discovery service
/// that the cluster has formed, and the other programs of this machine where etcd is.
///
/// # Errors
/// If etcd does not answer, or does not catch up.
pub async fn finish(environment: &BTreeMap<String, String>, run: &Path) -> Result<(), JoinError> {
    let intent = Intent::read(environment).map_err(JoinError::Settings)?;
    let local = intent.local_settings();
    let health = Client::new(local.clone().with_deadline(ANSWER))?.health().await?;
    let own = Client::new(local)?;
    let members = facts::members(&intent).await;
    let of = |member: &Member| member.client_urls.clone();
    let mut endpoints: Vec<String> = members.iter().flat_map(of).collect();
    if health.learner {
        let others = members.iter().filter(|member| member.id != health.id);
        let others =
            Settings { endpoints: others.flat_map(of).collect(), ..own.settings().clone() };
        let others = Client::new(others)?;
        promote(&others, health.id).await?;
        settle(&others, health.id).await?;
        log::info!("etcd has caught up with the others: member {:x} has its vote", health.id);
    }
    if endpoints.is_empty() {
        endpoints.clone_from(&intent.client_urls);
    }
    let tls = intent.client_tls();
    records::write_cluster(run, &MachineCluster { role: Role::Member, endpoints, tls })?;
    registry::formed(&intent);
    Ok(())
}

async fn promote(others: &Client, id: u64) -> Result<(), Error> {
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let error = match others.promote(id).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // "… which is in sync with leader" goes on like this, and means another thing.
        let done = error.to_string().ends_with("can only promote a learner member");
        if done {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(error);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Makes the promotion outlive a power cut of all members at once. etcd writes down that an entry
/// is committed together with the next one; until then a restarted cluster would count this
/// member's vote as missing, and may have no quorum without it.
async fn settle(others: &Client, id: u64) -> Result<(), Error> {
    for _ in 0..2 {
        others.put(SETTLED, format!("{id:x}")).await?;
    }
    Ok(())
}

/// Takes the member `id` out and puts this machine in its place, without a vote for now.
async fn replace(intent: &Intent, facts: &Facts, id: Option<u64>) -> Result<(), String> {
    let endpoints: Vec<String> = facts
        .peers
        .iter()
        .flatten()
        .filter(|peer| Some(peer.id) != id)
        .flat_map(|peer| peer.client_urls.clone())
        .collect();
    let told = |error: Error| error.to_string();
    let client = Client::new(intent.settings(endpoints)).map_err(told)?;
    if let Some(id) = id {
        client.remove_member(id).await.map_err(told)?;
    }
    client.add_learner(&intent.peer_urls).await.map_err(told)?;
    Ok(())
}

/// Renames the data folder, in place of what was put aside before.
fn put_aside(data: &Path, now: SystemTime) -> Result<(), JoinError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| JoinError::File { action, path, source }
    };
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = data.with_file_name(format!("{name}.removed-{seconds}"));
    fs::rename(data, &aside).map_err(failed("rename", data))?;
    log::warn!("what etcd had is kept in {}", aside.display());
    Ok(())
}
