//! One token's members, as a folder of etcd's v2 store. Touches nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most members that a cluster can be made for.
pub const MOST_MEMBERS: u32 = 100;
/// The most keys of a token, hidden ones included.
const MOST_KEYS: usize = 256;
/// The longest value, in bytes: some URLs with the name before each.
const LONGEST_VALUE: usize = 4096;
/// The longest name of a key.
const LONGEST_NAME: usize = 64;
/// Events that are kept for those who wait for them.
const EVENTS: usize = 1000;

/// Where etcd has tokens, in every answer.
const REGISTRY: &str = "/_etcd/registry";

/// The name of a cluster: 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(String);

impl Token {
    /// A token that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        (text.len() == 32 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<[u8; 16]> for Token {
    fn from(random: [u8; 16]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A cluster that forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// When it was last changed, in seconds since 1970.
    pub changed: u64,
    /// How many changes there were.
    pub index: u64,
    /// Its keys; those below `_config/` are hidden.
    nodes: BTreeMap<String, Node>,
    /// The last changes, oldest first.
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    value: String,
    created: u64,
    modified: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    action: String,
    key: String,
    node: Option<Node>,
    before: Option<Node>,
    index: u64,
}

/// A mistake in the terms of etcd's v2 store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: u16,
    code: u32,
    message: &'static str,
    cause: String,
}

impl Refusal {
    fn new(status: u16, code: u32, message: &'static str, cause: impl Into<String>) -> Self {
        Self { status, code, message, cause: cause.into() }
    }

    /// As etcd writes it.
    pub fn to_json(&self, index: u64) -> Value {
        json!({
            "errorCode": self.code,
            "message": self.message,
            "cause": self.cause,
            "index": index,
        })
    }

    /// No token, or no such key in it.
    pub fn not_found(token: &Token, key: &str) -> Self {
        Self::new(404, 100, "Key not found", path(token, key))
    }
}

/// What a change demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    None,
    /// That there is no such key.
    Absent,
    /// That there is one.
    Present,
}

impl Cluster {
    /// A cluster that nothing is known of.
    pub fn empty(now: u64) -> Self {
        Self { changed: now, index: 0, nodes: BTreeMap::new(), events: Vec::new() }
    }

    /// A cluster that is to have `size` members.
    pub fn new(token: &Token, size: u32, now: u64) -> Self {
        let mut cluster = Self::empty(now);
        // Only what a stranger sends can be refused.
        let _ = cluster.put(token, SIZE, &size.to_string(), Demand::None, now);
        cluster
    }

    /// Whether anybody has registered.
    pub fn is_used(&self) -> bool {
        self.nodes.keys().any(|key| !is_hidden(key))
    }

    /// The answer to reading `key`, `""` for the folder itself.
    ///
    /// # Errors
    /// That there is none.
    pub fn get(&self, token: &Token, key: &str) -> Result<Value, Refusal> {
        if let Some(node) = self.nodes.get(key) {
            return Ok(json!({"action": "get", "node": node.to_json(token, key)}));
        }
        let folder = if key.is_empty() { String::new() } else { format!("{key}/") };
        let inside: Vec<Value> = self
            .nodes
            .iter()
            .filter(|(name, _)| name.starts_with(&folder) && (!is_hidden(name) || !key.is_empty()))
            .map(|(name, node)| node.to_json(token, name))
            .collect();
        if inside.is_empty() && !key.is_empty() {
            return Err(Refusal::not_found(token, key));
        }
        let mut node = json!({
            "key": path(token, key), "dir": true, "modifiedIndex": 1, "createdIndex": 1,
        });
        if !inside.is_empty() {
            node["nodes"] = inside.into();
        }
        Ok(json!({"action": "get", "node": node}))
    }

