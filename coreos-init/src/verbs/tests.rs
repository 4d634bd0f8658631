use std::os::unix::net::UnixStream;

use zbus::connection::Builder;
use zbus::{Guid, ObjectPath};

use super::*;

/// A service manager that answers as told. It ends the jobs only when it has been asked for
/// all of them, the last first.
async fn manage(
    bus: Connection,
    expected: usize,
    results: &'static [(&'static str, &'static str)],
) {
    let mut calls = MessageStream::from(&bus);
    let mut started = Vec::new();
    let mut subscribed = false;
    while let Some(Ok(call)) = calls.next().await {
        let header = call.header();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        if member == "Subscribe" {
            subscribed = true;
            bus.reply(&header, &()).await.unwrap();
            continue;
        }
        assert!(subscribed, "jobs may end before anybody listens");
        let body = call.body();
        let unit = match member.as_str() {
            "StartTransientUnit" => {
                type Body<'a> = (
                    String,
                    String,
                    Vec<(String, Variant<'a>)>,
                    Vec<(String, Vec<(String, Variant<'a>)>)>,
                );
                let (unit, mode, properties, _): Body<'_> = body.deserialize().unwrap();
                assert_eq!(mode, "fail");
                let command = properties.iter().find(|(name, _)| name == "ExecStart").unwrap();
                assert_eq!(command.1.value_signature().to_string(), "a(sasb)");
                unit
            }
            _ => {
                let (unit, mode): (String, String) = body.deserialize().unwrap();
                assert_eq!(mode, "replace");
                format!("{member} {unit}")
            }
        };
        let Some((_, result)) = results.iter().find(|(name, _)| *name == unit) else {
            let name = "org.freedesktop.systemd1.NoSuchUnit";
            bus.reply_error(&header, name, &format!("Unit {unit} not found.")).await.unwrap();
            continue;
        };
        let path = format!("/org/freedesktop/systemd1/job/{}", started.len());
        let path = ObjectPath::try_from(path).unwrap();
        bus.reply(&header, &path).await.unwrap();
        started.push((path, unit, *result));
        if started.len() < expected {
            continue;
        }
        for (number, (path, unit, result)) in started.iter().enumerate().rev() {
            if *result == "never" {
                continue;
            }
            let body = (u32::try_from(number).unwrap(), path, unit.as_str(), *result);
            bus.emit_signal(None::<&str>, MANAGER_PATH, MANAGER_INTERFACE, "JobRemoved", &body)
                .await
                .unwrap();
        }
    }
}

async fn connect() -> (Connection, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Builder::unix_stream(theirs).server(Guid::generate()).p2p().build();
    let client = Builder::unix_stream(ours).p2p().build();
    let (server, client) = tokio::join!(server, client);
    (server.unwrap(), client.unwrap())
}

fn run(
    jobs: &Jobs,
    expected: usize,
    results: &'static [(&'static str, &'static str)],
    deadline: Duration,
) -> Vec<JobReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, client) = connect().await;
        let manager = tokio::spawn(manage(server, expected, results));
        let reports = carry_out(&client, jobs, deadline).await.unwrap();
        manager.abort();
        reports
    })
}

fn job(unit: &str, verb: Verb) -> UnitJob {
    UnitJob { unit: unit.to_string(), verb, line: Some(7) }
}

/// Long enough for any machine; no test waits for it.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn all_jobs_are_asked_for_before_one_is_waited_for() {
    let jobs = Jobs {
        units: vec![
            job("a.service", Verb::Start),
            job("b.service", Verb::Restart),
            job("missing.service", Verb::Start),
            job("c.service", Verb::ReloadOrTryRestart),
            job("d.service", Verb::Stop),
        ],
        scripts: vec!["/run/coreos-init/script".into()],
        ..Jobs::default()
    };
    let reports = run(
        &jobs,
        5,
        &[
            ("StartUnit a.service", "done"),
            ("RestartUnit b.service", "failed"),
            ("ReloadOrTryRestartUnit c.service", "skipped"),
            ("StopUnit d.service", "done"),
            (SCRIPT_UNIT, "done"),
        ],
        LONG,
    );
    let outcomes: Vec<_> =
        reports.iter().map(|report| (report.unit.as_str(), report.outcome.clone())).collect();
    assert_eq!(
        outcomes,
        [
            ("a.service", JobOutcome::Done),
            ("b.service", JobOutcome::Failed("it failed".into())),
            (
                "missing.service",
                JobOutcome::Failed("Unit StartUnit missing.service not found.".into())
            ),
            ("c.service", JobOutcome::Skipped),
            ("d.service", JobOutcome::Done),
            (SCRIPT_UNIT, JobOutcome::Done),
        ]
    );
}

#[test]
fn a_job_that_outlasts_the_deadline_is_under_way_and_no_failure() {
    let jobs = Jobs {
        units: vec![job("etcd.service", Verb::Start), job("a.service", Verb::Start)],
        scripts: Vec::new(),
        ..Jobs::default()
    };
    let results = &[("StartUnit etcd.service", "never"), ("StartUnit a.service", "done")];
    let reports = run(&jobs, 2, results, Duration::from_millis(500));
    assert_eq!(reports[0].outcome, JobOutcome::UnderWay);
    assert!(!reports[0].outcome.is_failure());
}

#[test]
fn no_jobs_need_no_answer() {
    assert_eq!(run(&Jobs::default(), 0, &[], LONG), []);
}

#[test]
fn a_manager_that_goes_away_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        let (server, client) = connect().await;
        drop(server);
        let jobs = Jobs {
            units: vec![job("a.service", Verb::Start)],
            scripts: Vec::new(),
            ..Jobs::default()
        };
        carry_out(&client, &jobs, LONG).await
    });
    assert!(result.is_err());
}

#[test]
fn jobs_survive_being_stored() {
    let jobs = Jobs {
        units: vec![job("a.service", Verb::TryRestart)],
        scripts: vec!["/x".into()],
        ..Jobs::default()
    };
    let text = serde_json::to_string(&jobs).unwrap();
    assert!(text.contains("\"try-restart\""));
    assert_eq!(serde_json::from_str::<Jobs>(&text).unwrap(), jobs);
}
