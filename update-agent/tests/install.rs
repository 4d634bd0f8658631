//! Releases are written over HTTP from servers that behave well and badly.

mod support;

use std::time::Duration;

use host::http::{Fetch, Proxy};
use support::disk::{Event, Recorded, boot};
use support::server::{Fault, Server};
use support::{Attempt, Publisher, Release};
use update_agent::install::Installed;
use update_agent::source::Source;

/// Blocks of which `changed` are new.
fn blocks(release: u32, changed: impl Fn(u32) -> bool) -> Vec<u32> {
    (0..1500).map(|n| if changed(n) { 1_000_000 * release + n } else { n }).collect()
}

struct Bench {
    _publisher: Publisher,
    server: Server,
    releases: [Release; 2],
    staging: tempfile::TempDir,
    anchor: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let releases = [
            Release::new("1.0", &blocks(0, |_| false)),
            Release::new("1.1", &blocks(1, |n| (200..260).contains(&n) || n > 1400)),
        ];
        let publisher = Publisher::new();
        publisher.publish(&releases[1]);
        let server = Server::start(&publisher.path());
        let (anchor, staging) = (publisher.anchor(), tempfile::tempdir().unwrap());
        Bench { _publisher: publisher, server, releases, staging, anchor }
    }

    fn source(&self) -> Source {
        let how = Fetch {
            deadline: Duration::from_secs(2),
            attempts: 3,
            proxy: Proxy::Never,
            ..Fetch::default()
        };
        Source::web_with(&self.server.url, how).unwrap()
    }

    fn attempt<'a>(&'a self, disk: &'a Recorded) -> Attempt<'a> {
        Attempt {
            disk,
            running: &self.releases[0],
            version: "1.1",
            resume: false,
            staging: self.staging.path(),
            anchor: &self.anchor,
        }
    }

    fn install(&self, disk: &Recorded, resume: bool) -> Result<Installed, String> {
        Attempt { resume, ..self.attempt(disk) }.run(&self.source())
    }

    fn boots(&self, disk: &Recorded) -> String {
        boot(&disk.content(), &self.releases.iter().collect::<Vec<_>>(), &[]).unwrap()
    }
}

#[test]
fn only_what_changed_is_fetched() {
    let bench = Bench::new();
    let disk = Recorded::installed(&bench.releases[0]);
    let installed = bench.install(&disk, false).unwrap();
    assert_eq!(installed.tally.fetched, 159);
    assert_eq!(installed.tally.copied, 1500 - 159);
    let files = (bench.releases[1].tree.len() + bench.releases[1].uki.len()) as u64;
    assert_eq!(installed.fetched, files + 159 * 4096);
    assert_eq!(bench.boots(&disk), "1.1");
    // The order of what makes it bootable.
    let log = disk.log();
    assert!(matches!(&log[log.len() - 1], Event::Rename(from, to)
        if from == "update.tmp" && to == "coreos_1.1+3.efi"));
    let last_write = log.iter().rposition(|event| matches!(event, Event::Write(..))).unwrap();
    let flush = log.iter().rposition(|event| matches!(event, Event::Flush)).unwrap();
    assert!(flush > last_write);
}

#[test]
fn an_attempt_that_was_cut_off_goes_on_where_it_was() {
    let bench = Bench::new();
    let disk = Recorded::installed(&bench.releases[0]);
    bench.server.fault(Fault::Gone, ".efi");
    let error = bench.install(&disk, false).unwrap_err();
    assert!(error.contains("cannot fetch the boot entry"), "{error}");
    assert_eq!(bench.boots(&disk), "1.0");
    bench.server.fault(Fault::None, "");
    let installed = bench.install(&disk, true).unwrap();
    assert_eq!(installed.tally.present, 1500, "{installed:?}");
    assert_eq!(bench.boots(&disk), "1.1");
}

