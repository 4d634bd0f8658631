//! Why something was not published.

use std::io;
use std::path::PathBuf;

use super::key_file::KeyFileError;
use crate::client::ClientError;
use crate::metadata::{MalformedError, UnsignedError};
use crate::policy::{Channel, NotAllowed};
use crate::time::Time;

/// Why something was not published. The repository is as it was, or in between in a way that
/// clients accept.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file or directory of the repository, of the keys or of a release.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no repository.
    #[error("no repository in {path}: make one with `channels init`", path = path.display())]
    NoRepository {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is a repository in {path} already", path = path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The repository waits for its first root to be signed.
    #[error(
        "the first root is not signed yet: `channels root export FILE`, sign it, then \
         `channels root import FILE`"
    )]
    Unfinished,
    /// A release cannot be retired.
    #[error("{version} stays in {channel}: {reason}")]
    Needed {
        /// The release.
        version: String,
        /// Where it is needed.
        channel: Channel,
        /// What for.
        reason: String,
    },
    /// Another publisher is at work.
    #[error("another publisher is at work in {path}", path = path.display())]
    Locked {
        /// The repository.
        path: PathBuf,
    },
    /// Keys in the directory that is served.
    #[error("the keys in {keys} would be served: keep them outside of {repository}",
        keys = keys.display(), repository = repository.display())]
    KeysServed {
        /// The directory of the keys.
        keys: PathBuf,
        /// The repository.
        repository: PathBuf,
    },
    /// The repository's own metadata is damaged.
    #[error("{file} is malformed")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: MalformedError,
    },
    /// The repository's own metadata is not signed as it should be.
    #[error("{file} cannot be trusted")]
    Unsigned {
        /// The file.
        file: String,
        /// Whose signatures are missing.
        source: UnsignedError,
    },
    /// The repository's own metadata misses something.
    #[error("the repository is incomplete: {what}")]
    Incomplete {
        /// What is missing.
        what: String,
    },
    /// A client would not accept the repository.
    #[error("a client would refuse the repository")]
    Refused {
        /// Why.
        source: ClientError,
    },
    /// The clock is wrong, or was wrong at the last signing.
    #[error("the clock says {now}, earlier than the last signing at {issued}: set it right")]
    Clock {
        /// What the clock says.
        now: Time,
        /// When the repository was signed last.
        issued: Time,
    },
    /// A key file cannot be used.
    #[error("cannot use the key {path}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// A private key that others may read.
    #[error("{path} can be read by others: `chmod 600 {path}`", path = path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
    },
    /// A private key that belongs to another public key.
    #[error("{path} is not the private part of the public key beside it", path = path.display())]
    KeyMismatch {
        /// The file.
        path: PathBuf,
    },
    /// Too few keys to sign with.
    #[error("{have} of the {need} keys that sign for {role} are in {keys}", keys = keys.display())]
    MissingKeys {
        /// The role.
        role: String,
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: u64,
        /// Where they were looked for.
        keys: PathBuf,
    },
    /// No such key.
    #[error("no key {name} in {keys}: `channels keys list` shows them", keys = keys.display())]
    NoKey {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        keys: PathBuf,
    },
    /// The passphrase could not be had.
    #[error("no passphrase for {name}")]
    NoPassphrase {
        /// The key.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A command that signs failed.
    #[error("the command that signs with {name} failed: {reason}")]
    Command {
        /// The key.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// No such role.
    #[error("`{role}` is no role: use root, targets, snapshot, timestamp, alpha, beta or stable")]
    NoRole {
        /// What was asked for.
        role: String,
    },
    /// Something about the root's keys that makes no sense.
    #[error("{reason}")]
    Root {
        /// What.
        reason: String,
    },
    /// A release directory that cannot be published.
    #[error("{path} is no release: {reason}", path = path.display())]
    Release {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A text that is no version.
    #[error("{text:?} is no version")]
    Version {
        /// The text.
        text: String,
    },
    /// A release that no channel carries.
    #[error("no channel carries {version}")]
    NoRelease {
        /// The release.
        version: String,
    },
    /// A release that a channel does not carry.
    #[error("{channel} does not carry {version}")]
    NotCarried {
        /// The release.
        version: String,
        /// The channel.
        channel: Channel,
    },
    /// A release that several channels carry.
    #[error("{version} is in {channels}: name one with --channel")]
    Ambiguous {
        /// The release.
        version: String,
        /// The channels.
        channels: String,
    },
    /// The rules forbid it.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// Something that was asked for makes no sense.
    #[error("{reason}")]
    Nonsense {
        /// What.
        reason: String,
    },
    /// A file changed while it was published, or is damaged.
    #[error("{path} changed while it was read, or is damaged", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl PublishError {
    /// Turns an error of the system into one that names the file.
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> PublishError {
        let path = path.into();
        move |source| PublishError::File { action, path, source }
    }
}
