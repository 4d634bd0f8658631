//! A group in words: what locksmithctl printed, and after it what it did not know.

use std::fmt::Write;

use super::state::{GroupState, Obstacle};

/// `status` of a group at `now`, in seconds since 1970.
pub fn report(group: &GroupState, now: u64) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, group, now);
    text
}

fn write_report(text: &mut String, group: &GroupState, now: u64) -> std::fmt::Result {
    let held = i64::try_from(group.holders.len()).unwrap_or(i64::MAX);
    writeln!(text, "Available: {}", i64::from(group.slots) - held)?;
    writeln!(text, "Max: {}", group.slots)?;
    if !group.holders.is_empty() {
        writeln!(text, "\nMACHINE ID")?;
        for held in &group.holders {
            writeln!(text, "{}", held.holder.machine)?;
        }
    }
    if !group.holders.is_empty() {
        writeln!(text, "\nHOLDING")?;
        for held in &group.holders {
            let holder = &held.holder;
            let (machine, phase) = (&holder.machine, holder.phase);
            let since = span(now.saturating_sub(holder.since));
            write!(text, "{machine} {phase} for {since}")?;
            if let Some(version) = &holder.version {
                write!(text, ", to {version}")?;
            }
            match held.is_stale(now) {
                true => {
                    let late = span(now - holder.deadline);
                    writeln!(
                        text,
                        ": STALE, it should have been back {late} ago \
                         (if it is gone for good: cluster lock unlock {machine})"
                    )?;
                }
                false => writeln!(text, ", back within {}", span(holder.deadline - now))?,
            }
        }
    }
    if !group.queue.is_empty() {
        writeln!(text, "\nWAITING")?;
        for waiting in &group.queue {
            let waiter = &waiting.waiter;
            let since = span(now.saturating_sub(waiter.since));
            write!(text, "{} for {since}", waiter.machine)?;
            let obstacles = group.obstacles(&waiter.machine, waiter.version.as_deref());
            let why: Vec<String> = obstacles.iter().map(Obstacle::to_string).collect();
            match why.is_empty() {
                true => writeln!(text)?,
                false => writeln!(text, ": {}", why.join("; "))?,
            }
        }
    }
    if let Some(halt) = &group.halt {
        writeln!(text, "\nHALTED")?;
        let since = span(now.saturating_sub(halt.since));
        writeln!(text, "for {since}: {} (cluster lock resume)", halt.reason)?;
    }
    if !group.verdicts.is_empty() {
        writeln!(text, "\nFAILED RELEASES")?;
        for verdict in &group.verdicts {
            let ago = span(now.saturating_sub(verdict.at));
            let super::Verdict { version, machine, reason, .. } = verdict;
            let stopped = group.stopped(version).is_some();
            let effect = if stopped { "nobody takes it" } else { "others may still take it" };
            writeln!(text, "{version} on {machine}, {ago} ago: {reason} ({effect})")?;
        }
    }
    Ok(())
}

/// Seconds as a person says them.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min", seconds / 60),
        3600..86400 => format!("{}h {}min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reboot::{Halt, Held, Holder, Phase, Verdict, Waiter, Waiting};

    #[test]
    fn a_free_group_is_what_locksmithctl_printed() {
        assert_eq!(report(&GroupState::default(), 0), "Available: 1\nMax: 1\n");
    }

    #[test]
    fn everything_that_keeps_machines_waiting_is_told() {
        let holder = |machine: &str, deadline| Holder {
            machine: machine.to_owned(),
            boot_id: "b".to_owned(),
            version: Some("2.0".to_owned()),
            member: None,
            phase: Phase::Rebooting,
            since: 100,
            deadline,
        };
        let waiter = Waiter {
            machine: "c".to_owned(),
            boot_id: "b".to_owned(),
            version: Some("2.0".to_owned()),
            since: 900,
        };
        let verdict = Verdict {
            version: "1.9".to_owned(),
            machine: "d".to_owned(),
            reason: "no network".to_owned(),
            at: 0,
        };
        let group = GroupState {
            slots: 2,
            failures: 1,
            halt: Some(Halt { reason: "holidays".to_owned(), since: 940 }),
            holders: vec![
                Held { holder: holder("a", 700), token: 1 },
                Held { holder: holder("b", 4700), token: 2 },
            ],
            queue: vec![Waiting { waiter, number: 3 }],
            verdicts: vec![verdict],
        };
        assert_eq!(
            report(&group, 1000),
            "Available: 0\nMax: 2\n\nMACHINE ID\na\nb\n\nHOLDING\n\
             a rebooting for 15min, to 2.0: STALE, it should have been back 5min ago \
             (if it is gone for good: cluster lock unlock a)\n\
             b rebooting for 15min, to 2.0, back within 1h 1min\n\
             \nWAITING\nc for 1min: the group is halted: holidays; all slots are held by a, b\n\
             \nHALTED\nfor 1min: holidays (cluster lock resume)\n\
             \nFAILED RELEASES\n1.9 on d, 16min ago: no network (nobody takes it)\n"
        );
    }
}
