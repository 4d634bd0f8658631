//! `write_files`.

use super::{remote, required};
use crate::config::{File, Remote, Spanned};
use crate::decoder::{Decoder, Read, TEXT};
use crate::finding::{Finding, Severity, Span, quoted};
use crate::outline::Shape;
use crate::suggest::nearest;
use crate::syntax::content::{self, Encoding};
use crate::syntax::{check, name, path, permissions};
use crate::table::{Table, idle, key, nowhere};
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
    source: Option<Remote>,
    append: Option<Spanned<bool>>,
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
        key("path", Shape::Text, "Where it is: absolute, not under /usr.", |d, e, file| {
            file.path = file_path(d, e);
        }),
        key("content", Shape::Text, "What is in it.", |decoder, entry, file| {
            decoder.secret(entry.value.span);
            let scalar = decoder.scalar("`content`", TEXT, &entry.value);
            file.content = scalar.map(|scalar| (scalar.clone(), entry.value.span));
        }),
        key("owner", Shape::Text, "`user`, `user:group` or `:group`.", |d, e, file| {
            file.owner = owner(d, e);
        }),
        key("permissions", Shape::Octal, "Mode bits; \"0644\".", |decoder, entry, file| {
            file.permissions = mode(decoder, entry);
        }),
        key("encoding", Shape::Words(ENCODINGS), "How `content` is written.", |d, e, file| {
            file.encoding = encoding(d, e);
        }),
        key("append", Shape::Flag, "Whether it is added to what is there.", |d, e, file| {
            let value = d.flag(e);
            file.append = value.map(|value| Spanned { value, span: e.key.span });
        }),
        key("source", SOURCE_SHAPE, "Where the content comes from.", |d, e, file| {
            file.source = remote::remote(d, e);
        }),
        idle("defer", Shape::Flag, "Files always come after users."),
    ],
};

const ENCODINGS: &[&str] = &[
    "text/plain",
    "b64",
    "base64",
    "gz",
    "gzip",
    "gz+b64",
    "gz+base64",
    "gzip+b64",
    "gzip+base64",
];
const SOURCE_SHAPE: Shape = Shape::Keys(remote::outline);
pub(super) const SHAPE: Shape = Shape::List(&Shape::Keys(|| FILE.outline(&["path"])));

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
    let Draft { path, content, source, append, encoding, permissions, owner } = draft;
    if let (Some((_, span)), Some(_)) = (&content, &source) {
        decoder.report(
            Finding::error(*span, "`content` and `source` are both given")
                .with_hint("write the content itself, or where it comes from"),
        );
    }
    let appended = append.as_ref().is_some_and(|append| append.value);
    if let Some(append) = append.filter(|append| append.value && source.is_some()) {
        decoder.error(append.span, "what comes from a `source` cannot be appended");
    }
    let encoding = encoding.unwrap_or(Ok(Encoding::PLAIN)).ok();
    if let Some(source) = source.as_ref().filter(|_| encoding.is_some_and(|e| e != Encoding::PLAIN))
    {
        decoder
            .error(source.span, "what comes from a `source` is taken as it is, without `encoding`");
    }
    let content = match content {
        Some((scalar, span)) => decode(decoder, &scalar, span, encoding?, budget),
        None => Some(Vec::new()),
    };
    let sound = whole && decoder.findings.errors() == errors;
    Some(File {
        path: path.filter(|_| sound)?,
        span: node.span,
        content: content?,
        source,
        append: appended,
        permissions,
        owner,
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
