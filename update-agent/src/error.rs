//! Why the agent could not do what it was asked to.

use std::io;
use std::path::PathBuf;

use channels::client::ClientError;
use channels::policy::Refused;
use host::command::CommandError;
use host::http::FetchError;

use crate::facts::FactsError;
use crate::install::InstallError;
use crate::lock::LockError;
use crate::record::RecordError;

/// Why the agent could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The machine does not say what it is, or cannot be updated.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Another agent is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Updates are disabled.
    #[error("updates are disabled: there is no SERVER in /etc/coreos/update.conf")]
    NoServer,
    /// The server's address.
    #[error("SERVER cannot be used")]
    Server(#[source] FetchError),
    /// The image has no root of trust.
    #[error("this image trusts no publisher: it was built without `[update]` in its manifest")]
    NoAnchor {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The state cannot be used.
    #[error("cannot use {path}", path = path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The repository could not be asked, or is not trusted.
    #[error("cannot check {source_name}")]
    Check {
        /// The repository.
        source_name: String,
        /// Why not.
        source: ClientError,
    },
    /// The boot partition could not be mounted.
    #[error("cannot mount the boot partition {node}", node = node.display())]
    Mount {
        /// Its node.
        node: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The boot entries could not be read or changed.
    #[error("cannot use the boot entries")]
    Entries(#[source] io::Error),
    /// The release could not be written.
    #[error("cannot install the release")]
    Install(#[from] InstallError),
    /// The running release has yet to prove itself.
    #[error(
        "{version} has yet to prove itself; until then the other slot is the only one known good \
         and is not written"
    )]
    Unproven {
        /// The running version.
        version: String,
    },
    /// A channel below what the machine has run.
    #[error(transparent)]
    Refused(Refused),
    /// There is no other good release.
    #[error("there is no other release on this machine that is known to be good")]
    NothingToGoBackTo,
    /// The other release is of a lower security epoch.
    #[error(
        "{version} is of security epoch {epoch}, and this machine has run {floor}: it does not go \
         back to a release with holes that are closed"
    )]
    Epoch {
        /// The other release.
        version: String,
        /// Its epoch.
        epoch: u64,
        /// What the machine has run.
        floor: u64,
    },
    /// Nothing is ready for a reboot.
    #[error("no release waits for a reboot")]
    NothingWaits,
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The lock of the group could not be asked.
    #[error("cannot ask for the reboot lock: {reason}")]
    Gate {
        /// Why not.
        reason: String,
    },
}
