//! Fetching one document over HTTP, with every wait, size and retry bounded.
//!
//! [`Request`] → attempts until one answers or the deadline passes → bytes, or a file that is
//! written as they come ([`download`])
//!
//! A failed attempt is repeated only if another one may well go better: the network did not work,
//! the server said that it is to blame (5xx) or that we are too quick (429). What the server
//! refuses stays refused. Nothing is decompressed, no cookie is kept, and an `https` address is
//! never left for plain `http` by a redirect. Root certificates come from a file, so the
//! system's own list counts and not one that was compiled in.

mod client; // one server, again and again
mod failure; // what one attempt ended with

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use client::{Answer, Client};
use failure::{Failure, Kind};
use ureq::config::Config;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, RequestBuilder};

use crate::privileged_port::PrivilegedConnector;

/// Where Debian keeps the certificate authorities that the system trusts.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Redirects that are followed unless something else is said.
const REDIRECTS: u32 = 5;
/// Longest wait for a name server.
const RESOLVE: Duration = Duration::from_secs(5);
/// Longest wait for a connection, its TLS handshake included.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the request to be taken, and then for the head of the answer.
const HEAD: Duration = Duration::from_secs(10);
/// Longest silence in the middle of a transfer.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes of a download that are in memory at a time.
const CHUNK: usize = 1 << 16;
/// The pause after the first failed attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How to fetch.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The largest document that is accepted, in bytes.
    pub limit: u64,
    /// How long the whole may take, retries included.
    pub deadline: Duration,
    /// How often it is tried at most.
    pub attempts: u32,
    /// Whether a proxy is used.
    pub proxy: Proxy,
    /// The only certificate authorities that are trusted, as a PEM file. Read for `https` only.
    pub roots: PathBuf,
    /// How many redirects are followed.
    pub redirects: u32,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The address, of `http` or `https`.
    pub url: &'a str,
    /// By which method.
    pub method: Method,
    /// Header fields beside the usual ones. Their values may be secrets and are never shown.
    pub headers: &'a [(&'a str, &'a str)],
    /// From which port.
    pub from: SourcePort,
    /// Where to connect to, whatever the address says: for a link-local address, which needs its
    /// interface said.
    pub to: Option<SocketAddr>,
}

impl<'a> Request<'a> {
    /// Asks for the document at `url`.
    pub fn get(url: &'a str) -> Request<'a> {
        Request { url, ..Request::default() }
    }
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    #[default]
    Get,
    /// `PUT`, with nothing in it: how metadata services hand out a token.
    Put,
}

/// The port that a request comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourcePort {
    /// Any that the system chooses.
    #[default]
    Any,
    /// One below 1024, by which a server knows that root asks. For `http` only.
    Privileged,
}

/// Whether a proxy is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// The one that the usual variables name (`https_proxy`, `no_proxy` …), if they do.
    Environment,
    /// None, whatever the variables say: for addresses that only this machine can reach, such as
    /// a metadata service.
    Never,
}

impl Default for Fetch {
    fn default() -> Fetch {
        Fetch {
            limit: 1 << 20,
            deadline: Duration::from_secs(30),
            attempts: 5,
            proxy: Proxy::Environment,
            roots: PathBuf::from(SYSTEM_ROOTS),
            redirects: REDIRECTS,
        }
    }
}

