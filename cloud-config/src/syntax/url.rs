//! URLs and addresses with ports, as far as etcd and the update client look at them.

use std::net::{IpAddr, Ipv6Addr};

use super::name::domain;

/// A URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'t> {
    pub(crate) host: &'t str,
    pub(crate) port: Option<u16>,
    /// Everything from the first slash after the host.
    pub(crate) path: &'t str,
}

/// An `http` or `https` URL. A mistake is told as what a URL does: "has no host".
pub(crate) fn url(text: &str) -> Result<Url<'_>, &'static str> {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Err("does not begin with `http://` or `https://`");
    };
    if !text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b)) {
        return Err("has characters that no URL has");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[') {
        Some(_) => split_bracketed(authority)?,
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(UNBRACKETED),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    self::host(host)?;
    Ok(Url { host, port: port.map(self::port).transpose()?, path })
}

/// `HOST:PORT`.
pub(crate) fn host_port(text: &str) -> Result<(&str, u16), &'static str> {
    if text.contains("://") {
        return Err("is written without `http://`");
    }
    let (host, port) = match text.starts_with('[') {
        true => split_bracketed(text)?,
        false => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err(UNBRACKETED),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    self::host(host)?;
    Ok((host, self::port(port.ok_or("has no port")?)?))
}

const UNBRACKETED: &str = "has an IPv6 address without brackets around it";

/// A host: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host(text: &str) -> Result<(), &'static str> {
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inside.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("has something in brackets that is not an IPv6 address"),
        };
    }
    if text.is_empty() {
        return Err("has no host");
    }
    domain(text).map_err(|_| "has a host that is neither a name nor an address")
}

/// Whether a program can listen on a host: an address, or `localhost`.
pub(crate) fn can_listen(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok()
}

/// A URL as it may be shown: without what could be a secret in it, which is the user
/// information, the query and the fragment.
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let dots = if scheme.is_empty() { "" } else { "://" };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (path, rest) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let query = if rest.starts_with('?') { "?..." } else { "" };
    format!("{scheme}{dots}{host}{path}{query}")
}

fn split_bracketed(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    let (host, rest) = match text.find(']') {
        Some(end) => text.split_at(end + 1),
        None => return Err("has a bracket that is not closed"),
    };
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err("has something after its address that is not a port"),
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().ok().filter(|port| *port > 0),
        false => None,
    }
    .ok_or("has a port that is not a number from 1 to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, host, port, path) in [
            ("http://a", "a", None, ""),
            ("https://discovery.etcd.io/3135e6", "discovery.etcd.io", None, "/3135e6"),
            ("http://10.0.0.1:2379", "10.0.0.1", Some(2379), ""),
            ("http://[::1]:80/x?y#z", "[::1]", Some(80), "/x?y#z"),
            ("http://u:p@h:1/", "h", Some(1), "/"),
        ] {
            assert_eq!(url(text), Ok(Url { host, port, path }), "{text}");
        }
    }

    #[test]
    fn a_wrong_url_is_told_why() {
        for (text, want) in [
            ("", "does not begin with `http://` or `https://`"),
            ("VOTRE_URL", "does not begin with `http://` or `https://`"),
            ("ftp://a", "does not begin with `http://` or `https://`"),
            ("http://", "has no host"),
            ("http://:1", "has no host"),
            ("https://discovery.etcd.io/<token>", "has characters that no URL has"),
            ("http://a b", "has characters that no URL has"),
            ("http://a:0", "has a port that is not a number from 1 to 65535"),
            ("http://a:+1", "has a port that is not a number from 1 to 65535"),
            ("http://a:99999", "has a port that is not a number from 1 to 65535"),
            ("http://::1:80", UNBRACKETED),
            ("http://[::1", "has a bracket that is not closed"),
            ("http://[::1]x", "has something after its address that is not a port"),
            ("http://[x]", "has something in brackets that is not an IPv6 address"),
            ("http://-a", "has a host that is neither a name nor an address"),
        ] {
            assert_eq!(url(text), Err(want), "{text}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(host_port("10.0.0.1:4001"), Ok(("10.0.0.1", 4001)));
        assert_eq!(host_port("[::1]:7001"), Ok(("[::1]", 7001)));
        for (text, want) in [
            ("10.0.0.1", "has no port"),
            ("http://10.0.0.1:4001", "is written without `http://`"),
            ("2001:db8::1:4001", UNBRACKETED),
            (":4001", "has no host"),
            ("a:b", "has a port that is not a number from 1 to 65535"),
        ] {
            assert_eq!(host_port(text), Err(want), "{text}");
        }
    }
}
