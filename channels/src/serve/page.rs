//! The page that shows a repository to people: its channels, their releases, what changes from
//! one to the next, and how far each is rolled out. One file, without scripts or anything else
//! to fetch.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::offer::Offer;
use crate::policy::{Channel, Release};
use crate::publish::audit::read_manifest;
use crate::publish::diff::Packages;
use crate::publish::overview::{ChannelView, Overview, ReleaseView, format_size};
use crate::publish::{PublishError, Repository, State};
use crate::time::Time;

/// Releases of a channel that are shown.
const SHOWN: usize = 12;

const STYLE: &str = include_str!("page.css");

/// Packages of the releases, by version; nothing for a manifest that cannot be read.
type PackageLists = BTreeMap<String, BTreeMap<String, String>>;

/// Makes the page of a repository.
pub(super) fn render(repository: &Repository, now: Time) -> Result<String, PublishError> {
    let state = repository.load()?;
    let packages = package_lists(repository, &state);
    Ok(html(&Overview::of(&state, now), &packages))
}

fn package_lists(repository: &Repository, state: &State) -> PackageLists {
    let mut lists = PackageLists::new();
    for channel in Channel::PATH {
        let offers: Vec<Offer> = state.offers(channel);
        for offer in offers.iter().rev().take(SHOWN + 1) {
            let version = offer.release.version.to_string();
            if !lists.contains_key(&version)
                && let Ok(manifest) = read_manifest(repository, offer)
            {
                lists.insert(version, manifest.packages);
            }
        }
    }
    lists
}

fn html(overview: &Overview, packages: &PackageLists) -> String {
    let mut page = String::new();
    let expires =
        overview.roles.iter().find(|role| role.name == "timestamp").map(|role| role.expires);
    let fresh = expires.is_some_and(|expires| expires > overview.now);
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><title>Channels</title>\
         <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style>\
         <h1>Channels</h1><p class={}>{} <small>as of {}</small></p>",
        if fresh { "good" } else { "bad" },
        match (fresh, expires) {
            (true, Some(expires)) => format!("Signed, good until {}", expires.to_minute()),
            (_, Some(expires)) =>
                format!("Expired at {}: machines do not update", expires.to_minute()),
            (_, None) => "Not signed".to_owned(),
        },
        overview.now.to_minute()
    );
    page.push_str("<div class=channels>");
    for channel in &overview.channels {
        write_channel(&mut page, channel, packages);
    }
    page.push_str("</div>");
    write_gaps(&mut page, overview, packages);
    write_roles(&mut page, overview);
    page.push_str("</html>\n");
    page
}

fn write_channel(page: &mut String, channel: &ChannelView, packages: &PackageLists) {
    let what = match channel.name {
        Channel::Alpha => "where releases begin",
        Channel::Beta => "from alpha",
        Channel::Stable => "from beta",
    };
    let _ = write!(page, "<section><h2>{} <small>{what}</small></h2>", channel.name);
    if channel.releases.is_empty() {
        page.push_str("<p class=quiet>no release yet</p>");
    }
    for (index, view) in channel.releases.iter().take(SHOWN).enumerate() {
        let before = channel.releases.get(index + 1).map(|view| &view.release);
        write_release(page, view, before, packages);
    }
    if let Some(more) = channel.releases.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = write!(page, "<p class=quiet>and {more} older</p>");
    }
    page.push_str("</section>");
}

fn write_release(
    page: &mut String,
    view: &ReleaseView,
    before: Option<&Release>,
    packages: &PackageLists,
) {
    let release = &view.release;
    let class = match (&release.halted, view.share) {
        (Some(_), _) => "halted",
        (None, 100) => "whole",
        (None, _) => "rolling",
    };
    let _ = write!(
        page,
        "<article class={class}><h3>{} <small>{}</small></h3>\
         <p class=reach><meter min=0 max=100 value={share} title=\"{share} % of machines\"></meter> {}</p>",
        escape(release.version.as_str()),
        release.published.to_minute(),
        escape(&view.reach()),
        share = view.share,
    );
    let barrier = release.min_version.as_ref().map_or(String::new(), |oldest| {
        format!(" &middot; directly from {} on", escape(oldest.as_str()))
    });
    let _ = write!(
        page,
        "<p class=quiet>sequence {} &middot; epoch {}{barrier}</p>",
        release.sequence, release.epoch
    );
    write_downloads(page, view);
    if let Some(before) = before {
        let title = format!("since {}", before.version);
        write_packages(page, &title, before.version.as_str(), release.version.as_str(), packages);
    }
    page.push_str("</article>");
}

/// What machines fetch of a release: by a patch, and all of it.
fn write_downloads(page: &mut String, view: &ReleaseView) {
    let mut ways: Vec<(&str, u64)> =
        view.patches.iter().map(|(from, bytes)| (from.as_str(), *bytes)).collect();
    ways.sort_by_key(|(_, bytes)| *bytes);
    page.push_str("<p class=quiet>download: ");
    for (from, bytes) in ways {
        let _ = write!(page, "<b>{}</b> from {} &middot; ", format_size(bytes), escape(from));
    }
    let _ = write!(page, "{} whole</p>", format_size(view.full));
}

