//! A YAML document as a tree in which everything knows where it was written.

use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::ScalarStyle;

use crate::finding::Span;

/// A value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) data: Data,
    /// A syntax mistake ended it early: what is missing is not known to be missing.
    pub(crate) partial: bool,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Scalar(Scalar),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// Text, still without a type: `0644` is four characters here.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: Arc<str>,
    pub(crate) style: ScalarStyle,
    /// Tagged `!!binary`: the text is base64.
    pub(crate) binary: bool,
    /// Tagged `!!str`: text, whatever it looks like.
    pub(crate) string: bool,
    /// The characters of the source that it was written with, counted from 0.
    pub(crate) chars: Range<usize>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// With `_` for every `-`: the two are the same in a key.
    pub(crate) name: Arc<str>,
    /// As it was written.
    pub(crate) written: Arc<str>,
    pub(crate) span: Span,
}

impl Key {
    pub(crate) fn new(written: Arc<str>, span: Span) -> Self {
        let name = match written.contains('-') {
            true => written.replace('-', "_").into(),
            false => Arc::clone(&written),
        };
        Self { name, written, span }
    }
}

impl Node {
    /// Whether nothing was written here, or YAML's word for nothing.
    pub(crate) fn is_null(&self) -> bool {
        match &self.data {
            Data::Scalar(scalar) => {
                scalar.style == ScalarStyle::Plain
                    && !scalar.string
                    && matches!(&*scalar.text, "" | "~" | "null" | "Null" | "NULL")
            }
            Data::List(_) | Data::Mapping(_) => false,
        }
    }

    /// What it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            _ if self.is_null() => "nothing",
            Data::Scalar(_) => "a single value",
            Data::List(_) => "a list",
            Data::Mapping(_) => "a mapping",
        }
    }
}
