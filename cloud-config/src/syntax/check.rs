//! What the settings of services may be set to.

use std::net::IpAddr;

use super::{name, path, url};
use crate::outline::Shape;

/// The kind of value that a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Any line.
    Text,
    /// Any line, never shown.
    Secret,
    Flag,
    /// A whole number, at least this.
    Whole(u64),
    /// A number with or without a fraction.
    Number,
    /// A duration as Go writes it: `1h30m`.
    Duration,
    /// A duration, or a whole number.
    Span,
    Path,
    Domain,
    /// The name of a cluster's member.
    Member,
    /// `name=url,name=url`.
    Members,
    Url,
    /// `http://host:port,...`
    Urls,
    /// The same, of addresses that a program can listen on.
    ListenUrls,
    /// An IP address.
    Ip,
    /// `key=value,...`
    Pairs,
    /// `[DAY ]H:MM`, when a window begins.
    WindowStart,
    OneOf(&'static [&'static str]),
}

impl Check {
    /// What is wrong with a value, to be said after the setting's name.
    pub(crate) fn check(self, text: &str) -> Result<(), String> {
        let must = |sound: bool, kind: &str| match sound {
            true => Ok(()),
            false => Err(format!("must be {kind}")),
        };
        match self {
            Self::Text | Self::Secret => Ok(()),
            Self::Flag => must(flag(text).is_some(), "true or false"),
            Self::Whole(least) => match whole(text) {
                Some(number) => must(number >= least, &format!("at least {least}")),
                None => must(false, "a whole number"),
            },
            Self::Number => must(
                text.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0),
                "a number",
            ),
            Self::Duration => must(is_duration(text), "a duration such as `30s` or `1h30m`"),
            Self::Span => must(
                whole(text).is_some() || is_duration(text),
                "a whole number, or a duration such as `1h`",
            ),
            Self::Path => path::absolute(text).map_err(str::to_owned),
            Self::Domain => name::domain(text).map_err(|why| format!("is not a domain: {why}")),
            Self::Member => must(
                !text.is_empty() && !text.contains(['=', ',', ' ', '\t']),
                "a name without `=`, `,` and spaces",
            ),
            Self::Members => {
                text.split(',').try_for_each(|member| match member.trim().split_once('=') {
                    Some((name, at)) if !name.is_empty() => endpoint(at, false),
                    _ => Err("must be `name=http://host:port,...`".to_owned()),
                })
            }
            Self::Url => url::url(text).map(drop).map_err(str::to_owned),
            Self::Urls => text.split(',').try_for_each(|at| endpoint(at.trim(), false)),
            Self::ListenUrls => text.split(',').try_for_each(|at| endpoint(at.trim(), true)),
            Self::Ip => must(text.parse::<IpAddr>().is_ok(), "an IP address"),
            Self::Pairs => must(
                text.split(',').all(|pair| {
                    pair.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty())
                }),
                "`key=value,key=value`",
            ),
            Self::WindowStart => {
                must(is_window_start(text), "a time such as `Sun 4:00` or `23:30`")
            }
            Self::OneOf(values) => must(values.contains(&text), &one_of(values)),
        }
    }

    /// What an editor may expect.
    pub(crate) const fn shape(self) -> Shape {
        match self {
            Self::Flag => Shape::Flag,
            Self::Whole(least) => Shape::Whole(least),
            Self::Number => Shape::Number,
            Self::OneOf(words) => Shape::Words(words),
            _ => Shape::Text,
        }
    }

    /// Whether a message may show the value.
    pub(crate) fn may_show(self) -> bool {
        !matches!(self, Self::Secret | Self::Url | Self::Urls | Self::ListenUrls | Self::Members)
    }
}

/// The words for yes and no.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// `a`, `b` or `c`, each quoted.
pub(crate) fn one_of(values: &[&str]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

pub(crate) fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_window_start(text: &str) -> bool {
    const DAYS: [&str; 14] = [
        "sun",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
    ];
    let (day, time) = text.split_once(' ').map_or((None, text), |(day, time)| (Some(day), time));
    let number = |text: &str, below: u64| whole(text).is_some_and(|n| n < below);
    day.is_none_or(|day| DAYS.contains(&day.to_ascii_lowercase().as_str()))
        && time.trim().split_once(':').is_some_and(|(hour, minute)| {
            hour.len() <= 2 && minute.len() == 2 && number(hour, 24) && number(minute, 60)
        })
}

fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let after = &rest[number..];
        let unit = ["ms", "us", "ns", "h", "m", "s"].into_iter().find(|u| after.starts_with(u));
        match unit {
            Some(unit) if number > 0 => rest = &after[unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}

/// A URL as etcd takes it for a member: a host and a port, and no path.
fn endpoint(text: &str, listen: bool) -> Result<(), String> {
    let url = url::url(text).map_err(|why| format!("has a URL that {why}"))?;
    if url.port.is_none() {
        return Err("has a URL without a port".to_owned());
    }
    if !url.path.is_empty() {
        return Err("has a URL with more than a host and a port".to_owned());
    }
    if listen && !url::can_listen(url.host) {
        return Err("must name an address to listen on, not a host".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind() {
        let one = Check::OneOf(&["new", "existing"]);
        for (check, good, bad) in [
            (Check::Flag, &["true", "No", "on"][..], &["", "maybe", "1"][..]),
            (Check::Whole(1), &["1", "600"], &["0", "", "-1", "1.5", "6OO", "+1"]),
            (Check::Number, &["0", "1.5", "2"], &["", "x", "-1", "NaN", "inf"]),
            (Check::Duration, &["30s", "1h30m", "100ms"], &["", "30", "s", "1 h", "1d"]),
            (Check::Span, &["1", "1h"], &["", "1d", "x"]),
            (Check::Path, &["/etc/ssl/ca.pem"], &["", "ca.pem", "/a/../b", "/a\nb"]),
            (Check::Domain, &["example.com"], &["", "a..b", "a b"]),
            (Check::Member, &["node1", "%m"], &["", "a=b", "a,b", "a b"]),
            (
                Check::Members,
                &["a=http://10.0.0.1:2380", "a=http://h:1, b=http://h:2"],
                &["", "http://10.0.0.1:2380", "10.0.0.1:7001", "a=", "=http://h:1"],
            ),
            (Check::Url, &["https://discovery.etcd.io/x"], &["", "x"]),
            (
                Check::Urls,
                &["http://a:1", "http://a:1, https://b:2"],
                &["", "http://a", "http://a:1/"],
            ),
            (Check::ListenUrls, &["http://0.0.0.0:1", "http://[::]:1"], &["http://host:1"]),
            (Check::Ip, &["10.0.0.1", "::1"], &["", "host", "10.0.0.1/8"]),
            (Check::Pairs, &["a=b", "a=b,c=d", "a="], &["", "a", "a=b,", "=b"]),
            (one, &["new", "existing"], &["", "old"]),
            (Check::Text, &["", "anything"], &[]),
        ] {
            for text in good {
                assert_eq!(check.check(text), Ok(()), "{check:?} {text:?}");
            }
            for text in bad {
                assert!(check.check(text).is_err(), "{check:?} {text:?}");
            }
        }
        assert_eq!(one.check("x").unwrap_err(), "must be `new` or `existing`");
    }
}
