//! What stands in a unit: sections and directives that systemd would pass over, and addresses
//! that cannot work.

use std::net::IpAddr;

use crate::address::Address;
use crate::decoder::{Decoder, Text};
use crate::finding::{Finding, Span, quoted};
use crate::suggest::nearest;
use crate::syntax::check;
use crate::syntax::directives::{FileKind, kind_of};

/// An assignment in a unit.
#[derive(Debug)]
struct Assignment<'t> {
    /// The name of its section, and which of those of that name it is.
    section: (&'t str, usize),
    key: &'t str,
    value: &'t str,
    /// The line of the text, from 0.
    line: usize,
}

/// Warns of everything in a unit's text that systemd would not do.
pub(super) fn check(decoder: &mut Decoder<'_>, unit: &str, text: &Text) {
    let Some(kind) = kind_of(unit) else { return };
    let spans = decoder.line_spans(text);
    let place = |line: usize| spans.get(line).copied().flatten().unwrap_or(text.span);
    let mut told = Vec::new();
    read(&text.written, kind, &mut |line, message, hint| {
        told.push((place(line), message, hint));
    });
    for (span, message, hint) in told {
        let finding = Finding::warning(span, message);
        decoder.report(match hint {
            Some(hint) => finding.with_hint(hint),
            None => finding,
        });
    }
    if unit.ends_with(".network") {
        // The addresses that variables stand for are as good as any of their family.
        let assignments = read(text.probe(), kind, &mut |_, _, _| {});
        gateways(decoder, &assignments, &place);
    }
}

/// Reads the assignments of a unit and tells what systemd does not.
fn read<'t>(
    text: &'t str,
    kind: FileKind,
    tell: &mut dyn FnMut(usize, String, Option<String>),
) -> Vec<Assignment<'t>> {
    let mut assignments = Vec::new();
    let mut section: Option<(&str, Vec<&'static str>)> = None;
    let mut number = 0;
    let (mut lost, mut open) = (false, false);
    for (line, whole) in text.lines().enumerate() {
        let trimmed = whole.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            open &= !trimmed.is_empty();
            continue;
        }
        let continued = std::mem::replace(&mut open, trimmed.ends_with('\\'));
        if continued {
            continue;
        }
        if let Some(rest) = trimmed.strip_prefix('[') {
            number += 1;
            let Some(name) = rest.strip_suffix(']') else {
                let hint = "a section begins with its name in brackets, such as `[Service]`";
                tell(line, "this is no name of a section".to_owned(), Some(hint.to_owned()));
                section = None;
                continue;
            };
            section =
                (name.starts_with("X-") || kind.has(name)).then(|| (name, kind.directives(name)));
            // What stands in a section that is passed over is not looked at.
            lost = section.is_none();
            if lost {
                let shown = quoted(&format!("[{name}]"));
                let hint = match nearest(name, kind.sections()) {
                    Some(near) => format!("did you mean `[{near}]`?"),
                    None => format!("it can have {}", list(kind.sections())),
                };
                tell(line, format!("systemd passes over the section {shown} here"), Some(hint));
            }
            continue;
        }
        let Some((key, value)) = trimmed.split_once('=') else {
            let hint = "a line is `Key=value`; it goes on in the next if it ends with `\\`";
            tell(line, "systemd passes over a line without `=`".to_owned(), Some(hint.to_owned()));
            continue;
        };
        let key = key.trim();
        let Some((name, directives)) = &section else {
            if !std::mem::replace(&mut lost, true) {
                let hint = "a section begins with its name in brackets, such as `[Service]`";
                let message = "what comes before the first section has no effect";
                tell(line, message.to_owned(), Some(hint.to_owned()));
            }
            continue;
        };
        assignments.push(Assignment { section: (name, number), key, value: value.trim(), line });
        if !(name.starts_with("X-") || key.starts_with("X-") || directives.contains(&key)) {
            let shown = quoted(&format!("{key}="));
            tell(
                line,
                format!("systemd passes over {shown} in [{name}]"),
                correction(kind, name, key, directives),
            );
        }
    }
    assignments
}

/// What may have been meant by a directive that its section does not have.
fn correction(
    kind: FileKind,
    section: &str,
    key: &str,
    directives: &[&'static str],
) -> Option<String> {
    let others = || kind.sections().filter(|other| *other != section);
    if let Some(other) = others().find(|other| kind.directives(other).contains(&key)) {
        return Some(format!("it belongs in [{other}]"));
    }
    nearest(key, directives.iter().copied()).map(|near| format!("did you mean `{near}=`?"))
}

fn list(sections: impl Iterator<Item = &'static str>) -> String {
    let mut names: Vec<String> = sections.map(|section| format!("[{section}]")).collect();
    names.truncate(12);
    names.join(", ")
}

/// Tells of gateways that none of the file's own addresses reaches.
fn gateways(
    decoder: &mut Decoder<'_>,
    assignments: &[Assignment<'_>],
    place: &dyn Fn(usize) -> Span,
) {
    let values = |section: &'static str, key: &'static str| {
        assignments.iter().filter(move |a| a.section.0 == section && a.key == key)
    };
    let given = values("Network", "Address").chain(values("Address", "Address"));
    let addresses: Vec<Address> =
        given.filter_map(|assignment| assignment.value.parse().ok()).collect();
    let leased = values("Network", "DHCP").any(|assignment| {
        assignment.value != "ipv6" && check::flag(assignment.value) != Some(false)
    });
    for gateway in values("Network", "Gateway").chain(values("Route", "Gateway")) {
        let Ok(ip) = gateway.value.parse::<IpAddr>() else { continue };
        let local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let mut family = addresses.iter().filter(|address| address.ip.is_ipv4() == ip.is_ipv4());
        let on_link = assignments.iter().any(|assignment| {
            assignment.section == gateway.section
                && assignment.key == "GatewayOnLink"
                && check::flag(assignment.value) == Some(true)
        });
        let known = family.clone().next().is_some();
        if local || on_link || !known || (leased && ip.is_ipv4()) {
            continue;
        }
        if !family.any(|address| address.contains(ip)) {
            let networks: Vec<_> = addresses
                .iter()
                .filter(|address| address.ip.is_ipv4() == ip.is_ipv4())
                .map(ToString::to_string)
                .collect();
            let message =
                format!("the gateway {ip} is outside the network of {}", networks.join(" and "));
            decoder.report(Finding::warning(place(gateway.line), message).with_hint(
                "check the prefix, or write a [Route] with `Gateway=` and `GatewayOnLink=yes`",
            ));
        }
    }
}
