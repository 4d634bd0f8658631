//! `cluster lock`, as an operator uses it.

use std::time::{Duration, SystemTime};

use cluster::reboot::{Outcome, RebootLock, Request};
use cluster::testing::{Cluster, debian13, free_ports};
use cluster::{Client, Settings};

use crate::support::{output, stderr, stdout};

#[test]
fn an_operator_sees_and_changes_a_group() {
    let server = Cluster::single(&debian13());
    let endpoint = server.endpoints();
    let lock = |arguments: &[&str]| {
        output(&[&["lock", "--endpoint", &endpoint, "--group", "west"], arguments].concat())
    };
    assert_eq!(stdout(&lock(&["status"])), "Available: 1\nMax: 1\n");
    assert_eq!(stdout(&lock(&["set-max", "2"])), "Old-Max: 1\nMax: 2\n");
    let wrong = lock(&["set-max", "0"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("halt the group"), "{}", stderr(&wrong));
    assert_eq!(lock(&["set-max", "-1"]).status.code(), Some(2));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(Settings::listed(&endpoint)).unwrap();
        let request = Request {
            machine: "adb028db5d3641acbfb1d2d1bb8b5f02".to_owned(),
            boot_id: "b".to_owned(),
            version: Some("2.0".to_owned()),
            member: None,
            hold: Duration::from_secs(60),
            token: None,
        };
        let lock = RebootLock::new(client, "west").unwrap();
        // A clock long ago: the machine should have been back.
        let then = SystemTime::UNIX_EPOCH;
        let asked = lock.ask(&request, Duration::from_secs(30), then).await.unwrap();
        assert!(matches!(asked, Outcome::Granted(_)));
        lock.report_failure("1.9", "cafe", "no network", then).await.unwrap();
    });
    let status = stdout(&lock(&["status"]));
    let first = "Available: 1\nMax: 2\n\nMACHINE ID\nadb028db5d3641acbfb1d2d1bb8b5f02\n";
    assert!(status.starts_with(first), "{status}");
    assert!(status.contains("STALE") && status.contains("1.9 on cafe"), "{status}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&lock(&["status", "--json"]))).unwrap();
    assert_eq!((&json["slots"], &json["holders"][0]["stale"]), (&2.into(), &true.into()));

    stdout(&lock(&["halt", "the switch is replaced"]));
    assert!(stdout(&lock(&["status"])).contains("HALTED"));
    stdout(&lock(&["resume"]));
    stdout(&lock(&["unlock", "adb028db5d3641acbfb1d2d1bb8b5f02"]));
    assert_eq!(stdout(&lock(&["status"])), "Available: 2\nMax: 2\n");
    let again = lock(&["unlock", "adb028db5d3641acbfb1d2d1bb8b5f02"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).starts_with("error: Error unlocking: holder does not exist"));
}

#[test]
fn nobody_there_is_one_line_that_says_who_was_asked() {
    let [port] = free_ports();
    let endpoint = format!("http://127.0.0.1:{port}");
    let output = output(&["lock", "status", "--endpoint", &endpoint]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(&endpoint) && told.contains("Connection refused"), "{told}");
}
