//! Commands that only look.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::act::PATIENCE;
use super::{Outcome, print};
use crate::agent::Agent;
use crate::check::remedy;
use crate::history;
use crate::live::{self, Activity};
use crate::lock::Lock;
use crate::service::{Outside, zone};
use crate::source::Source;
use crate::status::document;
use crate::window::Opening;

pub(super) fn status(root: &Path, json: bool, outside: Outside<'_>) -> Outcome {
    let agent = Agent::open(root)?;
    let now = (outside.now)();
    let document = document(&agent, now);
    if json {
        print(&(serde_json::to_string_pretty(&document).expect("a document") + "\n"));
    } else {
        print(&text(&agent, &document));
    }
    Ok(ExitCode::SUCCESS)
}

/// The same for people.
fn text(agent: &Agent, document: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<10} {value}");
    };
    let word = |name: &str| document[name].as_str();
    line("version", agent.facts.version.as_str());
    line("channel", word("channel").unwrap_or_default());
    if let Some(refused) = word("channel_refused") {
        line("", refused);
    }
    line("server", word("server").unwrap_or("none: updates are disabled"));
    let live = live::read(&agent.run_directory());
    let target = live.version.as_deref().unwrap_or_default();
    line(
        "now",
        &match live.activity {
            Activity::Idle => "idle".to_owned(),
            Activity::Checking => "checking".to_owned(),
            Activity::Downloading => format!("writing {target}, {:.0} %", live.progress * 100.0),
            Activity::Verifying => format!("reading {target} back, {:.0} %", live.progress * 100.0),
            Activity::Finalizing => format!("writing the boot entry of {target}"),
            Activity::RebootNeeded => format!("{target} waits for a reboot"),
        },
    );
    if let Some(reason) = &live.waiting {
        line("", reason);
    }
    if let Some(checked) = live.checked {
        line("checked", &checked.to_minute());
    }
    if let Some(error) = &live.error {
        line("error", error);
    }
    let record = &agent.record;
    if let Some(trial) = &record.trial
        && trial.release.version == agent.facts.version.as_str()
    {
        line("trial", "this release has yet to prove itself");
    }
    if let Some(pinned) = &record.pinned {
        line("pinned", pinned);
    }
    for (version, failure) in &record.failed {
        let since = failure.since.to_minute();
        line("failed", &format!("{version}, {since}: {}", failure.reason));
    }
    let windows = agent.settings.windows.to_string();
    let windows = if windows.is_empty() { "at any time".to_owned() } else { windows };
    line("reboot", &format!("{}, {windows}", agent.settings.strategy.name()));
    if record.lost {
        line("record", "was unreadable; this machine no longer knows which releases failed here");
    }
    for warning in &agent.warnings {
        line("warning", warning);
    }
    out
}

pub(super) fn history(root: &Path, json: bool) -> Outcome {
    let agent = Agent::open(root)?;
    for entry in history::read(&agent.state()) {
        if json {
            print(&(serde_json::to_string(&entry).expect("a line") + "\n"));
            continue;
        }
        let version = entry.version.as_deref().unwrap_or("-");
        let time = entry.time.to_minute();
        print(&format!("{time}  {:<11} {version:<12} {}\n", entry.event, entry.detail));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn channel(root: &Path) -> Outcome {
    let agent = Agent::open(root)?;
    let following = agent.following();
    print(&format!("{}\n", following.channel));
    if let Some(refused) = following.refused {
        log::warn!("{refused}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn explain(root: &Path, offline: Option<&Path>, outside: Outside<'_>) -> Outcome {
    let mut agent = Agent::open(root)?;
    let _lock = Lock::take_within(&agent.run_directory(), "lock", PATIENCE)?;
    agent.reload()?;
    let source = match offline {
        Some(directory) => Source::directory(directory),
        None => agent.source()?,
    };
    let now = (outside.now)();
    agent.check(&source, now, |agent, decision| {
        let mut out = String::new();
        let following = agent.following();
        let _ = writeln!(
            out,
            "this machine runs {} and follows {}",
            agent.facts.version, following.channel
        );
        if let Some(refused) = following.refused {
            let _ = writeln!(out, "  {refused}");
        }
        if decision.judged.is_empty() {
            let _ = writeln!(out, "{} has no releases", following.channel);
        }
        for (at, (offer, verdicts)) in decision.judged.iter().enumerate().rev() {
            let passes = verdicts.iter().all(|verdict| verdict.passed);
            let word = match (decision.chosen == Some(at), passes) {
                (true, _) => "is taken",
                (false, true) => "could be taken, a newer one is",
                (false, false) => "is not taken",
            };
            let release = &offer.release;
            let _ = writeln!(out, "\n{} {word}", release.version);
            for verdict in verdicts {
                let mark = if verdict.passed { "pass" } else { "FAIL" };
                let name = format!("{:?}", verdict.rule).to_lowercase();
                let _ = writeln!(out, "  {mark}  {name:<10} {}", verdict.reason);
                if verdict.passed {
                    continue;
                }
                if let Some(failure) = agent.record.failed.get(release.version.as_str())
                    && name == "notfailed"
                {
                    let since = failure.since.to_minute();
                    let _ = writeln!(out, "        since {since}: {}", failure.reason);
                }
                let when = verdict.passes_at.map(|time| format!(" ({})", time.to_minute()));
                let when = when.unwrap_or_default();
                let _ = writeln!(out, "        to pass: {}{when}", remedy(verdict.rule));
            }
        }
        let opening = agent.settings.windows.at(now, &zone(&agent.settings));
        let window = match opening {
            Opening::Always => "at any time".to_owned(),
            Opening::Until(time) => format!("a window is open until {}", time.to_minute()),
            Opening::From(time) => format!("the next window opens {}", time.to_minute()),
        };
        let _ = writeln!(out, "\nreboot: {}, {window}", agent.settings.strategy.name());
        print(&out);
        Ok(ExitCode::SUCCESS)
    })
}