/// A document could not be fetched. Addresses are shown [`redacted`].
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address cannot be used.
    #[error("cannot fetch {url}: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate authorities cannot be read.
    #[error("cannot read the certificate authorities in {path}", path = path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        source: io::Error,
    },
    /// The server answered, but not with the document.
    #[error("cannot fetch {url}: the server answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The status code of HTTP.
        status: u16,
    },
    /// The server does not give the part of the document that was asked for.
    #[error("cannot fetch a part of {url}: {reason}")]
    Range {
        /// The address.
        url: String,
        /// What it did instead.
        reason: String,
    },
    /// The document is larger than the limit.
    #[error("cannot fetch {url}: it is larger than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The server sends us around.
    #[error("cannot fetch {url}: more than {most} redirects")]
    Redirects {
        /// The address.
        url: String,
        /// How many are followed.
        most: u32,
    },
    /// What came could not be written.
    #[error("cannot fetch {url}: what came cannot be written: {reason}")]
    Write {
        /// The address.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// The server could not be talked to.
    #[error("cannot fetch {url}: {reason} (attempts: {attempts})")]
    Network {
        /// The address.
        url: String,
        /// What went wrong the last time.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
}

/// Fetches the document at `url`, which is `http` or `https`.
pub fn fetch(url: &str, how: &Fetch) -> Result<Vec<u8>, FetchError> {
    request(&Request::get(url), how)
}

/// Fetches the document that `request` asks for.
pub fn request(request: &Request<'_>, how: &Fetch) -> Result<Vec<u8>, FetchError> {
    let agent = agent(request, how)?;
    repeat(request.url, how, |left| attempt(&agent, request, how.limit, left))
}

/// Fetches the document that `request` asks for into `file`. What is in the file counts as the
/// document's beginning, and only the rest is asked for; who cannot know whether it is one checks
/// the whole, and empties the file. What has come stays in it when the rest fails. The memory that
/// it takes does not depend on the document. Returns the document's size.
pub fn download(request: &Request<'_>, how: &Fetch, file: &File) -> Result<u64, FetchError> {
    let agent = agent(request, how)?;
    repeat(request.url, how, |left| attempt_download(&agent, request, how.limit, left, file))
}

/// Tries until one attempt succeeds, or none will.
fn repeat<T>(
    url: &str,
    how: &Fetch,
    attempt: impl Fn(Duration) -> Result<T, Failure>,
) -> Result<T, FetchError> {
    let start = Instant::now();
    let mut tried = 0;
    loop {
        let left = how.deadline.saturating_sub(start.elapsed());
        tried += 1;
        let failure = match attempt(left) {
            Ok(fetched) => return Ok(fetched),
            Err(failure) => failure,
        };
        let left = how.deadline.saturating_sub(start.elapsed());
        let wait = failure.retry_after.unwrap_or_else(|| pause_after(tried));
        if !failure.may_pass || tried >= how.attempts || wait >= left {
            return Err(failure.tell(url, tried, how.redirects));
        }
        log::debug!("{}: {}, trying again", redacted(url), failure.reason);
        thread::sleep(wait);
    }
}

/// `url` as it may be shown and logged: without what could be a secret in it, which is the user
/// information, the query and the fragment.
pub fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (path, rest) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let query = if rest.starts_with('?') { "?..." } else { "" };
    format!("{scheme}{host}{path}{query}")
}

fn agent(request: &Request<'_>, how: &Fetch) -> Result<Agent, FetchError> {
    let url = request.url;
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let https = match scheme.as_deref() {
        Some("https") => true,
        Some("http") => false,
        _ => {
            let reason = "not an address of http or https".to_owned();
            return Err(FetchError::Address { url: redacted(url), reason });
        }
    };
    let mut config = Agent::config_builder()
        .https_only(https)
        .http_status_as_error(false)
        .max_redirects(how.redirects)
        .user_agent(concat!("coreos/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(RESOLVE))
        .timeout_connect(Some(CONNECT))
        .timeout_send_request(Some(HEAD))
        .timeout_recv_response(Some(HEAD))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE));
    if how.proxy == Proxy::Never {
        config = config.proxy(None);
    }
    // An http address may be redirected to an https one; without roots that fails then.
    let roots = if https { roots(&how.roots)? } else { roots(&how.roots).unwrap_or_default() };
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.tls_config(tls.build()).build();
    Ok(match (request.from, request.to) {
        (SourcePort::Any, None) => config.new_agent(),
        (SourcePort::Any, Some(to)) => {
            Agent::with_parts(config, DefaultConnector::default(), Fixed(to))
        }
        (SourcePort::Privileged, None) => {
            Agent::with_parts(config, PrivilegedConnector, DefaultResolver::default())
        }
        (SourcePort::Privileged, Some(to)) => {
            Agent::with_parts(config, PrivilegedConnector, Fixed(to))
        }
    })
}

/// Says the same of every name.
#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

fn roots(path: &Path) -> Result<Vec<Certificate<'static>>, FetchError> {
    let failed = |source| FetchError::Roots { path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(failed)?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it")));
    }
    Ok(certificates)
}

fn attempt(
    agent: &Agent,
    request: &Request<'_>,
    limit: u64,
    left: Duration,
) -> Result<Vec<u8>, Failure> {
    let mut response = answer(agent, request, left)?;
    Ok(response.body_mut().with_config().limit(limit).read_to_vec()?)
}

