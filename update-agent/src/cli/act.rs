//! Commands that change something.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use channels::policy::Channel;
use disk::version::Version;

use super::{Outcome, print};
use crate::agent::Agent;
use crate::error::AgentError;
use crate::gate::Answer;
use crate::lock::Lock;
use crate::service::{self, Outside};
use crate::source::Source;
use crate::system;
use crate::trial::Standing;

/// What `check` exits with if there is nothing to be taken.
const NOTHING_NEW: u8 = 3;

/// The service looks around every few seconds; that is over at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Opens the agent, alone.
fn open(root: &Path) -> Result<(Agent, Lock), AgentError> {
    let mut agent = Agent::open(root)?;
    let lock = Lock::take_within(&agent.run_directory(), "lock", PATIENCE)?;
    // What the one before us wrote.
    agent.reload()?;
    for warning in &agent.warnings {
        log::warn!("{warning}");
    }
    Ok((agent, lock))
}

pub(super) fn check(root: &Path, outside: Outside<'_>) -> Outcome {
    let (mut agent, _lock) = open(root)?;
    let source = agent.source()?;
    agent.check(&source, (outside.now)(), |agent, decision| {
        let channel = agent.following().channel;
        match decision.offer() {
            Some(offer) => {
                let release = &offer.release;
                print(&format!("{} is there for this machine, in {channel}\n", release.version));
                Ok(ExitCode::SUCCESS)
            }
            None => {
                let newest =
                    decision.judged.last().map(|(offer, _)| offer.release.version.as_str());
                print(&match newest {
                    Some(newest) if newest != agent.facts.version.as_str() => format!(
                        "nothing to take in {channel}; the newest is {newest}, `update-agent \
                         explain` says why not\n"
                    ),
                    _ => format!("{} is up to date in {channel}\n", agent.facts.version),
                });
                Ok(ExitCode::from(NOTHING_NEW))
            }
        }
    })
}

pub(super) fn apply(root: &Path, directory: Option<&Path>, outside: Outside<'_>) -> Outcome {
    let (mut agent, _lock) = open(root)?;
    let now = (outside.now)();
    agent.settle(now)?;
    let source = match directory {
        Some(directory) => Source::directory(directory),
        None => agent.source()?,
    };
    match service::update(&mut agent, &source, outside.stop, now)? {
        Some(version) => {
            print(&format!("{version} is written and is tried at the next boot\n"));
            Ok(ExitCode::SUCCESS)
        }
        None => {
            print(&format!("{} is up to date\n", agent.facts.version));
            Ok(ExitCode::from(NOTHING_NEW))
        }
    }
}

pub(super) fn reboot(root: &Path, force: bool, outside: Outside<'_>) -> Outcome {
    let (mut agent, _lock) = open(root)?;
    let now = (outside.now)();
    if agent.settle(now)? != Some(Standing::Waiting) {
        return Err(AgentError::NothingWaits);
    }
    if !force && agent.settings.strategy.locks() && agent.record.lock.is_none() {
        let mut gate = service::gate(&agent)?;
        match service::ask(&mut agent, &mut *gate, now)? {
            Answer::Granted => {}
            Answer::Wait(reason) => return Err(AgentError::Gate { reason }),
        }
    }
    let version = agent.record.trial.as_ref().map(|trial| trial.release.version.clone());
    agent.note(now, "reboot", version.as_deref(), "by command");
    system::reboot()?;
    print("rebooting\n");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rollback(root: &Path, outside: Outside<'_>) -> Outcome {
    let (mut agent, _lock) = open(root)?;
    let now = (outside.now)();
    let from = agent.facts.version.to_string();
    let good = agent.give_up("rolled back by command", now)?;
    agent.note(now, "rolled back", Some(&from), &format!("to {good}"));
    system::reboot()?;
    print(&format!("going back to {good}, rebooting\n"));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn channel(root: &Path, channel: Channel, outside: Outside<'_>) -> Outcome {
    let (mut agent, _lock) = open(root)?;
    agent.choose_channel(channel, (outside.now)())?;
    print(&format!("following {channel}\n"));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn pin(root: &Path, version: Option<&Version>, outside: Outside<'_>) -> Outcome {
    let (mut agent, _lock) = open(root)?;
    agent.record.pinned = version.map(ToString::to_string);
    agent.save()?;
    let (event, text) = match version {
        Some(version) => ("pin", format!("this machine takes no other version than {version}\n")),
        None => ("unpin", "this machine takes any version again\n".to_owned()),
    };
    agent.note((outside.now)(), event, version.map(Version::as_str), "");
    print(&text);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn forgive(root: &Path, version: &Version, outside: Outside<'_>) -> Outcome {
    let (mut agent, _lock) = open(root)?;
    if agent.record.failed.remove(version.as_str()).is_none() {
        print(&format!("{version} has not failed on this machine\n"));
        return Ok(ExitCode::SUCCESS);
    }
    agent.save()?;
    agent.note((outside.now)(), "forgiven", Some(version.as_str()), "");
    print(&format!("{version} may be tried again\n"));
    Ok(ExitCode::SUCCESS)
}
