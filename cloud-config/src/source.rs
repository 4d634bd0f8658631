//! The text of a configuration, by lines and by characters.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::finding::{Position, Span};

/// The lines of a text as YAML sees them: ended by `\n`, `\r\n` or `\r`. There is always one
/// after the last break, be it empty.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.find(['\n', '\r']) {
            Some(at) => {
                let long = if text[at..].starts_with("\r\n") { 2 } else { 1 };
                rest = Some(&text[at + long..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
}

/// A text that is read by character numbers, which is how the YAML parser tells places. It may
/// differ from what was written in the indentation of some lines; places are of the original.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) text: String,
    /// Which part of the user-data it is.
    part: u32,
    /// One past the last character.
    end: Position,
    /// Columns by which lines were moved to the left.
    moved: BTreeMap<usize, usize>,
    /// Byte offset of every `STRIDE`th character.
    marks: Vec<usize>,
}

const STRIDE: usize = 256;

/// A dollar sign, as it may be written between double quotes.
const DOLLAR_ESCAPES: &[&str] = &["\\x24", "\\u0024", "\\U00000024"];

impl Source {
    pub(crate) fn new(text: &str, part: u32) -> Self {
        let marks = text.char_indices().step_by(STRIDE).map(|(offset, _)| offset).collect();
        let (index, line) = lines(text).enumerate().last().unwrap_or_default();
        let end = Position { line: index + 1, column: line.chars().count() + 1 };
        Self { text: text.to_owned(), part, end, moved: BTreeMap::new(), marks }
    }

    /// A stretch of this text.
    pub(crate) fn span(&self, start: Position, end: Position) -> Span {
        Span { part: self.part, start, end }
    }

    /// The same with some lines moved to the left by so many columns, or all that they have.
    pub(crate) fn with_lines_moved(&self, numbers: Range<usize>, columns: usize) -> Self {
        let mut moved = self.moved.clone();
        let mut text = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        for (number, line) in (1..).zip(lines(&self.text)) {
            let mut cut = 0;
            if numbers.contains(&number) {
                cut = columns.min(line.len() - line.trim_start_matches(' ').len());
                *moved.entry(number).or_default() += cut;
            }
            let end = match rest[line.len()..].starts_with("\r\n") {
                true => line.len() + 2,
                false => (line.len() + 1).min(rest.len()),
            };
            text.push_str(&rest[cut..end]);
            rest = &rest[end..];
        }
        Self { moved, ..Self::new(&text, self.part) }
    }

    /// Where something was written that the parser found at a line and a column, both from 1.
    /// The parser ends a text in a line of its own; there is not always one.
    pub(crate) fn place(&self, line: usize, column: usize) -> Position {
        let at = Position { line, column };
        let Position { line, column } = if line > self.end.line { self.end } else { at };
        Position { line, column: column + self.moved.get(&line).unwrap_or(&0) }
    }

    /// Where the dollar signs of a scalar stand that was written at these characters, the first
    /// of them at `start`. A scalar's value ends with the same ones, in order. Between double
    /// quotes (`escapes`) a dollar sign may be written by its number.
    pub(crate) fn dollars(
        &self,
        chars: &Range<usize>,
        start: Position,
        escapes: bool,
    ) -> Vec<Position> {
        let text = &self.text[self.byte(chars.start)..self.byte(chars.end)];
        let mut found = Vec::new();
        let mut at = start;
        at.column -= self.moved.get(&start.line).unwrap_or(&0).min(&(start.column - 1));
        let mut previous = '\0';
        let mut after_backslash = false;
        for (offset, c) in text.char_indices() {
            let escape = escapes && c == '\\' && !after_backslash;
            let by_number = || DOLLAR_ESCAPES.iter().any(|e| text[offset..].starts_with(e));
            if c == '$' || escape && by_number() {
                found.push(self.place(at.line, at.column));
            }
            after_backslash = escape;
            match c {
                '\n' if previous == '\r' => {}
                '\n' | '\r' => at = Position { line: at.line + 1, column: 1 },
                _ => at.column += 1,
            }
            previous = c;
        }
        found
    }

    fn byte(&self, character: usize) -> usize {
        let Some(&mark) = self.marks.get(character / STRIDE) else { return self.text.len() };
        self.text[mark..]
            .char_indices()
            .nth(character % STRIDE)
            .map_or(self.text.len(), |(offset, _)| mark + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_yaml() {
        let all: Vec<_> = lines("a\nb\r\nc\rd\n").collect();
        assert_eq!(all, ["a", "b", "c", "d", ""]);
        assert_eq!(lines("").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn characters_are_found_in_any_text() {
        let text = format!("\n\n{}", "é$".repeat(STRIDE));
        let source = Source::new(&text, 0);
        let start = Position { line: 3, column: 2 };
        let found = source.dollars(&(3..text.chars().count()), start, false);
        assert_eq!(found.len(), STRIDE);
        assert_eq!(found[1], Position { line: 3, column: 4 });
        assert_eq!(source.dollars(&(9..9), Position::default(), false), []);
        assert_eq!(source.dollars(&(4000..9000), Position::default(), false), []);
    }

    #[test]
    fn between_double_quotes_a_dollar_sign_has_other_spellings() {
        let count = |text: &str, escapes| {
            let source = Source::new(text, 0);
            source.dollars(&(0..text.chars().count()), Position::default(), escapes).len()
        };
        for (text, quoted, literal) in [
            (r#""a $x \x24y \u0024z""#, 3, 1),
            (r#""an escaped backslash \\x24""#, 0, 0),
            (r#""\"$x""#, 1, 1),
        ] {
            assert_eq!((count(text, true), count(text, false)), (quoted, literal), "{text}");
        }
    }
}