fn attempt_download(
    agent: &Agent,
    request: &Request<'_>,
    limit: u64,
    left: Duration,
    mut file: &File,
) -> Result<u64, Failure> {
    let write = |error: io::Error| Failure {
        kind: Kind::Write,
        reason: error.to_string(),
        may_pass: false,
        retry_after: None,
    };
    let start_over = || file.set_len(0).and_then(|()| (&*file).rewind()).map_err(write);
    let mut size = file.seek(SeekFrom::End(0)).map_err(write)?;
    let range = format!("bytes={size}-");
    let mut headers = request.headers.to_vec();
    if size > 0 {
        headers.push(("range", &range));
    }
    let asked = answer(agent, &Request { headers: &headers, ..request.clone() }, left);
    let follows = |response: &Response| {
        let given = header(response, "content-range").unwrap_or_default();
        response.status() == 206 && given.starts_with(&format!("bytes {size}-"))
    };
    let mut response = match asked {
        Ok(response) if follows(&response) => response,
        // It gives the whole of it.
        Ok(response) if response.status() == 200 || size == 0 => {
            start_over()?;
            size = 0;
            response
        }
        // It gives another part, or there is nothing behind what the file has.
        Ok(_) | Err(Failure { kind: Kind::Status(416), .. }) if size > 0 => {
            start_over()?;
            size = 0;
            answer(agent, request, left)?
        }
        other => other?,
    };
    let rest = limit.saturating_sub(size);
    let mut body = response.body_mut().with_config().limit(rest).reader();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match body.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let mut failure = Failure::from(ureq::Error::from(error));
                if let Kind::TooLarge(most) = &mut failure.kind {
                    *most = limit;
                }
                return Err(failure);
            }
        };
        file.write_all(&buffer[..length]).map_err(write)?;
        size += length as u64;
    }
}

/// The head of an answer, and its body as it comes.
type Response = ureq::http::Response<ureq::Body>;

/// The head of an answer that has what was asked for.
fn answer(agent: &Agent, request: &Request<'_>, left: Duration) -> Result<Response, Failure> {
    let response = match request.method {
        Method::Get => with_headers(agent.get(request.url), request, left).call()?,
        Method::Put => with_headers(agent.put(request.url), request, left).send_empty()?,
    };
    let status = response.status();
    match status.is_success() {
        true => Ok(response),
        false => Err(Failure::of_status(status.as_u16(), header(&response, "retry-after"))),
    }
}

/// One header of an answer, if it is text.
fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn with_headers<B>(
    builder: RequestBuilder<B>,
    request: &Request<'_>,
    left: Duration,
) -> RequestBuilder<B> {
    let headers = request.headers.iter();
    headers
        .fold(builder, |builder, (name, value)| builder.header(*name, *value))
        .config()
        .timeout_global(Some(left))
        .build()
}

/// How long to wait after the attempt of this number, counted from 1, before the next one.
pub fn pause_after(attempt: u32) -> Duration {
    pause(attempt, random())
}

/// The pause after the attempt of this number, counted from 1: between a half and the whole of a
/// time that doubles, so that machines which failed together do not come back together.
fn pause(attempt: u32, random: u64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let half = whole.min(LONGEST_PAUSE) / 2;
    let thousandths = u32::try_from(random % 1001).unwrap_or_default();
    half + half * thousandths / 1000
}

/// A number that differs from call to call and from machine to machine.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_secret_is_not_shown() {
        let cases = [
            ("http://host/path", "http://host/path"),
            ("https://user:pass@host:8443/a/b?token=1&x#y", "https://host:8443/a/b?..."),
            ("http://u@evil@host?secret", "http://host?..."),
            ("http://host/p#fragment?not-a-query", "http://host/p"),
            ("http://host/with@sign", "http://host/with@sign"),
            ("nonsense", "nonsense"),
            ("user:pass@host/x", "host/x"),
        ];
        for (url, shown) in cases {
            assert_eq!(redacted(url), shown);
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_spread() {
        let cases = [
            (1, 0, 125),
            (1, 1000, 250),
            (2, 0, 250),
            (3, 500, 750),
            (5, 1000, 4000),
            (6, 0, 2000),
            (u32::MAX, 1000, 4000),
        ];
        for (attempt, random, milliseconds) in cases {
            assert_eq!(
                pause(attempt, random),
                Duration::from_millis(milliseconds),
                "{attempt} {random}"
            );
        }
    }

    #[test]
    fn only_http_is_fetched() {
        for url in ["file:///etc/passwd", "ftp://host/x", "host/x", ""] {
            let error = fetch(url, &Fetch::default()).unwrap_err();
            assert!(matches!(error, FetchError::Address { .. }), "{url}: {error}");
        }
        let error = fetch("http://a b/x", &Fetch::default()).unwrap_err();
        assert!(matches!(error, FetchError::Address { .. }), "{error}");
    }
}
