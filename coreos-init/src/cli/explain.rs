//! `explain`: which source, text, line and variables made a file of this machine.

use std::path::Path;

use super::{Streams, Verdict};
use crate::apply::{Item, Outcome};
use crate::report::Report;

pub(super) fn run(report: &Path, path: &str, streams: &mut Streams<'_>) -> Verdict {
    let report = match Report::read(report) {
        Ok(report) => report,
        Err(error) => {
            streams.fail(&error);
            return Verdict::None;
        }
    };
    let wanted = normal(path);
    let Some(item) = report.items.iter().find(|item| item.path == wanted) else {
        streams.say(format_args!("{wanted} was not made by the configuration"));
        // What lies below may have been.
        let below = format!("{}/", wanted.trim_end_matches('/'));
        for item in report.items.iter().filter(|item| item.path.starts_with(&below)) {
            streams.say(format_args!("  {} was ({})", item.path, item.section));
        }
        return Verdict::No;
    };
    for line in lines(&report, item) {
        streams.say(line);
    }
    Verdict::Yes
}

/// An absolute path without `.`, `..` and repeated slashes; links are not followed.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn lines(report: &Report, item: &Item) -> Vec<String> {
    let mut lines = vec![item.path.clone()];
    let mut row = |label: &str, text: String| lines.push(format!("{label:<14} {text}"));
    row("made by", item.section.clone());
    if let (Some(line), Some(column)) = (item.line, item.column) {
        row("at", format!("{}:{line}:{column}", report.name_of(item.part)));
    }
    if let Some(used) = &report.configuration {
        row("configuration", format!("{}, {}", used.source, used.place));
    }
    for name in &item.variables {
        let known = report.variables.iter().find(|variable| variable.name == *name);
        row(
            "variable",
            match known {
                Some(known) => format!("${name} = {} ({})", known.value, known.origin),
                None => format!("${name} has no value"),
            },
        );
    }
    row(
        "at this boot",
        match &item.outcome {
            Outcome::Unchanged => "it was so already".to_string(),
            Outcome::Written => "written".to_string(),
            Outcome::Removed => "removed: no longer configured".to_string(),
            Outcome::Restored => "as the image has it again: no longer configured".to_string(),
            Outcome::Kept => "no longer configured, but kept: somebody changed it".to_string(),
            Outcome::Failed(reason) => format!("failed: {reason}"),
        },
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_the_report_has_them() {
        for (path, want) in
            [("/etc/a", "/etc/a"), ("//etc/./a/", "/etc/a"), ("/etc/x/../a", "/etc/a"), ("/", "/")]
        {
            assert_eq!(normal(path), want);
        }
    }
}
