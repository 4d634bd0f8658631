//! What the YAML parser could not read, in words that say what to change.

use saphyr_parser::ScanError;

use crate::finding::{Finding, MOST};
use crate::source::{Source, lines};

/// Part of the parser's message, what it means, and what to do.
const EXPLANATIONS: &[(&str, &str, &str)] = &[
    (
        "mapping values are not allowed",
        "a second `key: value` in one place",
        "check the indentation, or quote a value that contains `: `",
    ),
    (
        "':' must be followed",
        "a `:` needs a space after it here",
        "write `key: value`, or quote the value",
    ),
    (
        "did not find expected key",
        "this does not fit its surroundings: a key was expected",
        "keys of one mapping begin in the same column",
    ),
    (
        "did not find expected '-'",
        "this does not fit its surroundings: a `- ` was expected",
        "entries of one list begin in the same column",
    ),
    (
        "block sequence entries are not allowed",
        "a list cannot begin here",
        "put the first `- ` on a line of its own",
    ),
    (
        "simple key expect",
        "this line is neither a `key: value` nor a `- ` entry",
        "is a `:` missing?",
    ),
    (
        "found unexpected end of stream",
        "this quote is never closed",
        "close it, or use the other kind of quotes",
    ),
    (
        "trailing content after double-quoted",
        "the value goes on after its closing quote",
        "quote the whole value, and write an inner `\"` as `\\\"`",
    ),
    (
        "unknown escape character",
        "unknown escape between double quotes",
        "double the backslash, or use single quotes",
    ),
    (
        "unknown anchor",
        "this alias names an anchor that does not exist",
        "quote a value that begins with `*`",
    ),
    ("unexpected character: `@'", "a value cannot begin with `@`", "quote it"),
    ("unexpected character: `%'", "a value cannot begin with `%`", "quote it"),
    ("unexpected character: ``'", "a value cannot begin with a backquote", "quote it"),
    (
        "illegal placement of ':'",
        "a `:` cannot stand here",
        "is a bracket or a quote left open before it?",
    ),
    (
        "invalid indentation in quoted",
        "this quote is not closed before the next line",
        "close it, or indent the line that it goes on in",
    ),
    (
        "wrongly indented line in block scalar",
        "this line is indented less than the block it is in",
        "indent all lines of a block alike",
    ),
    (
        "invalid indentation",
        "this line is indented less than what it belongs to",
        "indent it further",
    ),
    ("unprintable", "a character that YAML does not allow", "remove it"),
    (
        "expected ',' or ']'",
        "this `[` list is not closed: `,` or `]` was expected",
        "close it, or quote the value",
    ),
    (
        "expected ',' or '}'",
        "this `{` mapping is not closed: `,` or `}` was expected",
        "close it, or quote the value",
    ),
    (
        "did not find expected node content",
        "a value was expected here",
        "quote a value that begins with one of , ] } % @",
    ),
    (
        "expected <document start>",
        "this does not belong to the document that ended before it",
        "check the indentation",
    ),
    ("recursion limit", "nested too deeply", "no setting needs more than eight levels"),
];

/// The mistake at which the parser stopped; with tabs, every line that begins with one.
pub(crate) fn explain(error: &ScanError, source: &Source) -> Vec<Finding> {
    let (line, column) = inside(error, &source.text);
    let info = error.info();
    let words = |word: &str| info.split(|c: char| !c.is_alphabetic()).any(|w| w == word);
    if words("tab") || words("tabs") || is_after_tab(&source.text, line, column) {
        return tabs(source, line, column);
    }
    let start = source.place(line, column);
    let span = source.span(start, start);
    vec![match EXPLANATIONS.iter().find(|(part, ..)| info.contains(part)) {
        Some((_, message, hint)) => Finding::error(span, *message).with_hint(*hint),
        None => Finding::error(span, format!("not YAML: {info}")),
    }]
}

/// The line and column of the mistake. The parser may give up one past the last of them.
fn inside(error: &ScanError, text: &str) -> (usize, usize) {
    let (index, line) =
        lines(text).take(error.marker().line()).enumerate().last().unwrap_or_default();
    (index + 1, (error.marker().col() + 1).min(line.chars().count() + 1))
}

/// Where the indentation of a line has a tab: its column.
fn tab(line: &str) -> Option<usize> {
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    line[..indent].find('\t').map(|index| index + 1)
}

fn is_after_tab(text: &str, line: usize, column: usize) -> bool {
    let line = lines(text).nth(line - 1).unwrap_or_default();
    tab(line).is_some_and(|tab| tab <= column) && column <= line.len() - line.trim_start().len() + 1
}

/// The tab that stopped the parser, in the line where it stopped or the next, and every later
/// line that begins with one: only such a line can be nothing else.
fn tabs(source: &Source, line: usize, column: usize) -> Vec<Finding> {
    let indented = |at: usize| {
        let text = lines(&source.text).nth(at - 1)?;
        Some((at, tab(text)?))
    };
    let first = indented(line).or_else(|| indented(line + 1)).unwrap_or((line, column));
    let others = lines(&source.text).enumerate().skip(first.0).filter(|(_, line)| {
        line.starts_with('\t') && !line.trim().is_empty() && !line.trim().starts_with('#')
    });
    std::iter::once(first)
        .chain(others.map(|(index, _)| (index + 1, 1)))
        .take(MOST)
        .map(|(line, column)| {
            let start = source.place(line, column);
            let end = source.place(line, column + 1);
            Finding::error(source.span(start, end), "a tab cannot be used for indentation")
                .with_hint("use spaces")
        })
        .collect()
}
