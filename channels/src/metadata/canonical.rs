//! Canonical JSON: the bytes that signatures are made over.
//!
//! The rules are those of OLPC's Canonical JSON as the TUF specification uses it: members sorted
//! by code point, no white space, nothing escaped but `"` and `\`, whole numbers only. A document
//! that two readers could take for two different things does not parse: a member that occurs
//! twice, a number with a fraction.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Parses JSON that has a canonical form.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0)
}

/// The canonical form of a value that [`parse`] returned or that holds no other numbers.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) => out.extend(number.to_string().bytes()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(index, out);
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // The order of UTF-8 bytes is that of code points.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_bytes());
            out.push(b'{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                separate(index, out);
                write_string(name, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with whole numbers")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(bool.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = access.next_entry::<String, Strict>()? {
            if members.contains_key(&name) {
                return Err(de::Error::custom(format_args!("member `{name}` occurs twice")));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_same_however_the_document_is_written() {
        let cases = [
            (r#" { "b" : [1, -2, true, null] , "a" : {} } "#, r#"{"a":{},"b":[1,-2,true,null]}"#),
            (r#"{"a":"\u0041\/\n\t\"\\"}"#, "{\"a\":\"A/\n\t\\\"\\\\\"}"),
            (r#"{"é":1,"z":2,"Z":3,"":4}"#, r#"{"":4,"Z":3,"z":2,"é":1}"#),
            // U+FFFD sorts before U+10000 by code point, though not in UTF-16.
            (r#"{"\ud800\udc00":1,"\ufffd":2}"#, "{\"\u{fffd}\":2,\"\u{10000}\":1}"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ];
        for (text, canonical) in cases {
            let value = parse(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(encode(&value)).unwrap(), canonical, "{text}");
        }
    }

    #[test]
    fn documents_without_one_meaning_are_refused() {
        let deep = "[".repeat(100_000);
        let cases: [&[u8]; 11] = [
            br#"{"a":1,"a":2}"#,
            br#"{"a":{"b":1,"\u0062":1}}"#,
            b"1.5",
            b"1e3",
            b"18446744073709551616",
            b"{}{}",
            b"",
            b"{",
            b"\"\\ud800\"",
            b"\"\xff\"",
            deep.as_bytes(),
        ];
        for text in cases {
            assert!(
                parse(text).is_err(),
                "{}",
                String::from_utf8_lossy(&text[..text.len().min(40)])
            );
        }
    }
}
