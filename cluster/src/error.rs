//! What can go wrong, and whether it happened all the same.

use std::time::Duration;

use tonic::{Code, Status};

/// The result of everything that asks etcd.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// Nobody answered in time, and nothing was changed.
    #[error("no answer from etcd at {endpoints} within {deadline:?}: {reason}")]
    Unreachable {
        /// Who was asked.
        endpoints: String,
        /// How long.
        deadline: Duration,
        /// What the last of them did.
        reason: String,
    },
    /// The request was sent and no answer came: it may have been done, or may yet be.
    #[error(
        "etcd at {endpoint} did not answer: whether the change was made is not known ({reason})"
    )]
    Uncertain {
        /// Who was asked.
        endpoint: String,
        /// What became of the answer.
        reason: String,
    },
    /// The two ends do not trust each other's certificates, or one of them does not speak TLS.
    #[error("no secure connection to etcd at {endpoint}: {reason}")]
    Insecure {
        /// Who was asked.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// etcd is older than what this program needs.
    #[error("etcd {version} is too old: 3.4 or later is needed")]
    Version {
        /// Its version.
        version: String,
    },
    /// etcd answered that it will not do it.
    #[error("etcd refused: {message}")]
    Refused {
        /// Its reason.
        message: String,
        /// The kind of reason.
        code: Code,
    },
    /// What was asked for is older than what etcd keeps.
    #[error("the history before revision {revision} has been compacted")]
    Compacted {
        /// The first revision that is there.
        revision: i64,
    },
    /// The lease has run out or was taken back.
    #[error("lease {lease:x} does not exist any more")]
    NoLease {
        /// The lease.
        lease: i64,
    },
    /// A transaction has more operations than etcd takes at once.
    #[error("{operations} operations are too many for one transaction: etcd takes {limit}")]
    TooManyOperations {
        /// How many there are.
        operations: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A stored value is not what its key promises.
    #[error("{key} in etcd cannot be read: {reason}")]
    Malformed {
        /// The key.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
}

impl Error {
    /// Whether the change that was asked for may have been made in spite of this error.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Uncertain { .. })
    }

    /// Whether etcd could not be reached or has no leader: asking again later may work.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Uncertain { .. })
    }
}

/// What became of one attempt at one endpoint.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not done; another endpoint may do it.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
    /// It was not done for lack of trust.
    Insecure(String),
    /// It was not done, and nobody will do it.
    Final(Error),
}

/// Messages of etcd with which it says that it has not even begun. Its status codes do not tell
/// these from a request that was given up half-way.
const NOT_BEGUN: [&str; 6] = [
    "etcdserver: no leader",
    "etcdserver: not capable",
    "etcdserver: too many requests",
    "etcdserver: rpc not supported for learner",
    "etcdserver: server stopped",
    "etcdserver: unhealthy cluster",
];

pub(crate) fn failure(error: etcd_client::Error) -> Failure {
    match error {
        etcd_client::Error::GRpcStatus(status) => status_failure(&status),
        etcd_client::Error::TransportError(error) => {
            if let Some(why) = insecure(&error) {
                return Failure::Insecure(why);
            }
            let text = reason(&error);
            if connecting(&error) { Failure::NotDone(text) } else { Failure::Unknown(text) }
        }
        etcd_client::Error::InvalidArgs(message) => Failure::Final(Error::Settings(message)),
        // What the library makes of an answer that grants no time.
        etcd_client::Error::LeaseKeepAliveError(message) if message == "lease not found" => {
            Failure::Final(Error::Refused { message, code: Code::NotFound })
        }
        other => Failure::Unknown(other.to_string()),
    }
}

fn status_failure(status: &Status) -> Failure {
    if let Some(why) = insecure(status) {
        return Failure::Insecure(why);
    }
    let text = reason(status);
    if connecting(status) || NOT_BEGUN.iter().any(|message| status.message() == *message) {
        return Failure::NotDone(text);
    }
    match status.code() {
        // What the transport makes of a connection that broke, and etcd of a leader that left.
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Internal => {
            Failure::Unknown(text)
        }
        Code::Unknown if !status.message().starts_with("etcdserver:") => Failure::Unknown(text),
        code => {
            let message = status.message().trim_start_matches("etcdserver: ").to_owned();
            Failure::Final(Error::Refused { message, code })
        }
    }
}

/// Whether no connection was made, so nothing can have been sent.
fn connecting(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// What TLS found wrong, if it is that: nothing was sent before it was content.
fn insecure(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls.or_else(|| error.downcast_ref()) {
            return Some(match tls {
                rustls::Error::InvalidMessage(_) => format!("it does not speak TLS ({tls})"),
                rustls::Error::AlertReceived(_) => format!("it refused us ({tls})"),
                _ => tls.to_string(),
            });
        }
        next = error.source();
    }
    None
}

/// The innermost cause, which is the one that says something.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    match innermost.downcast_ref::<Status>() {
        Some(status) => status.message().trim_start_matches("etcdserver: ").to_owned(),
        None => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_certainly_not_done_is_not_done() {
        let table = [
            (Code::Unavailable, "etcdserver: no leader", "not done"),
            (Code::Unavailable, "etcdserver: request timed out", "unknown"),
            (Code::Unavailable, "etcdserver: leader changed", "unknown"),
            (Code::Unavailable, "broken pipe", "unknown"),
            (Code::Unknown, "h2 protocol error", "unknown"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "final"),
            (Code::PermissionDenied, "etcdserver: permission denied", "final"),
            (Code::FailedPrecondition, "etcdserver: can only promote a learner", "final"),
        ];
        for (code, message, expected) in table {
            let got = match status_failure(&Status::new(code, message)) {
                Failure::NotDone(_) => "not done",
                Failure::Unknown(_) => "unknown",
                Failure::Insecure(_) => "insecure",
                Failure::Final(_) => "final",
            };
            assert_eq!(got, expected, "{message}");
        }
    }
}
