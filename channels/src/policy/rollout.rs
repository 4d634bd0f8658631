//! The roll-out: how many machines may take a release by when, and which ones.

use std::time::Duration;

use disk::version::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::time::Time;

/// A schedule by which a release reaches more and more machines. Every machine decides for
/// itself, by its id, so no server keeps count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// When the first machines may take it.
    pub start: Time,
    /// Seconds from the start to the end.
    pub over: u64,
    /// The share of machines that may take it in the end, in percent.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub percent: u8,
}

const fn all() -> u8 {
    100
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
const fn is_all(percent: &u8) -> bool {
    *percent >= 100
}

/// Machines are spread over this many places.
const PLACES: u128 = 1 << 32;

impl Rollout {
    /// Whether a machine may take `version` by now.
    pub fn admits(&self, machine_id: &str, version: &Version, now: Time) -> bool {
        self.admitted_at(machine_id, version).is_some_and(|time| time <= now)
    }

    /// When a machine may take `version`; `None` if never under this schedule.
    pub fn admitted_at(&self, machine_id: &str, version: &Version) -> Option<Time> {
        let place = u128::from(place(machine_id, version));
        let end = PLACES * u128::from(self.percent.min(100)) / 100;
        if place >= end {
            return None;
        }
        let wait = (u128::from(self.over) * place).div_ceil(end);
        Some(self.start.plus(Duration::from_secs(u64::try_from(wait).unwrap_or(u64::MAX))))
    }

    /// The share of all machines that may take the release by now, in percent, rounded down.
    pub fn share(&self, now: Time) -> u8 {
        let percent = u128::from(self.percent.min(100));
        if now < self.start {
            return 0;
        }
        let passed = u128::from(now.since(self.start).as_secs());
        match u128::from(self.over) {
            0 => self.percent.min(100),
            over => u8::try_from(percent * passed.min(over) / over).unwrap_or(100),
        }
    }
}

/// The place of a machine in the roll-out of a version: another one for every version, so that it
/// is not always the same machines that come first.
fn place(machine_id: &str, version: &Version) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(machine_id.trim());
    hasher.update([0]);
    hasher.update(version.as_str());
    let hash = hasher.finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn rollout(over: u64, percent: u8) -> Rollout {
        Rollout { start: Time::from_unix(1_000_000), over, percent }
    }

    fn admitted(rollout: &Rollout, seconds: i64) -> usize {
        let now = Time::from_unix(1_000_000 + seconds);
        let ids = (0..2000).map(|number| format!("{number:032x}"));
        ids.filter(|id| rollout.admits(id, &version("1.2.3"), now)).count()
    }

    #[test]
    fn machines_are_admitted_evenly_over_time() {
        let cases =
            [(-1, 0, 0), (0, 0, 10), (900, 440, 560), (1800, 940, 1060), (3600, 2000, 2000)];
        for (seconds, least, most) in cases {
            let count = admitted(&rollout(3600, 100), seconds);
            assert!((least..=most).contains(&count), "{count} after {seconds} s");
        }
        let count = admitted(&rollout(3600, 10), 1_000_000);
        assert!((150..250).contains(&count), "{count} of 2000 are not a tenth");
        assert_eq!(admitted(&rollout(0, 100), 0), 2000);
        assert_eq!(admitted(&rollout(0, 0), 1_000_000), 0);
    }

    #[test]
    fn every_version_has_other_first_machines() {
        let first = |text: &str| {
            let ids = (0..1000).map(|number| format!("{number:032x}"));
            let mut ids: Vec<_> = ids.map(|id| (place(&id, &version(text)), id)).collect();
            ids.sort();
            ids.into_iter().take(100).map(|(_, id)| id).collect::<std::collections::BTreeSet<_>>()
        };
        assert!(first("1").intersection(&first("2")).count() < 30);
    }

    #[test]
    fn the_place_of_a_machine_is_fixed_for_ever() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(place(id, &version("1.0.0")), 283_444_163);
        assert_eq!(place("0123456789abcdef0123456789abcdef\n", &version("1.0.0")), 283_444_163);
    }

    #[test]
    fn the_share_is_what_people_expect() {
        let at =
            |rollout: &Rollout, seconds: i64| rollout.share(Time::from_unix(1_000_000 + seconds));
        assert_eq!(at(&rollout(100, 100), -1), 0);
        assert_eq!(at(&rollout(100, 100), 50), 50);
        assert_eq!(at(&rollout(100, 50), 50), 25);
        assert_eq!(at(&rollout(100, 50), 5000), 50);
        assert_eq!(at(&rollout(0, 100), 0), 100);
    }

    proptest! {
        #[test]
        fn who_is_admitted_stays_admitted(
            id in "[0-9a-f]{32}", over in 0..u64::MAX, percent in 0..=200_u8,
            now in -1_000_000_000_i64..10_000_000_000, later in 0..u64::MAX,
        ) {
            let (rollout, version) = (rollout(over, percent), version("1"));
            let now = Time::from_unix(now);
            let later = now.plus(Duration::from_secs(later));
            if rollout.admits(&id, &version, now) {
                prop_assert!(now >= rollout.start);
                prop_assert!(rollout.admits(&id, &version, later));
            }
            prop_assert!(rollout.share(now) <= rollout.share(later));
        }
    }
}
