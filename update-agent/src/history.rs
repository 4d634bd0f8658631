//! What happened to this machine, a line each.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use channels::time::Time;
use serde::{Deserialize, Serialize};

/// The file's name in the state.
pub const FILE: &str = "history.jsonl";

/// More is not kept.
const LINES: usize = 500;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub time: Time,
    /// What: `installed`, `kept`, `failed`, `rolled back`, `reboot`, `channel`, `pin`, `forgiven`.
    pub event: String,
    /// Of which version, if of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// More, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Adds a line. History is for people: that it cannot be written is said, and stops nothing.
pub fn add(state: &Path, line: &Line) {
    if let Err(error) = append(state, line) {
        log::warn!("cannot write {}: {error}", state.join(FILE).display());
    }
}

fn append(state: &Path, line: &Line) -> io::Result<()> {
    let path = state.join(FILE);
    let kept = read(state);
    if kept.len() >= 2 * LINES {
        let text: String = kept[kept.len() - LINES..].iter().map(render).collect();
        host::durable::write(&path, text.as_bytes(), 0o644).map_err(|error| error.source)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
    file.write_all(render(line).as_bytes())?;
    file.sync_data()
}

fn render(line: &Line) -> String {
    serde_json::to_string(line).expect("strings and numbers") + "\n"
}

/// All lines that can be read, the oldest first.
pub fn read(state: &Path) -> Vec<Line> {
    let text = fs::read_to_string(state.join(FILE)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_and_the_oldest_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let line = |number: i64| Line {
            time: Time::from_unix(number),
            event: "installed".into(),
            version: Some(number.to_string()),
            detail: String::new(),
        };
        for number in 0..1002 {
            add(state.path(), &line(number));
        }
        fs::write(
            state.path().join(FILE),
            fs::read_to_string(state.path().join(FILE)).unwrap() + "{\"time\":",
        )
        .unwrap();
        let lines = read(state.path());
        assert_eq!(lines.len(), 502);
        assert_eq!(lines[501], line(1001));
    }
}
