use cloud_config::{Position, Span};

use super::*;
use crate::verbs::{JobOutcome, Verb};

fn at(line: usize, column: usize) -> Span {
    let start = Position { line, column };
    Span::new(start, start)
}

fn item(path: &str, outcome: Outcome) -> Item {
    Item {
        path: path.into(),
        section: "write_files".into(),
        part: 0,
        line: Some(3),
        column: Some(1),
        variables: Vec::new(),
        outcome,
    }
}

fn job(unit: &str, outcome: JobOutcome) -> JobReport {
    JobReport { unit: unit.into(), verb: Verb::Start, line: Some(9), outcome }
}

/// A machine with the article's configuration, a little of everything in it.
fn texts() -> Bundle {
    let text = "#cloud-config\n\n\n\n\n        addr: a\n\n\n\n\n    units:\n";
    Bundle::local("user-data", text.as_bytes())
}

fn report() -> Report {
    let found = Found {
        source: SourceName::Disc,
        place: "/dev/sr0 (config-2): openstack/latest/user_data".into(),
        name: "user-data".into(),
        user_data: b"#cloud-config\n".to_vec(),
        meta_data: source::MetaData::default(),
        network: None,
        notes: vec!["content/0000 is not used".into()],
    };
    let looked = |source, place: &str, outcome| Looked {
        source,
        place: place.into(),
        outcome,
        elapsed: Duration::from_millis(7),
    };
    let looked = [
        looked(SourceName::CommandLine, "", source::Outcome::Absent),
        looked(SourceName::Disc, "/dev/sr0 (config-2)", source::Outcome::Found),
    ];
    let mut report = Report::begin(Some(&found), &looked);
    let hint = "put it under `coreos`";
    report.add_findings(
        &[
            Finding::warning(at(11, 5), "`units` belongs under `coreos`").with_hint(hint),
            Finding::warning(at(6, 9), "`addr` is an option of etcd 0.4"),
        ],
        &texts(),
    );
    report.add_variables(&facts::Values {
        map: [(cloud_config::Variable::PrivateIpv4, "10.0.0.5".to_string())].into(),
        origin: [(cloud_config::Variable::PrivateIpv4, "DHCP on eth0".to_string())].into(),
    });
    report.add_applied(Applied {
        items: vec![item("/etc/a", Outcome::Written), item("/etc/b", Outcome::Unchanged)],
        notes: Vec::new(),
    });
    report.jobs =
        vec![job("etcd.service", JobOutcome::UnderWay), job("docker.service", JobOutcome::Done)];
    report.stages = vec![Stage { name: "initrd/root".into(), start_ms: 1500, duration_ms: 40 }];
    report.peak_memory_kib = Some(9000);
    report.conclude();
    report
}

#[test]
fn a_person_sees_what_it_came_to_and_why() {
    assert_eq!(
        report().summary(false),
        "\
status         provisioned
configuration  config disc, /dev/sr0 (config-2): openstack/latest/user_data
looked at      kernel command line: absent (7 ms)
               config disc, /dev/sr0 (config-2): found (7 ms)
warning        user-data:6:9: `addr` is an option of etcd 0.4
                6 |         addr: a
                  |         ^
               user-data:11:5: `units` belongs under `coreos`; put it under `coreos`
                11 |     units:
                   |     ^
note           content/0000 is not used
address        private_ipv4 = 10.0.0.5 (DHCP on eth0)
files          1 written, 0 removed, 1 unchanged
units          start etcd.service: still under way
               start docker.service: done
stages         initrd/root                  40 ms, from 1500 ms
memory         9000 KiB at most
"
    );
    assert!(report().summary(true).contains("\x1b[32mprovisioned\x1b[0m"));
}

#[test]
fn every_failure_degrades_and_is_one_line() {
    type Break = fn(&mut Report);
    let cases: [(Break, &str); 4] = [
        (
            |report| {
                let finding = Finding::error(at(4, 5), "unknown key `contnet`");
                report.add_findings(&[finding], &Bundle::local("user-data", b""));
            },
            "user-data:4:5: unknown key `contnet`",
        ),
        (|report| report.failures.push("no lease on eth0".into()), "no lease on eth0"),
        (
            |report| report.items.push(item("/etc/x", Outcome::Failed("no space".into()))),
            "/etc/x (write_files): no space",
        ),
        (
            |report| report.jobs.push(job("x.service", JobOutcome::Failed("it failed".into()))),
            "start x.service: it failed; see `journalctl -u x.service`",
        ),
    ];
    for (breaks, line) in cases {
        let mut report = report();
        breaks(&mut report);
        report.conclude();
        assert_eq!(report.status, Status::Degraded, "{line}");
        assert_eq!(report.trouble(), [line]);
        assert!(report.summary(false).contains(&format!("failed         {line}\n")));
    }
}

#[test]
fn without_a_configuration_a_machine_is_unconfigured() {
    let mut report = Report::begin(None, &[]);
    report.conclude();
    assert_eq!(report.status, Status::Unconfigured);
    report.failures.push("the disc cannot be read".into());
    report.conclude();
    assert_eq!(report.status, Status::Degraded);
}

#[test]
fn findings_are_told_once() {
    let mut report = Report::default();
    let finding = Finding::warning(at(1, 1), "x");
    report.add_findings(std::slice::from_ref(&finding), &texts());
    report.add_findings(&[finding], &texts());
    assert_eq!(report.findings.len(), 1);
}

#[test]
fn a_report_survives_being_stored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    assert!(matches!(Report::read(&path), Err(Error::Missing)));
    report().write(&path).unwrap();
    assert_eq!(Report::read(&path).unwrap(), report());
    std::fs::write(&path, "{").unwrap();
    assert!(matches!(Report::read(&path), Err(Error::Damaged { .. })));
}

#[test]
fn peak_memory_is_read_from_the_kernels_words() {
    let status = "Name:\tinit\nVmPeak:\t   20000 kB\nVmHWM:\t    8736 kB\n";
    assert_eq!(peak_memory_kib(status), Some(8736));
    assert_eq!(peak_memory_kib("Name:\tinit\n"), None);
}
