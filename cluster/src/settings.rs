//! Who is asked, as whom, and for how long.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

/// The port on which etcd answers clients.
pub const CLIENT_PORT: u16 = 2379;

/// How long a request may take if nothing else is said, all endpoints included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Where etcd is and how it is talked to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// URLs of the members' client side, `http://HOST:PORT` or `https://HOST:PORT`. Requests go to
    /// the first that works.
    pub endpoints: Vec<String>,
    /// How servers are checked and what is shown to them. Needed for every `https` endpoint.
    pub tls: Option<Tls>,
    /// A user of etcd, and its password.
    pub user: Option<User>,
    /// How long a request may take before it is an error, all endpoints included.
    pub deadline: Duration,
}

/// Certificates, as files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities that may have signed the server's certificate.
    pub authority: Option<PathBuf>,
    /// What the client shows of itself.
    pub identity: Option<Identity>,
}

/// A certificate with its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that lead to its authority.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A user of etcd. Its password is not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Settings {
    /// Plain text or TLS, as the endpoints say, with nothing to show and [`DEADLINE`].
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Self { endpoints, tls: None, user: None, deadline: DEADLINE }
    }

    /// Endpoints as a list with commas, as `ETCD_ADVERTISE_CLIENT_URLS` and `--endpoint` have it.
    pub fn listed(endpoints: &str) -> Self {
        Self::new(endpoints.split(',').map(str::trim).filter(|url| !url.is_empty()))
    }

    /// The etcd of this machine.
    pub fn local() -> Self {
        Self::new([format!("http://127.0.0.1:{CLIENT_PORT}")])
    }

    /// The same with certificates.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Checks the endpoints and reads the certificates, so that a mistake is told before anything
    /// is asked.
    ///
    /// # Errors
    /// [`Error::Settings`] names the endpoint or file.
    pub(crate) fn check(&self) -> Result<Option<Certificates>> {
        if self.endpoints.is_empty() {
            return Err(Error::Settings("no endpoint of etcd is given".to_owned()));
        }
        for endpoint in &self.endpoints {
            check_url(endpoint)?;
        }
        let secure = self.endpoints.iter().any(|url| url.starts_with("https://"));
        match &self.tls {
            _ if !secure => Ok(None),
            Some(tls) => tls.read().map(Some),
            None => Err(Error::Settings(
                "an https endpoint needs the file of the authority that signed its certificate"
                    .to_owned(),
            )),
        }
    }
}

/// What is in the files of [`Tls`].
#[derive(Clone)]
pub(crate) struct Certificates {
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    fn read(&self) -> Result<Certificates> {
        let read = |path: &Path, what: &str, marker: &str| {
            let bytes = fs::read(path).map_err(|error| {
                Error::Settings(format!("cannot read the {what} {}: {error}", path.display()))
            })?;
            if !bytes.windows(marker.len()).any(|window| window == marker.as_bytes()) {
                let path = path.display();
                return Err(Error::Settings(format!("{path} has no {what} in PEM")));
            }
            Ok(bytes)
        };
        let certificate = "-----BEGIN CERTIFICATE-----";
        let authority = match &self.authority {
            Some(path) => Some(read(path, "certificate authority", certificate)?),
            None => None,
        };
        let identity = match &self.identity {
            Some(Identity { certificate: path, key }) => Some((
                read(path, "certificate", certificate)?,
                read(key, "key", "PRIVATE KEY-----")?,
            )),
            None => None,
        };
        Ok(Certificates { authority, identity })
    }
}

/// Whether a URL leads to the machine that uses it.
pub(crate) fn is_loopback(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a URL is one of an endpoint.
pub(crate) fn check_url(url: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::Settings(format!("the endpoint `{url}` {why}")));
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return wrong("is not http://HOST:PORT or https://HOST:PORT");
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@', ' ']) {
        return wrong("has more than a host and a port");
    }
    let port = match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => port,
        _ => return wrong("has no port"),
    };
    if port.parse::<u16>().is_err() || url.parse::<tonic::codegen::http::Uri>().is_err() {
        return wrong("has a host or port that cannot be");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &Settings) -> String {
        settings.check().map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn endpoints_are_checked_before_they_are_used() {
        for (list, expected) in [
            ("http://10.0.0.1:2379", ""),
            ("http://10.0.0.1:2379,http://node2:4001/", ""),
            ("http://[fd00::1]:2379", ""),
            ("", "no endpoint of etcd is given"),
            (
                "10.0.0.1:2379",
                "the endpoint `10.0.0.1:2379` is not http://HOST:PORT or https://HOST:PORT",
            ),
            ("http://10.0.0.1", "the endpoint `http://10.0.0.1` has no port"),
            ("http://[fd00::1]", "the endpoint `http://[fd00::1]` has no port"),
            (
                "http://10.0.0.1:99999",
                "the endpoint `http://10.0.0.1:99999` has a host or port that cannot be",
            ),
            (
                "http://user@host:1",
                "the endpoint `http://user@host:1` has more than a host and a port",
            ),
            (
                "https://node:2379",
                "an https endpoint needs the file of the authority that signed its certificate",
            ),
        ] {
            assert_eq!(told(&Settings::listed(list)), expected, "{list}");
        }
    }

    #[test]
    fn certificates_that_are_none_are_named() {
        let tls = |path: &str| Tls { authority: Some(path.into()), identity: None };
        let settings = Settings::listed("https://node:2379");
        assert_eq!(
            told(&settings.clone().with_tls(tls("/nonexistent/ca.pem"))),
            "cannot read the certificate authority /nonexistent/ca.pem: \
             No such file or directory (os error 2)"
        );
        assert_eq!(
            told(&settings.with_tls(tls("/dev/null"))),
            "/dev/null has no certificate authority in PEM"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let user = User { name: "root".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{user:?}").contains("secret"));
    }
}
