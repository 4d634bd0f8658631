//! `fleetctl` without a cluster: its command line, decisions about a cluster in a file, and what
//! it says when there is no daemon.

use std::os::unix::process::CommandExt;
use std::process::Command;

use assert_cmd::assert::OutputAssertExt;

/// Runs fleetctl with these words and nothing in its environment.
fn fleetctl(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetd"));
    command.arg0("fleetctl").env_clear().args(words);
    command
}

/// What a run has printed: exit code, standard output, standard error.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("fleetctl runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const NGINX: &str = "[Service]\\nExecStart=/usr/bin/docker run nginx\\n\
                     [X-Fleet]\\nConflicts=nginx@*.service\\n";

fn snapshot(units: &str, new: &str) -> String {
    format!(
        r#"{{"machines": [
            {{"id": "aaaaaaaa11111111", "metadata": {{"region": "us"}}}},
            {{"id": "bbbbbbbb22222222", "metadata": {{}}}}
        ], "units": [{units}], "new_unit": {new}}}"#
    )
}

#[test]
fn a_snapshot_is_decided_about() {
    let unit = |number: u32, machine: &str| {
        format!(
            r#"{{"name": "nginx@{number}.service", "body": "{NGINX}",
                "scheduled_on": {machine}, "desired_state": "launched"}}"#
        )
    };
    let first = unit(1, r#""aaaaaaaa11111111""#);
    let second = unit(2, r#""bbbbbbbb22222222""#);
    let new = unit(3, "null");
    let table = [
        (String::new(), r#""aaaaaaaa11111111""#, [true, true]),
        (first.clone(), r#""bbbbbbbb22222222""#, [false, true]),
        (format!("{first}, {second}"), "null", [false, false]),
    ];
    for (units, decision, able) in table {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cluster.json");
        std::fs::write(&path, snapshot(&units, &new)).expect("written");
        let (code, stdout, stderr) = run(fleetctl(&["plan", "--snapshot"]).arg(&path));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{units}");
        let answer: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        let expected = format!(
            r#"{{"decision": {decision},
                "able_to_run": {{"aaaaaaaa11111111": {}, "bbbbbbbb22222222": {}}}}}"#,
            able[0], able[1]
        );
        let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
        assert_eq!(answer, expected, "{units}");
    }
}

#[test]
fn mistakes_in_a_snapshot_are_told_with_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cluster.json");
    let new = r#"{"name": "a.service", "body": "[X-Fleet]\nMachineMetadata=region\nMachinID=x\n"}"#;
    std::fs::write(&path, snapshot("", new)).expect("written");
    let (code, stdout, stderr) = run(fleetctl(&["plan", "--snapshot"]).arg(&path));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("a.service:2: MachineMetadata: `region` is not key=value"), "{stderr}");
    assert!(stderr.contains("a.service:3: unknown key `MachinID`"), "{stderr}");

    let (code, stdout, stderr) = run(fleetctl(&["plan", "--lenient", "--snapshot"]).arg(&path));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains(r#""decision": "aaaaaaaa11111111""#), "{stdout}");
    assert!(stderr.contains("a.service:3: warning: "), "{stderr}");

    for (text, reason) in [("{", "not a snapshot of a cluster"), ("[]", "not a snapshot")] {
        std::fs::write(&path, text).expect("written");
        let (code, _, stderr) = run(fleetctl(&["plan", "--snapshot"]).arg(&path));
        assert_eq!(code, Some(1));
        assert!(stderr.contains(reason), "{stderr}");
    }
    let (code, _, stderr) = run(&mut fleetctl(&["plan", "--snapshot", "/nowhere"]));
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: cannot read /nowhere\n  caused by: "), "{stderr}");
}

#[test]
fn without_a_daemon_one_line_says_where_it_was_looked_for() {
    let asked = ["list-machines", "list-units", "list-unit-files", "top", "events", "rollout"];
    for word in asked {
        let (code, stdout, stderr) =
            run(fleetctl(&[word]).env("FLEETCTL_ENDPOINT", "unix:///nowhere/fleet.sock"));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{word}");
        assert!(
            stderr.starts_with("error: cannot reach fleetd at /nowhere/fleet.sock"),
            "{stderr}"
        );
    }
    // A flag counts before a variable.
    let (_, _, stderr) = run(fleetctl(&["-endpoint", "/other", "list-units"])
        .env("FLEETCTL_ENDPOINT", "unix:///nowhere/fleet.sock"));
    assert!(stderr.contains("at /other"), "{stderr}");
}

#[test]
fn a_daemon_that_says_nothing_is_waited_for_as_long_as_was_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("fleet.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).expect("it listens");
    let (code, stdout, stderr) = run(fleetctl(&["--request-timeout=0.2", "list-machines"])
        .env("FLEETCTL_ENDPOINT", socket.display().to_string()));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        "error: fleetd has not answered GET machines within 0.2 s; \
         --request-timeout=SECONDS waits longer\n"
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let table: [(&[&str], &str); 8] = [
        (&["--endpoint=ftp://a", "list-units"], "`ftp://a` is not an endpoint"),
        (
            &["--request-timeout=-1", "list-units"],
            "--request-timeout: -1 is not a number of seconds",
        ),
        (&["--driver=etcd", "list-units"], "--driver=etcd cannot be used any more"),
        (
            &["--ca-file=/a", "list-units"],
            "cannot be used any more; reach the endpoint with --tunnel",
        ),
        (&["list-units", "--fields=unit,nonsense"], "Invalid key in output format: \"nonsense\""),
        (&["list-units", "--fields="], "Must define output format"),
        (&["submit", "--sign", "a.service"], "--sign cannot be used any more"),
        (&["start", "a b"], "invalid character ' '"),
    ];
    for (words, reason) in table {
        let (code, stdout, stderr) = run(&mut fleetctl(words));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{words:?}");
        assert!(stderr.contains(reason), "{words:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
    }
    fleetctl(&["list-unitz"]).assert().code(2);
}

#[test]
fn help_version_and_completion_need_nobody() {
    let (code, stdout, _) = run(&mut fleetctl(&[]));
    assert_eq!(code, Some(0));
    for word in ["list-machines", "why", "drain", "rollout", "--tunnel"] {
        assert!(stdout.contains(word), "{word}");
    }
    let (code, stdout, _) = run(&mut fleetctl(&["version"]));
    assert_eq!(
        (code, stdout),
        (Some(0), format!("fleetctl version {}\n", env!("CARGO_PKG_VERSION")))
    );
    fleetctl(&["--version"]).assert().success();
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = run(&mut fleetctl(&["completion", shell]));
        assert_eq!(code, Some(0));
        assert!(stdout.contains("list-unit-files"), "{shell}");
    }
}
