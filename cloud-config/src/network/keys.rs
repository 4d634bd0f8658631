//! The keys of a network-config: a table for each mapping, and how each value is read.

use std::net::IpAddr;

use super::interface::{Interface, Match, Route};
use crate::address::Address;
use crate::decoder::{Decoder, Read, Text};
use crate::finding::{Finding, Severity, Span, quoted};
use crate::syntax::{check, name};
use crate::table::{KnownKey, Rule, Table, applied, ignored, nowhere};
use crate::tree::{Data, Entry, Node};

/// A network-config of which not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    interfaces: Vec<Interface>,
    versioned: bool,
}

/// An interface, and where its gateways are written.
#[derive(Debug, Default)]
struct InterfaceDraft {
    interface: Interface,
    routes: Vec<Span>,
}

const TOP: Table<Read<Draft>> = Table {
    place: "",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("network", |decoder, entry, draft| {
            decoder.read(&entry.value, &TOP, draft);
        }),
        applied("version", version),
        applied("ethernets", ethernets),
        applied("renderer", |decoder, entry, _| renderer(decoder, entry)),
        left_out("bonds"),
        left_out("bridges"),
        left_out("dummy_devices"),
        left_out("modems"),
        left_out("nm_devices"),
        left_out("openvswitch"),
        left_out("tunnels"),
        left_out("virtual_ethernets"),
        left_out("vlans"),
        left_out("vrfs"),
        left_out("wifis"),
        KnownKey {
            name: "config",
            rule: Rule::Refused(
                "is of version 1, which is not supported",
                Some("write `version: 2` and `ethernets`"),
            ),
        },
    ],
};

const fn left_out(name: &'static str) -> KnownKey<Read<Draft>> {
    KnownKey {
        name,
        rule: Rule::Refused(
            "is not supported: only `ethernets` is",
            Some("write `.netdev` and `.network` units under `coreos.units` in the cloud-config"),
        ),
    }
}

const ETHERNET: Table<Read<InterfaceDraft>> = Table {
    place: "`ethernets`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("match", |decoder, entry, draft| {
            let mut matching = Match::default();
            decoder.read(&entry.value, &MATCH, &mut matching);
            draft.interface.matching = Some(matching).filter(|m| *m != Match::default());
        }),
        applied("set_name", |decoder, entry, draft| {
            draft.interface.set_name = interface_name(decoder, entry, INTERFACE);
        }),
        applied("dhcp4", |decoder, entry, draft| {
            draft.interface.dhcp4 = decoder.flag(entry).unwrap_or_default();
        }),
        applied("dhcp6", |decoder, entry, draft| {
            draft.interface.dhcp6 = decoder.flag(entry).unwrap_or_default();
        }),
        applied("addresses", |decoder, entry, draft| {
            draft.interface.addresses = addresses(decoder, entry);
        }),
        applied("gateway4", |decoder, entry, draft| gateway(decoder, entry, draft, true)),
        applied("gateway6", |decoder, entry, draft| gateway(decoder, entry, draft, false)),
        applied("routes", routes),
        applied("nameservers", |decoder, entry, draft| {
            decoder.read(&entry.value, &NAMESERVERS, draft);
        }),
        applied("mtu", |decoder, entry, draft| {
            draft.interface.mtu = number(decoder, entry, 68);
        }),
        applied("optional", |decoder, entry, draft| {
            draft.interface.optional = decoder.flag(entry).unwrap_or_default();
        }),
        ignored("accept_ra"),
        ignored("critical"),
        ignored("dhcp4_overrides"),
        ignored("dhcp6_overrides"),
        ignored("dhcp_identifier"),
        ignored("ipv6_address_generation"),
        ignored("ipv6_mtu"),
        ignored("ipv6_privacy"),
        ignored("link_local"),
        ignored("macaddress"),
        ignored("optional_addresses"),
        ignored("renderer"),
        ignored("routing_policy"),
        ignored("wakeonlan"),
    ],
};

const MATCH: Table<Read<Match>> = Table {
    place: "`match`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("macaddress", |decoder, entry, matching| {
            matching.macaddress = macaddress(decoder, entry);
        }),
        applied("name", |decoder, entry, matching| {
            matching.name = interface_name(decoder, entry, PATTERN);
        }),
        applied("driver", |decoder, entry, matching| {
            matching.driver = interface_name(decoder, entry, PATTERN);
        }),
    ],
};

