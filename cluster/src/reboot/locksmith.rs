//! The document of CoreOS's locksmith: one JSON value for a whole group.
//!
//! ```json
//! {"semaphore":0,"max":1,"holders":["adb028db5d3641acbfb1d2d1bb8b5f02"]}
//! ```
//!
//! For clusters in which other systems still take turns by it. It has no queue and no deadline,
//! and `semaphore` says again what `max` and `holders` say: a document in which they disagree is
//! refused. What else is in it is kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::escaped;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::txn::Txn;

/// Where locksmith keeps everything.
const PREFIX: &str = "coreos.com/updateengine/rebootlock/";
/// How often a change is tried against others that are quicker.
const ATTEMPTS: u32 = 16;

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Semaphore {
    /// Free slots.
    pub semaphore: i64,
    /// All slots.
    pub max: i64,
    /// The machines that hold one, sorted. Nobody is written `null`, as Go has it.
    #[serde(deserialize_with = "holders", serialize_with = "or_null")]
    pub holders: Vec<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// What can be wrong with a change of it; the words are locksmith's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SemaphoreError {
    /// Every slot is taken.
    #[error("semaphore is at 0")]
    Full,
    /// The machine holds one already.
    #[error("holder exists")]
    Exists,
    /// The machine holds none.
    #[error("holder does not exist")]
    NotHeld,
    /// No number of slots.
    #[error("max must be at least 1, not {0}")]
    Max(i64),
    /// The document contradicts itself or is none.
    #[error("the semaphore cannot be used: {0}")]
    Malformed(String),
}

impl Default for Semaphore {
    fn default() -> Self {
        Self { semaphore: 1, max: 1, holders: Vec::new(), other: Map::new() }
    }
}

impl Semaphore {
    /// Reads a document.
    ///
    /// # Errors
    /// [`SemaphoreError::Malformed`].
    pub fn parse(json: &[u8]) -> std::result::Result<Self, SemaphoreError> {
        let read: Self = serde_json::from_slice(json)
            .map_err(|error| SemaphoreError::Malformed(error.to_string()))?;
        let held = i64::try_from(read.holders.len()).unwrap_or(i64::MAX);
        if read.max.checked_sub(held) != Some(read.semaphore) {
            let Self { semaphore, max, .. } = read;
            return Err(SemaphoreError::Malformed(format!(
                "{held} of {max} slots are held, which leaves no {semaphore}"
            )));
        }
        Ok(read)
    }

    /// As locksmith writes it.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes a slot for `machine`.
    ///
    /// # Errors
    /// [`SemaphoreError::Full`] and [`SemaphoreError::Exists`].
    pub fn lock(&mut self, machine: &str) -> std::result::Result<(), SemaphoreError> {
        if self.semaphore <= 0 {
            return Err(SemaphoreError::Full);
        }
        match self.holders.binary_search_by(|holder| holder.as_str().cmp(machine)) {
            Ok(_) => Err(SemaphoreError::Exists),
            Err(place) => {
                self.holders.insert(place, machine.to_owned());
                self.semaphore -= 1;
                Ok(())
            }
        }
    }

    /// Gives the slot of `machine` back.
    ///
    /// # Errors
    /// [`SemaphoreError::NotHeld`].
    pub fn unlock(&mut self, machine: &str) -> std::result::Result<(), SemaphoreError> {
        let place = self.holders.iter().position(|holder| holder == machine);
        self.holders.remove(place.ok_or(SemaphoreError::NotHeld)?);
        self.semaphore += 1;
        Ok(())
    }

    /// Changes the number of slots; nobody loses one.
    ///
    /// # Errors
    /// [`SemaphoreError::Max`].
    pub fn set_max(&mut self, max: i64) -> std::result::Result<(), SemaphoreError> {
        if max < 1 {
            return Err(SemaphoreError::Max(max));
        }
        self.semaphore += max - self.max;
        self.max = max;
        Ok(())
    }
}

/// Where the document of `group` is; locksmith has none for machines without a group.
pub fn key(group: Option<&str>) -> String {
    match group {
        // As Go escapes what goes into a query: a blank is a plus.
        Some(group) => format!("{PREFIX}groups/{}/semaphore", escaped(group).replace("%20", "+")),
        None => format!("{PREFIX}semaphore"),
    }
}

