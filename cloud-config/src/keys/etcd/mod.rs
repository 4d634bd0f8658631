//! `coreos.etcd` and `coreos.etcd2`: settings of `etcd.service`, which is etcd 3.5 whatever the
//! section is called.
//!
//! section → [`Section`] (options as written, checked) → [`translate`] (what etcd 3.5 reads).

mod address;
mod options;
mod translate;

use std::sync::Arc;

use super::Draft;
use super::setting::setting;
use crate::decoder::{Decoder, Text};
use crate::finding::{Finding, Span, quoted};
use crate::outline::Shape;
use crate::table::KnownKey;
use crate::tree::Entry;
use options::{Becomes, OPTIONS};

pub(super) const SHAPE: Shape = Shape::Keys(|| OPTIONS.outline(&[]));

/// The options of a section that have a usable value, in order.
#[derive(Debug)]
pub(super) struct Section {
    span: Span,
    options: Vec<Given>,
    /// Nothing is wrong in it: what is missing is not meant to be there.
    sound: bool,
}

/// An option with its value.
#[derive(Debug)]
struct Given {
    name: &'static str,
    /// The name as it was written.
    written: Arc<str>,
    key: Span,
    becomes: Becomes,
    value: Text,
}

/// Reads a section; there can be one.
pub(super) fn section(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let errors = decoder.findings.errors();
    let mut options = Vec::new();
    let whole = decoder.walk(&entry.value, &OPTIONS, |decoder, entry, becomes| {
        let known = OPTIONS.find(&entry.key.name);
        let value = setting(decoder, entry, becomes.check());
        if let (Some(KnownKey { name, .. }), Some(value)) = (known, value) {
            let (written, key) = (Arc::clone(&entry.key.written), entry.key.span);
            options.push(Given { name, written, key, becomes: *becomes, value });
        }
    });
    let span = entry.key.span;
    if let Some(first) = &draft.etcd {
        let message = format!("{} is given besides another section", quoted(&entry.key.written));
        let line = first.span.start.line;
        decoder.report(Finding::error(span, message).with_hint(format!(
            "both are for the one etcd of this system: merge it with the section on line {line}"
        )));
    } else if whole {
        let sound = decoder.findings.errors() == errors;
        draft.etcd = Some(Section { span, options, sound });
    }
}
