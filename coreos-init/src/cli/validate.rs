//! `validate`: is it a configuration, and if not, why not.

use std::io::Read;
use std::path::PathBuf;

use cloud_config::{Bundle, Finding, Severity, Values};

use super::input::{self, Input};
use super::{Streams, Verdict};

pub(super) fn run(files: &[PathBuf], stdin: &mut dyn Read, streams: &mut Streams<'_>) -> Verdict {
    let verdicts = files.iter().map(|file| check(&Input::File(file.clone()), stdin, streams));
    verdicts.max().unwrap_or(Verdict::Yes)
}

fn check(input: &Input, stdin: &mut dyn Read, streams: &mut Streams<'_>) -> Verdict {
    let found = match input::find(input, stdin) {
        Ok(found) => found,
        Err(input::InputError::TooLarge) => {
            streams.say(input::InputError::TooLarge);
            return Verdict::No;
        }
        Err(error) => {
            streams.fail(&error);
            return Verdict::None;
        }
    };
    let name = &found.name;
    let bundle = Bundle::local(name, &found.user_data);
    let (_, findings) = bundle.decode(&Values::Unknown);
    for finding in &findings {
        streams.say(bundle.render(finding));
    }
    for include in bundle.unfetched() {
        streams.say(format_args!("{name}: note: {} is not looked into", include.shown()));
    }
    let kind = match (bundle.is_empty(), bundle.is_script()) {
        (true, _) => " (empty)",
        (_, true) => " (a script: only its variables are checked)",
        _ => "",
    };
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