    /// Sets `key`, and answers whether it is new with what etcd says of it.
    ///
    /// # Errors
    /// What is not as demanded, or cannot be a key or value here.
    pub fn put(
        &mut self,
        token: &Token,
        key: &str,
        value: &str,
        demand: Demand,
        now: u64,
    ) -> Result<(bool, Value), Refusal> {
        check_key(token, key)?;
        if value.len() > LONGEST_VALUE {
            return Err(Refusal::new(413, 209, "Invalid field", "value is too long"));
        }
        let number = value.parse::<u32>().ok();
        if key == SIZE && number.is_none_or(|size| !(1..=MOST_MEMBERS).contains(&size)) {
            return Err(Refusal::new(400, 209, "Invalid field", "size"));
        }
        let before = self.nodes.get(key).cloned();
        match (demand, &before) {
            (Demand::Absent, Some(_)) => {
                return Err(Refusal::new(412, 105, "Key already exists", path(token, key)));
            }
            (Demand::Present, None) => return Err(Refusal::not_found(token, key)),
            (_, None) if self.nodes.len() >= MOST_KEYS => {
                return Err(Refusal::new(403, 107, "Root is read only", "too many keys"));
            }
            _ => {}
        }
        let action = match demand {
            Demand::None => "set",
            Demand::Absent => "create",
            Demand::Present => "update",
        };
        let index = self.index + 1;
        let created = before.as_ref().filter(|_| demand == Demand::Present);
        let created = created.map_or(index, |node| node.created);
        let node = Node { value: value.to_owned(), created, modified: index };
        self.nodes.insert(key.to_owned(), node.clone());
        let new = before.is_none();
        let event = self.happened(action, key, Some(node), before, now);
        Ok((new, event.to_json(token)))
    }

    /// Deletes `key`.
    ///
    /// # Errors
    /// That there is none.
    pub fn delete(&mut self, token: &Token, key: &str, now: u64) -> Result<Value, Refusal> {
        let Some(before) = self.nodes.remove(key) else {
            return Err(Refusal::not_found(token, key));
        };
        Ok(self.happened("delete", key, None, Some(before), now).to_json(token))
    }

    /// The first change from `index` on to `key` or, if `recursive`, to what is below it; none
    /// if that has still to happen.
    ///
    /// # Errors
    /// That it has been forgotten.
    pub fn event(
        &self,
        token: &Token,
        key: &str,
        recursive: bool,
        index: u64,
    ) -> Result<Option<Value>, Refusal> {
        if let Some(oldest) = self.events.first().filter(|oldest| index < oldest.index)
            && oldest.index > 1
        {
            let cause =
                format!("the requested history has been cleared [{}/{index}]", oldest.index);
            let message = "The event in requested index is outdated and cleared";
            return Err(Refusal::new(400, 401, message, cause));
        }
        let concerns = |event: &&Event| {
            let below = key.is_empty() || event.key.starts_with(&format!("{key}/"));
            // What is hidden is told only to who asks for it by name.
            let shown = !is_hidden(&event.key) || is_hidden(key);
            event.index >= index && (event.key == key || recursive && below && shown)
        };
        Ok(self.events.iter().find(concerns).map(|event| event.to_json(token)))
    }

    fn happened(
        &mut self,
        action: &str,
        key: &str,
        node: Option<Node>,
        before: Option<Node>,
        now: u64,
    ) -> Event {
        self.index += 1;
        self.changed = now;
        let (action, key) = (action.to_owned(), key.to_owned());
        let event = Event { action, key, node, before, index: self.index };
        self.events.push(event.clone());
        let excess = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..excess);
        event
    }
}

impl Node {
    fn to_json(&self, token: &Token, key: &str) -> Value {
        json!({
            "key": path(token, key),
            "value": self.value,
            "modifiedIndex": self.modified,
            "createdIndex": self.created,
        })
    }
}

impl Event {
    fn to_json(&self, token: &Token) -> Value {
        let node = match (&self.node, &self.before) {
            (Some(node), _) => node.to_json(token, &self.key),
            (None, before) => json!({
                "key": path(token, &self.key),
                "modifiedIndex": self.index,
                "createdIndex": before.as_ref().map_or(self.index, |node| node.created),
            }),
        };
        let mut event = json!({"action": self.action, "node": node});
        if let Some(before) = &self.before {
            event["prevNode"] = before.to_json(token, &self.key);
        }
        event
    }
}

/// The key that says for how many members a cluster is.
const SIZE: &str = "_config/size";

fn is_hidden(key: &str) -> bool {
    key.starts_with('_')
}

/// A member's key is a name; one of the configuration is a name below `_config`.
fn check_key(token: &Token, key: &str) -> Result<(), Refusal> {
    let name = key.strip_prefix("_config/").unwrap_or(key);
    let sound = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(sound) {
        return Err(Refusal::new(403, 102, "Not a file", path(token, key)));
    }
    Ok(())
}

