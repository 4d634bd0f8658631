//! Keys that come from elsewhere: `ssh_import_id` of cloud-init, `coreos_ssh_import_*`.

use crate::config::{KeyForm, KeySource};
use crate::decoder::Decoder;
use crate::finding::{Finding, quoted};
use crate::syntax::url;
use crate::tree::{Data, Entry, Node};

/// Reads `gh:NAME` and `lp:NAME`, one or a list.
pub(super) fn of_ids(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<KeySource> {
    of(decoder, entry, |id| {
        let (service, name) = id.split_once(':').unwrap_or(("lp", id));
        match service {
            _ if !is_name(name) => Err("is no name"),
            "gh" => Ok((format!("https://github.com/{name}.keys"), KeyForm::Lines)),
            "lp" => Ok((format!("https://launchpad.net/~{name}/+sshkeys"), KeyForm::Lines)),
            _ => Err("is neither `gh:NAME` nor `lp:NAME`"),
        }
    })
}

/// Reads users of GitHub, one or a list.
pub(super) fn of_github(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<KeySource> {
    of(decoder, entry, |name| match is_name(name) {
        true => Ok((format!("https://api.github.com/users/{name}/keys"), KeyForm::Json)),
        false => Err("is no name"),
    })
}

/// Reads an address of keys as JSON.
pub(super) fn of_url(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<KeySource> {
    of(decoder, entry, |address| {
        url::url(address)?;
        match address.starts_with("https://") {
            true => Ok((address.to_owned(), KeyForm::Json)),
            false => Err("must begin with `https://`: who logs in is not for anybody to say"),
        }
    })
}

fn is_name(name: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() < 100 && name.chars().all(sound) && !name.starts_with('.')
}

fn of(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    address: fn(&str) -> Result<(String, KeyForm), &'static str>,
) -> Vec<KeySource> {
    let nodes: Vec<&Node> = match &entry.value.data {
        Data::List(items) => items.iter().collect(),
        _ => vec![&entry.value],
    };
    let mut sources = Vec::new();
    for node in nodes {
        let Some(text) = decoder.line("a source of keys", node) else { continue };
        match address(&text.value) {
            Ok((url, form)) => sources.push(KeySource { url, form, span: text.span }),
            Err(why) => {
                let shown = quoted(&url::redacted(&text.value));
                decoder.report(Finding::error(text.span, format!("{shown} {why}")));
            }
        }
    }
    sources
}
