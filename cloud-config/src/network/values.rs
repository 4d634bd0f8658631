//! How the values of a network-config are read, whatever its version.

use std::net::{IpAddr, Ipv4Addr};

use super::interface::{Interface, Route};
use crate::address::Address;
use crate::decoder::{Decoder, Text};
use crate::finding::{Finding, Span, quoted};
use crate::outline::Shape;
use crate::syntax::{check, name};
use crate::tree::{Data, Entry, Node};

/// One text, or a list of them.
pub(super) const LINES: Shape = Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]);

/// An interface of which not everything is read yet, and where its gateways are written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) interface: Interface,
    pub(super) routes: Vec<Span>,
    /// Its name in the description.
    pub(super) key: Span,
}

impl Draft {
    pub(super) fn push_route(&mut self, route: Route, span: Span) {
        self.interface.routes.push(route);
        self.routes.push(span);
    }

    /// Checks what depends on several keys.
    pub(super) fn finish(mut self, decoder: &mut Decoder<'_>) -> Interface {
        let interface = &mut self.interface;
        if interface.set_name.is_some() && interface.matching.is_none() {
            decoder.report(
                Finding::error(self.key, "`set-name` needs a `match`")
                    .with_hint("say which interface is meant, by `macaddress`"),
            );
            interface.set_name = None;
        }
        for (index, span) in self.routes.into_iter().enumerate() {
            let route = &interface.routes[index];
            let Some(via) = route.via.filter(|via| !route.on_link && interface.is_outside(*via))
            else {
                continue;
            };
            let message = format!("the gateway {via} is in no network of this interface");
            decoder.report(
                Finding::warning(span, message)
                    .with_hint("it is taken to be reached directly: `on-link: true` says so"),
            );
            interface.routes[index].on_link = true;
        }
        self.interface
    }
}

/// The values of a list; a single value is a list of one.
pub(super) fn lines(decoder: &mut Decoder<'_>, entry: &Entry, what: &str) -> Vec<Text> {
    if let Data::Scalar(_) = entry.value.data {
        let words = decoder.line(what, &entry.value);
        return words.into_iter().collect();
    }
    decoder.list(entry).iter().filter_map(|node| decoder.line(what, node)).collect()
}

pub(super) fn ip(decoder: &mut Decoder<'_>, text: &Text, what: &str) -> Option<IpAddr> {
    let ip = text.value.parse().ok();
    if ip.is_none() {
        let message = format!("{what} must be an IP address, found {}", quoted(&text.value));
        decoder.error(text.span, message);
    }
    ip
}

pub(super) fn number(decoder: &mut Decoder<'_>, entry: &Entry, least: u32) -> Option<u32> {
    let text = decoder.entry_line(entry)?;
    let number = check::whole(&text.value).and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|number| *number >= least);
    if number.is_none() {
        let (key, found) = (quoted(&entry.key.written), quoted(&text.value));
        decoder
            .error(text.span, format!("{key} must be a whole number from {least}, found {found}"));
    }
    number
}

/// A time, in milliseconds if it has no unit.
pub(super) fn milliseconds(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<u32> {
    let text = decoder.entry_line(entry)?;
    let (digits, factor) = match text.value.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => match text.value.strip_suffix('s') {
            Some(digits) => (digits, 1000),
            None => (text.value.as_str(), 1),
        },
    };
    let number = check::whole(digits.trim()).and_then(|number| u32::try_from(number).ok());
    let time = number.and_then(|number| number.checked_mul(factor));
    if time.is_none() {
        let (key, found) = (quoted(&entry.key.written), quoted(&text.value));
        decoder.error(text.span, format!("{key} must be a time such as 100ms, found {found}"));
    }
    time
}

