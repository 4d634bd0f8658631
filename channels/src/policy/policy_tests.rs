use std::time::Duration;

use super::*;
use crate::policy::{Halt, NotAllowed, Rollout, may_enter, may_promote};
use proptest::prelude::*;

const NOW: Time = Time::from_unix(1_800_000_000);
const HOUR: u64 = 3600;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn release(text: &str, sequence: u64) -> Release {
    Release {
        version: version(text),
        sequence,
        epoch: 1,
        min_version: None,
        published: NOW,
        rollout: None,
        halted: None,
        root_hash: "00".repeat(32),
    }
}

fn machine() -> Machine {
    Machine {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        channel: Channel::Beta,
        floor: Channel::Stable,
        version: version("2.0"),
        sequence: 20,
        epoch: 1,
        failed: BTreeSet::new(),
        pinned: None,
    }
}

#[test]
fn each_rule_refuses_alone_and_says_why() {
    type Change = fn(&mut Machine, &mut Release);
    let cases: [(Change, Rule, &str); 11] = [
        (|machine, _| machine.floor = Channel::Alpha, Rule::Channel, "cannot go back to beta"),
        (|_, new| new.sequence = 20, Rule::Newer, "3.0 (sequence 20) after 2.0 (sequence 20)"),
        (|_, new| new.sequence = 1, Rule::Newer, "sequence 1"),
        (|_, new| new.version = version("1.0"), Rule::Newer, "1.0 (sequence 30) after 2.0"),
        (|machine, _| machine.epoch = 2, Rule::Epoch, "epoch 1, the machine is at 2"),
        (
            |_, new| new.min_version = Some(version("2.5")),
            Rule::Barrier,
            "from 2.5 on, the machine runs 2.0",
        ),
        (
            |machine, _| {
                machine.failed.insert(version("3.0"));
            },
            Rule::NotFailed,
            "3.0 did not come up well",
        ),
        (|machine, _| machine.pinned = Some(version("2.9")), Rule::Pin, "pinned to 2.9"),
        (
            |_, new| {
                new.halted = Some(Halt { since: NOW, reason: Some("it eats disks".to_owned()) });
            },
            Rule::NotHalted,
            "halted since 2027-01-15T08:00:00Z: it eats disks",
        ),
        (
            |_, new| {
                new.rollout = Some(Rollout {
                    start: NOW.plus(Duration::from_secs(9)),
                    over: 0,
                    percent: 100,
                });
            },
            Rule::Rollout,
            "0 % of machines, this one at 2027-01-15T08:00:09Z",
        ),
        (
            |_, new| new.rollout = Some(Rollout { start: NOW, over: 0, percent: 0 }),
            Rule::Rollout,
            "it ends at 0 % of machines, without this one",
        ),
    ];
    assert!(machine().may_take(&release("3.0", 30), NOW));
    for (change, rule, reason) in cases {
        let (mut machine, mut new) = (machine(), release("3.0", 30));
        change(&mut machine, &mut new);
        let verdicts = machine.judge(&new, NOW);
        let failed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.passed).collect();
        assert_eq!(failed.len(), 1, "{rule:?}");
        assert_eq!(failed[0].rule, rule);
        assert!(failed[0].reason.contains(reason), "{}", failed[0].reason);
        assert!(!machine.may_take(&new, NOW));
    }
}

#[test]
fn the_newest_release_that_may_be_taken_is_chosen() {
    let mut releases = vec![release("1.0", 10), release("2.5", 25), release("3.0", 30)];
    let chosen = |machine: &Machine, releases: &[Release]| {
        machine.choose(releases, NOW).map(|release| release.version.to_string())
    };
    assert_eq!(chosen(&machine(), &releases).as_deref(), Some("3.0"));
    // A barrier makes the machine take a step between.
    releases[2].min_version = Some(version("2.5"));
    assert_eq!(chosen(&machine(), &releases).as_deref(), Some("2.5"));
    let failed = Machine { failed: BTreeSet::from([version("2.5")]), ..machine() };
    assert_eq!(chosen(&failed, &releases), None);
}

