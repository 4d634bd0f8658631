//! What a platform says of a machine: `meta_data.json` of OpenStack, `meta-data` of NoCloud.
//!
//! bytes → tree → [`MetaData`]
//!
//! Both forms are a mapping, and what is wanted of them has few names: one reading accepts all,
//! hyphen and underscore alike, and those that EC2 uses too. Keys that are not wanted are many on
//! every platform and are passed over.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use saphyr_parser::{Event, Parser, StrInput};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Deepest nesting; what is wanted lies three deep at most.
const MAX_DEPTH: usize = 64;

/// What a platform says of a machine. All of it is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetaData {
    /// `hostname`, `local-hostname`.
    pub hostname: Option<String>,
    /// `uuid`, `instance-id`.
    pub instance_id: Option<String>,
    /// `region`.
    pub region: Option<String>,
    /// `availability-zone`.
    pub zone: Option<String>,
    /// `public_keys`: lines of `authorized_keys`.
    pub public_keys: Vec<String>,
    /// `private-ipv4`, `local-ipv4`.
    pub private_ipv4: Option<Ipv4Addr>,
    /// `public-ipv4`.
    pub public_ipv4: Option<Ipv4Addr>,
    /// `private-ipv6`, `local-ipv6`.
    pub private_ipv6: Option<Ipv6Addr>,
    /// `public-ipv6`.
    pub public_ipv6: Option<Ipv6Addr>,
}

impl MetaData {
    /// Reads the JSON of a config drive. Values that make no sense are told in `notes`.
    pub(super) fn from_json(bytes: &[u8], notes: &mut Vec<String>) -> Result<MetaData, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        MetaData::from_tree(value, notes)
    }

    /// Reads the YAML of a NoCloud disc. Values that make no sense are told in `notes`.
    pub(super) fn from_yaml(bytes: &[u8], notes: &mut Vec<String>) -> Result<MetaData, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        MetaData::from_tree(parse_yaml(text)?, notes)
    }

    fn from_tree(value: Value, notes: &mut Vec<String>) -> Result<MetaData, String> {
        let keys = match value {
            Value::Object(map) => Keys::new(map),
            Value::Null => Keys::default(),
            Value::String(text) if text.is_empty() => Keys::default(),
            _ => return Err("not a mapping".to_owned()),
        };
        Ok(MetaData {
            hostname: keys.text(&["local-hostname", "hostname"]),
            instance_id: keys.text(&["instance-id", "uuid"]),
            region: keys.text(&["region"]),
            zone: keys.text(&["availability-zone"]),
            public_keys: keys.public_keys(),
            private_ipv4: keys.address(&["private-ipv4", "local-ipv4"], notes),
            public_ipv4: keys.address(&["public-ipv4"], notes),
            private_ipv6: keys.address(&["private-ipv6", "local-ipv6"], notes),
            public_ipv6: keys.address(&["public-ipv6"], notes),
        })
    }
}

/// A mapping whose keys have hyphens only.
#[derive(Default)]
struct Keys(Map<String, Value>);

impl Keys {
    fn new(map: Map<String, Value>) -> Keys {
        Keys(map.into_iter().map(|(key, value)| (key.replace('_', "-"), value)).collect())
    }

    /// The first of `names` that has a text which is not blank.
    fn text(&self, names: &[&str]) -> Option<String> {
        let texts = names.iter().filter_map(|name| self.0.get(*name)?.as_str());
        texts.map(str::trim).find(|text| !text.is_empty()).map(str::to_owned)
    }

    fn address<A: FromStr>(&self, names: &[&str], notes: &mut Vec<String>) -> Option<A> {
        let text = self.text(names)?;
        let address = text.parse().ok();
        if address.is_none() {
            notes.push(format!("the meta-data's {} is no address: {text:?}", names.join(" or ")));
        }
        address
    }

    /// Keys come as a text, a list of texts, a mapping from names to texts, EC2's mapping from
    /// numbers to `{openssh-key: …}`, or OpenStack's newer list of `{type: ssh, data: …}`.
    fn public_keys(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match (self.0.get("public-keys"), self.0.get("keys")) {
            (Some(keys), _) => collect_keys(keys, &mut lines),
            (None, Some(Value::Array(keys))) => {
                let ssh = keys.iter().filter(|key| key.get("type").is_some_and(|t| t == "ssh"));
                ssh.filter_map(|key| key.get("data")).for_each(|key| collect_keys(key, &mut lines));
            }
            _ => {}
        }
        lines
    }
}

fn collect_keys(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            for line in text.lines().map(str::trim) {
                if !line.is_empty() && !lines.iter().any(|known| known == line) {
                    lines.push(line.to_owned());
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_keys(value, lines)),
        Value::Object(map) => map.values().for_each(|value| collect_keys(value, lines)),
        _ => {}
    }
}

/// The first document of a YAML text as the tree that JSON has. Scalars are their texts, so that
/// a name such as 007 is not a number; aliases, which no platform writes, are nothing.
pub(super) fn parse_yaml(text: &str) -> Result<Value, String> {
    let mut parser = Parser::new_from_str(text);
    loop {
        match event(&mut parser)? {
            Event::DocumentStart(_) => {
                let first = event(&mut parser)?;
                return node(&mut parser, first, 0);
            }
            Event::StreamEnd => return Ok(Value::Null),
            _ => {}
        }
    }
}

fn event<'a>(parser: &mut Parser<'a, StrInput<'a>>) -> Result<Event<'a>, String> {
    match parser.next_event() {
        Some(Ok((event, _))) => Ok(event),
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(Event::StreamEnd),
    }
}

