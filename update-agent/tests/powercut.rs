//! The power fails at every point of an update, and the disk boots the old release or the new one.
//!
//! The write path runs on a disk that writes down every write and flush. Every prefix of that log
//! is a cut; between two flushes the disk may have done any part of what was asked of it, in any
//! order, and torn every write between sectors of 512 bytes.

mod support;

use std::collections::BTreeMap;

use support::disk::{Content, Event, Recorded, apply, boot};
use support::{Attempt, Publisher, Release};
use update_agent::source::Source;

const SECTOR: usize = 512;

/// A cheap source of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// A log, cut everywhere.
struct Cuts<'a> {
    releases: &'a [&'a Release],
    /// What may come up: the running release, whose slot must not be touched, and the new one.
    allowed: [&'a str; 2],
    /// Where the running release is on the disk.
    running: Vec<std::ops::Range<u64>>,
    numbers: Numbers,
    count: usize,
    /// One of so many states is kept.
    rare: usize,
    /// States to go on from.
    sample: Vec<Content>,
}

impl Cuts<'_> {
    /// Cuts `log`, which begins with a disk of this content.
    fn run(&mut self, begin: &Content, log: &[Event]) {
        let mut durable = begin.clone();
        let mut pending: Vec<(u64, Vec<u8>)> = Vec::new();
        self.check(&mut durable, &[], "before anything");
        for (at, event) in log.iter().enumerate() {
            let place = format!("event {at} of {}, {}", log.len(), named(event));
            match event {
                Event::Write(offset, bytes) => {
                    let end = offset + bytes.len() as u64;
                    let outside =
                        |place: &std::ops::Range<u64>| end <= place.start || *offset >= place.end;
                    assert!(
                        self.running.iter().all(outside),
                        "{place}: the running slot is written"
                    );
                    pending.push((*offset, bytes.clone()));
                    self.cut_in_write(&mut durable, &pending, &place);
                }
                Event::Flush => {
                    for (offset, bytes) in pending.drain(..) {
                        apply(&mut durable, &Event::Write(offset, bytes));
                    }
                    self.check(&mut durable, &[], &place);
                }
                Event::Rename(from, to) => {
                    // FAT changes two directory entries: both names, or neither, may be there.
                    let before = durable.files.clone();
                    let file = before[from].clone();
                    let mut both = before.clone();
                    both.insert(to.clone(), file);
                    let mut neither = before.clone();
                    neither.remove(from);
                    for files in [both, neither] {
                        durable.files = files;
                        self.cut_between(&mut durable, &pending, &place);
                    }
                    durable.files = before;
                    apply(&mut durable, event);
                    self.cut_between(&mut durable, &pending, &place);
                }
                Event::Append(name, bytes) => {
                    apply(&mut durable, event);
                    // Any part of what was not synced may be there, also with holes.
                    let whole = durable.files[name].clone();
                    for _ in 0..40 {
                        let keep = self.numbers.below(whole.len() + 1);
                        let mut part = whole[..keep].to_vec();
                        let hole = self.numbers.below(keep);
                        part[hole..keep.min(hole + bytes.len() / 2)].fill(0);
                        durable.files.insert(name.clone(), part);
                        self.check(&mut durable, &[], &place);
                    }
                    durable.files.insert(name.clone(), whole);
                }
                Event::Create(_) | Event::Sync(_) | Event::Remove(_) => {
                    apply(&mut durable, event);
                    self.cut_between(&mut durable, &pending, &place);
                }
            }
        }
        for (offset, bytes) in pending.drain(..) {
            apply(&mut durable, &Event::Write(offset, bytes));
        }
        self.check(&mut durable, &[], "after everything");
    }

    /// Cuts in the middle of the last of the writes that are not flushed.
    fn cut_in_write(&mut self, durable: &mut Content, pending: &[(u64, Vec<u8>)], place: &str) {
        let (last, earlier) = pending.split_last().unwrap();
        let sectors = last.1.len() / SECTOR;
        let torn = |keep: usize| (last.0, last.1[..keep * SECTOR].to_vec());
        for keep in (0..=sectors).step_by((sectors / 160).max(1)) {
            let mut writes = earlier.to_vec();
            writes.push(torn(keep));
            self.check(durable, &writes, place);
            // Only the torn one came through.
            self.check(durable, &[torn(keep)], place);
        }
        // Some of the sectors of each, in no order.
        for _ in 0..64 {
            let mut writes = Vec::new();
            for (offset, bytes) in pending {
                for (sector, bytes) in bytes.chunks(SECTOR).enumerate() {
                    if self.numbers.below(2) == 0 {
                        writes.push((offset + (sector * SECTOR) as u64, bytes.to_vec()));
                    }
                }
            }
            self.check(durable, &writes, place);
        }
        self.cut_between(durable, pending, place);
    }

    /// Cuts with some of the writes done that are not flushed.
    fn cut_between(&mut self, durable: &mut Content, pending: &[(u64, Vec<u8>)], place: &str) {
        self.check(durable, pending, place);
        self.check(durable, &[], place);
        for _ in 0..if pending.is_empty() { 0 } else { 64 } {
            let some: Vec<_> =
                pending.iter().filter(|_| self.numbers.below(2) == 0).cloned().collect();
            self.check(durable, &some, place);
        }
    }

    fn check(&mut self, durable: &mut Content, writes: &[(u64, Vec<u8>)], place: &str) {
        self.count += 1;
        let before: Vec<_> = writes
            .iter()
            .map(|(offset, bytes)| {
                let range = *offset as usize..*offset as usize + bytes.len();
                let before = durable.bytes[range.clone()].to_vec();
                durable.bytes[range].copy_from_slice(bytes);
                (*offset, before)
            })
            .collect();
        let whole = [self.allowed[0]];
        match boot(durable, self.releases, &whole) {
            Ok(version) => assert!(self.allowed.contains(&&*version), "{place}: {version} boots"),
            Err(reason) => panic!("after a cut at {place} nothing boots: {reason}"),
        }
        // What has its final name must be whole: no release is tried that cannot come up.
        for (name, file) in &durable.files {
            if name.ends_with(".efi") {
                let whole = support::disk::comes_up(durable, file, self.releases, &whole);
                assert!(whole.is_ok(), "{place}: {name} would be tried: {whole:?}");
            }
        }
        if self.numbers.below(self.rare) == 0 {
            self.sample.push(durable.clone());
        }
        for (offset, before) in before.into_iter().rev() {
            durable.bytes[offset as usize..offset as usize + before.len()].copy_from_slice(&before);
        }
    }
}

