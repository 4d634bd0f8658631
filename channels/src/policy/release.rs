//! What a channel says of a release, beside its files.

use disk::version::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Rollout;
use crate::time::Time;

/// A release as one channel carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its version.
    #[serde(serialize_with = "write_version", deserialize_with = "read_version")]
    pub version: Version,
    /// Its place in the order of all releases, the same in every channel.
    pub sequence: u64,
    /// The security epoch: a machine never goes to a lower one.
    pub epoch: u64,
    /// The oldest version that may update to this one directly.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_barrier",
        deserialize_with = "read_barrier"
    )]
    pub min_version: Option<Version>,
    /// When the channel began to carry it.
    pub published: Time,
    /// The roll-out; without one every machine takes it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Set if no further machine is to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halt>,
    /// Root hash of its verity tree, in hexadecimal digits.
    pub root_hash: String,
}

/// That, since when and why no further machine takes a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Since when.
    pub since: Time,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn write_version<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(version.as_str())
}

fn read_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn write_barrier<S: Serializer>(
    version: &Option<Version>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    version.as_ref().map(Version::as_str).serialize(serializer)
}

fn read_barrier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Version>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse()).transpose().map_err(de::Error::custom)
}