/// The node that starts with `start`; what follows it is still to be read.
fn node<'a>(
    parser: &mut Parser<'a, StrInput<'a>>,
    start: Event<'a>,
    depth: usize,
) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} levels"));
    }
    match start {
        Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut values = Vec::new();
            loop {
                match event(parser)? {
                    Event::SequenceEnd => return Ok(Value::Array(values)),
                    next => values.push(node(parser, next, depth + 1)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                let key = match event(parser)? {
                    Event::MappingEnd => return Ok(Value::Object(map)),
                    next => node(parser, next, depth + 1)?,
                };
                let next = event(parser)?;
                let value = node(parser, next, depth + 1)?;
                if let Value::String(key) = key {
                    map.insert(key, value);
                }
            }
        }
        Event::StreamEnd => Err("it ends in the middle".to_owned()),
        _ => Ok(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nova writes it, with what is of no interest here left in.
    const OPENSTACK: &str = r#"{
        "uuid": "9fb2-1", "hostname": "node1.novalocal", "name": "node1", "launch_index": 0,
        "public_keys": {"b": "ssh-rsa BBBB b\n", "a": "ssh-ed25519 AAAA a"},
        "keys": [{"name": "a", "type": "ssh", "data": "ssh-ed25519 IGNORED"}],
        "availability_zone": "nova", "random_seed": "aGVsbG8=", "meta": {"x": "\ud83d\ude00"}
    }"#;

    fn json(text: &str) -> MetaData {
        let mut notes = Vec::new();
        let meta_data = MetaData::from_json(text.as_bytes(), &mut notes).unwrap();
        assert_eq!(notes, Vec::<String>::new(), "{text}");
        meta_data
    }

    fn yaml(text: &str) -> MetaData {
        let mut notes = Vec::new();
        let meta_data = MetaData::from_yaml(text.as_bytes(), &mut notes).unwrap();
        assert_eq!(notes, Vec::<String>::new(), "{text}");
        meta_data
    }

    #[test]
    fn openstack_says_who_the_machine_is() {
        let expected = MetaData {
            hostname: Some("node1.novalocal".to_owned()),
            instance_id: Some("9fb2-1".to_owned()),
            zone: Some("nova".to_owned()),
            public_keys: vec!["ssh-ed25519 AAAA a".to_owned(), "ssh-rsa BBBB b".to_owned()],
            ..MetaData::default()
        };
        assert_eq!(json(OPENSTACK), expected);
        let newer = r#"{"keys": [{"type": "ssh", "data": "k1"}, {"type": "x509", "data": "c"}]}"#;
        assert_eq!(json(newer).public_keys, ["k1"]);
    }

    #[test]
    fn addresses_have_the_names_of_every_platform() {
        let expected = MetaData {
            private_ipv4: Some([10, 0, 0, 5].into()),
            public_ipv4: Some([203, 0, 113, 5].into()),
            private_ipv6: "fd00::5".parse().ok(),
            public_ipv6: "2001:db8::5".parse().ok(),
            ..MetaData::default()
        };
        for text in [
            r#"{"local-ipv4": "10.0.0.5", "public-ipv4": "203.0.113.5",
                "local_ipv6": "fd00::5", "public_ipv6": "2001:db8::5"}"#,
            r#"{"private_ipv4": " 10.0.0.5", "public_ipv4": "203.0.113.5",
                "private-ipv6": "fd00::5", "public-ipv6": "2001:db8::5"}"#,
        ] {
            assert_eq!(json(text), expected);
            assert_eq!(yaml(text), expected);
        }
    }

    #[test]
    fn no_cloud_keeps_text_as_it_is_written() {
        let meta_data = yaml("instance-id: 0123\nlocal-hostname: 007 # spy\nhostname: no\n");
        assert_eq!(meta_data.instance_id.as_deref(), Some("0123"));
        assert_eq!(meta_data.hostname.as_deref(), Some("007"));
    }

    #[test]
    fn public_keys_come_in_many_forms() {
        let cases = [
            ("public-keys: k1", vec!["k1"]),
            ("public-keys: |\n  k1\n\n  k2\n", vec!["k1", "k2"]),
            ("public_keys: [k1, k2, k1]", vec!["k1", "k2"]),
            ("public-keys: {a: k1, b: [k2, k3]}", vec!["k1", "k2", "k3"]),
            ("public-keys: {0: {openssh-key: k1}}", vec!["k1"]),
            ("public-keys:", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(yaml(text).public_keys, expected, "{text}");
        }
    }

    #[test]
    fn nothing_said_is_nothing_known() {
        for text in ["", "\n# nothing\n", "{}", "---\n", "hostname: ''\ninstance-id: \" \"\n"] {
            assert_eq!(yaml(text), MetaData::default(), "{text:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let mut notes = Vec::new();
        let meta_data = MetaData::from_yaml(b"local-ipv4: fd00::1\nhostname: a", &mut notes);
        assert_eq!(meta_data.unwrap().hostname.as_deref(), Some("a"));
        assert_eq!(
            notes,
            ["the meta-data's private-ipv4 or local-ipv4 is no address: \"fd00::1\""]
        );
        let deep = "[".repeat(200);
        for text in ["- a\n- b\n", "a: [", "just text", "\u{1}", &deep] {
            assert!(MetaData::from_yaml(text.as_bytes(), &mut notes).is_err(), "{text:?}");
        }
        for text in ["", "[]", "{", "\"x\""] {
            assert!(MetaData::from_json(text.as_bytes(), &mut notes).is_err(), "{text:?}");
        }
        assert!(MetaData::from_yaml(b"\xff\xfe", &mut notes).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_meta_data_is_too_strange(text in "[a-c:\\-\\[\\]{}&*!|>'\"#, \n\t]{0,60}") {
            let _ = MetaData::from_yaml(text.as_bytes(), &mut Vec::new());
        }
    }
}
