//! The channels and their order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A channel. The order is stable < beta < alpha: a machine may go up in it and never down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// For everybody.
    Stable,
    /// What is to become stable.
    Beta,
    /// Where every release begins.
    Alpha,
}

/// A text that names no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no channel: use alpha, beta or stable")]
pub struct ParseChannelError {
    name: String,
}

impl Channel {
    /// All channels, in the order in which a release reaches them.
    pub const PATH: [Channel; 3] = [Channel::Alpha, Channel::Beta, Channel::Stable];

    /// The name, which is also that of the role that signs for the channel.
    pub const fn name(self) -> &'static str {
        match self {
            Channel::Stable => "stable",
            Channel::Beta => "beta",
            Channel::Alpha => "alpha",
        }
    }

    /// The channel that releases come from; none for alpha, where they begin.
    pub const fn earlier(self) -> Option<Channel> {
        match self {
            Channel::Stable => Some(Channel::Beta),
            Channel::Beta => Some(Channel::Alpha),
            Channel::Alpha => None,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Channel {
    type Err = ParseChannelError;

    fn from_str(name: &str) -> Result<Channel, ParseChannelError> {
        let found = Channel::PATH.into_iter().find(|channel| channel.name() == name);
        found.ok_or_else(|| ParseChannelError { name: name.to_owned() })
    }
}

/// A machine may not go back to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine has run {floor} and cannot go back to {wanted}: channels are ordered \
     stable < beta < alpha and a machine goes only up; install it anew to leave {floor}"
)]
pub struct Refused {
    /// The highest channel that the machine has run well on.
    pub floor: Channel,
    /// The channel that was asked for.
    pub wanted: Channel,
}

/// Whether a machine that has run well on `floor` may follow `wanted`.
pub fn may_follow(floor: Channel, wanted: Channel) -> Result<(), Refused> {
    if wanted < floor { Err(Refused { floor, wanted }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_go_up_and_never_down() {
        use Channel::{Alpha, Beta, Stable};
        let allowed = [
            (Stable, Stable),
            (Stable, Beta),
            (Stable, Alpha),
            (Beta, Beta),
            (Beta, Alpha),
            (Alpha, Alpha),
        ];
        for floor in Channel::PATH {
            for wanted in Channel::PATH {
                let expected = allowed.contains(&(floor, wanted));
                assert_eq!(may_follow(floor, wanted).is_ok(), expected, "{floor} {wanted}");
            }
        }
        let error = may_follow(Alpha, Stable).unwrap_err().to_string();
        assert!(error.starts_with("this machine has run alpha and cannot go back to stable"));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for channel in Channel::PATH {
            assert_eq!(channel.name().parse(), Ok(channel));
            assert_eq!(serde_json::to_value(channel).unwrap(), channel.name());
        }
        for name in ["", "Alpha", "edge", "stable "] {
            assert!(name.parse::<Channel>().is_err(), "{name}");
        }
    }
}
