//! What there is: roles with their keys and expiries, channels with their releases.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::State;
use crate::offer::{Offer, Part};
use crate::policy::{Channel, Release};
use crate::time::{Time, format_span};

/// A repository at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The moment.
    pub now: Time,
    /// The roles, the root first.
    pub roles: Vec<RoleView>,
    /// The channels, alpha first.
    pub channels: Vec<ChannelView>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleView {
    /// Its name.
    pub name: String,
    /// The version of its metadata.
    pub version: u64,
    /// When that expires.
    pub expires: Time,
    /// Ids of its keys.
    pub keys: Vec<String>,
    /// How many of them must sign.
    pub threshold: u64,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelView {
    /// Its name.
    pub name: Channel,
    /// Its releases, the newest first.
    pub releases: Vec<ReleaseView>,
}

/// A release in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseView {
    /// What the channel says of it.
    #[serde(flatten)]
    pub release: Release,
    /// Percent of the machines that may take it now.
    pub share: u8,
    /// Bytes of its root, tree and kernel image.
    pub size: u64,
    /// Bytes that a machine without anything fetches: fewer if there are frames.
    pub full: u64,
    /// Bytes that a machine on one of these versions fetches, by the patches for it.
    pub patches: BTreeMap<String, u64>,
}

impl Overview {
    /// Looks at a repository.
    pub fn of(state: &State, now: Time) -> Overview {
        let versions = state.role_versions();
        let roles = state.authorities().into_iter().map(|(name, allowed, _)| {
            // A delegation to a role that is no channel of ours has no metadata that we read.
            let (version, expires) = versions.get(&name).copied().unwrap_or((0, now));
            RoleView { name, version, expires, keys: allowed.keyids, threshold: allowed.threshold }
        });
        let channels = Channel::PATH.map(|channel| ChannelView {
            name: channel,
            releases: state.offers(channel).iter().rev().map(|offer| release(offer, now)).collect(),
        });
        Overview { now, roles: roles.collect(), channels: channels.into() }
    }
}

fn release(offer: &Offer, now: Time) -> ReleaseView {
    let release = offer.release.clone();
    let manifest = offer.files[&Part::Manifest].length;
    let share = match (&release.halted, &release.rollout) {
        (Some(_), _) => 0,
        (None, None) => 100,
        (None, Some(rollout)) => rollout.share(now),
    };
    let size = offer.size() - manifest;
    let full = match (offer.frames(Part::Root), offer.frames(Part::Uki)) {
        (Some(root), Some(uki)) => root.file.length + uki.file.length,
        _ => size,
    };
    let mut patches = BTreeMap::new();
    for pack in &offer.packs {
        if let Some(from) = &pack.info.from {
            *patches.entry(from.version.clone()).or_default() += pack.file.length;
        }
    }
    ReleaseView { release, share, size, full, patches }
}

impl ReleaseView {
    /// Who may take the release, in words.
    pub fn reach(&self) -> String {
        if let Some(halt) = &self.release.halted {
            let reason = halt.reason.as_deref().map_or(String::new(), |text| format!(": {text}"));
            return format!("halted since {}{reason}", halt.since.to_minute());
        }
        let Some(rollout) = &self.release.rollout else { return "all machines".to_owned() };
        let end = rollout.start.plus(std::time::Duration::from_secs(rollout.over));
        let whole = rollout.percent.min(100);
        format!("{} % of machines now, {whole} % by {}", self.share, end.to_minute())
    }
}

/// Bytes as people read them.
pub fn format_size(bytes: u64) -> String {
    let bytes = u128::from(bytes);
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            // Rounded by whole numbers: tenths are enough, and never more than the truth.
            let tenths = bytes * 10 / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10} {:>7}  {:<30} keys", "role", "version", "expires")?;
        for role in &self.roles {
            let left = match role.expires > self.now {
                true => format!("in {}", format_span(role.expires.since(self.now))),
                false => "EXPIRED".to_owned(),
            };
            let expires = format!("{} ({left})", &role.expires.to_string()[..10]);
            let keys: Vec<_> = role.keys.iter().map(|id| id.get(..8).unwrap_or(id)).collect();
            let keys = keys.join(" ");
            let count = match role.keys.len() {
                1 => String::new(),
                count => format!("{} of {count}: ", role.threshold),
            };
            writeln!(f, "{:<10} {:>7}  {expires:<30} {count}{keys}", role.name, role.version)?;
        }
        for channel in &self.channels {
            writeln!(
                f,
                "\n{}{}",
                channel.name,
                if channel.releases.is_empty() { ": no release" } else { "" }
            )?;
            for view in &channel.releases {
                let Release { version, sequence, epoch, published, min_version, .. } =
                    &view.release;
                let size = format_size(view.size);
                let barrier = min_version
                    .as_ref()
                    .map_or(String::new(), |oldest| format!(", from {oldest} on"));
                let published = published.to_minute();
                writeln!(
                    f,
                    "  {:<16} sequence {sequence}, epoch {epoch}, {published}, {size}{barrier}: {}",
                    version.as_str(),
                    view.reach()
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (529_530_880, "505.0 MiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(format_size(bytes), text);
        }
    }
}
