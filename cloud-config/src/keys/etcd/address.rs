//! The addresses of etcd 0.4, `HOST:PORT`, as the URLs of today.

use super::options::Side;
use crate::decoder::Text;
use crate::syntax::url;

/// An address of etcd 0.4.
#[derive(Debug)]
pub(super) struct Address {
    /// As it is used: with its variables, if they are not known.
    host: String,
    /// Of an IPv6 address, which is reached on another wildcard.
    v6: bool,
    pub(super) port: Option<u16>,
}

/// `HOST:PORT`.
pub(super) fn advertised(text: &Text) -> Result<Address, &'static str> {
    let (host, port) = url::host_port(text.probe())?;
    let written = text.value.rsplit_once(':').map_or("", |(host, _)| host);
    Ok(Address { host: written.to_owned(), v6: host.starts_with('['), port: Some(port) })
}

/// `HOST:PORT` or `HOST`, of this machine.
pub(super) fn bound(text: &Text) -> Result<Address, &'static str> {
    let address = match url::host_port(text.probe()) {
        Err("has no port") => {
            let host = text.probe();
            Address { host: text.value.clone(), v6: host.starts_with('['), port: None }
        }
        Err(why) => return Err(why),
        Ok(_) => advertised(text)?,
    };
    let probe = text.probe();
    let host = match address.port {
        Some(_) => probe.rsplit_once(':').map_or(probe, |(host, _)| host),
        None => probe,
    };
    url::host(host)?;
    if !url::can_listen(host) {
        return Err("must be an address to listen on, not a host's name");
    }
    Ok(address)
}

impl Address {
    pub(super) fn url(&self, scheme: &str, port: u16) -> String {
        format!("{scheme}://{}:{port}", self.host)
    }

    /// Whether others cannot be told this address.
    pub(super) fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "0.0.0.0" | "[::]")
    }

    fn is_loopback(&self) -> bool {
        matches!(self.host.as_str(), "127.0.0.1" | "localhost")
    }

    /// Every address of the machine in its family.
    fn wildcard(&self) -> Self {
        let host = if self.v6 { "[::]" } else { "0.0.0.0" };
        Self { host: host.to_owned(), ..*self }
    }
}

/// What to listen on for an address that others know, or for one that was asked for.
pub(super) fn listen_urls(
    side: &Side,
    scheme: &str,
    advertised: Option<&Address>,
    bound: Option<&Address>,
) -> Option<String> {
    let known = advertised.and_then(|address| address.port).unwrap_or(side.port);
    let address = match (bound, advertised) {
        (Some(bound), _) => Address { host: bound.host.clone(), ..*bound },
        (None, advertised) => advertised?.wildcard(),
    };
    let port = address.port.unwrap_or(known);
    let mut urls = address.url(scheme, port);
    let reached = port == side.port && (address.is_wildcard() || address.is_loopback());
    if side.local && !reached {
        urls.push_str(&format!(",{scheme}://127.0.0.1:{}", side.port));
    }
    Some(urls)
}