const NAMESERVERS: Table<Read<InterfaceDraft>> = Table {
    place: "`nameservers`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("addresses", |decoder, entry, draft| {
            let texts = lines(decoder, entry, "a name server");
            let servers = texts.iter().filter_map(|text| ip(decoder, text, "a name server"));
            draft.interface.nameservers = servers.collect();
        }),
        applied("search", |decoder, entry, draft| {
            for text in lines(decoder, entry, "a domain") {
                match name::domain(&text.value) {
                    Ok(()) => draft.interface.search.push(text.value),
                    Err(why) => {
                        let message = format!("{} is not a domain: {why}", quoted(&text.value));
                        decoder.error(text.span, message);
                    }
                }
            }
        }),
    ],
};

/// A route of which not everything is read yet.
#[derive(Debug, Default)]
struct RouteDraft {
    /// Nothing inside: the default route.
    to: Option<Option<Address>>,
    via: Option<IpAddr>,
    metric: Option<u32>,
    on_link: bool,
    /// A value could not be read; a finding says so.
    bad: bool,
}

const ROUTE: Table<Read<RouteDraft>> = Table {
    place: "`routes`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("to", |decoder, entry, route| {
            route.to = destination(decoder, entry);
            route.bad |= route.to.is_none();
        }),
        applied("via", |decoder, entry, route| {
            let text = decoder.entry_line(entry);
            route.via = text.and_then(|text| ip(decoder, &text, "`via`"));
            route.bad |= route.via.is_none();
        }),
        applied("metric", |decoder, entry, route| route.metric = number(decoder, entry, 0)),
        applied("on_link", |decoder, entry, route| {
            route.on_link = decoder.flag(entry).unwrap_or_default();
        }),
        ignored("from"),
        ignored("mtu"),
        ignored("scope"),
        ignored("table"),
        ignored("type"),
    ],
};

/// Reads a whole network-config.
pub(super) fn interfaces(decoder: &mut Decoder<'_>, root: &Node) -> Vec<Interface> {
    let mut draft = Draft::default();
    let whole = decoder.read(root, &TOP, &mut draft);
    if whole && !draft.versioned {
        decoder.report(
            Finding::error(root.span, "no `version` is given").with_hint("write `version: 2`"),
        );
    }
    draft.interfaces
}

fn version(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    draft.versioned = true;
    let Some(text) = decoder.entry_line(entry) else { return };
    if text.value != "2" {
        let message = format!("version {} of network-config is not supported", quoted(&text.value));
        decoder.report(
            Finding::error(text.span, message).with_hint("write `version: 2` and `ethernets`"),
        );
    }
}

fn renderer(decoder: &mut Decoder<'_>, entry: &Entry) {
    let Some(text) = decoder.entry_line(entry) else { return };
    if text.value != "networkd" {
        decoder.warn(text.span, "`networkd` renders every network of this system");
    }
}

fn ethernets(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let Data::Mapping(entries) = &entry.value.data else {
        let found = entry.value.kind();
        decoder.report(
            Finding::error(
                entry.value.span,
                format!("`ethernets` must be a mapping, found {found}"),
            )
            .with_hint("write `eth0:` and below it, indented further, what it is to have"),
        );
        return;
    };
    for entry in entries {
        let id = entry.key.written.to_string();
        let mut draft_interface = InterfaceDraft::default();
        if !is_name(&id, ENTRY) {
            let message = format!("{} cannot be the name of an interface", quoted(&id));
            decoder.error(entry.key.span, message);
            continue;
        }
        if !entry.value.is_null() && !decoder.read(&entry.value, &ETHERNET, &mut draft_interface) {
            continue;
        }
        draft_interface.interface.id = id;
        draft.interfaces.push(finish(decoder, entry.key.span, draft_interface));
    }
}

/// Checks what depends on several keys of an interface.
fn finish(decoder: &mut Decoder<'_>, key: Span, draft: InterfaceDraft) -> Interface {
    let InterfaceDraft { mut interface, routes } = draft;
    if interface.set_name.is_some() && interface.matching.is_none() {
        decoder.report(
            Finding::error(key, "`set-name` needs a `match`")
                .with_hint("say which interface is meant, by `macaddress`"),
        );
        interface.set_name = None;
    }
    for (index, span) in routes.into_iter().enumerate() {
        let route = &interface.routes[index];
        let Some(via) = route.via.filter(|via| !route.on_link && interface.is_outside(*via)) else {
            continue;
        };
        let message = format!("the gateway {via} is in no network of this interface");
        decoder.report(
            Finding::warning(span, message)
                .with_hint("it is taken to be reached directly: `on-link: true` says so"),
        );
        interface.routes[index].on_link = true;
    }
    interface
}

