//! Why one attempt failed, and whether another may go better.

use std::io;
use std::time::Duration;

use ureq::Timeout;

use super::{FetchError, redacted};

/// Why one attempt failed.
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) reason: String,
    /// Another attempt may go better.
    pub(super) may_pass: bool,
    /// The pause that the server asked for.
    pub(super) retry_after: Option<Duration>,
}

pub(super) enum Kind {
    Address,
    Status(u16),
    Range,
    TooLarge(u64),
    Redirects,
    Write,
    Network,
}

impl Failure {
    pub(super) fn tell(self, url: &str, attempts: u32, most: u32) -> FetchError {
        let url = redacted(url);
        match self.kind {
            Kind::Address => FetchError::Address { url, reason: self.reason },
            Kind::Status(status) => FetchError::Status { url, status },
            Kind::Range => FetchError::Range { url, reason: self.reason },
            Kind::TooLarge(limit) => FetchError::TooLarge { url, limit },
            Kind::Redirects => FetchError::Redirects { url, most },
            Kind::Write => FetchError::Write { url, reason: self.reason },
            Kind::Network => FetchError::Network { url, reason: self.reason, attempts },
        }
    }

    pub(super) fn of_status(status: u16, retry_after: Option<&str>) -> Failure {
        let pause = retry_after.and_then(|value| value.trim().parse().ok());
        Failure {
            kind: Kind::Status(status),
            reason: format!("the server answered {status}"),
            may_pass: status >= 500 || status == 429,
            retry_after: pause.map(Duration::from_secs),
        }
    }
}

impl From<ureq::Error> for Failure {
    /// Messages of ureq that would repeat the address, secrets and all, are not used.
    fn from(error: ureq::Error) -> Failure {
        use ureq::Error;
        let (kind, reason, may_pass) = match error {
            Error::BadUri(_) | Error::Http(_) => {
                (Kind::Address, "the address or a redirect is malformed".to_owned(), false)
            }
            Error::RequireHttpsOnly(_) => {
                (Kind::Address, "redirected from https to plain http".to_owned(), false)
            }
            Error::TooManyRedirects => (Kind::Redirects, "too many redirects".to_owned(), false),
            Error::BodyExceedsLimit(limit) => {
                (Kind::TooLarge(limit), "too large".to_owned(), false)
            }
            Error::Timeout(timeout) => (Kind::Network, too_slow(timeout).to_owned(), true),
            // What TLS finds wrong arrives in this guise, and does not change by itself.
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                (Kind::Network, error.to_string(), false)
            }
            Error::Io(error) => (Kind::Network, error.to_string(), true),
            Error::HostNotFound => (Kind::Network, "host not found".to_owned(), true),
            Error::ConnectionFailed => (Kind::Network, "connection failed".to_owned(), true),
            other => (Kind::Network, other.to_string(), false),
        };
        Failure { kind, reason, may_pass, retry_after: None }
    }
}

fn too_slow(timeout: Timeout) -> &'static str {
    match timeout {
        Timeout::Resolve => "no answer from the name server in time",
        Timeout::Connect => "no connection in time",
        Timeout::SendRequest | Timeout::RecvResponse => "no answer in time",
        Timeout::PerRead | Timeout::PerWrite | Timeout::RecvBody => "the transfer stalled",
        _ => "not done in time",
    }
}