/// Where a release is on a disk, in bytes.
fn running_places(content: &Content, release: &Release) -> Vec<std::ops::Range<u64>> {
    use disk::layout::{Role, slot_of};
    let table = disk::gpt::Table::read(&mut std::io::Cursor::new(&content.bytes)).unwrap();
    let slot = slot_of(&table.partitions(), &release.root_hash).unwrap();
    let place = |role: Role| table.byte_range(&table.partition(role.number()).unwrap());
    vec![place(Role::Root(slot)), place(Role::Verity(slot))]
}

fn named(event: &Event) -> String {
    match event {
        Event::Write(offset, bytes) => format!("write of {} at {offset}", bytes.len()),
        Event::Flush => "flush".to_owned(),
        Event::Create(name) => format!("creation of {name}"),
        Event::Append(name, bytes) => format!("{} bytes more of {name}", bytes.len()),
        Event::Sync(name) => format!("sync of {name}"),
        Event::Rename(from, to) => format!("renaming {from} to {to}"),
        Event::Remove(name) => format!("removal of {name}"),
    }
}

/// Blocks in which every fourth is new, some have moved and most have stayed.
fn blocks(release: u32, count: u32) -> Vec<u32> {
    (0..count)
        .map(|number| match number % 8 {
            3 | 4 => 1_000_000 * release + number,
            6 => (number + release) % count,
            _ => number,
        })
        .collect()
}

#[test]
fn the_power_may_fail_at_any_point_of_an_update() {
    let count = 1100;
    let releases: Vec<Release> =
        (1..=3).map(|n| Release::new(&format!("{n}.0"), &blocks(n, count))).collect();
    let all: Vec<&Release> = releases.iter().collect();
    let publisher = Publisher::new();
    for release in &releases {
        publisher.publish(release);
    }
    let (source, anchor) = (Source::directory(&publisher.path()), publisher.anchor());
    let staging = tempfile::tempdir().unwrap();
    let attempt = |disk: &Recorded, from: usize, resume: bool| {
        let attempt = Attempt {
            disk,
            running: &releases[from],
            version: &releases[from + 1].version,
            resume,
            staging: staging.path(),
            anchor: &anchor,
        };
        attempt.run(&source).unwrap();
    };

    // The first update goes to an empty slot, the second over a release that boots.
    let mut content = Recorded::installed(&releases[0]).content();
    let mut total = 0;
    let mut counts = BTreeMap::new();
    for from in [0, 1] {
        let disk = Recorded::of(content.clone());
        attempt(&disk, from, false);
        let mut cuts = Cuts {
            releases: &all,
            allowed: [&releases[from].version, &releases[from + 1].version],
            running: running_places(&content, &releases[from]),
            rare: 600,
            numbers: Numbers(0x9e37_79b9_7f4a_7c15),
            count: 0,
            sample: Vec::new(),
        };
        cuts.run(&content, &disk.log());
        total += cuts.count;
        counts.insert(from, (cuts.count, disk.log().len(), cuts.sample.len()));
        // A machine that came up again goes on where it was, and arrives.
        for state in cuts.sample.iter().step_by(cuts.sample.len().div_ceil(10).max(1)) {
            let disk = Recorded::of(state.clone());
            if boot(state, &all, &[]).unwrap() == releases[from].version {
                // The agent of the old release would first take away what it did not finish.
                disk.change(|content| {
                    content.files.retain(|name, _| !name.contains(&releases[from + 1].version));
                });
                attempt(&disk, from, true);
            }
            assert_eq!(boot(&disk.content(), &all, &[]).unwrap(), releases[from + 1].version);
        }
        // The new release proves itself.
        content = disk.content();
        let name = format!("coreos_{}+3.efi", releases[from + 1].version);
        let file = content.files.remove(&name).unwrap();
        content.files.insert(format!("coreos_{}.efi", releases[from + 1].version), file);
    }
    println!("{total} cut points: {counts:?} (cuts, events, states gone on from)");
    assert!(total > 4000, "only {total} cut points");
}
