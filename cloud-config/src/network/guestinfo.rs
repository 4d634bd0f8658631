//! What VMware's guestinfo and OVF properties say of interfaces: lines of `KEY=VALUE`.
//!
//! ```text
//! interface.N.name, .mac, .dhcp (yes or no), .role (public or private)
//! interface.N.ip.M.address (with prefix), interface.N.route.L.gateway, .destination
//! dns.server.X, dns.domain.Y
//! ```

use std::collections::BTreeMap;

use super::interface::{Interface, Match, Route};
use super::values;
use crate::finding::{Finding, Findings, Position, Span, quoted};
use crate::source;

/// More interfaces, addresses or servers than any machine has.
const MOST: usize = 64;

/// The lines by key, in lower case, with their places.
type Lines<'t> = BTreeMap<String, (&'t str, Span)>;

pub(super) fn interfaces(text: &str, findings: &mut Findings) -> Vec<Interface> {
    let lines = read(text, findings);
    let mut all = Vec::new();
    for number in 0..MOST {
        let prefix = format!("interface.{number}.");
        // The first that is not there is the end.
        let first = lines.range(prefix.clone()..).next();
        if !first.is_some_and(|(key, _)| key.starts_with(&prefix)) {
            break;
        }
        all.extend(interface(number, &lines, findings));
    }
    let servers: Vec<_> = numbered(&lines, "dns.server.", "")
        .filter_map(|line| read_value(line, "an IP address", |text| text.parse().ok(), findings))
        .collect();
    let search: Vec<_> = numbered(&lines, "dns.domain.", "")
        .filter_map(|line| {
            let domain =
                |text: &str| crate::syntax::name::domain(text).is_ok().then(|| text.to_owned());
            read_value(line, "a domain", domain, findings)
        })
        .collect();
    for interface in &mut all {
        interface.nameservers.clone_from(&servers);
        interface.search.clone_from(&search);
    }
    all
}

fn read<'t>(text: &'t str, findings: &mut Findings) -> Lines<'t> {
    let mut lines = Lines::new();
    for (index, line) in source::lines(text).enumerate() {
        let at = |column| Position { line: index + 1, column };
        let span = Span::new(at(1), at(line.chars().count() + 1));
        match line.split_once('=') {
            Some((key, value)) => {
                lines.insert(key.trim().to_ascii_lowercase(), (value.trim(), span));
            }
            None if line.trim().is_empty() => {}
            None => {
                let message = format!("{} is not `KEY=VALUE`", quoted(line));
                findings.push(Finding::warning(span, message));
            }
        }
    }
    lines
}

fn interface(number: usize, lines: &Lines<'_>, findings: &mut Findings) -> Option<Interface> {
    let line = |key: &str| {
        let line = lines.get(&format!("interface.{number}.{key}")).copied();
        line.filter(|(value, _)| !value.is_empty())
    };
    let name = line("name").and_then(|line| {
        let read = |text: &str| values::is_name(text, values::INTERFACE).then(|| text.to_owned());
        read_value(line, "the name of an interface", read, findings)
    });
    let mac = line("mac").and_then(|line| read_value(line, "a MAC address", values::mac, findings));
    let id = name.clone().unwrap_or_else(|| format!("interface{number}"));
    let matching = match (mac, name) {
        (Some(mac), _) => Some(Match { macaddress: Some(mac), ..Match::default() }),
        (None, Some(_)) => None,
        (None, None) if number == 0 => {
            Some(Match { name: Some("e*".to_owned()), ..Match::default() })
        }
        (None, None) => {
            let prefix = format!("interface.{number}.");
            let span = lines.range(prefix..).next().map(|(_, (_, span))| *span);
            let message = format!("interface.{number} has neither name nor mac and is left out");
            findings.push(Finding::error(span.unwrap_or_default(), message));
            return None;
        }
    };
    let mut interface = Interface { id, matching, ..Interface::default() };
    let address = |text: &str| text.parse().ok().filter(|_| text.contains('/'));
    let what = "an address with a prefix";
    interface.addresses = numbered(lines, &format!("interface.{number}.ip."), ".address")
        .filter_map(|line| read_value(line, what, address, findings))
        .collect();
    for index in 0..MOST {
        let Some(gateway) = line(&format!("route.{index}.gateway")) else { break };
        let via = read_value(gateway, "an IP address", |text| text.parse().ok(), findings);
        let Some(via) = via else { continue };
        let to = match line(&format!("route.{index}.destination")) {
            None => None,
            Some((text, _)) if values::is_everything(text) => None,
            Some(line) => {
                let to = read_value(line, "a network", |text| text.parse().ok(), findings);
                match to {
                    Some(to) => Some(to),
                    None => continue,
                }
            }
        };
        if let Some(problem) = values::route_problem(to, Some(via)) {
            findings.push(Finding::error(gateway.1, problem));
            continue;
        }
        interface.routes.push(Route { to, ..Route::default_via(via) });
    }
    // What is static wins.
    let dhcp = line("dhcp").is_some_and(|(value, _)| value.eq_ignore_ascii_case("yes"));
    interface.dhcp4 = dhcp && interface.addresses.is_empty();
    interface.reach_gateways();
    Some(interface)
}

/// The lines of `PREFIXnSUFFIX` for n from 0 on, until one is missing.
fn numbered<'l, 't>(
    lines: &'l Lines<'t>,
    prefix: &'l str,
    suffix: &'l str,
) -> impl Iterator<Item = (&'t str, Span)> + use<'l, 't> {
    (0..MOST)
        .map(move |n| lines.get(&format!("{prefix}{n}{suffix}")).copied())
        .take_while(Option::is_some)
        .flatten()
        .filter(|(value, _)| !value.is_empty())
}

fn read_value<T>(
    (text, span): (&str, Span),
    what: &str,
    read: impl FnOnce(&str) -> Option<T>,
    findings: &mut Findings,
) -> Option<T> {
    let value = read(text);
    if value.is_none() {
        findings.push(Finding::error(span, format!("{} is not {what}", quoted(text))));
    }
    value
}
