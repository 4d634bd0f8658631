//! Names and words of the programs that did this before: `update_engine_client`, `locksmithctl`.

use std::path::Path;
use std::process::ExitCode;

use super::{Outcome, act, print, watch};
use crate::agent::Agent;
use crate::bus;
use crate::error::AgentError;
use crate::etcd_gate::{Operator, Slots};
use crate::live::{self, Activity, Live};
use crate::service::Outside;

const HELP: &str = "\
update_engine_client -status | -check_for_update | -update | -watch_for_updates | -reset_status

This is update-agent under an old name; `update-agent --help` has all of it.
";

/// Runs an alias; none if the name is not one.
pub(super) fn run(name: &str, words: &[String], outside: Outside<'_>) -> Option<Outcome> {
    match name {
        "update_engine_client" => Some(update_engine(words, outside)),
        "locksmithctl" => Some(locksmith(words, outside)),
        _ => None,
    }
}

const LOCKSMITH_HELP: &str = "\
locksmithctl [-group NAME] [-endpoint URLS] status | set-max N | unlock [MACHINE-ID] | reboot

The slots of a group, in etcd. This is update-agent under an old name; `cluster lock` has more.
";

/// The words of locksmithctl, version 0.7.
fn locksmith(words: &[String], outside: Outside<'_>) -> Outcome {
    let root = Path::new("/");
    let mut agent = Agent::open(root)?;
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        let option = option.trim_start_matches('-');
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, words.next()),
        };
        let value = value.unwrap_or_default().to_owned();
        match name {
            "group" => agent.settings.lock.group = Some(value),
            "endpoint" => {
                agent.settings.lock.endpoints = value.split(',').map(str::to_owned).collect();
            }
            _ => {
                print(LOCKSMITH_HELP);
                return Ok(ExitCode::from(2));
            }
        }
    }
    let reason = |reason| AgentError::Gate { reason };
    let operator = || Operator::new(&agent.settings.lock).map_err(reason);
    match (words.next(), words.next()) {
        (Some("status"), None) => {
            print(&semaphore(&operator()?.slots().map_err(reason)?));
            Ok(ExitCode::SUCCESS)
        }
        (Some("set-max"), Some(number)) => {
            let Ok(slots) = number.parse() else {
                log::error!("`{number}` is no number of slots");
                return Ok(ExitCode::from(2));
            };
            let before = operator()?.set_slots(slots).map_err(reason)?;
            print(&format!("Old-Max: {before}\nMax: {slots}\n"));
            Ok(ExitCode::SUCCESS)
        }
        (Some("unlock"), machine) => {
            let machine = machine.unwrap_or(&agent.facts.machine_id);
            operator()?.unlock(machine).map_err(reason)?;
            Ok(ExitCode::SUCCESS)
        }
        (Some("reboot"), None) => act::reboot(root, false, outside),
        _ => {
            print(LOCKSMITH_HELP);
            Ok(ExitCode::from(2))
        }
    }
}

/// The slots as the old program shows them.
fn semaphore(slots: &Slots) -> String {
    let held = u32::try_from(slots.holders.len()).unwrap_or(u32::MAX);
    let mut text = format!("Available: {}\nMax: {}\n", slots.most.saturating_sub(held), slots.most);
    if !slots.holders.is_empty() {
        text.push_str("\nMACHINE ID\n");
        slots.holders.iter().for_each(|machine| text.push_str(&format!("{machine}\n")));
    }
    text
}

fn update_engine(words: &[String], outside: Outside<'_>) -> Outcome {
    let root = Path::new("/");
    let word = words.first().map(|word| word.trim_start_matches('-'));
    match word.map(|word| word.split_once('=').map_or(word, |(word, _)| word)) {
        Some("status") => {
            let agent = Agent::open(root)?;
            let live = live::read(&agent.run_directory());
            print(&status(&live, agent.facts.version.as_str()));
            Ok(ExitCode::SUCCESS)
        }
        Some("check_for_update") => act::check(root, outside),
        Some("update") => act::apply(root, None, outside),
        Some("watch_for_updates") => watch::run(root, outside),
        // There is no status that has to be reset: the next check begins anew.
        Some("reset_status") => Ok(ExitCode::SUCCESS),
        Some("help" | "h") => {
            print(HELP);
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            print(HELP);
            Ok(ExitCode::from(2))
        }
    }
}

/// What the old program prints, line by line.
fn status(live: &Live, running: &str) -> String {
    let operation = bus::operation(live.activity);
    let progress = match live.activity {
        Activity::Downloading | Activity::Verifying => live.progress,
        _ => 0.0,
    };
    format!(
        "LAST_CHECKED_TIME={}\nPROGRESS={progress:.6}\nCURRENT_OP={operation}\n\
         NEW_VERSION={}\nNEW_SIZE={}\n",
        live.checked.map_or(0, channels::time::Time::unix),
        live.version.as_deref().unwrap_or(running),
        live.size,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_are_printed_as_before() {
        let slots = |holders: &[&str]| Slots {
            most: 2,
            holders: holders.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(semaphore(&slots(&[])), "Available: 2\nMax: 2\n");
        assert_eq!(semaphore(&slots(&["a", "b"])), "Available: 0\nMax: 2\n\nMACHINE ID\na\nb\n");
    }

    #[test]
    fn the_status_is_printed_as_before() {
        let live = Live {
            activity: Activity::RebootNeeded,
            version: Some("1.2".into()),
            size: 7,
            checked: Some(channels::time::Time::from_unix(5)),
            ..Live::default()
        };
        assert_eq!(
            status(&live, "1.1"),
            "LAST_CHECKED_TIME=5\nPROGRESS=0.000000\n\
             CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT\nNEW_VERSION=1.2\nNEW_SIZE=7\n"
        );
    }
}
