//! `ntp` and `timezone`.

use crate::config::{Ntp, Spanned};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::outline::Shape;
use crate::syntax::url;
use crate::table::{Table, key, nowhere, without};
use crate::tree::{Data, Entry};

#[derive(Debug)]
struct Draft {
    enabled: bool,
    servers: Vec<String>,
}

const NTP: Table<Read<Draft>> = Table {
    place: "`ntp`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("enabled", Shape::Flag, "Whether the clock is set by the network.", |d, e, ntp| {
            ntp.enabled = d.flag(e).unwrap_or(true);
        }),
        key("servers", HOSTS, "Time servers.", |decoder, entry, ntp| {
            ntp.servers.extend(hosts(decoder, entry));
        }),
        key("pools", HOSTS, "Names of many time servers.", |decoder, entry, ntp| {
            ntp.servers.extend(hosts(decoder, entry));
        }),
        without("ntp_client", "has no effect: the clock is set by systemd-timesyncd", None),
        without("config", "has no effect: the clock is set by systemd-timesyncd", None),
        without(
            "peers",
            "has no effect: systemd-timesyncd asks servers only",
            Some("use `servers`"),
        ),
        without("allow", "has no effect: systemd-timesyncd serves nobody", None),
    ],
};

const HOSTS: Shape = Shape::List(&Shape::Text);
pub(super) const NTP_SHAPE: Shape = Shape::Keys(|| NTP.outline(&[]));

/// Reads `ntp`.
pub(super) fn ntp(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Ntp> {
    let mut draft = Draft { enabled: true, servers: Vec::new() };
    let whole = decoder.read(&entry.value, &NTP, &mut draft);
    let Draft { enabled, servers } = draft;
    whole.then_some(Ntp { enabled, servers, span: entry.key.span })
}

fn hosts(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<String> {
    if let Data::Scalar(_) = entry.value.data {
        decoder.list(entry);
        return Vec::new();
    }
    let mut hosts = Vec::new();
    for node in decoder.list(entry) {
        let Some(text) = decoder.line("a time server", node) else { continue };
        let host = text.probe();
        let address = host.parse::<std::net::IpAddr>().is_ok();
        match url::host(host) {
            Err(why) if !address => {
                decoder.error(text.span, format!("{} {why}", quoted(&text.value)));
            }
            _ => hosts.push(text.value),
        }
    }
    hosts
}

/// Reads `timezone`: the name of a file below `/usr/share/zoneinfo`.
pub(super) fn timezone(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    let sound = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    if !text.value.split('/').all(sound) {
        let message = format!("{} is no name of a time zone", quoted(&text.value));
        decoder.report(Finding::error(text.span, message).with_hint("such as `Europe/Berlin`"));
        return None;
    }
    Some(text.spanned())
}
