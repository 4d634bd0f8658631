//! What is wrong with a configuration, and where.

use std::fmt::Write as _;

use crate::redact::redacted;
use crate::source::lines;

/// A place in a source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Default for Position {
    fn default() -> Self {
        Self { line: 1, column: 1 }
    }
}

/// A stretch of a source text: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Span {
    /// Which text, where user-data has several parts; the first is 0.
    pub part: u32,
    /// First character.
    pub start: Position,
    /// One past the last character.
    pub end: Position,
}

impl Span {
    /// A stretch of the first text.
    #[must_use]
    pub fn new(start: Position, end: Position) -> Self {
        Self { part: 0, start, end }
    }

    /// Whether another stretch is part of this one.
    #[must_use]
    pub fn contains(&self, other: Self) -> bool {
        self.part == other.part && self.start <= other.start && other.end <= self.end
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The machine is provisioned all the same.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One mistake or doubt, at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub span: Span,
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// What to do: a suggestion, in one line ("did you mean `hostname`?").
    pub hint: Option<String>,
    /// The source there may hold a secret: `render` does not show it.
    pub secret: bool,
}

/// Whether any of them refuses the configuration.
#[must_use]
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

impl Finding {
    /// A finding that refuses the configuration.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, message: message.into(), hint: None, secret: false }
    }

    /// A finding that lets the configuration pass.
    #[must_use]
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// The same, with a suggestion.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// One line for a console: `user-data:4:5: error: message; hint`.
    #[must_use]
    pub fn line(&self, source: &str) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.headline(source)),
            None => self.headline(source),
        }
    }

    /// Several lines for a terminal: the place and the message, the source line with carets
    /// under the span, the hint. `text` is the source that the finding was made in. What may be
    /// secret in the line is not shown.
    #[must_use]
    pub fn render(&self, source: &str, text: &str) -> String {
        let mut out = self.headline(source);
        if let Some((line, carets)) = self.excerpt(text) {
            let number = self.span.start.line.to_string();
            let gutter = " ".repeat(number.len());
            write!(out, "\n {number} | {line}\n {gutter} | {carets}")
                .expect("writing to a String cannot fail");
        }
        if let Some(hint) = &self.hint {
            write!(out, "\n  = {hint}").expect("writing to a String cannot fail");
        }
        out
    }

    /// The source line, cut to what fits a terminal, and carets to stand under it; nothing where a
    /// secret may be in it. `text` is the source that the finding was made in.
    #[must_use]
    pub fn excerpt(&self, text: &str) -> Option<(String, String)> {
        let line = lines(text).nth(self.span.start.line.saturating_sub(1)).filter(|_| !self.secret);
        // What may be a secret behind the span is left out; one in it or before is not shown at all.
        let line = line?;
        let shown = redacted(line);
        let same = line.chars().zip(shown.chars()).take_while(|(one, other)| one == other);
        let before = self.is_in_one_line() && same.count() + 1 >= self.span.end.column;
        (line == shown || before).then(|| excerpt(&shown, self.span))
    }

    fn is_in_one_line(&self) -> bool {
        self.span.start.line == self.span.end.line
    }

    fn headline(&self, source: &str) -> String {
        let Position { line, column } = self.span.start;
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        format!("{source}:{line}:{column}: {severity}: {}", self.message)
    }
}

/// Why a value is refused, before it is known where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Mistake {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn error(self, span: Span) -> Finding {
        Finding { hint: self.hint, ..Finding::error(span, self.message) }
    }

    pub(crate) fn warning(self, span: Span) -> Finding {
        Finding { hint: self.hint, ..Finding::warning(span, self.message) }
    }
}

/// Most characters of a source line that are shown.
const EXCERPT: usize = 100;

/// The part of a line around the span, safe for a terminal, and the carets for below it.
fn excerpt(line: &str, span: Span) -> (String, String) {
    let start = span.start.column.saturating_sub(1);
    let skipped = if start < EXCERPT - 20 { 0 } else { start - 20 };
    let mut shown: String = line.chars().skip(skipped).take(EXCERPT).map(printable).collect();
    let width = shown.chars().count();
    let start = (start - skipped).min(width);
    let end = match span.end.line == span.start.line {
        true => span.end.column.saturating_sub(skipped + 1).min(width),
        false => shown.trim_end().chars().count(),
    };
    let mut carets: String =
        shown.chars().take(start).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    carets.push_str(&"^".repeat(end.saturating_sub(start).max(1)));
    if skipped > 0 {
        shown.insert(0, '…');
        carets.insert(0, ' ');
    }
    if line.chars().nth(skipped + EXCERPT).is_some() {
        shown.push('…');
    }
    (shown.trim_end().to_owned(), carets)
}

fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}

