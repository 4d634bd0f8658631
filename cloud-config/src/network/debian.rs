//! Debian's interfaces(5), as old config drives have it in `openstack/content/0000`.
//!
//! Stanzas of `iface NAME inet|inet6 METHOD`; `auto`, `allow-*` and `source` say nothing that
//! counts here. Scripts (`post-up` …) are not run; routes among them are understood.

use std::net::IpAddr;

use super::interface::{Bond, BondMode, HashPolicy, Interface, Kind, Match, Route, Vlan};
use super::values::{self, INTERFACE};
use crate::address::Address;
use crate::finding::{Finding, Findings, Position, Span, quoted};
use crate::source::lines;

/// A stanza under way.
#[derive(Debug)]
struct Stanza {
    interface: usize,
    method: Method,
    at: Span,
    address: Option<String>,
    netmask: Option<String>,
    gateway: Option<IpAddr>,
    metric: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Static,
    Dhcp,
    Dhcp6,
    Auto,
    Manual,
    Loopback,
}

pub(super) fn interfaces(text: &str, findings: &mut Findings) -> Vec<Interface> {
    let mut all: Vec<Interface> = Vec::new();
    let mut stanza: Option<Stanza> = None;
    for (index, line) in lines(text).enumerate() {
        let at = |column| Position { line: index + 1, column };
        let span = Span::new(at(1), at(line.chars().count() + 1));
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [comment, ..] if comment.starts_with('#') => {}
            ["iface", rest @ ..] => {
                finish(stanza.take(), &mut all, findings);
                stanza = begin(rest, span, &mut all, findings);
            }
            ["mapping", ..] => {
                finish(stanza.take(), &mut all, findings);
                findings.push(Finding::warning(span, "`mapping` is not supported"));
            }
            [word, ..] if *word == "auto" || word.starts_with("allow-") => {
                finish(stanza.take(), &mut all, findings);
            }
            ["source" | "source-directory" | "no-auto-down" | "no-scripts", ..] => {
                finish(stanza.take(), &mut all, findings);
            }
            [key, value @ ..] => {
                if let Some(stanza) = &mut stanza {
                    option(key, value, span, stanza, &mut all, findings);
                }
            }
        }
    }
    finish(stanza, &mut all, findings);
    for interface in &mut all {
        interface.reach_gateways();
    }
    all.retain(|interface| interface.id != "lo");
    all
}

fn begin(
    rest: &[&str],
    span: Span,
    all: &mut Vec<Interface>,
    findings: &mut Findings,
) -> Option<Stanza> {
    let [name, family, method] = rest else {
        findings.push(Finding::error(span, "expected `iface NAME inet|inet6 METHOD`"));
        return None;
    };
    if !values::is_name(name, INTERFACE) {
        let message = format!("{} cannot be the name of an interface", quoted(name));
        findings.push(Finding::error(span, message));
        return None;
    }
    let method = match (*family, *method) {
        (_, "static") => Method::Static,
        ("inet", "dhcp") => Method::Dhcp,
        ("inet6", "dhcp") => Method::Dhcp6,
        ("inet6", "auto") => Method::Auto,
        (_, "manual") => Method::Manual,
        (_, "loopback") => Method::Loopback,
        (family, method) => {
            let message = format!("the method {} of {family} is not known", quoted(method));
            findings.push(Finding::error(span, message));
            return None;
        }
    };
    let interface = position(name, all);
    Some(Stanza {
        interface,
        method,
        at: span,
        address: None,
        netmask: None,
        gateway: None,
        metric: None,
    })
}

/// Where the interface of this name is, which may have a stanza for each family. A dot in its
/// name makes it a VLAN.
fn position(name: &str, all: &mut Vec<Interface>) -> usize {
    if let Some(index) = all.iter().position(|interface| interface.id == name) {
        return index;
    }
    let mut interface = Interface { id: name.to_owned(), ..Interface::default() };
    if let Some((link, id)) = name.rsplit_once('.')
        && let Some(id) = id.parse().ok().filter(|id| *id <= 4094)
    {
        interface.kind = Kind::Vlan(Vlan { id, link: link.to_owned() });
    }
    all.push(interface);
    all.len() - 1
}

