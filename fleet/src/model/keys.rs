//! The keys.

/// The keys below one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

/// What a key is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the fields are the variable parts of the key, see the table in `model`
pub enum Key {
    Unit(String),
    Body(String),
    Info(String),
    Meta(String, String),
    Cordon(String),
    Order(String, String),
    Global(String),
    State(String, String),
    Failure(String),
    Rollout(String),
    Leader,
    Brake,
    Event(String),
    /// The secret that daemons of this cluster know each other by.
    RelaySecret,
    /// What the data is laid out as: `1`.
    Schema,
}

impl Keys {
    /// Below `prefix`, such as `/fleet/v1`; a slash at its end does not count.
    pub fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.trim_end_matches('/').to_string() }
    }

    /// The key's name in etcd.
    pub fn path(&self, key: &Key) -> String {
        let tail = match key {
            Key::Unit(unit) => format!("units/{unit}"),
            Key::Body(digest) => format!("bodies/{digest}"),
            Key::Info(machine) => format!("machines/{machine}/info"),
            Key::Meta(machine, key) => format!("machines/{machine}/meta/{key}"),
            Key::Cordon(machine) => format!("machines/{machine}/cordon"),
            Key::Order(machine, unit) => format!("sched/{machine}/{unit}"),
            Key::Global(unit) => format!("global/{unit}"),
            Key::State(machine, unit) => format!("state/{machine}/{unit}"),
            Key::Failure(unit) => format!("failures/{unit}"),
            Key::Rollout(group) => format!("rollout/{group}"),
            Key::Leader => "engine/leader".to_string(),
            Key::Brake => "engine/brake".to_string(),
            Key::Event(id) => format!("events/{id}"),
            Key::RelaySecret => "relay/secret".to_string(),
            Key::Schema => "schema".to_string(),
        };
        format!("{}/{tail}", self.prefix)
    }

    /// The prefix of everything, or of one kind: `units/`.
    pub fn below(&self, tail: &str) -> String {
        format!("{}/{tail}", self.prefix)
    }

    /// What a key in etcd is about; `None` if it is not one of these.
    pub fn parse(&self, path: &str) -> Option<Key> {
        let tail = path.strip_prefix(&self.prefix)?.strip_prefix('/')?;
        let parts: Vec<&str> = tail.split('/').collect();
        let own = |text: &str| text.to_string();
        Some(match parts[..] {
            ["units", unit] => Key::Unit(own(unit)),
            ["bodies", digest] => Key::Body(own(digest)),
            ["machines", machine, "info"] => Key::Info(own(machine)),
            ["machines", machine, "meta", key] => Key::Meta(own(machine), own(key)),
            ["machines", machine, "cordon"] => Key::Cordon(own(machine)),
            ["sched", machine, unit] => Key::Order(own(machine), own(unit)),
            ["global", unit] => Key::Global(own(unit)),
            ["state", machine, unit] => Key::State(own(machine), own(unit)),
            ["failures", unit] => Key::Failure(own(unit)),
            ["rollout", group] => Key::Rollout(own(group)),
            ["engine", "leader"] => Key::Leader,
            ["engine", "brake"] => Key::Brake,
            ["events", id] => Key::Event(own(id)),
            ["relay", "secret"] => Key::RelaySecret,
            ["schema"] => Key::Schema,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_back_from_its_path() {
        let keys = Keys::new("/fleet/v1/");
        let own = |text: &str| text.to_string();
        for key in [
            Key::Unit(own("web@1.service")),
            Key::Body(own("00ff")),
            Key::Info(own("m1")),
            Key::Meta(own("m1"), own("rack")),
            Key::Cordon(own("m1")),
            Key::Order(own("m1"), own("web@1.service")),
            Key::Global(own("agent.service")),
            Key::State(own("m1"), own("web@1.service")),
            Key::Failure(own("web@1.service")),
            Key::Rollout(own("web@.service")),
            Key::Leader,
            Key::Brake,
            Key::Event(own("17")),
            Key::RelaySecret,
            Key::Schema,
        ] {
            let path = keys.path(&key);
            assert!(path.starts_with("/fleet/v1/"), "{path}");
            assert_eq!(keys.parse(&path), Some(key));
        }
        assert_eq!(keys.parse("/fleet/v1/units/a/b"), None);
        assert_eq!(keys.parse("/fleet/v10/units/a"), None);
    }
}
