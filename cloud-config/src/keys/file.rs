//! `write_files`.

use super::required;
use crate::config::{File, Spanned};
use crate::decoder::{Decoder, Read, TEXT};
use crate::finding::{Finding, Severity, Span, quoted};
use crate::suggest::nearest;
use crate::syntax::content::{self, Encoding};
use crate::syntax::{check, name, path, permissions};
use crate::table::{KnownKey, Rule, Table, applied, ignored, nowhere};
use crate::tree::{Entry, Node, Scalar};

/// What remains of the size that all files may have together once they are unpacked.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    /// Much for configuration, and little enough for the memory of an initrd.
    fn default() -> Self {
        Self(32 << 20)
    }
}

/// A file of which not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    path: Option<Spanned<String>>,
    content: Option<(Scalar, Span)>,
    encoding: Option<Result<Encoding, Unknown>>,
    permissions: Option<u32>,
    owner: Option<Spanned<String>>,
}

/// An encoding was named that does not exist; a finding says so.
#[derive(Debug)]
struct Unknown;

const FILE: Table<Read<Draft>> = Table {
    place: "`write_files`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("path", |decoder, entry, file| file.path = file_path(decoder, entry)),
        applied("content", |decoder, entry, file| {
            decoder.secret(entry.value.span);
            let scalar = decoder.scalar("`content`", TEXT, &entry.value);
            file.content = scalar.map(|scalar| (scalar.clone(), entry.value.span));
        }),
        applied("owner", |decoder, entry, file| file.owner = owner(decoder, entry)),
        applied("permissions", |decoder, entry, file| {
            file.permissions = mode(decoder, entry);
        }),
        applied("encoding", |decoder, entry, file| file.encoding = encoding(decoder, entry)),
        ignored("defer"),
        KnownKey {
            name: "append",
            rule: Rule::Refused(
                "cannot be done: files are written as a whole",
                Some("write the whole content"),
            ),
        },
        KnownKey {
            name: "source",
            rule: Rule::Refused(
                "cannot be done: nothing is fetched",
                Some("write the content itself"),
            ),
        },
    ],
};

/// Reads the list of files.
pub(super) fn files(decoder: &mut Decoder<'_>, entry: &Entry, budget: &mut Budget) -> Vec<File> {
    decoder.list(entry).iter().filter_map(|node| file(decoder, node, budget)).collect()
}

/// A file with anything wrong is not one: it would be written with too little in it.
fn file(decoder: &mut Decoder<'_>, node: &Node, budget: &mut Budget) -> Option<File> {
    let errors = decoder.findings.errors();
    let mut draft = Draft::default();
    let whole = decoder.read(node, &FILE, &mut draft);
    required(decoder, node, "`write_files`", "path");
    let encoding = draft.encoding.unwrap_or(Ok(Encoding::PLAIN)).ok();
    let content = match draft.content {
        Some((scalar, span)) => decode(decoder, &scalar, span, encoding?, budget),
        None => Some(Vec::new()),
    };
    let sound = whole && decoder.findings.errors() == errors;
    Some(File {
        path: draft.path.filter(|_| sound)?,
        content: content?,
        permissions: draft.permissions.unwrap_or(0o644),
        owner: draft.owner,
    })
}

fn file_path(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    let checked = path::normal(text.probe()).and_then(|path| path::writable(&path));
    if let Err(mistake) = checked {
        decoder.report(mistake.error(text.span));
        return None;
    }
    let value = path::normal(&text.value).ok()?;
    if !text.value.starts_with('/') {
        let message = format!("this path is relative; it is taken as {}", quoted(&value));
        decoder.warn(text.span, message);
    } else if value.starts_with("/tmp/") {
        decoder.report(
            Finding::warning(text.span, "what is in /tmp does not outlive a boot")
                .with_hint("use /var/tmp, or /run for what only this boot needs"),
        );
    }
    Some(Spanned { value, span: text.span })
}

fn owner(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    if text.value.is_empty() {
        return None;
    }
    match name::owner(&text.value) {
        Ok(()) => Some(text.spanned()),
        Err(mistake) => {
            decoder.report(mistake.error(text.span));
            None
        }
    }
}

fn mode(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<u32> {
    let text = decoder.entry_line(entry)?;
    if text.value.is_empty() {
        return None;
    }
    match permissions::permissions(&text.value) {
        Ok((mode, doubt)) => {
            if let Some(doubt) = doubt {
                decoder.report(doubt.warning(text.span));
            }
            Some(mode)
        }
        Err(mistake) => {
            decoder.report(mistake.error(text.span));
            None
        }
    }
}

fn encoding(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Result<Encoding, Unknown>> {
    let text = decoder.entry_line(entry)?;
    if let Some(encoding) = Encoding::named(&text.value) {
        return Some(Ok(encoding));
    }
    let names: Vec<_> = Encoding::names().collect();
    let hint = match nearest(&text.value, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known are {}", check::one_of(&names).replace(" or ", " and ")),
    };
    let message = format!("unknown encoding {}", quoted(&text.value));
    decoder.report(Finding::error(text.span, message).with_hint(hint));
    Some(Err(Unknown))
}

/// The bytes of a file. Variables are replaced in plain text only.
fn decode(
    decoder: &mut Decoder<'_>,
    scalar: &Scalar,
    span: Span,
    encoding: Encoding,
    budget: &mut Budget,
) -> Option<Vec<u8>> {
    if !scalar.binary && encoding == Encoding::PLAIN {
        return decoder.substitute(scalar, span).map(|text| text.value.into_bytes());
    }
    let bytes = match scalar.binary {
        true => content::base64(scalar.text.as_bytes()).map_err(|why| (" as `!!binary`", why)),
        false => Ok(scalar.text.as_bytes().to_vec()),
    };
    let result = bytes.and_then(|bytes| {
        let kind = match (encoding.base64, encoding.gzip) {
            (true, true) => " as `gzip+base64`",
            (true, false) => " as `base64`",
            (false, _) => " as `gzip`",
        };
        encoding.decode(bytes, budget.0).map_err(|why| (kind, why))
    });
    match result {
        Ok(bytes) => {
            budget.0 -= bytes.len().min(budget.0);
            Some(bytes)
        }
        Err((kind, why)) => {
            let message = format!("`content` cannot be decoded{kind}: {why}");
            let finding = Finding::error(span, message);
            decoder.report(match encoding.gzip && !encoding.base64 && !scalar.binary {
                true => finding.with_hint("write it in base64, and `gzip+base64` as the encoding"),
                false => finding,
            });
            None
        }
    }
}
