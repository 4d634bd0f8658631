//! Builds into a directory that has earlier ones, whose files the new ones are written over.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use support::{Project, Run, content};

/// The results that are written over older ones.
const LARGE: [&str; 3] = ["coreos.qcow2", "coreos.raw", "coreos_1.2.3.root"];

/// A project that was built twice, so that the next build has something to write over.
fn built_twice() -> Project {
    let project = Project::new();
    project.build(&[]).succeeded();
    project.write("overlay/etc/motd", &"longer than a block\n".repeat(1000));
    project.build(&[]).succeeded();
    assert_eq!(project.names("output/.spare"), ["qcow2", "raw", "root"]);
    project
}

/// Builds from nothing and compares every result.
fn check_against_fresh(project: &Project, what: &str) {
    Run::of(project.command().args(Project::build_arguments("fresh"))).succeeded();
    for name in project.names("fresh").iter().filter(|name| *name != "stamp.json") {
        let same = content(&project.path(&format!("output/{name}")))
            == content(&project.path(&format!("fresh/{name}")));
        assert!(same, "{what}: {name}");
    }
    fs::remove_dir_all(project.path("fresh")).expect("removed");
}

#[test]
fn whatever_a_spare_holds_the_bytes_are_those_of_a_build_from_nothing() {
    let project = built_twice();
    let large = "x".repeat(30 << 20);
    for (number, damage) in ["", "short", &large].into_iter().enumerate() {
        for kind in ["qcow2", "raw", "root"] {
            project.write(&format!("output/.spare/{kind}"), damage);
        }
        project.write("programs/coreos-init", &format!("program {number}\n"));
        project.build(&[]).succeeded();
        check_against_fresh(&project, &format!("{} bytes", damage.len()));
    }
}

#[test]
fn a_build_that_is_killed_spoils_none_that_comes_after() {
    let project = built_twice();
    for (number, wait) in [0, 30, 60, 90, 120, 160, 200, 250, 300, 400].into_iter().enumerate() {
        project.write("overlay/etc/motd", &format!("number {number}\n").repeat(number * 900));
        let arguments = Project::build_arguments("output");
        let mut child = project
            .command()
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        thread::sleep(Duration::from_millis(wait));
        // SIGKILL; it may have ended already.
        let _ = child.kill();
        child.wait().expect("ends");
        if number % 3 == 2 {
            project.build(&[]).succeeded();
            check_against_fresh(&project, &format!("killed after {wait} ms"));
        }
    }
    project.build(&[]).succeeded();
    check_against_fresh(&project, "at the end");
}

#[test]
fn a_file_that_somebody_has_open_or_linked_does_not_change() {
    let project = Project::new();
    project.build(&[]).succeeded();
    let path = |name: &str| project.path(&format!("output/{name}"));
    let before = LARGE.map(|name| fs::read(path(name)).expect("there"));
    // As QEMU has a disk open, and as somebody keeps one.
    let open = LARGE.map(|name| File::open(path(name)).expect("there"));
    fs::hard_link(path("coreos.raw"), project.path("kept.raw")).expect("linked");
    for text in ["two\n", "three\n", "four\n"] {
        project.write("overlay/etc/motd", text);
        project.build(&[]).succeeded();
    }
    for ((name, file), before) in LARGE.iter().zip(&open).zip(&before) {
        let mut now = vec![0; before.len()];
        file.read_exact_at(&mut now, 0).expect("readable");
        assert!(now == *before, "{name}");
    }
    assert!(fs::read(project.path("kept.raw")).expect("there") == before[1]);
    check_against_fresh(&project, "beside open files");
}

#[test]
fn another_version_is_written_over_the_one_before() {
    let project = built_twice();
    project.build(&["--version", "2.0.0", "--no-qcow2"]).succeeded();
    // Of what is not built any more there is no spare.
    assert_eq!(project.names("output/.spare"), ["raw", "root"]);
    project.build(&["--version", "2.0.1"]).succeeded();
    assert!(project.path("output/coreos_2.0.1.root").exists());
    assert!(!project.path("output/coreos_2.0.0.root").exists());
}
