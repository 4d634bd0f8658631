//! The program, on a directory that stands for a machine's root.

use std::fs;
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

/// A machine in a directory.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        root.write("usr/lib/os-release", "IMAGE_VERSION=1.2\n");
        root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        root.write("etc/coreos/update.conf", "GROUP=beta\nREBOOT_STRATEGY=off\n");
        root
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, words: &str) -> Output {
        let mut command = Command::cargo_bin("update-agent").unwrap();
        command.arg("--root").arg(self.0.path()).args(words.split_whitespace());
        command.env_remove("http_proxy").output().unwrap()
    }

    /// The program must succeed; what it printed.
    fn good(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The program must fail with one line; that line.
    fn bad(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("error: "), "{text}");
        text
    }
}

#[test]
fn the_status_of_a_machine_that_never_updated() {
    let root = Root::new();
    let text = root.good("status");
    for line in
        ["version    1.2", "channel    beta", "now        idle", "reboot     off, at any time"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    let document: Value = serde_json::from_str(&root.good("status --json")).unwrap();
    assert_eq!(document["version"], "1.2");
    assert_eq!(document["floor"]["channel"], "stable");
    assert_eq!(document["reboot"]["window"]["open"], true);
    assert_eq!(root.good("history"), "");
    assert_eq!(root.good("watch"), "nothing is being done\n");
}

#[test]
fn settings_that_are_wrong_are_told_with_their_place() {
    let root = Root::new();
    root.write("etc/coreos/update.conf.d/50-mine.conf", "REBOOT_STRATEGY=never\nGROUP=alpha\n");
    let text = root.good("status");
    let told = "etc/coreos/update.conf.d/50-mine.conf:1: REBOOT_STRATEGY: `never` is none of";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("channel    alpha"), "{text}");
}

#[test]
fn the_channel_goes_up_and_never_below_what_ran() {
    let root = Root::new();
    assert_eq!(root.good("channel"), "beta\n");
    assert_eq!(root.good("channel set alpha"), "following alpha\n");
    assert_eq!(root.good("channel"), "alpha\n");
    // Nothing of alpha has run yet.
    assert_eq!(root.good("channel set stable"), "following stable\n");
    let record = "var/lib/coreos/update/record.0";
    let text = fs::read_to_string(root.0.path().join(record)).unwrap();
    assert!(text.contains("\"chosen\""));
    // The configuration is changed afterwards: it has the last word.
    root.write("etc/coreos/update.conf", "GROUP=alpha\n");
    assert_eq!(root.good("channel"), "alpha\n");
    assert_eq!(root.run("channel set edge").status.code(), Some(2));
}

#[test]
fn pins_and_pardons_are_remembered() {
    let root = Root::new();
    root.good("pin 1.3");
    assert!(root.good("status").contains("pinned     1.3"));
    root.good("unpin");
    assert!(!root.good("status").contains("pinned"));
    assert_eq!(root.good("forgive 1.3"), "1.3 has not failed on this machine\n");
    let history = root.good("history");
    assert!(history.contains("pin ") && history.contains("unpin"), "{history}");
    let first: Value =
        serde_json::from_str(root.good("history --json").lines().next().unwrap()).unwrap();
    assert_eq!(first["version"], "1.3");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let root = Root::new();
    assert!(root.bad("check").contains("there is no SERVER"));
    root.write("etc/coreos/update.conf", "SERVER=http://127.0.0.1:1\n");
    assert!(root.bad("check").contains("this image trusts no publisher"));
    assert!(root.bad("rollback").contains("not booted from a slot"));
    assert!(root.bad("reboot").contains("no release waits for a reboot"));
    root.write("usr/lib/os-release", "NAME=x\n");
    assert!(root.bad("status").contains("IMAGE_VERSION"));
    assert_eq!(root.run("frobnicate").status.code(), Some(2));
}

#[test]
fn a_second_agent_refuses() {
    let root = Root::new();
    let run = root.0.path().join("run/coreos/update");
    fs::create_dir_all(&run).unwrap();
    let file = fs::File::create(run.join("lock")).unwrap();
    fs::write(run.join("lock"), "pid 77\n").unwrap();
    file.lock().unwrap();
    for words in ["apply", "explain"] {
        let text = root.bad(words);
        assert!(text.contains("another update-agent is at work (pid 77)"), "{words}: {text}");
    }
    // Looking is always possible.
    root.good("status");
}
