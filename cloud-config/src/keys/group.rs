//! `groups`.

use super::user::{checked_name, name_list};
use crate::config::{Group, Spanned};
use crate::decoder::Decoder;
use crate::finding::Finding;
use crate::outline::Shape;
use crate::tree::{Data, Entry, Node};

const MEMBERS: Shape = Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]);
const ONE: Shape = Shape::Either(&[Shape::Text, Shape::Names(&MEMBERS)]);
pub(super) const SHAPE: Shape =
    Shape::Either(&[Shape::Text, Shape::List(&ONE), Shape::Names(&MEMBERS)]);

/// Reads groups: a list of names or of `name: [members]`, a mapping of them, or names with
/// commas.
pub(super) fn groups(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Group> {
    match &entry.value.data {
        Data::Scalar(_) => {
            let names = name_list(decoder, entry);
            names.into_iter().map(|name| Group { name, members: Vec::new() }).collect()
        }
        Data::Mapping(_) => mapping(decoder, &entry.value),
        Data::List(items) => items.iter().flat_map(|item| item_groups(decoder, item)).collect(),
    }
}

fn item_groups(decoder: &mut Decoder<'_>, item: &Node) -> Vec<Group> {
    match &item.data {
        Data::Mapping(_) => mapping(decoder, item),
        Data::List(_) => {
            decoder.report(
                Finding::error(item.span, "a group must be a name, found a list")
                    .with_hint("write `- name` or `- name: [member, member]`"),
            );
            Vec::new()
        }
        Data::Scalar(_) => {
            let Some(text) = decoder.line("a group", item) else { return Vec::new() };
            let name = checked_name(decoder, text.spanned());
            name.map(|name| Group { name, members: Vec::new() }).into_iter().collect()
        }
    }
}

fn mapping(decoder: &mut Decoder<'_>, node: &Node) -> Vec<Group> {
    let Data::Mapping(entries) = &node.data else { return Vec::new() };
    let mut groups = Vec::new();
    for entry in entries {
        // A name is no key of the language: `-` is not `_` in it.
        let name = Spanned { value: entry.key.written.to_string(), span: entry.key.span };
        let Some(name) = checked_name(decoder, name) else { continue };
        let members = match entry.value.is_null() {
            true => Vec::new(),
            false => name_list(decoder, entry),
        };
        groups.push(Group { name, members });
    }
    groups
}
