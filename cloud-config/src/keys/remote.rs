//! `source` of a file or an extension: what is fetched when the machine boots.

use crate::config::Remote;
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, Span, quoted};
use crate::include;
use crate::outline::{Outline, Shape};
use crate::syntax::url;
use crate::table::{Table, key, nowhere};
use crate::tree::{Data, Entry};

#[derive(Debug, Default)]
struct Draft {
    url: Option<String>,
    sha256: Option<String>,
    headers: Vec<(String, String)>,
}

const SOURCE: Table<Read<Draft>> = Table {
    place: "`source`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("uri", Shape::Text, "An address of `http` or `https`.", |decoder, entry, source| {
            decoder.secret(entry.value.span);
            let Some(text) = decoder.entry_line(entry) else { return };
            match url::url(text.probe()) {
                Ok(_) => source.url = Some(text.value),
                Err(why) => decoder.error(text.span, format!("`uri` {why}")),
            }
        }),
        key("sha256", Shape::Text, "What the bytes must hash to.", |decoder, entry, source| {
            source.sha256 = sha256(decoder, entry);
        }),
        key("headers", Shape::Names(&Shape::Text), "Of the request.", |d, entry, source| {
            d.secret(entry.value.span);
            source.headers = headers(d, entry);
        }),
    ],
};

pub(super) fn outline() -> Outline {
    SOURCE.outline(&["uri", "sha256"])
}

/// Reads a source. One that says no hash could be anything.
pub(super) fn remote(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Remote> {
    let errors = decoder.findings.errors();
    let mut draft = Draft::default();
    let whole = decoder.read(&entry.value, &SOURCE, &mut draft);
    if !whole || decoder.findings.errors() != errors {
        return None;
    }
    let span = entry.key.span;
    match (draft.url, draft.sha256) {
        (Some(url), Some(sha256)) => Some(Remote { url, sha256, headers: draft.headers, span }),
        (None, _) => {
            decoder.error(span, "this `source` has no `uri`");
            None
        }
        (Some(_), None) => {
            decoder.report(unhashed(span));
            None
        }
    }
}

/// What is said of an address without a hash.
pub(super) fn unhashed(span: Span) -> Finding {
    Finding::error(span, "this `source` has no `sha256`: it could be anything")
        .with_hint("`curl URI | sha256sum` prints it; the bytes must never change")
}

/// Reads a SHA-256 in hex.
pub(super) fn sha256(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<String> {
    let text = decoder.entry_line(entry)?;
    let sha256 = include::hex(&text.value);
    if sha256.is_none() {
        decoder.report(
            Finding::error(text.span, "a SHA-256 has 64 hex digits")
                .with_hint("`sha256sum FILE` prints it"),
        );
    }
    sha256
}

/// Reads the headers of a request.
pub(super) fn headers(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<(String, String)> {
    let Data::Mapping(entries) = &entry.value.data else {
        decoder.error(entry.value.span, "`headers` must be a mapping");
        return Vec::new();
    };
    let mut headers = Vec::new();
    for entry in entries {
        let name = entry.key.written.to_string();
        let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || !name.bytes().all(sound) {
            decoder.error(entry.key.span, format!("{} is no name of a header", quoted(&name)));
            continue;
        }
        if let Some(text) = decoder.line("a header", &entry.value) {
            headers.push((name, text.value));
        }
    }
    headers
}
