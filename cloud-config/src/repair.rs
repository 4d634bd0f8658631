//! The one mistake of syntax that has only one meaning, and is in many tutorials:
//!
//! ```text
//! - name: etcd.service
//!     command: start
//! ```
//!
//! The second line would continue the value of the first, and cannot for its `: `.

use crate::finding::{Finding, quoted};
use crate::source::{Source, lines};

/// The text with a line, and what belongs to it, moved to where the key above it begins, if
/// that is what the line lacks.
pub(crate) fn realigned(source: &Source, number: usize) -> Option<(Source, Finding)> {
    let all: Vec<&str> = lines(&source.text).take(number).collect();
    let line = *all.get(number - 1)?;
    let key = key(line)?;
    let above = all[..number - 1].iter().rev().find(|line| !is_blank(line))?;
    let owner = self::key(above).filter(|above| above.has_value)?;
    if key.after_dash || key.column <= owner.column {
        return None;
    }
    let columns = key.column - owner.column;
    let belongs = lines(&source.text)
        .skip(number)
        .take_while(|line| is_blank(line) || indent(line) >= key.column)
        .count();
    let moved = source.with_lines_moved(number..number + 1 + belongs, columns);
    let start = source.place(number, key.column + 1);
    let end = source.place(number, key.column + 1 + key.name.chars().count());
    let message = format!(
        "{} is indented further than {} above it; it is read as a key beside it",
        quoted(key.name),
        quoted(owner.name)
    );
    let hint = format!("begin both in column {}", owner.column + 1);
    Some((moved, Finding::warning(source.span(start, end), message).with_hint(hint)))
}

/// A key at the beginning of a line.
struct Key<'t> {
    name: &'t str,
    /// Columns before it, the dashes of lists included.
    column: usize,
    after_dash: bool,
    /// A value follows in the same line, and ends there.
    has_value: bool,
}

fn key(line: &str) -> Option<Key<'_>> {
    let mut rest = line.trim_start_matches(' ');
    let before = rest.len();
    while let Some(item) = rest.strip_prefix("- ") {
        rest = item.trim_start_matches(' ');
    }
    let (name, value) = rest.split_once(':')?;
    let sound = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(sound) || !(value.is_empty() || value.starts_with(' '))
    {
        return None;
    }
    let value = value.trim();
    Some(Key {
        name,
        column: line.len() - rest.len(),
        after_dash: rest.len() != before,
        has_value: !value.is_empty() && !value.starts_with(['#', '|', '>', '[', '{', '&', '!']),
    })
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}
