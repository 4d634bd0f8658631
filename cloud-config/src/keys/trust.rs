//! `ca_certs`.

use crate::config::{CaCerts, Spanned};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity};
use crate::outline::Shape;
use crate::syntax::pem;
use crate::table::{Table, key, nowhere};
use crate::tree::Entry;

#[derive(Debug, Default)]
struct Draft {
    remove_defaults: bool,
    trusted: Vec<Spanned<String>>,
}

const CA_CERTS: Table<Read<Draft>> = Table {
    place: "`ca_certs`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("trusted", Shape::List(&Shape::Text), "Certificates in PEM.", |d, e, certs| {
            certs.trusted.extend(trusted(d, e));
        }),
        key(
            "remove_defaults",
            Shape::Flag,
            "Whether only those given here are trusted.",
            |decoder, entry, certs| {
                certs.remove_defaults = decoder.flag(entry).unwrap_or_default();
            },
        ),
    ],
};

pub(super) const SHAPE: Shape = Shape::Keys(|| CA_CERTS.outline(&[]));

/// Reads `ca_certs`.
pub(super) fn ca_certs(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<CaCerts> {
    let errors = decoder.findings.errors();
    let mut draft = Draft::default();
    let whole = decoder.read(&entry.value, &CA_CERTS, &mut draft);
    let sound = whole && decoder.findings.errors() == errors;
    let Draft { remove_defaults, trusted } = draft;
    if sound && remove_defaults && trusted.is_empty() {
        decoder.report(
            Finding::error(entry.key.span, "nobody would be trusted: `trusted` is empty")
                .with_hint("updates and everything else by `https` would stop"),
        );
        return None;
    }
    sound.then_some(CaCerts { remove_defaults, trusted, span: entry.key.span })
}

fn trusted(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Spanned<String>> {
    let mut certificates = Vec::new();
    for node in decoder.list(entry) {
        let Some(text) = decoder.text("a certificate", node) else { continue };
        match pem::certificates(&text.value) {
            Ok(value) => certificates.push(Spanned { value, span: node.span }),
            Err(why) => {
                decoder.secret(node.span);
                decoder.report(
                    Finding::error(node.span, why)
                        .with_hint("it begins with `-----BEGIN CERTIFICATE-----`"),
                );
            }
        }
    }
    certificates
}
