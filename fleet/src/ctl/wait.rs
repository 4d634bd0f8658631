//! Waiting until units are what they should be, and saying meanwhile why they are not.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::Wait;
use super::cluster::Cluster;
use super::error::{CtlError, other};
use super::screen::{note, say};
use crate::api::types::{Unit, UnitState};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(250);
/// What fleet called an attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a unit may take before it is asked why, and between two such questions.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// On no machine.
    Inactive,
    /// On a machine, not running.
    Loaded,
    /// Running.
    Launched,
}

impl Goal {
    fn name(self) -> &'static str {
        match self {
            Goal::Inactive => "inactive",
            Goal::Loaded => "loaded",
            Goal::Launched => "launched",
        }
    }
}

/// How long at most: `None` is not at all, `Some(None)` for ever.
pub(super) fn limit(wait: &Wait) -> Option<Option<Duration>> {
    if wait.no_block {
        return None;
    }
    let attempts = u32::try_from(wait.block_attempts).ok().filter(|&n| n > 0).map(|n| ATTEMPT * n);
    let timeout = wait.timeout.map(Duration::from_secs);
    Some(match (attempts, timeout) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    })
}

/// Waits for all of `units`, and prints a line for each that gets there. `verb` is for people
/// who do not wait.
///
/// # Errors
/// The time is up, a unit has failed for good, or it is gone.
pub(super) fn wait(
    cluster: &Cluster,
    units: &[String],
    verb: &str,
    goal: Goal,
    how: &Wait,
) -> Result<(), CtlError> {
    let Some(limit) = limit(how) else {
        for unit in units {
            say(&format!("Triggered unit {unit} {verb}\n"));
        }
        return Ok(());
    };
    let started = Instant::now();
    let mut pending: BTreeMap<&str, Reasons> =
        units.iter().map(|unit| (unit.as_str(), Reasons::new(started))).collect();
    while !pending.is_empty() {
        let mut failed = None;
        pending.retain(|unit, reasons| match look(cluster, unit, goal) {
            Ok(Some(line)) => {
                say(&line);
                false
            }
            Ok(None) => {
                reasons.say(cluster, unit);
                true
            }
            // etcd is away for a moment, or the machine is busy.
            Err(CtlError::Client(error)) if error.is_unavailable() => {
                reasons.tell(error.to_string());
                true
            }
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if limit.is_some_and(|limit| started.elapsed() >= limit)
            && let Some(unit) = pending.keys().next()
        {
            let goal = goal.name();
            let reason = match cluster.why(unit) {
                Ok(Some(why)) => format!(": {}", why.verdict),
                _ => String::new(),
            };
            return Err(other(format!(
                "timed out waiting for unit {unit} to report state {goal}{reason}"
            )));
        }
        if !pending.is_empty() {
            thread::sleep(INTERVAL);
        }
    }
    Ok(())
}

/// One look at a unit: the line about it, once it is there.
fn look(cluster: &Cluster, name: &str, goal: Goal) -> Result<Option<String>, CtlError> {
    let Some(unit) = cluster.unit(name)? else {
        return Err(other(format!("Unit {name} not found: somebody has destroyed it")));
    };
    if unit.current_state.as_deref() != Some(goal.name()) {
        return Ok(None);
    }
    let states = cluster.states_of(name)?;
    let place = match unit.machine_id.as_str() {
        "" => String::new(),
        machine => format!(" on {}", cluster.legend(machine, false)),
    };
    if !reached(goal, &unit, &states, &place)? {
        return Ok(None);
    }
    Ok(Some(format!("Unit {name} {}{place}\n", goal.name())))
}

/// Whether systemd says the same as fleet does.
fn reached(goal: Goal, unit: &Unit, states: &[UnitState], place: &str) -> Result<bool, CtlError> {
    let here = states.iter().filter(|state| state.machine_id == unit.machine_id);
    match goal {
        Goal::Inactive => Ok(true),
        Goal::Loaded => Ok(here.clone().all(|state| state.systemd_active_state != "active")),
        Goal::Launched => {
            let mut newest = here.filter(|state| unit.hash.is_empty() || state.hash == unit.hash);
            let Some(state) = newest.next() else { return Ok(false) };
            let name = &unit.name;
            if let Some(error) = &state.error {
                return Err(other(format!("unit {name} cannot run{place}: {error}")));
            }
            match (state.systemd_load_state.as_str(), state.systemd_active_state.as_str()) {
                ("loaded", "active") => Ok(true),
                (_, "failed") => {
                    Err(other(format!("unit {name} has failed{place}: see fleetctl status {name}")))
                }
                // It has done its work.
                ("loaded", "inactive") => Ok(is_oneshot(unit)),
                _ => Ok(false),
            }
        }
    }
}

fn is_oneshot(unit: &Unit) -> bool {
    unit.options.iter().any(|option| {
        option.section == "Service" && option.name == "Type" && option.value == "oneshot"
    })
}

/// What has been said about a unit that takes its time.
struct Reasons {
    last: String,
    asked: Instant,
}

impl Reasons {
    fn new(now: Instant) -> Reasons {
        Reasons { last: String::new(), asked: now }
    }

    fn say(&mut self, cluster: &Cluster, unit: &str) {
        if self.asked.elapsed() < PATIENCE {
            return;
        }
        self.asked = Instant::now();
        if let Ok(Some(why)) = cluster.why(unit) {
            self.tell(why.verdict);
        }
    }

    /// Each reason once, as long as it is the same.
    fn tell(&mut self, reason: String) {
        if reason != self.last {
            note(&reason);
            self.last = reason;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::UnitOption;

    fn how(no_block: bool, block_attempts: i64, timeout: Option<u64>) -> Wait {
        Wait { no_block, block_attempts, timeout }
    }

    #[test]
    fn how_long() {
        let seconds = |n| Some(Some(Duration::from_secs(n)));
        for (wait, expected) in [
            (how(false, 0, None), Some(None)),
            (how(false, -1, None), Some(None)),
            (how(true, 5, Some(1)), None),
            (how(false, 5, None), seconds(10)),
            (how(false, 0, Some(7)), seconds(7)),
            (how(false, 1, Some(7)), seconds(2)),
        ] {
            assert_eq!(limit(&wait), expected, "{wait:?}");
        }
    }

    #[test]
    fn what_counts_as_there() {
        let unit = Unit {
            name: "a.service".into(),
            machine_id: "m".into(),
            hash: "new".into(),
            ..Unit::default()
        };
        let state = |load: &str, active: &str, hash: &str| UnitState {
            machine_id: "m".into(),
            systemd_load_state: load.into(),
            systemd_active_state: active.into(),
            hash: hash.into(),
            ..UnitState::default()
        };
        let launched = |state: UnitState| reached(Goal::Launched, &unit, &[state], " on m");
        assert!(launched(state("loaded", "active", "new")).expect("fine"));
        assert!(!launched(state("loaded", "active", "old")).expect("the old version still runs"));
        assert!(!launched(state("loaded", "activating", "new")).expect("fine"));
        assert!(!launched(state("loaded", "inactive", "new")).expect("fine"));
        let error = launched(state("loaded", "failed", "new")).expect_err("failed");
        assert_eq!(
            error.to_string(),
            "unit a.service has failed on m: see fleetctl status a.service"
        );
        let mut bad = state("loaded", "inactive", "new");
        bad.error = Some("no such image".into());
        assert!(launched(bad).is_err());

        let option =
            UnitOption { section: "Service".into(), name: "Type".into(), value: "oneshot".into() };
        let oneshot = Unit { options: vec![option], ..unit.clone() };
        let done = [state("loaded", "inactive", "new")];
        assert!(reached(Goal::Launched, &oneshot, &done, "").expect("fine"));

        let running = [state("loaded", "active", "new")];
        assert!(!reached(Goal::Loaded, &unit, &running, "").expect("fine"));
        assert!(reached(Goal::Loaded, &unit, &done, "").expect("fine"));
        assert!(reached(Goal::Inactive, &unit, &[], "").expect("fine"));
    }
}
