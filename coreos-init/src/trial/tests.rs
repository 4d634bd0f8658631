use std::collections::BTreeMap;

use cloud_config::Config;

use super::*;
use crate::apply::tests::{machine, owners, tree};
use crate::apply::{changes, survey};
use crate::plan::sample::{file, text, unit, user};
use crate::plan::{Context, Plan, decide};
use crate::source::{MetaData, SourceName};
use crate::verbs::{UnitJob, Verb};

fn plan(root: &Root, config: &Config) -> Plan {
    let (facts, _notes) = survey(root, None, config).unwrap();
    let plan = decide(config, &[], &Context { facts, ..Context::default() });
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    plan
}

fn service(name: &str) -> cloud_config::Unit {
    let content = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    cloud_config::Unit { content: Some(content.to_string()), enable: true, ..unit(name) }
}

/// The configuration of before, and one that makes, changes and removes files, links, accounts
/// and settings.
fn two() -> (Config, Config) {
    let mut before = Config { hostname: Some(text("before")), ..Config::default() };
    before.write_files = vec![file("/etc/both", "1"), file("/etc/old/gone", "old\n")];
    before.units = vec![service("old.service")];
    let mut tried = Config { hostname: Some(text("tried")), ..Config::default() };
    tried.write_files = vec![
        file("/etc/both", "2"),
        file("/etc/new/deep/file", "new"),
        file("/etc/by-hand", "configured"),
        file("/run/passing", "p"),
    ];
    tried.units = vec![service("new.service")];
    tried.users = vec![user("ann")];
    (before, tried)
}

/// A machine with the first of [`two`], and what somebody did by hand.
fn provisioned() -> tempfile::TempDir {
    let dir = machine();
    let root = Root::open(dir.path(), owners()).unwrap().without_sync();
    apply::apply(&plan(&root, &two().0), &root).unwrap();
    fs::write(dir.path().join("etc/by-hand"), "by hand").unwrap();
    dir
}

fn found() -> Found {
    Found {
        source: SourceName::File,
        place: "tried.yaml".to_owned(),
        name: "tried.yaml".to_owned(),
        user_data: b"#cloud-config\n".to_vec(),
        meta_data: MetaData::default(),
        network: None,
        notes: Vec::new(),
    }
}

/// Begins a trial of the second and applies it, as far as `effects` go.
fn tried(dir: &Path, effects: Option<u32>) -> bool {
    let trial = Trial::of(dir);
    trial.begin(&found()).unwrap();
    let root = Root::open(dir, owners()).unwrap().without_sync();
    let plan = plan(&root, &two().1);
    let snapshot = Snapshot::take(&plan, &root).unwrap();
    let departure = Departure { snapshot, units: BTreeMap::new(), report: Report::default() };
    trial.depart(&departure).unwrap();
    if let Some(effects) = effects {
        root.fail_after(effects);
    }
    apply::apply(&plan, &root).is_ok_and(|applied| !applied.has_failures())
}

/// The homes and numbers of accounts that were there for a while stay theirs.
fn settled(dir: &Path) -> crate::apply::tests::Tree {
    let mut tree = tree(dir);
    tree.retain(|path, _| !path.starts_with("home/ann"));
    let ledger = tree.get_mut("var/lib/coreos-init/ledger.json").unwrap();
    let (state, text) = ledger.split_once('{').unwrap();
    let mut record = crate::ledger::Ledger::parse(&format!("{{{text}")).unwrap();
    record.accounts.retain(|_, account| account.present);
    record.groups.retain(|_, group| group.present);
    *ledger = format!("{state}{}", record.text());
    tree
}

#[test]
fn wherever_a_trial_is_cut_off_the_machine_is_as_before() {
    let before = settled(provisioned().path());
    for effects in 0.. {
        let dir = provisioned();
        let complete = tried(dir.path(), Some(effects));
        let recovered = recover(dir.path()).unwrap();
        assert!(matches!(recovered, Recovered::TakenBack(_)), "{recovered:?}");
        let mut now = settled(dir.path());
        // The next boot has another /run.
        now.remove("run/passing");
        assert_eq!(now, before, "cut off after {effects} effects");
        assert_eq!(recover(dir.path()).unwrap(), Recovered::Nothing);
        if complete {
            assert!(effects > 20, "{effects}");
            return;
        }
    }
}

#[test]
fn what_is_taken_back_while_the_machine_runs_has_what_passes_too() {
    let dir = provisioned();
    let before = settled(dir.path());
    assert!(tried(dir.path(), None));
    assert_ne!(settled(dir.path()), before);
    let trial = Trial::of(dir.path());
    let departure = trial.departure().unwrap().unwrap();
    trial.take_back(&departure, true).unwrap();
    trial.end().unwrap();
    assert_eq!(settled(dir.path()), before);
}

#[test]
fn what_somebody_wrote_into_a_new_file_meanwhile_is_not_lost() {
    let dir = provisioned();
    assert!(tried(dir.path(), None));
    fs::write(dir.path().join("etc/new/deep/file"), "mine").unwrap();
    let Recovered::TakenBack(notes) = recover(dir.path()).unwrap() else { panic!() };
    assert_eq!(notes, ["/etc/new/deep/file is no longer configured, but was changed since: kept"]);
    assert_eq!(fs::read_to_string(dir.path().join("etc/new/deep/file")).unwrap(), "mine");
}