fn path(token: &Token, key: &str) -> String {
    let slash = if key.is_empty() { "" } else { "/" };
    format!("{REGISTRY}/{token}{slash}{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::from([0xab; 16])
    }

    fn refused<T: fmt::Debug>(result: Result<T, Refusal>) -> (u16, u32) {
        let refusal = result.unwrap_err();
        (refusal.status, refusal.code)
    }

    #[test]
    fn tokens_are_32_small_hexadecimal_digits() {
        assert!(Token::parse(token().as_str()).is_some());
        for text in ["", "new", &"a".repeat(31), &"A".repeat(32), &"g".repeat(32), "../../etc"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn members_are_listed_and_the_configuration_is_hidden() {
        let t = token();
        let mut cluster = Cluster::new(&t, 3, 0);
        assert!(!cluster.is_used());
        let size = cluster.get(&t, "_config/size").unwrap();
        assert_eq!(size["node"]["value"], "3");
        assert!(cluster.get(&t, "").unwrap()["node"].get("nodes").is_none());
        let (new, put) = cluster.put(&t, "1a", "n1=http://a:1", Demand::Absent, 1).unwrap();
        assert!(new && put["action"] == "create");
        assert_eq!(put["node"]["createdIndex"], 2);
        let list = cluster.get(&t, "").unwrap();
        assert_eq!(list["node"]["nodes"].as_array().unwrap().len(), 1);
        assert_eq!(list["node"]["nodes"][0]["key"], format!("/_etcd/registry/{t}/1a"));
        let again = cluster.put(&t, "1a", "x", Demand::Absent, 1);
        assert_eq!(refused(again), (412, 105));
        assert_eq!(cluster.get(&t, "1a").unwrap()["node"]["value"], "n1=http://a:1");
        assert_eq!(refused(cluster.get(&t, "2b")), (404, 100));
        assert!(cluster.is_used());
    }

    #[test]
    fn changes_are_told_to_who_waits_for_them() {
        let t = token();
        let mut cluster = Cluster::new(&t, 3, 0);
        cluster.put(&t, "1a", "a", Demand::Absent, 0).unwrap();
        cluster.put(&t, "2b", "b", Demand::Absent, 0).unwrap();
        let event = |cluster: &Cluster, key, recursive, index| {
            cluster.event(&t, key, recursive, index).unwrap().map(|e| e["node"]["value"].clone())
        };
        assert_eq!(event(&cluster, "1a", false, 2), Some("a".into()));
        assert_eq!(event(&cluster, "", true, 1), Some("a".into()), "the size is hidden");
        assert_eq!(event(&cluster, "", true, 3), Some("b".into()));
        assert_eq!(event(&cluster, "", true, 4), None);
        assert_eq!(event(&cluster, "", false, 1), None);
        assert_eq!(event(&cluster, "_config/size", false, 1), Some("3".into()));
        cluster.delete(&t, "1a", 0).unwrap();
        let deleted = cluster.event(&t, "", true, 4).unwrap().unwrap();
        assert_eq!(
            (&deleted["action"], &deleted["prevNode"]["value"]),
            (&"delete".into(), &"a".into())
        );
    }

    #[test]
    fn what_a_stranger_sends_is_bounded() {
        let t = token();
        let mut cluster = Cluster::new(&t, 3, 0);
        for key in ["", "a/b", "..", "_hidden", "_config/", "_config/a/b", &"a".repeat(65), "ü"] {
            let put = cluster.clone().put(&t, key, "x", Demand::None, 0);
            assert!(key == ".." || put.is_err(), "{key}");
        }
        let long = "x".repeat(LONGEST_VALUE + 1);
        assert_eq!(refused(cluster.put(&t, "a", &long, Demand::None, 0)), (413, 209));
        for size in ["0", "101", "-1", "three", ""] {
            assert_eq!(refused(cluster.put(&t, SIZE, size, Demand::None, 0)), (400, 209), "{size}");
        }
        for n in 0..MOST_KEYS * 8 {
            let _ = cluster.put(&t, &n.to_string(), "x", Demand::None, 0);
            let _ = cluster.put(&t, "same", "x", Demand::None, 0);
        }
        assert_eq!((cluster.nodes.len(), cluster.events.len()), (MOST_KEYS, EVENTS));
        assert_eq!(refused(cluster.event(&t, "", true, 2)), (400, 401));
    }
}
