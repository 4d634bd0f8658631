//! Tree → values: what every key's own reading is made of. Findings and the uses of variables
//! are collected on the way.

use std::sync::Arc;

use saphyr_parser::ScalarStyle;

use crate::config::Spanned;
use crate::finding::{Finding, Findings, Position, Span, quoted};
use crate::source::{Source, lines};
use crate::suggest::nearest;
use crate::syntax::check;
use crate::table::{Rule, Table};
use crate::tree::{Data, Entry, Node, Scalar};
use crate::variable::{Piece, Values, Variable, VariableUse, pieces};

/// Reads one key's value into `T`.
pub(crate) type Read<T> = fn(&mut Decoder<'_>, &Entry, &mut T);

/// What most values are.
pub(crate) const TEXT: &str = "text";

/// A text in which variables were replaced.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) value: String,
    /// Before variables were replaced.
    pub(crate) written: Arc<str>,
    /// With example values, if the real ones are not known.
    sample: Option<String>,
    pub(crate) span: Span,
}

impl Text {
    /// What checks of syntax look at.
    pub(crate) fn probe(&self) -> &str {
        self.sample.as_deref().unwrap_or(&self.value)
    }

    pub(crate) fn spanned(self) -> Spanned<String> {
        Spanned { value: self.value, span: self.span }
    }
}

/// One pass over a tree.
#[derive(Debug)]
pub(crate) struct Decoder<'d> {
    source: &'d Source,
    values: Values<'d>,
    pub(crate) findings: Findings,
    pub(crate) uses: Vec<VariableUse>,
    /// Values that nobody should see.
    secrets: Vec<Span>,
}

/// Whether the value of such a key is nobody's to see. A misspelt key is one, too.
fn is_secret(key: &str) -> bool {
    key.contains("pass") || nearest(key, ["passwd", "password"]).is_some()
}

impl<'d> Decoder<'d> {
    pub(crate) fn new(source: &'d Source, values: Values<'d>) -> Self {
        Self {
            source,
            values,
            findings: Findings::default(),
            uses: Vec::new(),
            secrets: Vec::new(),
        }
    }

    pub(crate) fn report(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// No finding in the lines of this value will show them.
    pub(crate) fn secret(&mut self, value: Span) {
        self.secrets.push(value);
    }

    /// What was found, with the places of secrets marked.
    pub(crate) fn into_findings(mut self, of_syntax: Findings) -> Findings {
        let mut findings = of_syntax;
        findings.extend(std::mem::take(&mut self.findings));
        findings.hide(&self.secrets);
        findings
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.report(Finding::error(span, message));
    }

    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.report(Finding::warning(span, message));
    }

    /// Goes through a mapping by its table: `apply` gets every entry that has an effect and a
    /// value. Whether all of it could be gone through.
    pub(crate) fn walk<R>(
        &mut self,
        node: &Node,
        table: &Table<R>,
        mut apply: impl FnMut(&mut Self, &Entry, &R),
    ) -> bool {
        let Data::Mapping(entries) = &node.data else {
            let place = if table.place.is_empty() { "a configuration" } else { table.place };
            let message = format!("expected the keys of {place}, found {}", node.kind());
            self.report(
                Finding::error(node.span, message).with_hint("write one `key: value` on each line"),
            );
            return false;
        };
        for entry in entries {
            let key = &entry.key;
            let written = quoted(&key.written);
            if is_secret(&key.name) {
                self.secret(entry.value.span);
            }
            match table.find(&key.name).map(|known| &known.rule) {
                Some(rule) if rule.effect().is_some() && entry.value.is_null() => {
                    self.warn(key.span, format!("{written} has no value"));
                }
                Some(Rule::Ignored(why, hint)) => {
                    let mut finding = Finding::warning(key.span, format!("{written} {why}"));
                    finding.hint = hint.map(str::to_owned);
                    self.report(finding);
                }
                Some(rule) => {
                    if let Some(effect) = rule.effect() {
                        apply(self, entry, effect);
                    }
                }
                None if let Some(other) = table.other(&key.name) => {
                    let message = format!("{written} of {} is not applied here", other.system);
                    self.report(
                        Finding::warning(key.span, message)
                            .with_hint(format!("{} (docs/migrating.md)", other.instead)),
                    );
                }
                None if self.findings.is_full() => {
                    let finding = Finding::error(key.span, format!("unknown key {written}"));
                    self.report(Finding { severity: table.unknown, ..finding });
                }
                None => {
                    let place = match table.place {
                        "" => String::new(),
                        place => format!(" in {place}"),
                    };
                    let finding = Finding::error(key.span, format!("unknown key {written}{place}"));
                    let severity = table.unknown;
                    let hint = table.advice(&key.name, &key.written);
                    self.report(Finding { severity, ..finding }.with_hint(hint));
                }
            }
        }
        !node.partial
    }

