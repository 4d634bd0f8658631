//! `runcmd`.

use crate::config::Spanned;
use crate::decoder::{Decoder, TEXT};
use crate::finding::Finding;
use crate::outline::Shape;
use crate::tree::{Data, Entry};

pub(super) const SHAPE: Shape =
    Shape::List(&Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]));

/// Reads commands: each a line for the shell, or a list of words that it does not look into.
pub(super) fn commands(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Spanned<String>> {
    let mut commands = Vec::new();
    for node in decoder.list(entry) {
        let value = match &node.data {
            _ if node.is_null() => continue,
            Data::Scalar(_) => decoder.text("a command", node).map(|text| text.value),
            Data::List(words) => {
                let words: Option<Vec<String>> = words
                    .iter()
                    .map(|word| Some(quote(&decoder.text("a word of a command", word)?.value)))
                    .collect();
                words.filter(|words| !words.is_empty()).map(|words| words.join(" "))
            }
            Data::Mapping(_) => {
                decoder.report(
                    Finding::error(node.span, format!("a command must be {TEXT}, found a mapping"))
                        .with_hint("quote a command that contains `: ` or begins with `{`"),
                );
                None
            }
        };
        let Some(value) = value else { continue };
        if value.contains('\0') {
            decoder.error(node.span, "a command has a NUL character");
            continue;
        }
        commands.push(Spanned { value, span: node.span });
    }
    commands
}

/// A word for a shell that takes it as it is.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:@%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
