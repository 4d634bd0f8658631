//! What a publisher may do to a channel.

use std::time::Duration;

use disk::version::Version;

use super::{Channel, Release};
use crate::time::{Time, format_span};

/// Why a channel does not take a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// Releases begin at alpha.
    #[error("a release enters at alpha, not at {channel}: publish it to alpha, then promote it")]
    NotFirst {
        /// The channel that was asked for.
        channel: Channel,
    },
    /// A release cannot be promoted to the first channel.
    #[error("alpha is where releases begin: use publish")]
    NoPromotion,
    /// The earlier channel does not carry the release.
    #[error(
        "{version} is not in {earlier}, so it cannot go to {channel}: a channel is never skipped"
    )]
    Skipped {
        /// The release.
        version: Version,
        /// Where it must be first.
        earlier: Channel,
        /// Where it was to go.
        channel: Channel,
    },
    /// The channel has the release already.
    #[error("{channel} carries {version} already")]
    Carried {
        /// The release.
        version: Version,
        /// The channel.
        channel: Channel,
    },
    /// The channel has a newer release.
    #[error("{channel} carries {newest} already: a channel never goes back to {version}")]
    Back {
        /// The release.
        version: Version,
        /// The newest one of the channel.
        newest: Version,
        /// The channel.
        channel: Channel,
    },
    /// The security epoch would go down.
    #[error("{channel} is at security epoch {current}: it never goes back to {epoch}")]
    Epoch {
        /// The epoch of the release.
        epoch: u64,
        /// The highest one of the channel.
        current: u64,
        /// The channel.
        channel: Channel,
    },
    /// The earlier channel has stopped the release.
    #[error("{version} is halted in {earlier}: publish a better one")]
    Halted {
        /// The release.
        version: Version,
        /// The earlier channel.
        earlier: Channel,
    },
    /// The earlier channel has not carried the release for long enough.
    #[error(
        "{version} has been in {earlier} for {carried}, less than the {soak} that --soak asks for",
        carried = format_span(*carried), soak = format_span(*soak)
    )]
    Fresh {
        /// The release.
        version: Version,
        /// The earlier channel.
        earlier: Channel,
        /// For how long it has been there.
        carried: Duration,
        /// For how long it must be.
        soak: Duration,
    },
}

/// Whether `channel`, which carries these releases, may take `new`: nothing ever goes down.
pub fn may_enter(channel: Channel, carried: &[Release], new: &Release) -> Result<(), NotAllowed> {
    let version = || new.version.clone();
    if carried.iter().any(|release| release.version == new.version) {
        return Err(NotAllowed::Carried { version: version(), channel });
    }
    let newer = |other: &&Release| other.version > new.version || other.sequence >= new.sequence;
    if let Some(newest) = carried.iter().filter(newer).max_by_key(|other| other.sequence) {
        let newest = newest.version.clone();
        return Err(NotAllowed::Back { version: version(), newest, channel });
    }
    let current = carried.iter().map(|release| release.epoch).max().unwrap_or(0);
    if new.epoch < current {
        return Err(NotAllowed::Epoch { epoch: new.epoch, current, channel });
    }
    Ok(())
}

/// Whether a release may go on to `channel`; `Ok` is what that channel is to say of it.
///
/// `source` is what the channel before carries, `carried` what `channel` itself does.
pub fn may_promote(
    version: &Version,
    channel: Channel,
    source: &[Release],
    carried: &[Release],
    soak: Duration,
    now: Time,
) -> Result<Release, NotAllowed> {
    let Some(earlier) = channel.earlier() else { return Err(NotAllowed::NoPromotion) };
    let version = version.clone();
    let Some(release) = source.iter().find(|release| release.version == version) else {
        return Err(NotAllowed::Skipped { version, earlier, channel });
    };
    if release.halted.is_some() {
        return Err(NotAllowed::Halted { version, earlier });
    }
    let waited = now.since(release.published);
    if waited < soak {
        return Err(NotAllowed::Fresh { version, earlier, carried: waited, soak });
    }
    let promoted = Release { published: now, rollout: None, ..release.clone() };
    may_enter(channel, carried, &promoted)?;
    Ok(promoted)
}
