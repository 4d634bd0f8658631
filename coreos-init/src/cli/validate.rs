//! `validate`: is it a configuration, and if not, why not.

use std::io::Read;
use std::path::{Path, PathBuf};

use cloud_config::{Document, Finding, MAX_USER_DATA, Severity, UserData, Values, recognise};

use super::{Streams, Verdict};
use crate::source::from_file;

/// How the standard input is named, in arguments and in findings.
const STANDARD_INPUT: (&str, &str) = ("-", "standard input");

pub(super) fn run(files: &[PathBuf], stdin: &mut dyn Read, streams: &mut Streams<'_>) -> Verdict {
    let verdicts = files.iter().map(|file| check(file, stdin, streams));
    verdicts.max().unwrap_or(Verdict::Yes)
}

fn check(file: &Path, stdin: &mut dyn Read, streams: &mut Streams<'_>) -> Verdict {
    let (name, bytes) = if file == Path::new(STANDARD_INPUT.0) {
        let mut bytes = Vec::new();
        // One byte more than is allowed is enough to tell that it is too much.
        match stdin.take(MAX_USER_DATA as u64 + 1).read_to_end(&mut bytes) {
            Ok(_) => (STANDARD_INPUT.1.to_string(), bytes),
            Err(error) => {
                streams.warn(format_args!("error: cannot read the standard input: {error}"));
                return Verdict::None;
            }
        }
    } else {
        match from_file(file) {
            Ok(found) => (found.name, found.user_data),
            Err(error) => {
                streams.fail(&error);
                return Verdict::None;
            }
        }
    };
    let (text, findings, kind) = match recognise(&bytes) {
        Ok(UserData::CloudConfig(text)) => {
            let (_, findings) = Document::parse(&text).decode(&Values::Unknown);
            (text, findings, "")
        }
        Ok(UserData::Script(text)) => (text, Vec::new(), " (a script: not looked into)"),
        Ok(UserData::Empty) => (String::new(), Vec::new(), " (empty)"),
        Err(finding) => (String::from_utf8_lossy(&bytes).into_owned(), vec![finding], ""),
    };
    for finding in &findings {
        streams.say(finding.render(&name, &text));
    }
    let (errors, warnings) = count(&findings);
    match (errors, warnings) {
        (0, 0) => streams.say(format_args!("{name}: ok{kind}")),
        (0, _) => streams.say(format_args!("{name}: ok, {}", plural(warnings, "warning"))),
        (_, 0) => streams.say(format_args!("{name}: {}", plural(errors, "error"))),
        (_, _) => streams.say(format_args!(
            "{name}: {}, {}",
            plural(errors, "error"),
            plural(warnings, "warning")
        )),
    }
    if errors > 0 { Verdict::No } else { Verdict::Yes }
}

fn count(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    (errors, findings.len() - errors)
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