/// What changes from one version to another, folded up.
fn write_packages(page: &mut String, title: &str, from: &str, to: &str, packages: &PackageLists) {
    let (Some(old), Some(new)) = (packages.get(from), packages.get(to)) else { return };
    let changes = Packages::between(old, new);
    let summary = format!("{title}: {}", changes.summary());
    let Packages { added, removed, changed } = &changes;
    if added.is_empty() && removed.is_empty() && changed.is_empty() {
        let _ = write!(page, "<p class=quiet>{}</p>", escape(&summary));
        return;
    }
    let _ = write!(page, "<details><summary>{}</summary><table>", escape(&summary));
    let mut row = |name: &str, before: &str, after: &str| {
        let (name, before, after) = (escape(name), escape(before), escape(after));
        let _ = write!(page, "<tr><td>{name}<td>{before}<td>{after}");
    };
    for (name, (before, after)) in changed {
        row(name, before, after);
    }
    for (name, version) in added {
        row(name, "\u{2013}", version);
    }
    for (name, version) in removed {
        row(name, version, "\u{2013}");
    }
    page.push_str("</table></details>");
}

/// How far each channel is ahead of the next one.
fn write_gaps(page: &mut String, overview: &Overview, packages: &PackageLists) {
    let newest = |channel: &ChannelView| {
        channel.releases.first().map(|view| view.release.version.to_string())
    };
    let mut gaps = String::new();
    for pair in overview.channels.windows(2) {
        let (Some(ahead), Some(behind)) = (newest(&pair[0]), newest(&pair[1])) else { continue };
        let (one, other) = (pair[0].name, pair[1].name);
        if ahead == behind {
            let _ = write!(gaps, "<p class=quiet>{one} and {other}: the same</p>");
        } else {
            let title = format!("{other} {behind} to {one} {ahead}");
            write_packages(&mut gaps, &title, &behind, &ahead, packages);
        }
    }
    if !gaps.is_empty() {
        let _ = write!(page, "<section><h2>Between channels</h2>{gaps}</section>");
    }
}

fn write_roles(page: &mut String, overview: &Overview) {
    page.push_str(
        "<section><h2>Signatures</h2><table><tr><th>role<th>version<th>good until<th>keys",
    );
    for role in &overview.roles {
        let class = if role.expires > overview.now { "" } else { " class=bad" };
        let keys: Vec<_> = role.keys.iter().map(|id| escape(id.get(..8).unwrap_or(id))).collect();
        let _ = write!(
            page,
            "<tr{class}><td>{}<td>{}<td>{}<td>{} of {}: <code>{}</code>",
            escape(&role.name),
            role.version,
            role.expires.to_minute(),
            role.threshold,
            role.keys.len(),
            keys.join(" ")
        );
    }
    page.push_str("</table></section>");
}

/// Text as HTML has it, in attributes and elsewhere.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Halt, Rollout};
    use crate::publish::overview::RoleView;

    const NOW: Time = Time::from_unix(1_800_000_000);

    fn view(version: &str, share: u8) -> ReleaseView {
        let release = Release {
            version: version.parse().unwrap(),
            sequence: 1,
            epoch: 0,
            min_version: None,
            published: NOW,
            rollout: None,
            halted: None,
            root_hash: String::new(),
        };
        let patches = BTreeMap::from([("1.0".to_owned(), 40 << 10)]);
        ReleaseView { release, share, size: 1 << 20, full: 1 << 19, patches }
    }

    fn overview(timestamp_expires: Time) -> Overview {
        let mut rolling = view("1.2", 40);
        rolling.release.rollout = Some(Rollout { start: NOW, over: 3600, percent: 80 });
        let mut halted = view("1.1", 0);
        let reason = Some("<script>alert(1)</script>".to_owned());
        halted.release.halted = Some(Halt { since: NOW, reason });
        let keys = vec!["0123456789".to_owned()];
        let role = |name: &str, expires| RoleView {
            name: name.to_owned(),
            version: 3,
            expires,
            keys: keys.clone(),
            threshold: 1,
        };
        Overview {
            now: NOW,
            roles: vec![role("root", NOW), role("timestamp", timestamp_expires)],
            channels: vec![
                ChannelView { name: Channel::Alpha, releases: vec![rolling, halted] },
                ChannelView { name: Channel::Beta, releases: vec![view("1.1", 100)] },
                ChannelView { name: Channel::Stable, releases: Vec::new() },
            ],
        }
    }

    #[test]
    fn channels_releases_changes_and_roll_outs_are_shown() {
        let list = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect()
        };
        let packages = PackageLists::from([
            ("1.2".to_owned(), list(&[("bash", "5.3"), ("new<b>", "1")])),
            ("1.1".to_owned(), list(&[("bash", "5.2"), ("old", "2")])),
        ]);
        let page = html(&overview(NOW.plus(std::time::Duration::from_secs(60))), &packages);
        for part in [
            "Signed, good until 2027-01-15 08:01 UTC",
            "<h2>alpha <small>where releases begin</small></h2>",
            "<h2>stable <small>from beta</small></h2><p class=quiet>no release yet</p>",
            "40 % of machines now, 80 % by 2027-01-15 09:00 UTC",
            "<meter min=0 max=100 value=40 title=\"40 % of machines\">",
            "since 1.1: packages: 1 changed, 1 added, 1 removed",
            "<tr><td>bash<td>5.2<td>5.3",
            "new&lt;b&gt;",
            "download: <b>40.0 KiB</b> from 1.0 &middot; 512.0 KiB whole",
            "<article class=halted><h3>1.1",
            "halted since 2027-01-15 08:00 UTC: &lt;script&gt;alert(1)",
            "beta 1.1 to alpha 1.2",
            "<tr class=bad><td>root",
        ] {
            assert!(page.contains(part), "no {part} in {page}");
        }
        assert!(!page.contains("<script"));
    }

    #[test]
    fn an_expired_repository_says_so() {
        let page = html(&overview(NOW), &PackageLists::new());
        assert!(
            page.contains("<p class=bad>Expired at 2027-01-15 08:00 UTC: machines do not update")
        );
    }
}
