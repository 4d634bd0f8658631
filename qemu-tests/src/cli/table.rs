//! Rows with a name and a text, aligned.

use std::fmt::Write;
use std::time::Duration;

/// Lines of `rows`, the names in a column; a name that repeats is shown once.
pub(crate) fn rows<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = String::new();
    let mut last = "";
    for (name, value) in rows {
        let shown = if name == last { "" } else { name };
        last = name;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {shown:<24} {value}");
    }
    text
}

/// Seconds with one digit, milliseconds below one second.
pub(crate) fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{:>6} ms", duration.as_millis())
    } else {
        format!("{:>6.1} s", duration.as_secs_f64())
    }
}

/// Milliseconds with one digit.
pub(crate) fn precise(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_a_column_and_do_not_repeat() {
        let table = rows([("file", "/a".into()), ("file", "/b".into()), ("unit", "c".into())]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "  file                     /a");
        assert_eq!(lines[1], "                           /b");
        assert_eq!(lines[2], "  unit                     c");
    }

    #[test]
    fn durations_are_as_precise_as_they_are_short() {
        assert_eq!(duration(Duration::from_millis(40)), "    40 ms");
        assert_eq!(duration(Duration::from_millis(12_340)), "  12.3 s");
    }
}