#[test]
fn a_release_moves_on_by_the_path_and_no_other_way() {
    let soak = Duration::from_secs(24 * HOUR);
    let later = NOW.plus(soak);
    let alpha = [release("1", 1), release("2", 2)];
    let promote = |text: &str, to, source: &[Release], carried: &[Release], now| {
        may_promote(&version(text), to, source, carried, soak, now)
    };
    let promoted = promote("2", Channel::Beta, &alpha, &alpha[..1], later).unwrap();
    assert_eq!(promoted, Release { published: later, ..release("2", 2) });
    // A roll-out belongs to its channel.
    let mut slow = alpha[1].clone();
    slow.rollout = Some(Rollout { start: NOW, over: HOUR, percent: 100 });
    assert_eq!(promote("2", Channel::Beta, &[slow], &[], later).unwrap().rollout, None);

    let mut halted = alpha[1].clone();
    halted.halted = Some(Halt { since: NOW, reason: None });
    let higher = [Release { epoch: 2, ..release("1", 1) }];
    let early = NOW.plus(Duration::from_secs(HOUR));
    let cases = [
        (promote("2", Channel::Alpha, &[], &alpha, later), "alpha is where releases begin"),
        (
            promote("3", Channel::Stable, &alpha, &[], later),
            "3 is not in beta, so it cannot go to stable",
        ),
        (promote("2", Channel::Beta, &alpha, &alpha, later), "beta carries 2 already"),
        (promote("1", Channel::Beta, &alpha, &alpha[1..], later), "never goes back to 1"),
        (promote("2", Channel::Beta, &[halted], &[], later), "2 is halted in alpha"),
        (promote("2", Channel::Beta, &alpha, &higher, later), "beta is at security epoch 2"),
        (promote("2", Channel::Beta, &alpha, &[], early), "in alpha for 1h, less than the 1d that"),
        // A clock that went back does not let it through.
        (promote("2", Channel::Beta, &alpha, &[], Time::from_unix(0)), "in alpha for 0s"),
    ];
    for (result, message) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// What a publisher may try, at a time that passes.
#[derive(Debug, Clone)]
enum Attempt {
    Publish { number: u8, epoch: u64 },
    Promote { number: u8, to: Channel },
    Halt { channel: Channel, number: u8 },
}

fn attempts() -> impl Strategy<Value = Vec<(u64, Attempt)>> {
    let channel = prop::sample::select(Channel::PATH.to_vec());
    let attempt = prop_oneof![
        (0..12_u8, 0..3_u64).prop_map(|(number, epoch)| Attempt::Publish { number, epoch }),
        (0..12_u8, channel.clone()).prop_map(|(number, to)| Attempt::Promote { number, to }),
        (channel, 0..12_u8).prop_map(|(channel, number)| Attempt::Halt { channel, number }),
    ];
    prop::collection::vec((0..40 * HOUR, attempt), 0..60)
}

proptest! {
    /// Whatever a publisher tries: no channel goes back, nothing skips a channel, and a machine
    /// that follows the channels in any allowed way never goes down.
    #[test]
    fn no_history_of_attempts_breaks_the_order(attempts in attempts(), moves in prop::collection::vec(prop::sample::select(Channel::PATH.to_vec()), 60)) {
        let soak = Duration::from_secs(24 * HOUR);
        let mut channels: std::collections::BTreeMap<Channel, Vec<Release>> =
            Channel::PATH.into_iter().map(|channel| (channel, Vec::new())).collect();
        let mut next = 1;
        let mut now = NOW;
        let mut machine = Machine { channel: Channel::Stable, version: version("0"), sequence: 0, epoch: 0, ..machine() };
        for ((wait, attempt), wanted) in attempts.into_iter().zip(moves) {
            now = now.plus(Duration::from_secs(wait));
            match attempt {
                Attempt::Publish { number, epoch } => {
                    let new = Release { epoch, published: now, ..release(&number.to_string(), next) };
                    if may_enter(Channel::Alpha, &channels[&Channel::Alpha], &new).is_ok() {
                        channels.get_mut(&Channel::Alpha).unwrap().push(new);
                        next += 1;
                    }
                }
                Attempt::Promote { number, to } => {
                    let source = to.earlier().map_or(Vec::new(), |earlier| channels[&earlier].clone());
                    let result = may_promote(&version(&number.to_string()), to, &source, &channels[&to], soak, now);
                    if let Ok(promoted) = result {
                        let origin = source.iter().find(|other| other.version == promoted.version).unwrap();
                        prop_assert!(now.since(origin.published) >= soak && origin.halted.is_none());
                        channels.get_mut(&to).unwrap().push(promoted);
                    } else if to == Channel::Alpha {
                        prop_assert_eq!(result, Err(NotAllowed::NoPromotion));
                    }
                }
                Attempt::Halt { channel, number } => {
                    let carried = channels.get_mut(&channel).unwrap();
                    if let Some(release) = carried.iter_mut().find(|other| other.version == version(&number.to_string())) {
                        release.halted = Some(Halt { since: now, reason: None });
                    }
                }
            }
            for (channel, carried) in &channels {
                for pair in carried.windows(2) {
                    prop_assert!(pair[0].version < pair[1].version && pair[0].sequence < pair[1].sequence);
                    prop_assert!(pair[0].epoch <= pair[1].epoch);
                }
                if let Some(earlier) = channel.earlier() {
                    for release in carried {
                        prop_assert!(channels[&earlier].iter().any(|other| other.version == release.version && other.sequence == release.sequence));
                    }
                }
            }
            if may_follow(machine.floor, wanted).is_ok() {
                machine.channel = wanted;
            }
            prop_assert!(machine.channel >= machine.floor);
            if let Some(taken) = machine.choose(&channels[&machine.channel], now) {
                prop_assert!(taken.sequence > machine.sequence && taken.version > machine.version);
                prop_assert!(taken.epoch >= machine.epoch && taken.halted.is_none());
                machine.version = taken.version.clone();
                machine.sequence = taken.sequence;
                machine.epoch = taken.epoch;
                machine.floor = machine.floor.max(machine.channel);
            }
        }
    }
}
