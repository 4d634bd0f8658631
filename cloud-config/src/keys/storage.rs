//! `swap` and `mounts`.

use crate::config::{Mount, Spanned, Swap};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::outline::Shape;
use crate::syntax::path;
use crate::table::{Table, key, nowhere};
use crate::tree::{Data, Entry, Node};

#[derive(Debug, Default)]
struct Draft {
    path: Option<Spanned<String>>,
    size: Option<Size>,
    most: Option<Size>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Auto,
    Bytes(u64),
}

const SWAP: Table<Read<Draft>> = Table {
    place: "`swap`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("filename", Shape::Text, "Where the file is; /var/swapfile.", |d, e, swap| {
            swap.path = file_path(d, e);
        }),
        key("size", SIZE, "Bytes, with K, M, G or T; `auto` fits the machine.", |d, e, swap| {
            swap.size = size(d, e);
        }),
        key("maxsize", SIZE, "The most that `auto` may be.", |d, e, swap| {
            swap.most = size(d, e);
        }),
    ],
};

const SIZE: Shape = Shape::Either(&[Shape::Whole(0), Shape::Text]);
pub(super) const SWAP_SHAPE: Shape = Shape::Keys(|| SWAP.outline(&[]));
const FIELDS: Shape = Shape::List(&Shape::Either(&[Shape::Text, Shape::Whole(0)]));
pub(super) const MOUNTS_SHAPE: Shape = Shape::List(&FIELDS);

/// The least that is worth swapping to.
const LEAST: u64 = 1 << 20;

/// Reads `swap`; a size of 0 is none.
pub(super) fn swap(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Swap> {
    let errors = decoder.findings.errors();
    let mut draft = Draft::default();
    let whole = decoder.read(&entry.value, &SWAP, &mut draft);
    if !whole || decoder.findings.errors() != errors {
        return None;
    }
    let Some(size) = draft.size else {
        decoder.report(
            Finding::error(entry.key.span, "`swap` has no `size`")
                .with_hint("give bytes such as `2G`, or `auto`"),
        );
        return None;
    };
    let bytes = |size| match size {
        Size::Auto => None,
        Size::Bytes(bytes) => Some(bytes),
    };
    let size = bytes(size);
    if size == Some(0) {
        return None;
    }
    if size.is_some_and(|size| size < LEAST) {
        decoder.report(
            Finding::error(entry.key.span, "`size` of `swap` is less than a mebibyte")
                .with_hint("bytes are counted: write `512M` or `2G`"),
        );
        return None;
    }
    let default = || Spanned { value: "/var/swapfile".to_owned(), span: entry.key.span };
    let path = draft.path.unwrap_or_else(default);
    Some(Swap { path, size, most: draft.most.and_then(bytes) })
}

fn file_path(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    let checked = path::normal(&text.value).and_then(|path| match path::writable(&path) {
        Ok(()) if !path.contains(char::is_whitespace) => Ok(path),
        Ok(()) => Err(crate::finding::Mistake::new("a swap file's path has no spaces")),
        Err(mistake) => Err(mistake.with_hint("use /var/swapfile")),
    });
    match checked {
        Ok(value) => Some(Spanned { value, span: text.span }),
        Err(mistake) => {
            decoder.report(mistake.error(text.span));
            None
        }
    }
}

fn size(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Size> {
    let text = decoder.entry_line(entry)?;
    if text.value == "auto" {
        return Some(Size::Auto);
    }
    let size = bytes(&text.value);
    if size.is_none() {
        let key = quoted(&entry.key.written);
        let message = format!("{key} must be a size such as `2G`, found {}", quoted(&text.value));
        decoder.error(text.span, message);
    }
    size.map(Size::Bytes)
}

/// `1024`, `512M`, `2G`, `1.5G`, `2GiB`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let shift = match unit.trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let tenths: u64 = match part.get(..1) {
        Some(digit) if part.bytes().all(|b| b.is_ascii_digit()) => digit.parse().ok()?,
        Some(_) => return None,
        None if number.ends_with('.') => return None,
        None => 0,
    };
    let unit = 1_u64 << shift;
    whole.checked_mul(unit)?.checked_add(tenths * (unit / 10)).filter(|b| *b < 1 << 50)
}

/// What an entry has in its last four fields if nothing else is said. A file system that is not
/// there must not keep the machine from booting.
const DEFAULTS: [&str; 6] = ["", "", "auto", "defaults,nofail", "0", "2"];