pub(super) fn macaddress(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<String> {
    let text = decoder.entry_line(entry)?;
    let mac = mac(&text.value);
    if mac.is_none() {
        let message = format!("{} is not a MAC address", quoted(&text.value));
        decoder.report(Finding::error(text.span, message).with_hint("such as `52:54:00:12:34:56`"));
    }
    mac
}

/// A MAC address in lower case, if it is one.
pub(super) fn mac(text: &str) -> Option<String> {
    let pairs: Vec<_> = text.split(':').collect();
    let pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    (pairs.len() == 6 && pairs.iter().all(pair)).then(|| text.to_ascii_lowercase())
}

pub(super) fn interface_name(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    kind: Name,
) -> Option<String> {
    let text = decoder.entry_line(entry)?;
    if !is_name(&text.value, kind) {
        let (key, found) = (quoted(&entry.key.written), quoted(&text.value));
        decoder.error(text.span, format!("{key} cannot be {found}"));
        return None;
    }
    Some(text.value)
}

/// One of a few words.
pub(super) fn word<T>(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    read: fn(&str) -> Option<T>,
    known: &str,
) -> Option<T> {
    let text = decoder.entry_line(entry)?;
    let value = read(&text.value);
    if value.is_none() {
        let (key, found) = (quoted(&entry.key.written), quoted(&text.value));
        decoder.error(text.span, format!("{key} must be {known}, found {found}"));
    }
    value
}

/// Addresses with their prefixes.
pub(super) fn addresses(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Address> {
    let mut addresses = Vec::new();
    for text in lines(decoder, entry, "an address") {
        match text.value.parse::<Address>() {
            Ok(address) if text.value.contains('/') => addresses.push(address),
            _ => {
                let message = format!("{} is not an address with a prefix", quoted(&text.value));
                decoder
                    .report(Finding::error(text.span, message).with_hint("such as `10.0.0.5/24`"));
            }
        }
    }
    addresses
}

/// Name servers.
pub(super) fn servers(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<IpAddr> {
    let texts = lines(decoder, entry, "a name server");
    texts.iter().filter_map(|text| ip(decoder, text, "a name server")).collect()
}

/// Domains to search in.
pub(super) fn domains(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<String> {
    let mut domains = Vec::new();
    for text in lines(decoder, entry, "a domain") {
        match name::domain(&text.value) {
            Ok(()) => domains.push(text.value),
            Err(why) => {
                let message = format!("{} is not a domain: {why}", quoted(&text.value));
                decoder.error(text.span, message);
            }
        }
    }
    domains
}

/// Whether a route can lead `to` there `via` that; what is wrong, if not.
pub(super) fn route_problem(to: Option<Address>, via: Option<IpAddr>) -> Option<&'static str> {
    let families = to.map(|to| to.ip.is_ipv4()).zip(via.map(|via| via.is_ipv4()));
    match families {
        Some((to, via)) if to != via => Some("`to` and `via` of this route do not fit"),
        None if to.is_none() && via.is_none() => Some("a default route needs a `via`"),
        _ => None,
    }
}

/// Whether it is a way to write "everything".
pub(super) fn is_everything(text: &str) -> bool {
    matches!(text, "default" | "0.0.0.0/0" | "::/0" | "0/0")
}

/// The length of the prefix that a mask stands for: dotted, as IPv6 writes it, or the length.
pub(super) fn prefix_of(mask: &str) -> Option<u8> {
    let mask = mask.trim().trim_start_matches('/');
    if let Ok(length) = mask.parse::<u8>() {
        return (length <= 128).then_some(length);
    }
    let (bits, width) = match mask.parse::<IpAddr>().ok()? {
        IpAddr::V4(mask) => (u128::from(mask.to_bits()) << 96, 32),
        IpAddr::V6(mask) => (mask.to_bits(), 128),
    };
    let length = bits.leading_ones();
    (bits.count_ones() == length && length <= width).then(|| u8::try_from(length).unwrap_or(128))
}

/// An address that may have its prefix in itself, else by a mask, else by the class that it once
/// had.
pub(super) fn with_mask(address: &str, mask: Option<&str>) -> Option<Address> {
    let address = address.trim();
    if address.contains('/') {
        return address.parse().ok();
    }
    let ip: IpAddr = address.parse().ok()?;
    let prefix = match (mask, ip) {
        (Some(mask), _) => prefix_of(mask)?,
        (None, IpAddr::V4(ip)) => class(ip),
        (None, IpAddr::V6(_)) => 64,
    };
    format!("{ip}/{prefix}").parse().ok()
}

/// RFC 791, section 3.2.
fn class(ip: Ipv4Addr) -> u8 {
    match ip.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// A kind of name: the most characters, and what it may have besides letters and digits.
pub(super) type Name = (usize, &'static str);

/// Longest as the kernel has it.
pub(super) const INTERFACE: Name = (15, "_-.");
/// Becomes part of a file's name.
pub(super) const ENTRY: Name = (63, "_-.");
pub(super) const PATTERN: Name = (63, "_-.*?[]!");

pub(super) fn is_name(name: &str, (longest, besides): Name) -> bool {
    (1..=longest).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || besides.contains(c))
}

/// The entries of a mapping, if it is one; else a finding says how to write it.
pub(super) fn entries<'n>(decoder: &mut Decoder<'_>, entry: &'n Entry) -> &'n [Entry] {
    if let Data::Mapping(entries) = &entry.value.data {
        return entries;
    }
    let (key, found) = (&entry.key.written, entry.value.kind());
    decoder.report(
        Finding::error(entry.value.span, format!("`{key}` must be a mapping, found {found}"))
            .with_hint("write `eth0:` and below it, indented further, what it is to have"),
    );
    &[]
}

/// Whether nothing is written in a node but perhaps `{}`.
pub(super) fn is_empty(node: &Node) -> bool {
    node.is_null() || matches!(&node.data, Data::Mapping(entries) if entries.is_empty())
}
