//! What is stored, and what changed.

use etcd_client::{EventType, KeyValue};

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision in which the key came into being; it orders keys by age.
    pub create_revision: i64,
    /// The revision of its last change: unchanged means the value is the same.
    pub mod_revision: i64,
    /// The lease that it hangs on.
    pub lease: Option<i64>,
}

impl Entry {
    /// The value as text; what is not UTF-8 becomes replacement characters.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }
}

impl From<KeyValue> for Entry {
    fn from(stored: KeyValue) -> Self {
        let (key, value) = (stored.key().to_vec(), stored.value().to_vec());
        Self {
            key: text(key),
            value,
            create_revision: stored.create_revision(),
            mod_revision: stored.mod_revision(),
            lease: (stored.lease() != 0).then(|| stored.lease()),
        }
    }
}

/// Entries as they were together at one revision, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The store's revision: a watch from the next one misses nothing.
    pub revision: i64,
}

/// Everything that one revision changed of what is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision.
    pub revision: i64,
    /// Its events, in order.
    pub events: Vec<Event>,
}

/// What happened to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was set.
    Put {
        /// What it is now.
        entry: Entry,
        /// What it was, if that is still known.
        before: Option<Entry>,
    },
    /// It was deleted, or its lease ran out.
    Delete {
        /// The key.
        key: String,
        /// What it was, if that is still known.
        before: Option<Entry>,
    },
}

impl Event {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { entry, .. } => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// With the revision that it belongs to.
    pub(crate) fn read(event: &etcd_client::Event) -> Option<(i64, Self)> {
        let stored = event.kv()?.clone();
        let before = event.prev_kv().cloned().map(Entry::from);
        let revision = stored.mod_revision();
        let event = match event.event_type() {
            EventType::Put => Self::Put { entry: stored.into(), before },
            EventType::Delete => Self::Delete { key: text(stored.key().to_vec()), before },
        };
        Some((revision, event))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