/// Text from a configuration as a message quotes it: short, in one line, harmless on a terminal.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(printable).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{}`", shown.replace('\t', " "))
}

/// Most findings that are kept; a file with more has one cause.
pub(crate) const MOST: usize = 200;

/// Findings as they come, bounded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    left_out: usize,
    errors: usize,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        self.errors += usize::from(finding.severity == Severity::Error);
        if self.is_full() {
            self.left_out += 1;
        } else {
            self.kept.push(finding);
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        let errors = self.errors + other.errors;
        self.left_out += other.left_out;
        other.kept.into_iter().for_each(|finding| self.push(finding));
        self.errors = errors;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether further findings are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MOST
    }

    /// How many refuse the configuration.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Marks those that stand in a line of a secret.
    pub(crate) fn hide(&mut self, secrets: &[Span]) {
        for finding in &mut self.kept {
            let Span { part, start, .. } = finding.span;
            let has = |secret: &Span| {
                secret.part == part && (secret.start.line..=secret.end.line).contains(&start.line)
            };
            finding.secret |= secrets.iter().any(has);
        }
    }

    /// By place, each once: an alias shows the same mistake at every use.
    pub(crate) fn sorted(mut self) -> Vec<Finding> {
        self.kept.sort_by_key(|finding| (finding.span.part, finding.span.start));
        let mut seen = std::collections::HashSet::new();
        self.kept.retain(|finding| seen.insert((finding.span, finding.message.clone())));
        if self.left_out > 0 {
            let last = self.kept.last().map(|finding| finding.span).unwrap_or_default();
            let message = format!("{} further findings are not shown", self.left_out);
            self.kept.push(match self.errors > 0 {
                true => Finding::error(last, message),
                false => Finding::warning(last, message),
            });
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: usize, from: usize, to: usize) -> Span {
        Span::new(Position { line, column: from }, Position { line, column: to })
    }

    #[test]
    fn a_line_holds_place_severity_message_and_hint() {
        let finding = Finding::error(span(4, 5, 8), "unknown key").with_hint("did you mean `x`?");
        assert_eq!(finding.line("f"), "f:4:5: error: unknown key; did you mean `x`?");
        assert_eq!(Finding::warning(span(1, 1, 2), "odd").line("f"), "f:1:1: warning: odd");
    }

    #[test]
    fn carets_stand_under_the_span() {
        for (text, at, want) in [
            ("a: b\r\nkey: value\r\n", span(2, 6, 11), " 2 | key: value\n   |      ^^^^^"),
            ("\tkey: x", span(1, 2, 5), " 1 | \tkey: x\n   | \t^^^"),
            ("é: ü", span(1, 4, 5), " 1 | é: ü\n   |    ^"),
            ("bell: \u{7}x", span(1, 7, 9), " 1 | bell: \u{fffd}x\n   |       ^^"),
            ("a: b", span(1, 5, 5), " 1 | a: b\n   |     ^"),
        ] {
            let rendered = Finding::error(at, "m").render("f", text);
            assert_eq!(rendered.split_once('\n').unwrap().1, want, "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_span() {
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let rendered = Finding::error(span(1, 501, 505), "m").render("f", &text);
        let lines: Vec<_> = rendered.lines().collect();
        let caret = lines[2].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[1].chars().skip(caret).take(4).collect::<String>(), "HERE");
        assert!(lines[1].chars().count() < 120);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let finding = Finding::error(span(1, 9, 16), "`passwd` is not a hash");
        let finding = Finding { secret: true, ..finding };
        assert!(!finding.render("f", "passwd: hunter2").contains("hunter2"));
    }

    #[test]
    fn a_secret_beside_the_span_is_not_shown() {
        let text = "url: https://me:hunter2@h/?t=1";
        let rendered = Finding::error(span(1, 1, 4), "m").render("f", text);
        assert_eq!(rendered, "f:1:1: error: m\n 1 | url: https://h/?...\n   | ^^^");
        let rendered = Finding::error(span(1, 6, 30), "m").render("f", text);
        assert_eq!(rendered, "f:1:6: error: m");
        // One that goes on in the next line ends with this one.
        let across = Span::new(span(1, 6, 7).start, span(2, 1, 2).end);
        assert_eq!(Finding::error(across, "m").render("f", text), "f:1:6: error: m");
    }

    #[test]
    fn findings_are_bounded_and_the_rest_still_counts() {
        let mut findings = Findings::default();
        for line in 1..=MOST {
            findings.push(Finding::warning(span(line, 1, 2), "w"));
        }
        findings.push(Finding::error(span(1, 1, 2), "e"));
        let sorted = findings.sorted();
        assert_eq!(sorted.len(), MOST + 1);
        assert!(has_errors(&sorted));
    }
}