    /// Reads a mapping by a table of readers. Whether all of it could be read.
    pub(crate) fn read<T>(&mut self, node: &Node, table: &Table<Read<T>>, into: &mut T) -> bool {
        self.walk(node, table, |decoder, entry, read| read(decoder, entry, into))
    }

    /// The values of a list.
    pub(crate) fn list<'n>(&mut self, entry: &'n Entry) -> &'n [Node] {
        if let Data::List(items) = &entry.value.data {
            return items;
        }
        let (key, found) = (quoted(&entry.key.written), entry.value.kind());
        self.report(
            Finding::error(entry.value.span, format!("{key} must be a list, found {found}"))
                .with_hint("put each value on a line of its own, after `- `"),
        );
        &[]
    }

    /// A value that is neither a list nor a mapping.
    pub(crate) fn scalar<'n>(
        &mut self,
        what: &str,
        kind: &str,
        node: &'n Node,
    ) -> Option<&'n Scalar> {
        if let Data::Scalar(scalar) = &node.data {
            return Some(scalar);
        }
        let message = format!("{what} must be {kind}, found {}", node.kind());
        let finding = Finding::error(node.span, message);
        self.report(match &node.data {
            Data::Mapping(_) if kind == TEXT => {
                finding.with_hint("quote a value that contains `: ` or begins with `{`")
            }
            _ => finding,
        });
        None
    }

    /// Text of any length, with variables replaced.
    pub(crate) fn text(&mut self, what: &str, node: &Node) -> Option<Text> {
        let scalar = self.scalar(what, TEXT, node)?;
        self.no_binary(what, scalar, node.span)?;
        self.substitute(scalar, node.span)
    }

    /// Text in one line, without spaces around it, with variables replaced.
    pub(crate) fn line(&mut self, what: &str, node: &Node) -> Option<Text> {
        let text = self.text(what, node)?;
        let Text { value, written, sample, span } = text;
        self.one_line(what, &value, span)?;
        Some(Text {
            written,
            value: value.trim().to_owned(),
            sample: sample.map(|sample| sample.trim().to_owned()),
            span,
        })
    }

    /// Text in one line as it was written, whatever dollar signs it has.
    pub(crate) fn literal_line(&mut self, what: &str, node: &Node) -> Option<Spanned<String>> {
        let scalar = self.scalar(what, TEXT, node)?;
        self.no_binary(what, scalar, node.span)?;
        self.one_line(what, &scalar.text, node.span)?;
        Some(Spanned { value: scalar.text.trim().to_owned(), span: node.span })
    }

    /// The value of a key as text in one line.
    pub(crate) fn entry_line(&mut self, entry: &Entry) -> Option<Text> {
        self.line(&quoted(&entry.key.written), &entry.value)
    }

    /// `true` or `false`, or another word for them.
    pub(crate) fn flag(&mut self, entry: &Entry) -> Option<bool> {
        let key = quoted(&entry.key.written);
        let scalar = self.scalar(&key, "true or false", &entry.value)?;
        let flag = check::flag(&scalar.text);
        if flag.is_none() {
            let message = format!("{key} must be true or false, found {}", quoted(&scalar.text));
            self.error(entry.value.span, message);
        }
        flag
    }

    fn no_binary(&mut self, what: &str, scalar: &Scalar, span: Span) -> Option<()> {
        if scalar.binary {
            self.error(span, format!("{what} must be text, found `!!binary`"));
            return None;
        }
        Some(())
    }

    fn one_line(&mut self, what: &str, text: &str, span: Span) -> Option<()> {
        if text.trim().contains(char::is_control) {
            self.error(span, format!("{what} must be one line, without control characters"));
            return None;
        }
        Some(())
    }

    /// Replaces the variables of a scalar. With a mistake among them there is no text.
    pub(crate) fn substitute(&mut self, scalar: &Scalar, span: Span) -> Option<Text> {
        let pieces = pieces(&scalar.text);
        let places = match pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            true => Vec::new(),
            false => self.source.dollars(
                &scalar.chars,
                span.start,
                scalar.style == ScalarStyle::DoubleQuoted,
            ),
        };
        // An anchor before the value may hold dollar signs too: the value has the last ones.
        let before = places.len().saturating_sub(scalar.text.matches('$').count());
        let place = |dollar: usize, written: &str| {
            let start = places.get(before + dollar).copied().unwrap_or(span.start);
            let end = Position { column: start.column + written.chars().count(), ..start };
            self.source.span(start, end)
        };
        let mut value = String::with_capacity(scalar.text.len());
        let mut sample = String::new();
        let mut sampled = false;
        let mut sound = true;
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    value.push_str(text);
                    sample.push_str(text);
                }
                Piece::Use { variable, written, default, dollar } => {
                    let span = place(dollar, written);
                    self.uses.push(VariableUse { variable, span, optional: default.is_some() });
                    match self.value(variable, default, span) {
                        Replacement::Unknown => {
                            value.push_str(written);
                            sample.push_str(variable.sample());
                            sampled = true;
                        }
                        Replacement::Value(known) => value.push_str(known),
                        Replacement::Missing => sound = false,
                    }
                }
                Piece::Unknown { reference, dollar } => {
                    let span = place(dollar, reference.written);
                    let finding = match self.findings.is_full() {
                        true => Finding::error(span, "unknown variable"),
                        false => reference.mistake().error(span),
                    };
                    self.report(finding);
                    sound = false;
                }
            }
        }
        let written = Arc::clone(&scalar.text);
        sound.then(|| Text { value, written, sample: sampled.then_some(sample), span })
    }

    /// Where each line of a text stands in the source; nothing for one that is not written
    /// there as it reads, such as a folded line.
    pub(crate) fn line_spans(&self, text: &Text) -> Vec<Option<Span>> {
        let mut source = (1..)
            .zip(lines(&self.source.text))
            .skip(text.span.start.line - 1)
            .take(text.span.end.line + 1 - text.span.start.line)
            .peekable();
        let mut place = |line: &str| {
            let sought = line.trim();
            let found = |written: &str| written.trim() == sought;
            while source.next_if(|(_, written)| !found(written)).is_some() {}
            let (number, written) = source.next()?;
            let indent = written.chars().take_while(|c| c.is_whitespace()).count();
            let end = indent + 1 + sought.chars().count();
            Some(self.source.span(
                self.source.place(number, indent + 1),
                self.source.place(number, end.max(indent + 2)),
            ))
        };
        text.written
            .lines()
            .map(|line| match line.trim() {
                "" => None,
                _ => place(line),
            })
            .collect()
    }

    fn value<'v>(
        &mut self,
        variable: Variable,
        default: Option<&'v str>,
        span: Span,
    ) -> Replacement<'v>
    where
        'd: 'v,
    {
        let Values::Known(values) = self.values else { return Replacement::Unknown };
        let value = values.get(&variable).map_or("", String::as_str);
        if variable.accepts(value) {
            return Replacement::Value(value);
        }
        if let Some(default) = default.filter(|_| value.is_empty()) {
            return Replacement::Value(default);
        }
        let finding = match value {
            "" => Finding::error(
                span,
                format!("no source of this machine gave a value for `{variable}`"),
            )
            .with_hint(format!(
                "write the value itself, or `${{{}:-VALUE}}` for when there is none{}",
                variable.name(),
                if variable.is_address() {
                    String::new()
                } else {
                    format!("; for a shell, write `\\{variable}`")
                }
            )),
            _ => Finding::error(
                span,
                format!("what this machine has for `{variable}` cannot be its value"),
            ),
        };
        self.report(finding);
        Replacement::Missing
    }
}

/// A whole text with its variables replaced, as [`Decoder::substitute`] does it.
pub(crate) fn whole_text(
    source: &Source,
    values: Values<'_>,
) -> (Option<String>, Span, Findings, Vec<VariableUse>) {
    let mut decoder = Decoder::new(source, values);
    let scalar = Scalar {
        text: source.text.as_str().into(),
        style: ScalarStyle::Literal,
        binary: false,
        string: true,
        chars: 0..source.text.chars().count(),
    };
    let span = source.span(Position::default(), source.place(usize::MAX, 1));
    let text = decoder.substitute(&scalar, span).map(|text| text.value);
    let uses = std::mem::take(&mut decoder.uses);
    (text, span, decoder.into_findings(Findings::default()), uses)
}

/// What takes a variable's place.
enum Replacement<'v> {
    /// Nothing is known yet.
    Unknown,
    Value(&'v str),
    /// Nothing can; a finding says why.
    Missing,
}
