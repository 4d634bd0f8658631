//! `coreos.units`.

use super::required;
use crate::config::{Command, DropIn, Spanned, Unit, UnitKind};
use crate::decoder::{Decoder, Read, Text};
use crate::finding::{Finding, Severity, quoted};
use crate::suggest::nearest;
use crate::syntax::check::one_of;
use crate::syntax::unit_name::{drop_in_name, unit_name};
use crate::table::{Table, applied, nowhere};
use crate::tree::{Entry, Node};

/// A unit of which not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    name: Option<(Spanned<String>, UnitKind)>,
    content: Option<String>,
    drop_ins: Vec<DropIn>,
    enable: bool,
    mask: bool,
    runtime: bool,
    command: Option<Spanned<Command>>,
}

const UNIT: Table<Read<Draft>> = Table {
    place: "`units`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("name", |decoder, entry, unit| unit.name = name(decoder, entry)),
        applied("content", |decoder, entry, unit| {
            unit.content = content(decoder, entry).map(|text| text.value);
        }),
        applied("drop_ins", |decoder, entry, unit| {
            let list = decoder.list(entry);
            unit.drop_ins = list.iter().filter_map(|node| drop_in(decoder, node)).collect();
        }),
        applied("enable", |decoder, entry, unit| {
            unit.enable = decoder.flag(entry).unwrap_or_default();
        }),
        applied("mask", |decoder, entry, unit| {
            unit.mask = decoder.flag(entry).unwrap_or_default();
        }),
        applied("runtime", |decoder, entry, unit| {
            unit.runtime = decoder.flag(entry).unwrap_or_default();
        }),
        applied("command", |decoder, entry, unit| unit.command = command(decoder, entry)),
    ],
};

#[derive(Debug, Default)]
struct DropInDraft {
    name: Option<Spanned<String>>,
    content: Option<String>,
}

const DROP_IN: Table<Read<DropInDraft>> = Table {
    place: "`drop_ins`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("name", |decoder, entry, drop_in| {
            let Some(text) = decoder.entry_line(entry) else { return };
            match drop_in_name(text.probe()) {
                Ok(()) => drop_in.name = Some(text.spanned()),
                Err(mistake) => decoder.report(mistake.error(text.span)),
            }
        }),
        applied("content", |decoder, entry, drop_in| {
            drop_in.content = content(decoder, entry).map(|text| text.value);
        }),
    ],
};

const COMMANDS: &[(&str, Command)] = &[
    ("start", Command::Start),
    ("stop", Command::Stop),
    ("restart", Command::Restart),
    ("reload", Command::Reload),
    ("try-restart", Command::TryRestart),
    ("reload-or-restart", Command::ReloadOrRestart),
    ("reload-or-try-restart", Command::ReloadOrTryRestart),
];

/// Reads a list of units.
pub(super) fn units(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Unit> {
    decoder.list(entry).iter().filter_map(|node| unit(decoder, node)).collect()
}

/// A unit with anything wrong is not one: it would be written or started with too little in it.
fn unit(decoder: &mut Decoder<'_>, node: &Node) -> Option<Unit> {
    let errors = decoder.findings.errors();
    let mut draft = Draft::default();
    let whole = decoder.read(node, &UNIT, &mut draft);
    required(decoder, node, "`units`", "name");
    let Draft { name, content, drop_ins, enable, mask, runtime, command } = draft;
    let sound = whole && decoder.findings.errors() == errors;
    let (name, kind) = name.filter(|_| sound)?;
    let unit = Unit { name, kind, content, drop_ins, enable, mask, runtime, command };
    doubts(decoder, &unit);
    Some(unit)
}

/// What is asked of a unit and will not happen.
fn doubts(decoder: &mut Decoder<'_>, unit: &Unit) {
    let name = quoted(&unit.name.value);
    if unit.kind == UnitKind::Network && (unit.enable || unit.command.is_some()) {
        decoder.warn(
            unit.name.span,
            format!("`enable` and `command` have no effect on {name}: it is read, not started"),
        );
    }
    let template = unit.name.value.contains("@.");
    if let Some(command) = unit.command.as_ref().filter(|_| template) {
        decoder.warn(command.span, format!("{name} is a template and has no instance to act on"));
    }
    let starts = unit.command.as_ref().is_some_and(|command| command.value != Command::Stop);
    if unit.mask && (unit.content.is_some() || !unit.drop_ins.is_empty() || unit.enable || starts) {
        decoder.warn(unit.name.span, format!("{name} is masked: nothing else has an effect"));
    }
}

fn name(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<(Spanned<String>, UnitKind)> {
    let text = decoder.entry_line(entry)?;
    match unit_name(text.probe()) {
        Ok(kind) => Some((text.spanned(), kind)),
        Err(mistake) => {
            decoder.report(mistake.error(text.span));
            None
        }
    }
}

fn content(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Text> {
    let text = decoder.text("`content`", &entry.value)?;
    if text.value.contains('\0') {
        decoder.error(text.span, "`content` has a NUL character, which no unit can have");
        return None;
    }
    let mut lines = text.value.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    if first.is_some_and(|line| !line.starts_with('[')) {
        decoder.report(
            Finding::warning(text.span, "what comes before the first section has no effect")
                .with_hint("a section begins with its name in brackets, such as `[Service]`"),
        );
    }
    Some(text)
}

fn command(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<Command>> {
    let text = decoder.entry_line(entry)?;
    if text.value.is_empty() {
        return None;
    }
    if let Some((_, command)) = COMMANDS.iter().find(|(word, _)| *word == text.value) {
        return Some(Spanned { value: *command, span: text.span });
    }
    let words: Vec<_> = COMMANDS.iter().map(|(word, _)| *word).collect();
    let hint = match nearest(&text.value, words.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("it can be {}", one_of(&words)),
    };
    let message = format!("unknown command {}", quoted(&text.value));
    decoder.report(Finding::error(text.span, message).with_hint(hint));
    None
}

fn drop_in(decoder: &mut Decoder<'_>, node: &Node) -> Option<DropIn> {
    let mut draft = DropInDraft::default();
    let whole = decoder.read(node, &DROP_IN, &mut draft);
    required(decoder, node, "`drop_ins`", "name");
    required(decoder, node, "`drop_ins`", "content");
    Some(DropIn { name: draft.name.filter(|_| whole)?, content: draft.content? })
}