fn addresses(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Address> {
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

fn gateway(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut InterfaceDraft, v4: bool) {
    let what = quoted(&entry.key.written);
    let Some(text) = decoder.entry_line(entry) else { return };
    let Some(via) = ip(decoder, &text, &what) else { return };
    if via.is_ipv4() != v4 {
        let family = if v4 { 4 } else { 6 };
        decoder.error(text.span, format!("{what} must be an IPv{family} address"));
        return;
    }
    let route = Route { to: None, via: Some(via), metric: None, on_link: false };
    draft.interface.routes.push(route);
    draft.routes.push(text.span);
}

fn routes(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut InterfaceDraft) {
    for node in decoder.list(entry) {
        let mut route = RouteDraft::default();
        if !decoder.read(node, &ROUTE, &mut route) || route.bad {
            continue;
        }
        let RouteDraft { to: Some(to), via, metric, on_link, .. } = route else {
            decoder.report(
                Finding::error(node.span, "this route has no `to`")
                    .with_hint("`to: default` is the route to everything"),
            );
            continue;
        };
        let families = to.map(|to| to.ip.is_ipv4()).zip(via.map(|via| via.is_ipv4()));
        let problem = match families {
            Some((to, via)) if to != via => Some("`to` and `via` of this route do not fit"),
            None if to.is_none() && via.is_none() => Some("a default route needs a `via`"),
            _ => None,
        };
        if let Some(problem) = problem {
            decoder.error(node.span, problem);
            continue;
        }
        draft.interface.routes.push(Route { to, via, metric, on_link });
        draft.routes.push(node.span);
    }
}

/// Where a route leads: a network, or nothing inside for the default route.
fn destination(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Option<Address>> {
    let text = decoder.entry_line(entry)?;
    if matches!(text.value.as_str(), "default" | "0.0.0.0/0" | "::/0") {
        return Some(None);
    }
    match text.value.parse::<Address>() {
        Ok(address) => Some(Some(address)),
        Err(_) => {
            let message = format!("{} is not a network", quoted(&text.value));
            let hint = "such as `10.0.0.0/8`, or `default`";
            decoder.report(Finding::error(text.span, message).with_hint(hint));
            None
        }
    }
}

fn lines(decoder: &mut Decoder<'_>, entry: &Entry, what: &str) -> Vec<Text> {
    decoder.list(entry).iter().filter_map(|node| decoder.line(what, node)).collect()
}

fn ip(decoder: &mut Decoder<'_>, text: &Text, what: &str) -> Option<IpAddr> {
    let ip = text.value.parse().ok();
    if ip.is_none() {
        let message = format!("{what} must be an IP address, found {}", quoted(&text.value));
        decoder.error(text.span, message);
    }
    ip
}

fn number(decoder: &mut Decoder<'_>, entry: &Entry, least: u32) -> Option<u32> {
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

fn macaddress(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<String> {
    let text = decoder.entry_line(entry)?;
    let pairs: Vec<_> = text.value.split(':').collect();
    let pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if pairs.len() != 6 || !pairs.iter().all(pair) {
        let message = format!("{} is not a MAC address", quoted(&text.value));
        decoder.report(Finding::error(text.span, message).with_hint("such as `52:54:00:12:34:56`"));
        return None;
    }
    Some(text.value.to_ascii_lowercase())
}

fn interface_name(decoder: &mut Decoder<'_>, entry: &Entry, kind: Name) -> Option<String> {
    let text = decoder.entry_line(entry)?;
    if !is_name(&text.value, kind) {
        let (key, found) = (quoted(&entry.key.written), quoted(&text.value));
        decoder.error(text.span, format!("{key} cannot be {found}"));
        return None;
    }
    Some(text.value)
}

/// A kind of name: the most characters, and what it may have besides letters and digits.
type Name = (usize, &'static str);

/// Longest as the kernel has it.
const INTERFACE: Name = (15, "_-.");
/// Becomes part of a file's name.
const ENTRY: Name = (63, "_-.");
const PATTERN: Name = (63, "_-.*?[]!");

fn is_name(name: &str, (longest, besides): Name) -> bool {
    (1..=longest).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || besides.contains(c))
}
