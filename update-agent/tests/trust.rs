//! What the machine has seen it does not forget, whatever the repository, the clock or its own
//! disk say.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use channels::policy::Halt;
use channels::policy::{Channel, Rollout, Rule};
use channels::publish::operations::{self, PublishOptions};
use channels::store::DirectoryStore;
use channels::time::Time;
use support::{NOW, Publisher, Release};
use update_agent::check::{self, Decision};
use update_agent::record::{BuiltIn, Failure, Record};
use update_agent::settings::Settings;
use update_agent::source::Source;

const HOUR: Duration = Duration::from_secs(3600);

/// A machine that runs 1.0 and follows alpha.
struct Machine {
    record: Record,
    store: tempfile::TempDir,
    anchor: Vec<u8>,
}

impl Machine {
    fn new(publisher: &Publisher) -> Machine {
        let version = "1.0".parse().unwrap();
        let built_in = BuiltIn { version, channel: Channel::Stable, epoch: 0 };
        let (record, store) = (Record::new(&built_in), tempfile::tempdir().unwrap());
        Machine { record, store, anchor: publisher.anchor() }
    }

    /// What `then` makes of the decision, or why nothing was trusted.
    fn check<T>(
        &mut self,
        repository: &Path,
        now: Time,
        then: impl FnOnce(&Decision<'_>) -> T,
    ) -> Result<T, String> {
        let settings = Settings {
            group: Some("alpha".into()),
            channel: Channel::Alpha,
            ..Settings::default()
        };
        let version = "1.0".parse().unwrap();
        let machine = |record: &Record| check::machine(record, &settings, "0123", &version);
        let (source, store) =
            (Source::directory(repository), DirectoryStore::new(self.store.path()));
        let decision = check::check(&source, &store, &self.anchor, &mut self.record, machine, now);
        decision.map(|decision| then(&decision)).map_err(|error| host::error::chain(&error))
    }

    /// The version that it would take.
    fn takes(&mut self, repository: &Path, now: Time) -> Result<Option<String>, String> {
        self.check(repository, now, |decision| {
            decision.offer().map(|offer| offer.release.version.to_string())
        })
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

fn release(version: &str) -> Release {
    Release::new(version, &[1, 2, 3])
}

#[test]
fn a_replayed_repository_is_refused_even_if_the_store_is_lost() {
    let publisher = Publisher::new();
    publisher.publish(&release("1.1"));
    let old = tempfile::tempdir().unwrap();
    copy(&publisher.path(), old.path());
    publisher.publish(&release("1.2"));
    let mut machine = Machine::new(&publisher);
    assert_eq!(machine.takes(&publisher.path(), NOW), Ok(Some("1.2".into())));
    let error = machine.takes(old.path(), NOW).unwrap_err();
    assert!(error.contains("older than version"), "{error}");
    // The files are gone, or are rubbish; the record remembers.
    for content in [None, Some("{\"signed\": {"), Some("")] {
        for file in fs::read_dir(machine.store.path()).unwrap().map(Result::unwrap) {
            match content {
                None => fs::remove_file(file.path()).unwrap(),
                Some(content) => fs::write(file.path(), content).unwrap(),
            }
        }
        let error = machine.takes(old.path(), NOW).unwrap_err();
        assert!(error.contains("older than version"), "{content:?}: {error}");
        assert_eq!(machine.takes(&publisher.path(), NOW), Ok(Some("1.2".into())), "{content:?}");
    }
}

#[test]
fn a_frozen_repository_is_noticed_when_its_time_is_over() {
    let publisher = Publisher::new();
    publisher.publish(&release("1.1"));
    let mut machine = Machine::new(&publisher);
    let later = NOW.plus(HOUR * 24 * 3);
    assert!(machine.takes(&publisher.path(), NOW.plus(HOUR)).is_ok());
    let error = machine.takes(&publisher.path(), later).unwrap_err();
    assert!(error.contains("timestamp.json expired"), "{error}");
    publisher.refresh(later);
    assert!(machine.takes(&publisher.path(), later).is_ok());
}

#[test]
fn a_clock_that_is_behind_neither_wedges_the_machine_nor_brings_expired_metadata_back() {
    let publisher = Publisher::new();
    publisher.publish(&release("1.1"));
    let old = tempfile::tempdir().unwrap();
    copy(&publisher.path(), old.path());
    let later = NOW.plus(HOUR * 24 * 10);
    publisher.refresh(later);
    let mut machine = Machine::new(&publisher);
    for clock in [later, Time::from_unix(0), NOW] {
        assert_eq!(machine.takes(&publisher.path(), clock), Ok(Some("1.1".into())), "{clock}");
        // Good at that time, and still refused.
        assert!(machine.takes(old.path(), clock).is_err(), "{clock}");
    }
    // The roll-out goes by the time that is known, too.
    let rollout = Rollout { start: later.plus(HOUR), over: 0, percent: 100 };
    let options = PublishOptions { rollout: Some(rollout), ..PublishOptions::default() };
    publisher.publish_with(&release("1.2"), options, later);
    assert_eq!(machine.takes(&publisher.path(), NOW), Ok(Some("1.1".into())));
    assert_eq!(machine.takes(&publisher.path(), later.plus(HOUR)), Ok(Some("1.2".into())));
}

#[test]
fn the_machine_s_own_memory_decides_with_the_publisher_s_word() {
    let publisher = Publisher::new();
    publisher.publish(&release("1.1"));
    let options = PublishOptions { epoch: Some(2), ..PublishOptions::default() };
    publisher.publish_with(&release("1.2"), options, NOW);
    let mut machine = Machine::new(&publisher);
    let takes = |machine: &mut Machine| machine.takes(&publisher.path(), NOW).unwrap();
    assert_eq!(takes(&mut machine).as_deref(), Some("1.2"));
    // What failed is not taken again; what is below the epoch is not either.
    let failure = Failure { since: NOW, reason: "hung".into(), reported: false };
    machine.record.failed.insert("1.2".into(), failure);
    assert_eq!(takes(&mut machine).as_deref(), Some("1.1"));
    machine.record.floor.epoch = 1;
    assert_eq!(takes(&mut machine), None);
    machine.record.failed.clear();
    machine.record.pinned = Some("1.1".into());
    assert_eq!(takes(&mut machine), None, "pinned below the epoch");
    machine.record.pinned = None;
    machine.record.floor.sequence = 2;
    assert_eq!(takes(&mut machine), None, "it has run as well");
    machine.record.floor.sequence = 1;
    let halt = Halt { since: NOW, reason: Some("bad".into()) };
    publisher.operate(NOW, |state| {
        operations::set_halt(state, &"1.2".parse().unwrap(), &[Channel::Alpha], Some(&halt))
    });
    let rules = machine.check(&publisher.path(), NOW, |decision| {
        let (_, verdicts) = decision.judged.last().unwrap();
        verdicts.iter().filter(|v| !v.passed).map(|v| v.rule).collect::<Vec<_>>()
    });
    assert_eq!(rules, Ok(vec![Rule::NotHalted]));
}

#[test]
fn a_machine_that_forgot_learns_its_channel_from_those_that_carry_its_release() {
    for (promoted, floor) in [
        (&[][..], Channel::Alpha),
        (&[Channel::Beta], Channel::Beta),
        (&[Channel::Beta, Channel::Stable], Channel::Stable),
    ] {
        let publisher = Publisher::new();
        publisher.publish(&release("0.9"));
        publisher.promote("0.9", Channel::Beta);
        publisher.promote("0.9", Channel::Stable);
        publisher.publish(&release("1.0"));
        promoted.iter().for_each(|channel| publisher.promote("1.0", *channel));
        let mut machine = Machine::new(&publisher);
        // A new machine may follow any channel.
        assert_eq!(machine.takes(&publisher.path(), NOW), Ok(None));
        assert_eq!(machine.record.floor.channel, Channel::Stable);
        machine.record.lost = true;
        assert_eq!(machine.takes(&publisher.path(), NOW), Ok(None));
        assert_eq!((machine.record.floor.channel, machine.record.floor.sequence), (floor, 2));
    }
}

#[test]
fn another_publisher_is_nobody() {
    let (publisher, other) = (Publisher::new(), Publisher::new());
    publisher.publish(&release("1.1"));
    other.publish(&release("1.2"));
    let mut machine = Machine::new(&publisher);
    assert!(machine.takes(&publisher.path(), NOW).is_ok());
    let error = machine.takes(&other.path(), NOW).unwrap_err();
    assert!(error.contains("cannot be trusted"), "{error}");
}
