//! Telling Azure that a machine is ready: a network namespace in which its wireserver is one that
//! answers as Azure's does.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use coreos_init::report::{Report, Status};
use coreos_init::wireserver::{Health, report};

use crate::cables::{Cables, enter, ip};
use crate::server::Fixture;

const ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77\n";
const CONTAINER: &str = "<ContainerId>c6d5526c-5ac2-4200-b6e2-56f2b70c5ab2</ContainerId>";

/// A machine of Azure, as its root directory, whose provisioning came to this.
fn machine(cables: &Cables, status: Status, failure: Option<&str>) -> PathBuf {
    let root = cables.directory.path().join("machine");
    for directory in ["proc", "sys/class/dmi/id", "run/coreos-init"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("proc/cmdline"), "quiet\n").unwrap();
    fs::write(root.join("sys/class/dmi/id/chassis_asset_tag"), ASSET_TAG).unwrap();
    let report = Report {
        status,
        failures: failure.into_iter().map(str::to_owned).collect(),
        ..Report::default()
    };
    report.write(&root.join("run/coreos-init/report.json")).unwrap();
    root
}

/// Runs `check-in` here: exit code, standard output, standard error.
fn check_in(cables: &Cables, root: &PathBuf) -> (Option<i32>, String, String) {
    let output = cables.here(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-init"));
        command.args(["check-in", "--root"]).arg(root).output().unwrap()
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The wireserver at the other end of a cable that is up.
fn wireserver() -> Option<(Cables, Fixture)> {
    let cables = Cables::new()?.cable("eth0", "52:54:00:00:00:01", "168.63.129.16/16");
    ip(&["-n", &cables.here, "address", "add", "168.63.0.5/16", "dev", "eth0"]);
    ip(&["-n", &cables.here, "link", "set", "eth0", "up"]);
    let fixture = Fixture::read("../wireserver");
    Some((cables, fixture))
}

fn serve(cables: &Cables, fixture: &Fixture) {
    let (namespace, served) = (cables.there.clone(), fixture.clone());
    let inside = std::thread::spawn(move || {
        enter(&namespace);
        served.serve("168.63.129.16:80".parse().unwrap());
    });
    inside.join().unwrap();
}

#[test]
fn azure_is_told_that_a_machine_is_ready() {
    let Some((cables, fixture)) = wireserver() else { return };
    let root = machine(&cables, Status::Provisioned, None);
    // The server is late: it is asked again.
    let (code, out, err) = std::thread::scope(|scope| {
        let told = scope.spawn(|| check_in(&cables, &root));
        std::thread::sleep(Duration::from_millis(300));
        serve(&cables, &fixture);
        told.join().unwrap()
    });
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "Azure was told that this machine is ready\n");
    let posted = fixture.posted.lock().unwrap();
    assert_eq!(posted.len(), 1);
    for part in [
        "<GoalStateIncarnation>2</GoalStateIncarnation>",
        CONTAINER,
        "<InstanceId>MachineRole_IN_0</InstanceId><Health><State>Ready</State></Health>",
    ] {
        assert!(posted[0].contains(part), "{part} in {}", posted[0]);
    }
}

#[test]
fn azure_is_told_why_a_machine_failed() {
    let Some((cables, fixture)) = wireserver() else { return };
    serve(&cables, &fixture);
    let root = machine(&cables, Status::Degraded, Some("node.yaml:2:1: error: no <such> key"));
    let (code, out, err) = check_in(&cables, &root);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("Azure was told that this machine failed: "), "{out}");
    let posted = fixture.posted.lock().unwrap();
    for part in [
        "<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus>",
        "<Description>node.yaml:2:1: error: no &lt;such&gt; key</Description>",
    ] {
        assert!(posted[0].contains(part), "{part} in {}", posted[0]);
    }
}

#[test]
fn nobody_else_is_told_and_a_machine_without_a_report_says_so() {
    let Some((cables, fixture)) = wireserver() else { return };
    serve(&cables, &fixture);
    let root = machine(&cables, Status::Provisioned, None);
    fs::write(root.join("proc/cmdline"), "platform=metal\n").unwrap();
    let (code, out, _) = check_in(&cables, &root);
    assert_eq!((code, out.as_str()), (Some(0), "this platform does not want to be told\n"));

    fs::write(root.join("proc/cmdline"), "platform=azure\n").unwrap();
    fs::remove_file(root.join("run/coreos-init/report.json")).unwrap();
    let (code, _, err) = check_in(&cables, &root);
    assert_eq!(code, Some(2));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with("error: "), "{err}");
    assert!(fixture.posted.lock().unwrap().is_empty());
}

#[test]
fn a_server_that_makes_no_sense_is_given_up_with_one_line() {
    let Some((cables, _)) = wireserver() else { return };
    // It has no goal state.
    serve(&cables, &Fixture::read("azure"));
    let told =
        cables.here(|| report("http://168.63.129.16", &Health::Ready, Duration::from_millis(500)));
    let error = told.unwrap_err().to_string();
    assert_eq!(error, "cannot fetch http://168.63.129.16/machine/?...: the server answered 404");
}
