//! What a machine may take: each rule with its answer, so that the machine can explain itself.

use std::collections::BTreeSet;

use disk::version::Version;

use super::{Channel, Release, may_follow};
use crate::time::Time;

/// What a machine is and has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: String,
    /// The channel it follows.
    pub channel: Channel,
    /// The highest channel it has run well on.
    pub floor: Channel,
    /// The version it runs.
    pub version: Version,
    /// The highest sequence it has run well.
    pub sequence: u64,
    /// The highest security epoch it has run well.
    pub epoch: u64,
    /// Versions that it went back from.
    pub failed: BTreeSet<Version>,
    /// The only version it may take, if somebody said so.
    pub pinned: Option<Version>,
}

/// A rule that a release must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The machine may follow its channel.
    Channel,
    /// The release is newer than what the machine has run.
    Newer,
    /// The security epoch does not go down.
    Epoch,
    /// The machine's version is new enough to update to this one directly.
    Barrier,
    /// The release has not failed on this machine.
    NotFailed,
    /// Nobody pinned the machine to another version.
    Pin,
    /// The publisher has not halted the release.
    NotHalted,
    /// The roll-out has reached the machine.
    Rollout,
}

/// The answer of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The rule.
    pub rule: Rule,
    /// Whether the release passes it.
    pub passed: bool,
    /// What was compared, for people.
    pub reason: String,
    /// When it will pass, if that is known.
    pub passes_at: Option<Time>,
}

impl Machine {
    /// The answers of all rules to a release of the machine's channel.
    pub fn judge(&self, release: &Release, now: Time) -> Vec<Verdict> {
        let verdict = |rule, passed, reason| Verdict { rule, passed, reason, passes_at: None };
        let follows = may_follow(self.floor, self.channel);
        let barrier = release.min_version.as_ref();
        vec![
            verdict(
                Rule::Channel,
                follows.is_ok(),
                follows.map_or_else(
                    |refused| refused.to_string(),
                    |()| format!("the machine follows {}", self.channel),
                ),
            ),
            verdict(
                Rule::Newer,
                release.sequence > self.sequence && release.version > self.version,
                format!(
                    "{} (sequence {}) after {} (sequence {})",
                    release.version, release.sequence, self.version, self.sequence
                ),
            ),
            verdict(
                Rule::Epoch,
                release.epoch >= self.epoch,
                format!("epoch {}, the machine is at {}", release.epoch, self.epoch),
            ),
            verdict(
                Rule::Barrier,
                barrier.is_none_or(|oldest| self.version >= *oldest),
                barrier.map_or_else(
                    || "any version may update to it".to_owned(),
                    |oldest| format!("from {oldest} on, the machine runs {}", self.version),
                ),
            ),
            verdict(
                Rule::NotFailed,
                !self.failed.contains(&release.version),
                match self.failed.contains(&release.version) {
                    true => format!("{} did not come up well on this machine", release.version),
                    false => "it has not failed here".to_owned(),
                },
            ),
            verdict(
                Rule::Pin,
                self.pinned.as_ref().is_none_or(|pinned| *pinned == release.version),
                self.pinned.as_ref().map_or_else(
                    || "the machine is not pinned".to_owned(),
                    |pinned| format!("the machine is pinned to {pinned}"),
                ),
            ),
            verdict(
                Rule::NotHalted,
                release.halted.is_none(),
                release.halted.as_ref().map_or_else(
                    || "it is not halted".to_owned(),
                    |halt| {
                        let reason = halt.reason.as_deref().unwrap_or("no reason given");
                        format!("halted since {}: {reason}", halt.since)
                    },
                ),
            ),
            self.rollout(release, now),
        ]
    }

    fn rollout(&self, release: &Release, now: Time) -> Verdict {
        let rule = Rule::Rollout;
        let Some(rollout) = &release.rollout else {
            let reason = "it is for all machines".to_owned();
            return Verdict { rule, passed: true, reason, passes_at: None };
        };
        let passes_at = rollout.admitted_at(&self.id, &release.version);
        let share = rollout.share(now);
        match passes_at {
            Some(time) if time <= now => {
                let reason = format!("{share} % of machines, this one since {time}");
                Verdict { rule, passed: true, reason, passes_at: None }
            }
            Some(time) => {
                let reason = format!("{share} % of machines, this one at {time}");
                Verdict { rule, passed: false, reason, passes_at: Some(time) }
            }
            None => {
                let percent = rollout.percent;
                let reason = format!("it ends at {percent} % of machines, without this one");
                Verdict { rule, passed: false, reason, passes_at: None }
            }
        }
    }

    /// Whether a release passes all rules.
    pub fn may_take(&self, release: &Release, now: Time) -> bool {
        self.judge(release, now).iter().all(|verdict| verdict.passed)
    }

    /// The newest release that passes all rules.
    pub fn choose<'a>(&self, releases: &'a [Release], now: Time) -> Option<&'a Release> {
        let allowed = releases.iter().filter(|release| self.may_take(release, now));
        allowed.max_by_key(|release| release.sequence)
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