#[test]
fn a_confirmed_trial_is_kept_until_somebody_says_that_it_was() {
    let dir = provisioned();
    assert!(tried(dir.path(), None));
    let after = tree(&dir.path().join("etc"));
    Trial::of(dir.path()).confirm().unwrap();
    for _ in 0..2 {
        assert_eq!(recover(dir.path()).unwrap(), Recovered::Kept(Box::new(found())));
    }
    Trial::of(dir.path()).end().unwrap();
    assert_eq!(recover(dir.path()).unwrap(), Recovered::Nothing);
    assert_eq!(tree(&dir.path().join("etc")), after);
}

#[test]
fn there_is_one_trial_at_a_time_and_one_that_has_changed_nothing_is_forgotten() {
    let dir = provisioned();
    let before = tree(dir.path());
    let trial = Trial::of(dir.path());
    assert!(trial.confirm().is_err());
    trial.begin(&found()).unwrap();
    assert_eq!(trial.tried().unwrap(), found());
    let Err(Error::Directory { source, .. }) = trial.begin(&found()) else { panic!() };
    assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(recover(dir.path()).unwrap(), Recovered::Nothing);
    assert!(!trial.is_under_way());
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_damaged_record_is_said_and_kept() {
    let dir = provisioned();
    assert!(tried(dir.path(), None));
    let path = dir.path().join(DIRECTORY).join(BEFORE);
    let good = fs::read_to_string(&path).unwrap();
    for text in [&good[..good.len() / 2], "", &good.replace("\"version\":1", "\"version\":2")] {
        fs::write(&path, text).unwrap();
        assert!(matches!(recover(dir.path()), Err(Error::Damaged { .. })), "{text}");
        assert!(Trial::of(dir.path()).is_under_way());
    }
}

#[test]
fn what_could_not_be_put_back_is_not_tried() {
    let dir = provisioned();
    nix::unistd::mkfifo(&dir.path().join("etc/new"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let root = Root::open(dir.path(), owners()).unwrap().without_sync();
    let mut config = two().1;
    config.write_files = vec![file("/etc/new", "x")];
    let error = Snapshot::take(&plan(&root, &config), &root).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/etc/new is a special file: it could not be put back, so nothing was tried"
    );
}

fn names(jobs: &[UnitJob]) -> Vec<String> {
    jobs.iter().map(|job| format!("{} {}", job.verb, job.unit)).collect()
}

#[test]
fn only_what_changed_is_asked_for() {
    let touched = Touched::of(
        [
            ("/etc/systemd/system/a.service", false),
            ("/etc/systemd/system/c.service", true),
            ("/etc/systemd/system/c.service.d/x.conf", true),
            ("/etc/systemd/system/multi-user.target.wants/c.service", true),
            ("/run/systemd/system/d.service.d/x.conf", false),
            ("/etc/systemd/system/service.d/x.conf", false),
            ("/etc/systemd/system/t@.service", false),
            ("/etc/systemd/system/multi-user.target.wants/a.service", false),
            ("/etc/systemd/system/multi-user.target.wants/e.service", false),
            ("/etc/systemd/system/multi-user.target.wants/f.service", true),
            ("/etc/systemd/system/coreos-init-runcmd.service", false),
            ("/etc/systemd/timesyncd.conf.d/50-x.conf", false),
            ("/etc/x", false),
        ]
        .into_iter(),
    );
    assert!(!touched.network && !touched.hostname);
    assert_eq!(names(&touched.stops()), ["stop c.service", "stop f.service"]);
    let job = |unit: &str, verb| UnitJob { unit: unit.to_string(), verb, line: None };
    let jobs = vec![
        job("d.service", Verb::Start),
        job("same.service", Verb::Start),
        job("same.service", Verb::Restart),
        job("coreos-init-runcmd.service", Verb::Start),
    ];
    let plan = Plan { jobs, ..Plan::default() };
    assert_eq!(
        names(&touched.starts(&plan, &[("d.service".to_string(), true)].into())),
        [
            "try-restart a.service",
            "try-restart systemd-timesyncd.service",
            "start e.service",
            "start a.service",
            "restart d.service",
            "start same.service",
        ]
    );
    let were =
        [("a.service", false), ("c.service", true), ("e.service", true), ("f.service", true)];
    let were = were.map(|(unit, ran)| (unit.to_string(), ran)).into();
    assert_eq!(names(&Touched::leaves(&were)), ["stop a.service"]);
    assert_eq!(
        names(&touched.returns(&were)),
        ["restart c.service", "start e.service", "start f.service"]
    );
}

#[test]
fn names_and_network_files_are_noticed() {
    let dir = provisioned();
    let root = Root::open(dir.path(), owners()).unwrap().without_sync();
    let plan = plan(&root, &two().1);
    let touched = Touched::by(changes(&plan, &root).unwrap().iter().map(|change| change.action));
    assert!(touched.hostname);
    let units: Vec<String> = touched.units(&plan).into_iter().collect();
    assert_eq!(units, ["new.service", "old.service"]);
    let touched = Touched::of([("/run/systemd/network/a.network", true)].into_iter());
    assert!(touched.network);
}
