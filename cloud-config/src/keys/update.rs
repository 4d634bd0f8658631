//! `coreos.update`.

use crate::config::Update;
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::outline::Shape;
use crate::suggest::nearest;
use crate::syntax::check::{Check, one_of};
use crate::table::{Table, key, nowhere};
use crate::tree::Entry;

const UPDATE: Table<Read<Update>> = Table {
    place: "`coreos.update`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        key("group", Shape::Text, "The channel: `stable`, `beta` or `alpha`.", group),
        key("server", Shape::Text, "Where updates come from.", server),
        key("reboot_strategy", Shape::Words(STRATEGIES), "How it reboots.", reboot_strategy),
    ],
};

const CHANNELS: &[&str] = &["stable", "beta", "alpha"];
const STRATEGIES: &[&str] = &["reboot", "etcd-lock", "fleet-lock", "off"];

pub(super) const SHAPE: Shape = Shape::Keys(|| UPDATE.outline(&[]));

/// Reads the section.
pub(super) fn update(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Update> {
    let mut update = Update::default();
    decoder.read(&entry.value, &UPDATE, &mut update).then_some(update)
}

fn group(decoder: &mut Decoder<'_>, entry: &Entry, update: &mut Update) {
    let Some(text) = decoder.entry_line(entry) else { return };
    let name = &text.value;
    let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(sound) {
        let message = format!("{} cannot be the name of a channel", quoted(name));
        let hint = format!("channels are {}", one_of(CHANNELS));
        decoder.report(Finding::error(text.span, message).with_hint(hint));
        return;
    }
    if !CHANNELS.contains(&name.as_str()) {
        let message = format!("{} is none of the channels {}", quoted(name), one_of(CHANNELS));
        let finding = Finding::warning(text.span, message);
        decoder.report(match nearest(name, CHANNELS.iter().copied()) {
            Some(near) => finding.with_hint(format!("did you mean `{near}`?")),
            None => finding,
        });
    }
    update.group = Some(text.spanned());
}

fn server(decoder: &mut Decoder<'_>, entry: &Entry, update: &mut Update) {
    let Some(text) = decoder.entry_line(entry) else { return };
    match Check::Url.check(text.probe()) {
        _ if text.value.is_empty() => {}
        Ok(()) => update.server = Some(text.spanned()),
        Err(why) => decoder.error(text.span, format!("`server` {why}")),
    }
}

/// An unquoted `off` is this word, not a false value.
fn reboot_strategy(decoder: &mut Decoder<'_>, entry: &Entry, update: &mut Update) {
    let Some(text) = decoder.entry_line(entry) else { return };
    let word = text.value.as_str();
    if STRATEGIES.contains(&word) {
        update.reboot_strategy = Some(text.spanned());
        return;
    }
    let hint = match word {
        "false" | "no" | "none" => Some("off"),
        _ => nearest(word, STRATEGIES.iter().copied()),
    };
    let hint = match hint {
        Some(strategy) => format!("did you mean `{strategy}`?"),
        None => format!("it can be {}", one_of(STRATEGIES)),
    };
    let message = format!("unknown reboot strategy {}", quoted(word));
    decoder.report(Finding::error(text.span, message).with_hint(hint));
}