/// The document of `group`; a fresh one if there is none.
///
/// # Errors
/// As of [`Client::get`]; [`Error::Malformed`].
pub async fn read(client: &Client, group: Option<&str>) -> Result<Semaphore> {
    let key = key(group);
    match client.get(&key).await? {
        Some(entry) => Semaphore::parse(&entry.value)
            .map_err(|error| Error::Malformed { key, reason: error.to_string() }),
        None => Ok(Semaphore::default()),
    }
}

/// Changes the document of `group`, against everybody else who does. `Ok(Err(_))` is what `change`
/// found wrong, and nothing was changed.
///
/// # Errors
/// As of [`Client::commit`]; [`Error::Malformed`].
pub async fn change<T>(
    client: &Client,
    group: Option<&str>,
    change: impl Fn(&mut Semaphore) -> std::result::Result<T, SemaphoreError>,
) -> Result<std::result::Result<T, SemaphoreError>> {
    let key = key(group);
    for _ in 0..ATTEMPTS {
        let stored = client.get(&key).await?;
        let (mut document, demand) = match &stored {
            Some(entry) => {
                let document = Semaphore::parse(&entry.value).map_err(|error| {
                    Error::Malformed { key: key.clone(), reason: error.to_string() }
                })?;
                (document, Txn::new().unchanged(entry))
            }
            None => (Semaphore::default(), Txn::new().absent(&key)),
        };
        let result = match change(&mut document) {
            Ok(result) => result,
            Err(wrong) => return Ok(Err(wrong)),
        };
        if client.commit(demand.put(&key, document.to_json())).await?.done {
            return Ok(Ok(result));
        }
    }
    Err(Error::Malformed { key, reason: "it changes too quickly".to_owned() })
}

fn holders<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Vec<String>, D::Error> {
    let mut holders = Option::<Vec<String>>::deserialize(from)?.unwrap_or_default();
    holders.sort();
    Ok(holders)
}

fn or_null<S: serde::Serializer>(
    holders: &[String],
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    match holders {
        [] => to.serialize_none(),
        holders => to.collect_seq(holders),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(document: &Semaphore) -> String {
        String::from_utf8(document.to_json()).unwrap()
    }

    #[test]
    fn documents_are_written_as_locksmith_writes_them() {
        let mut document = Semaphore::default();
        assert_eq!(json(&document), r#"{"semaphore":1,"max":1,"holders":null}"#);
        document.set_max(3).unwrap();
        document.lock("b").unwrap();
        document.lock("a").unwrap();
        assert_eq!(json(&document), r#"{"semaphore":1,"max":3,"holders":["a","b"]}"#);
        assert_eq!(document.lock("a"), Err(SemaphoreError::Exists));
        document.lock("c").unwrap();
        assert_eq!(document.lock("d").unwrap_err().to_string(), "semaphore is at 0");
        document.set_max(1).unwrap();
        assert_eq!(document.semaphore, -2);
        document.unlock("a").unwrap();
        assert_eq!(document.unlock("a").unwrap_err().to_string(), "holder does not exist");
        assert_eq!(document.set_max(-1), Err(SemaphoreError::Max(-1)));
        assert_eq!(json(&document), r#"{"semaphore":-1,"max":1,"holders":["b","c"]}"#);
    }

    #[test]
    fn documents_are_read_whoever_wrote_them() {
        for written in [
            r#"{"semaphore":1,"max":1,"holders":null}"#,
            r#"{"semaphore":1,"max":1,"holders":[]}"#,
            r#"{"semaphore":0,"max":2,"holders":["b","a"]}"#,
        ] {
            let read = Semaphore::parse(written.as_bytes()).unwrap();
            assert_eq!(Semaphore::parse(&read.to_json()).unwrap(), read);
        }
        let more = r#"{"semaphore":1,"max":1,"holders":null,"note":"x"}"#;
        assert_eq!(json(&Semaphore::parse(more.as_bytes()).unwrap()), more);
        for rubbish in ["", "{}", "[]", r#"{"semaphore":1,"max":1,"holders":["a"]}"#] {
            assert!(Semaphore::parse(rubbish.as_bytes()).is_err(), "{rubbish}");
        }
    }

    #[test]
    fn groups_have_documents_of_their_own() {
        assert_eq!(key(None), "coreos.com/updateengine/rebootlock/semaphore");
        assert_eq!(
            key(Some("west/1 a")),
            "coreos.com/updateengine/rebootlock/groups/west%2F1+a/semaphore"
        );
    }
}
