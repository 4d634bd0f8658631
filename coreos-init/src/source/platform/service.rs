//! Asking a metadata service: a few small documents from one of its addresses.
//!
//! Until one of the addresses has answered they take turns, as a machine with IPv6 alone reaches
//! only one of them; from then on that one is asked. Every request is repeated with growing,
//! spread pauses while it is the network or the server that fails, and all of them together have
//! one deadline.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cloud_config::MAX_USER_DATA;
use host::http::{Fetch, FetchError, Method, Proxy, Request, SourcePort, pause_after, request};
use serde_json::Value;

/// How long all that a platform is asked may take together.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// How long one request may take. A metadata service is one hop away.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often one document is asked for at most, counting every address.
const ATTEMPTS: u32 = 8;

/// A metadata service that is being asked.
#[derive(Debug)]
pub(super) struct Service {
    /// Its addresses, without a slash at the end.
    bases: Vec<Base>,
    /// The address that answered.
    answered: Option<usize>,
    /// What every request carries: tokens, and headers that browsers cannot be made to send.
    headers: Vec<(&'static str, String)>,
    /// The certificate authorities.
    roots: PathBuf,
    redirects: u32,
    started: Instant,
    deadline: Duration,
}

/// An address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) url: String,
    /// Where to connect to, if the address alone does not say it.
    pub(super) to: Option<SocketAddr>,
}

impl From<&str> for Base {
    fn from(url: &str) -> Base {
        Base { url: url.to_owned(), to: None }
    }
}

/// Why a service does not say what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Fetch(String),
    #[error("{url} is not what the platform documents: {reason}")]
    Nonsense { url: String, reason: String },
    #[error("it did not answer within {0} s")]
    Deadline(u64),
}

impl Service {
    /// Nothing is asked yet; the deadline runs from here.
    pub(super) fn new(bases: Vec<Base>, roots: PathBuf, deadline: Duration) -> Service {
        Service {
            bases,
            answered: None,
            headers: Vec::new(),
            roots,
            redirects: 0,
            started: Instant::now(),
            deadline,
        }
    }

    /// Sends this header with every further request.
    pub(super) fn always(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.push((name, value.into()));
    }

    /// Follows this many redirects.
    pub(super) fn follow(&mut self, redirects: u32) {
        self.redirects = redirects;
    }

    /// The address that answered, for the report.
    pub(super) fn place(&self) -> String {
        self.bases[self.answered.unwrap_or_default()].url.clone()
    }

    /// The document at `path`, or none if there is no such document or it is empty.
    pub(super) fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.ask(Method::Get, path, &[], SourcePort::Any)
    }

    /// The same, asked from a port that only root has.
    pub(super) fn get_as_root(&mut self, path: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.ask(Method::Get, path, &[], SourcePort::Privileged)
    }

    /// A token, or none if the service has none to give.
    pub(super) fn token(
        &mut self,
        path: &str,
        header: (&str, &str),
    ) -> Result<Option<String>, Refusal> {
        let token = self.ask(Method::Put, path, &[header], SourcePort::Any)?;
        Ok(token.and_then(|token| String::from_utf8(token).ok()).map(|t| t.trim().to_owned()))
    }

    /// A document of text, without the blanks around it.
    pub(super) fn text(&mut self, path: &str) -> Result<Option<String>, Refusal> {
        let Some(bytes) = self.get(path)? else { return Ok(None) };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(_) => Err(self.nonsense(path, "no text")),
        }
    }

    /// A document of JSON.
    pub(super) fn json(&mut self, path: &str) -> Result<Option<Value>, Refusal> {
        let Some(bytes) = self.get(path)? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes);
        value.map(Some).map_err(|error| self.nonsense(path, &error.to_string()))
    }

    /// A document of JSON without which the platform is not there.
    pub(super) fn required_json(&mut self, path: &str) -> Result<Value, Refusal> {
        self.json(path)?.ok_or_else(|| self.nonsense(path, "there is no such document"))
    }

    pub(super) fn nonsense(&self, path: &str, reason: &str) -> Refusal {
        let url = host::http::redacted(&format!("{}{path}", self.place()));
        Refusal::Nonsense { url, reason: reason.to_owned() }
    }

    fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        from: SourcePort,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let all = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = all.chain(headers.iter().copied()).collect();
        let mut tried = 0;
        let mut reason = None;
        loop {
            let left = self.deadline.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return Err(reason.unwrap_or(Refusal::Deadline(self.deadline.as_secs())));
            }
            let turn = self.answered.unwrap_or(tried as usize % self.bases.len());
            let base = &self.bases[turn];
            let url = format!("{}{path}", base.url);
            let asked = Request { url: &url, method, headers: &headers, from, to: base.to };
            let how = Fetch {
                limit: MAX_USER_DATA as u64,
                deadline: left.min(PATIENCE),
                attempts: 1,
                proxy: Proxy::Never,
                roots: self.roots.clone(),
                redirects: self.redirects,
            };
            tried += 1;
            match request(&asked, &how) {
                Ok(bytes) => {
                    self.answered = Some(turn);
                    return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
                }
                Err(FetchError::Status { status: 429 | 500.., .. }) if tried < ATTEMPTS => {}
                // What a service does not have, or has no token for.
                Err(FetchError::Status { status: 404 | 410, .. }) => {
                    self.answered = Some(turn);
                    return Ok(None);
                }
                Err(FetchError::Status { status: 400..=499, .. }) if method == Method::Put => {
                    self.answered = Some(turn);
                    return Ok(None);
                }
                Err(error @ FetchError::Network { .. }) if tried < ATTEMPTS => {
                    reason = Some(Refusal::Fetch(error.to_string()));
                }
                Err(error) => return Err(Refusal::Fetch(error.to_string())),
            }
            // The other address is asked at once.
            if self.answered.is_some() || (tried as usize).is_multiple_of(self.bases.len()) {
                let left = self.deadline.saturating_sub(self.started.elapsed());
                sleep(pause_after(tried).min(left));
            }
        }
    }
}