/// Reads `mount_default_fields`.
pub(super) fn default_fields(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<[String; 6]> {
    let mut fields = DEFAULTS.map(str::to_owned);
    let nodes = decoder.list(entry);
    if nodes.len() != fields.len() {
        decoder.error(entry.value.span, "`mount_default_fields` has six fields");
        return None;
    }
    for (field, node) in fields.iter_mut().zip(nodes).filter(|(_, node)| !node.is_null()) {
        *field = decoder.line("a field", node)?.value;
    }
    Some(fields)
}

/// Reads the list of mounts.
pub(super) fn mounts(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    defaults: Option<&[String; 6]>,
) -> Vec<Mount> {
    decoder.list(entry).iter().filter_map(|node| mount(decoder, node, defaults)).collect()
}

fn mount(decoder: &mut Decoder<'_>, node: &Node, defaults: Option<&[String; 6]>) -> Option<Mount> {
    let Data::List(given) = &node.data else {
        let message = format!("a mount must be a list, found {}", node.kind());
        decoder.report(Finding::error(node.span, message).with_hint(EXAMPLE));
        return None;
    };
    if given.len() > 6 || given.is_empty() {
        decoder
            .report(Finding::error(node.span, "a mount has one to six fields").with_hint(EXAMPLE));
        return None;
    }
    if given.len() == 1 {
        // With cloud-init this takes an entry of the image out again; there are none here.
        decoder.warn(node.span, "a mount without a place has no effect");
        return None;
    }
    let mut fields = defaults.cloned().unwrap_or_else(|| DEFAULTS.map(str::to_owned));
    for (field, node) in fields.iter_mut().zip(given) {
        if !node.is_null() {
            *field = decoder.line("a field of a mount", node)?.value;
        }
    }
    device(decoder, node, &mut fields)?;
    place(decoder, node, &mut fields)?;
    for (field, name) in fields[4..].iter().zip(["dump", "pass"]) {
        if !matches!(field.as_str(), "0" | "1" | "2") {
            decoder.error(node.span, format!("`{name}` of a mount is 0, 1 or 2"));
            return None;
        }
    }
    if fields.iter().any(|field| field.is_empty() || field.contains(char::is_control)) {
        decoder.error(node.span, "a field of this mount is empty");
        return None;
    }
    let fields = fields.map(|field| field.replace(' ', "\\040").replace('\t', "\\011"));
    Some(Mount { fields, span: node.span })
}

const EXAMPLE: &str = "such as `[/dev/vdb, /var/lib/data, ext4, \"defaults,nofail\"]`";

/// What is mounted: a name of a disk alone is one below `/dev`.
fn device(decoder: &mut Decoder<'_>, node: &Node, fields: &mut [String; 6]) -> Option<()> {
    let name = fields[0].clone();
    if ["ephemeral", "swap", "ebs", "ami", "root"].iter().any(|word| {
        name.strip_prefix(word).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    }) {
        decoder.report(
            Finding::error(node.span, format!("{} is a name of cloud-init's", quoted(&name)))
                .with_hint("name the disk: `/dev/disk/by-id/...`, `LABEL=...` or `UUID=...`"),
        );
        return None;
    }
    let disk = ["sd", "vd", "xvd", "hd", "nvme", "mmcblk", "md", "dm-"];
    let bare = !name.contains(['/', '=', ':']);
    if bare && disk.iter().any(|prefix| name.starts_with(prefix)) {
        fields[0] = format!("/dev/{name}");
    }
    Some(())
}

/// Where it is mounted. systemd makes the directory, where one can be made.
fn place(decoder: &mut Decoder<'_>, node: &Node, fields: &mut [String; 6]) -> Option<()> {
    let place = fields[1].as_str();
    if matches!(place, "none" | "swap") || fields[2] == "swap" {
        fields[1] = "none".to_owned();
        fields[2] = "swap".to_owned();
        if fields[3] == DEFAULTS[3] {
            fields[3] = "sw,nofail".to_owned();
        }
        return Some(());
    }
    let there = ["/mnt", "/media", "/opt", "/srv", "/home", "/tmp"].contains(&place);
    let checked = match place.starts_with('/') {
        true => path::normal(place).and_then(|path| match there {
            true => Ok(path),
            false => path::writable(&path).map(|()| path),
        }),
        false => {
            Err(crate::finding::Mistake::new(format!("{} is no absolute path", quoted(place))))
        }
    };
    match checked {
        Ok(path) => {
            fields[1] = path;
            Some(())
        }
        Err(mistake) => {
            let message =
                mistake.message.replace("file cannot be written", "nothing can be mounted there");
            let finding = Finding::error(node.span, message);
            decoder.report(match mistake.hint {
                Some(hint) => finding.with_hint(hint),
                None => finding,
            });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, want) in [
            ("1048576", Some(1 << 20)),
            ("512M", Some(512 << 20)),
            ("2G", Some(2 << 30)),
            ("2 GiB", Some(2 << 30)),
            ("1.5g", Some((1 << 30) + 5 * ((1 << 30) / 10))),
            ("0", Some(0)),
            ("", None),
            ("G", None),
            ("1.G", None),
            ("1.xG", None),
            ("2X", None),
            ("-1", None),
            ("99999999T", None),
        ] {
            assert_eq!(bytes(text), want, "{text}");
        }
    }
}
