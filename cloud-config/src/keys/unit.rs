//! `coreos.units`.

use super::{required, unit_text};
use crate::config::{Command, DropIn, Spanned, Unit, UnitKind};
use crate::decoder::{Decoder, Read, Text};
use crate::finding::{Finding, Severity, quoted};
use crate::outline::Shape;
use crate::suggest::nearest;
use crate::syntax::check::one_of;
use crate::syntax::unit_name::{drop_in_name, unit_name};
use crate::table::{Table, key, nowhere};
use crate::tree::{Entry, Node};

/// A unit of which not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    name: Option<(Spanned<String>, UnitKind)>,
    content: Option<Text>,
    drop_ins: Vec<(Spanned<String>, Text)>,
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
        key("name", Shape::Text, "With a suffix that systemd knows.", |decoder, entry, unit| {
            unit.name = name(decoder, entry);
        }),
        key("content", Shape::Text, "The unit file.", |decoder, entry, unit| {
            unit.content = content(decoder, entry);
        }),
        key("drop_ins", DROP_INS, "Files that add to it.", |decoder, entry, unit| {
            let list = decoder.list(entry);
            unit.drop_ins.extend(list.iter().filter_map(|node| drop_in(decoder, node)));
        }),
        key(
            "enable",
            Shape::Flag,
            "Makes the links of its `[Install]`.",
            |decoder, entry, unit| {
                unit.enable = decoder.flag(entry).unwrap_or_default();
            },
        ),
        key("mask", Shape::Flag, "Makes it impossible to start.", |decoder, entry, unit| {
            unit.mask = decoder.flag(entry).unwrap_or_default();
        }),
        key("runtime", Shape::Flag, "For this boot only.", |decoder, entry, unit| {
            unit.runtime = decoder.flag(entry).unwrap_or_default();
        }),
        key(
            "command",
            Shape::Words(VERBS),
            "What is asked of systemd once it runs.",
            |d, e, unit| {
                unit.command = command(d, e);
            },
        ),
    ],
};

#[derive(Debug, Default)]
struct DropInDraft {
    name: Option<Spanned<String>>,
    content: Option<Text>,
}

const DROP_IN: Table<Read<DropInDraft>> = Table {
    place: "`drop_ins`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("name", Shape::Text, "Ending in `.conf`.", |decoder, entry, drop_in| {
            let Some(text) = decoder.entry_line(entry) else { return };
            match drop_in_name(text.probe()) {
                Ok(()) => drop_in.name = Some(text.spanned()),
                Err(mistake) => decoder.report(mistake.error(text.span)),
            }
        }),
        key("content", Shape::Text, "What it adds.", |decoder, entry, drop_in| {
            drop_in.content = content(decoder, entry);
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

const VERBS: &[&str] = &[
    "start",
    "stop",
    "restart",
    "reload",
    "try-restart",
    "reload-or-restart",
    "reload-or-try-restart",
];
const DROP_INS: Shape = Shape::List(&Shape::Keys(|| DROP_IN.outline(&["name", "content"])));
pub(super) const SHAPE: Shape = Shape::List(&Shape::Keys(|| UNIT.outline(&["name"])));

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
    let (name, kind) = name?;
    // What systemd would ignore is told also of a unit that has other mistakes.
    for text in content.iter().chain(drop_ins.iter().map(|(_, text)| text)) {
        unit_text::check(decoder, &name.value, text);
    }
    if !sound {
        return None;
    }
    let drop_ins = drop_ins.into_iter();
    let drop_ins = drop_ins.map(|(name, content)| DropIn { name, content: content.value });
    let unit = Unit {
        name,
        span: node.span,
        kind,
        content: content.map(|content| content.value),
        drop_ins: drop_ins.collect(),
        enable,
        mask,
        runtime,
        command,
    };
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

fn drop_in(decoder: &mut Decoder<'_>, node: &Node) -> Option<(Spanned<String>, Text)> {
    let mut draft = DropInDraft::default();
    let whole = decoder.read(node, &DROP_IN, &mut draft);
    required(decoder, node, "`drop_ins`", "name");
    required(decoder, node, "`drop_ins`", "content");
    Some((draft.name.filter(|_| whole)?, draft.content?))
}
