//! `coreos.extensions`: images that are laid over `/usr`.

use super::{remote, required};
use crate::config::{Extension, ExtensionSource, Remote, Spanned};
use crate::decoder::{Decoder, Read, Text};
use crate::finding::{Finding, Mistake, Severity, Span, quoted};
use crate::include;
use crate::outline::Shape;
use crate::syntax::{path, url};
use crate::table::{Table, key, nowhere};
use crate::tree::{Entry, Node};

/// The longest name: with what is added to it, it is the name of a file.
const LONGEST: usize = 200;
/// Where systemd looks for extensions by itself: a file there is merged already.
const MERGED: [&str; 4] =
    ["/etc/extensions/", "/run/extensions/", "/usr/lib/extensions/", "/var/lib/extensions/"];

/// An entry of which not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    name: Option<Spanned<String>>,
    source: Option<Text>,
    sha256: Option<String>,
    root_hash: Option<Spanned<String>>,
    headers: Vec<(String, String)>,
}

const EXTENSION: Table<Read<Draft>> = Table {
    place: "`extensions`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("name", Shape::Text, "Its name, without `.raw`.", |d, e, extension| {
            extension.name = name(d, e);
        }),
        key("source", Shape::Text, "Its image: an address, or a path.", |d, e, extension| {
            d.secret(e.value.span);
            extension.source = d.entry_line(e);
        }),
        key("sha256", Shape::Text, "What the image must hash to.", |d, e, extension| {
            extension.sha256 = remote::sha256(d, e);
        }),
        key("root_hash", Shape::Text, "Of its verity tree.", |d, e, extension| {
            extension.root_hash = root_hash(d, e);
        }),
        key("headers", Shape::Names(&Shape::Text), "Of the request.", |d, e, extension| {
            d.secret(e.value.span);
            extension.headers = remote::headers(d, e);
        }),
    ],
};

pub(super) const SHAPE: Shape =
    Shape::List(&Shape::Keys(|| EXTENSION.outline(&["name", "source"])));

/// Reads the list of extensions.
pub(super) fn extensions(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Extension> {
    decoder.list(entry).iter().filter_map(|node| extension(decoder, node)).collect()
}

/// An extension with anything wrong is not one: it would be merged unchecked.
fn extension(decoder: &mut Decoder<'_>, node: &Node) -> Option<Extension> {
    let errors = decoder.findings.errors();
    let mut draft = Draft::default();
    let whole = decoder.read(node, &EXTENSION, &mut draft);
    required(decoder, node, "`extensions`", "name");
    required(decoder, node, "`extensions`", "source");
    if !whole || decoder.findings.errors() != errors {
        return None;
    }
    let Draft { name, source, sha256, root_hash, headers } = draft;
    let (name, text) = (name?, source?);
    let span = text.span;
    let source = match text.probe().starts_with('/') {
        true => of_path(decoder, &text, sha256, &headers)?,
        false => ExtensionSource::Remote(of_address(decoder, text, sha256, headers)?),
    };
    if root_hash.is_none() {
        let message = "this extension has no `root_hash`: what is read of it is not checked";
        decoder.report(
            Finding::warning(span, message)
                .with_hint("`image sysext` prints it; with it the kernel checks every block"),
        );
    }
    Some(Extension { name, span: node.span, source, root_hash })
}

fn of_address(
    decoder: &mut Decoder<'_>,
    text: Text,
    sha256: Option<String>,
    headers: Vec<(String, String)>,
) -> Option<Remote> {
    let span = text.span;
    if let Err(why) = url::url(text.probe()) {
        decoder.report(
            Finding::error(span, format!("`source` {why}"))
                .with_hint("write an address, or the absolute path of a file of the machine"),
        );
        return None;
    }
    let Some(sha256) = sha256 else {
        decoder.report(remote::unhashed(span));
        return None;
    };
    Some(Remote { url: text.value, sha256, headers, span })
}

fn of_path(
    decoder: &mut Decoder<'_>,
    text: &Text,
    sha256: Option<String>,
    headers: &[(String, String)],
) -> Option<ExtensionSource> {
    let checked = path::normal(text.probe()).and_then(|path| {
        match MERGED.iter().find(|place| path.starts_with(*place)) {
            Some(place) => Err(Mistake::new(format!("what is in {place} is merged already"))
                .with_hint("keep it elsewhere, such as in /opt, and name it here")),
            None => Ok(()),
        }
    });
    if let Err(mistake) = checked {
        decoder.report(mistake.error(text.span));
        return None;
    }
    if !headers.is_empty() {
        decoder.error(text.span, "a file is asked for without `headers`");
        return None;
    }
    let path = path::normal(&text.value).ok()?;
    Some(ExtensionSource::File { path, sha256, span: text.span })
}

fn name(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    match check_name(text.probe()) {
        Ok(()) => Some(text.spanned()),
        Err(mistake) => {
            decoder.report(mistake.error(text.span));
            None
        }
    }
}

fn check_name(name: &str) -> Result<(), Mistake> {
    let mistake =
        |why: &str| Mistake::new(format!("{} is no name of an extension: {why}", quoted(name)));
    if name.is_empty() || name.starts_with('.') {
        return Err(mistake("it must begin with a letter or a digit"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(mistake("only letters, digits, `-`, `_` and `.` are allowed"));
    }
    if let Some(stem) = name.strip_suffix(".raw") {
        let hint = format!("did you mean `{stem}`?");
        return Err(mistake("it is without the end of the file's").with_hint(hint));
    }
    if name.len() > LONGEST {
        return Err(mistake("it is too long for a file"));
    }
    Ok(())
}

fn root_hash(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    let span: Span = text.span;
    let value = include::hex(&text.value);
    if value.is_none() {
        decoder.report(
            Finding::error(span, "a root hash has 64 hex digits")
                .with_hint("`image sysext` prints it beside the SHA-256 of the file"),
        );
    }
    value.map(|value| Spanned { value, span })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        for name in ["tools", "docker-27.1_a", "9p"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for (name, why) in [
            ("", "it must begin with"),
            (".x", "it must begin with"),
            ("a/b", "only letters"),
            ("ä", "only letters"),
            ("tools.raw", "without the end"),
            (&"x".repeat(201), "too long"),
        ] {
            let mistake = check_name(name).unwrap_err();
            assert!(mistake.message.contains(why), "{name}: {mistake:?}");
        }
    }
}