fn option(
    key: &str,
    value: &[&str],
    span: Span,
    stanza: &mut Stanza,
    all: &mut [Interface],
    findings: &mut Findings,
) {
    let interface = &mut all[stanza.interface];
    let first = value.first().copied().unwrap_or_default();
    let mut bad = |what: &str| {
        let shown = quoted(&value.join(" "));
        findings.push(Finding::error(span, format!("{shown} is not {what}")));
    };
    // ifenslave takes both spellings everywhere.
    match &*key.replace('_', "-") {
        "address" => stanza.address = Some(first.to_owned()),
        "netmask" => stanza.netmask = Some(first.to_owned()),
        "gateway" => match first.parse() {
            Ok(via) => stanza.gateway = Some(via),
            Err(_) => bad("an IP address"),
        },
        "metric" => stanza.metric = first.parse().ok(),
        "mtu" => match first.parse() {
            Ok(mtu) if mtu >= 68 => interface.mtu = Some(mtu),
            _ => bad("an MTU"),
        },
        "hwaddress" => match values::mac(value.last().copied().unwrap_or_default()) {
            // Config drives say by it which interface is meant.
            Some(mac) if interface.kind == Kind::Ethernet => {
                interface.matching = Some(Match { macaddress: Some(mac), ..Match::default() });
                interface.set_name = Some(interface.id.clone());
            }
            Some(mac) => interface.macaddress = Some(mac),
            None => bad("a MAC address"),
        },
        "dns-nameservers" | "dns-nameserver" => {
            for word in value {
                match word.parse() {
                    Ok(server) if !interface.nameservers.contains(&server) => {
                        interface.nameservers.push(server);
                    }
                    Ok(_) => {}
                    Err(_) => bad("a list of IP addresses"),
                }
            }
        }
        "dns-search" | "dns-domain" => {
            for word in value.iter().filter(|word| crate::syntax::name::domain(word).is_ok()) {
                interface.search.push((*word).to_owned());
            }
        }
        "up" | "post-up" => match route(value) {
            Some(route) => interface.routes.push(route),
            None => findings.push(Finding::warning(span, format!("`{key}` is not run"))),
        },
        "down" | "pre-down" | "post-down" | "pre-up" if !is_route(value) => {
            findings.push(Finding::warning(span, format!("`{key}` is not run")));
        }
        "vlan-raw-device" => vlan(&mut interface.kind, |vlan| vlan.link = first.to_owned()),
        "vlan-id" => match first.parse().ok().filter(|id| *id <= 4094) {
            Some(id) => vlan(&mut interface.kind, |vlan| vlan.id = id),
            None => bad("the number of a VLAN"),
        },
        "bond-master" => {
            let (member, name) = (interface.id.clone(), first.to_owned());
            if let Some(master) = all.iter_mut().find(|one| one.id == name) {
                bond(&mut master.kind, |bond| {
                    if !bond.members.contains(&member) {
                        bond.members.push(member);
                    }
                });
            }
        }
        key if key.starts_with("bond-") => {
            bond(&mut interface.kind, |bond| bond_option(key, value, bond));
        }
        _ => {}
    }
}

fn bond_option(key: &str, value: &[&str], bond: &mut Bond) {
    let first = value.first().copied().unwrap_or_default();
    match key {
        "bond-slaves" => {
            let members = value.iter().filter(|word| **word != "none");
            bond.members = members.map(|word| (*word).to_owned()).collect();
        }
        "bond-mode" => bond.mode = BondMode::from_name(first),
        "bond-miimon" => bond.monitor = first.parse().ok(),
        "bond-updelay" => bond.up_delay = first.parse().ok(),
        "bond-downdelay" => bond.down_delay = first.parse().ok(),
        "bond-lacp-rate" => bond.lacp_fast = Some(matches!(first, "fast" | "1")),
        "bond-xmit-hash-policy" => bond.hash_policy = HashPolicy::from_name(first),
        _ => {}
    }
}

/// Changes the bond that this is, or is made by that.
fn bond(kind: &mut Kind, change: impl FnOnce(&mut Bond)) {
    let mut bond = match std::mem::take(kind) {
        Kind::Bond(bond) => bond,
        _ => Bond::default(),
    };
    change(&mut bond);
    *kind = Kind::Bond(bond);
}

/// Changes the VLAN that this is, or is made by that.
fn vlan(kind: &mut Kind, change: impl FnOnce(&mut Vlan)) {
    let mut vlan = match std::mem::take(kind) {
        Kind::Vlan(vlan) => vlan,
        _ => Vlan::default(),
    };
    change(&mut vlan);
    *kind = Kind::Vlan(vlan);
}

/// `route add -net 10.0.0.0 netmask 255.0.0.0 gw 10.1.0.1`, or `ip route add 10.0.0.0/8 via …`.
fn route(words: &[&str]) -> Option<Route> {
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    };
    if !is_route(words) {
        return None;
    }
    let (to, via) = match words {
        ["ip", ..] => (after("add")?, after("via")?),
        _ => (after("-net").or_else(|| after("add"))?, after("gw")?),
    };
    let via = via.parse().ok()?;
    let to = match to {
        text if values::is_everything(text) => None,
        text => Some(match after("netmask") {
            Some(mask) => values::with_mask(text, Some(mask))?,
            None => text.parse::<Address>().ok()?,
        }),
    };
    let sound = values::route_problem(to, Some(via)).is_none();
    sound.then(|| Route { to: to.filter(|to| to.prefix > 0), ..Route::default_via(via) })
}

fn is_route(words: &[&str]) -> bool {
    matches!(words, ["route", ..] | ["ip", "route", ..] | ["ip", "-6", "route", ..])
}

/// Takes the stanza into its interface.
fn finish(stanza: Option<Stanza>, all: &mut [Interface], findings: &mut Findings) {
    let Some(stanza) = stanza else { return };
    let interface = &mut all[stanza.interface];
    match stanza.method {
        Method::Static => {
            let address = stanza.address.as_deref();
            match address.and_then(|text| values::with_mask(text, stanza.netmask.as_deref())) {
                Some(address) => interface.addresses.push(address),
                None => {
                    let message = "a static interface has no address";
                    findings.push(Finding::error(stanza.at, message));
                }
            }
            if let Some(via) = stanza.gateway {
                let route = Route { metric: stanza.metric, ..Route::default_via(via) };
                interface.routes.push(route);
            }
        }
        Method::Dhcp => interface.dhcp4 = true,
        Method::Dhcp6 => interface.dhcp6 = true,
        Method::Auto => interface.accept_ra = Some(true),
        Method::Manual | Method::Loopback => {}
    }
}
