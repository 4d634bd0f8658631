//! What platforms' documents have in common: texts, addresses and keys in JSON, base64.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::source::{MetaData, NetworkDescription};

/// What a platform told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) user_data: Vec<u8>,
    pub(super) meta_data: MetaData,
    pub(super) network: Option<NetworkDescription>,
    /// What makes no sense in it, or is left out.
    pub(super) notes: Vec<String>,
}

/// The text or number at an RFC 6901 pointer, if it is there and not blank.
pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    let text = match value.pointer(pointer)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The address at a pointer, without the prefix that may follow it.
pub(super) fn address<A: FromStr>(value: &Value, pointer: &str) -> Option<A> {
    parse_address(&text(value, pointer)?)
}

/// An address, without the prefix that may follow it.
pub(super) fn parse_address<A: FromStr>(text: &str) -> Option<A> {
    text.split('/').next()?.trim().parse().ok()
}

/// The list at a pointer; nothing there is an empty one.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The lines of a text that hold something, each once.
pub(super) fn lines<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in texts.into_iter().flat_map(str::lines).map(str::trim) {
        if !line.is_empty() && !found.iter().any(|known| known == line) {
            found.push(line.to_owned());
        }
    }
    found
}

/// The bytes that a base64 text stands for; blanks and line ends in it do not count.
pub(in crate::source) fn base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

impl Told {
    /// Takes user-data that the platform hands on in base64.
    pub(super) fn set_base64(&mut self, encoded: Option<&str>) {
        let Some(encoded) = encoded else { return };
        match base64(encoded) {
            Some(bytes) => self.user_data = bytes,
            None => self.notes.push("the user-data is not in base64 and is left out".to_owned()),
        }
    }
}