#[test]
fn a_rotten_block_of_the_running_slot_is_fetched_instead() {
    let bench = Bench::new();
    let disk = Recorded::installed(&bench.releases[0]);
    let slots = disk.slots(&bench.releases[0].root_hash);
    slots.running.root.write_at(&[0xff], 700 * 4096 + 5).unwrap();
    let installed = bench.install(&disk, false).unwrap();
    assert_eq!((installed.tally.fetched, installed.tally.fallbacks), (160, 1));
    // The running slot is as rotten as before, the new one is whole.
    let new = &bench.releases[1];
    let content = disk.content();
    support::disk::comes_up(&content, &new.uki, &[new], &[]).unwrap();
}

#[test]
fn nothing_boots_that_a_bad_server_gives() {
    let bench = Bench::new();
    for (fault, part, told) in [
        (Fault::WrongBits, ".root", "is not the one that is signed"),
        (Fault::LyingRange, ".root", "is not the one that is signed"),
        (Fault::OtherRange, ".root", "the server gave bytes"),
        (Fault::NoRanges, ".root", "does not serve parts of files"),
        (Fault::Gone, ".root", "answered 404"),
        (Fault::Endless, ".root", "larger than"),
        (Fault::SlowLoris, ".root", "not done in time"),
        (Fault::ToFile, ".root", "cannot fetch"),
        (Fault::WrongBits, ".verity", "not the one that is signed"),
        (Fault::WrongBits, ".efi", "not the file that is signed"),
        (Fault::WrongBits, "timestamp.json", "timestamp.json"),
        (Fault::Endless, "timestamp.json", "larger than"),
        (Fault::SlowLoris, "timestamp.json", "not done in time"),
        (Fault::ToFile, "timestamp.json", "timestamp.json"),
    ] {
        let staging = tempfile::tempdir().unwrap();
        let disk = Recorded::installed(&bench.releases[0]);
        bench.server.fault(fault, part);
        let attempt = Attempt { staging: staging.path(), ..bench.attempt(&disk) };
        let error = attempt.run(&bench.source()).unwrap_err();
        assert!(error.contains(told), "{fault:?} of {part}: {error}");
        assert_eq!(bench.boots(&disk), "1.0", "{fault:?} of {part}");
        let names: Vec<_> = disk.content().files.into_keys().collect();
        assert_eq!(names, ["coreos_1.0.efi"], "{fault:?} of {part}");
    }
}

#[test]
fn a_server_that_breaks_off_now_and_then_is_patience_s_matter() {
    let bench = Bench::new();
    let disk = Recorded::installed(&bench.releases[0]);
    bench.server.fault(Fault::Half, "targets");
    bench.install(&disk, false).unwrap();
    assert_eq!(bench.boots(&disk), "1.1");
}

#[test]
fn what_does_not_fit_is_known_before_anything_is_written() {
    for (blocks, kernel, told) in [
        (2049, 1, "in the slot's root partition, and there are 8388608"),
        (2000, 2500, "on the boot partition"),
    ] {
        let publisher = Publisher::new();
        let mut new = Release::new("2.0", &(0..blocks).collect::<Vec<_>>());
        new.uki = new.uki.repeat(kernel);
        publisher.publish(&new);
        let old = Release::new("1.0", &[1, 2, 3]);
        let disk = Recorded::installed(&old);
        let staging = tempfile::tempdir().unwrap();
        let anchor = publisher.anchor();
        let attempt = Attempt {
            disk: &disk,
            running: &old,
            version: "2.0",
            resume: false,
            staging: staging.path(),
            anchor: &anchor,
        };
        let error = attempt.run(&Source::directory(&publisher.path())).unwrap_err();
        assert!(error.contains(told), "{error}");
        assert!(disk.log().is_empty(), "{:?}", disk.log());
    }
}

#[test]
fn a_running_release_without_its_one_boot_entry_is_left_alone() {
    let bench = Bench::new();
    for (files, told) in [
        (vec![], "no entry of the running version 1.0"),
        (vec!["coreos_1.0.efi", "coreos_1.0+2-1.efi"], "two entries of the running version"),
    ] {
        let disk = Recorded::installed(&bench.releases[0]);
        disk.change(|content| {
            content.files = files.iter().map(|name| (name.to_string(), Vec::new())).collect();
        });
        let error = bench.install(&disk, false).unwrap_err();
        assert!(error.contains(told), "{error}");
        assert!(disk.log().is_empty());
    }
}
