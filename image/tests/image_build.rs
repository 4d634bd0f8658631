//! `image build` from the outside, on a project of a few files.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use support::checks::check_image;
use support::{Project, Run, content};

/// Everything that a build of the project leaves.
const RESULTS: [&str; 11] = [
    "coreos.qcow2",
    "coreos.raw",
    "coreos_1.2.3.cdx.json",
    "coreos_1.2.3.efi",
    "coreos_1.2.3.licences.txt",
    "coreos_1.2.3.manifest.json",
    "coreos_1.2.3.packages.json",
    "coreos_1.2.3.root",
    "coreos_1.2.3.spdx.json",
    "coreos_1.2.3.verity",
    "stamp.json",
];

#[test]
fn the_results_pass_the_checkers_of_their_formats() {
    let project = Project::new();
    project.build(&[]).succeeded();
    assert_eq!(project.names("output"), RESULTS);
    check_image(&project.path("output"));
}

#[test]
fn the_same_inputs_give_the_same_bytes_anywhere() {
    let (first, second) = (Project::new(), Project::new());
    first.build(&[]).succeeded();
    second.build(&[]).succeeded();
    for name in RESULTS.iter().filter(|&&name| name != "stamp.json") {
        let path = format!("output/{name}");
        assert!(content(&first.path(&path)) == content(&second.path(&path)), "{name}");
    }
}

#[test]
fn a_second_build_with_nothing_changed_builds_nothing() {
    let project = Project::new();
    project.build(&[]).succeeded();
    let stamp = content(&project.path("output/stamp.json"));
    project.set_installer("echo must not run >&2; exit 1");
    let run = project.build(&[]).succeeded();
    assert_eq!(run.stdout, "up to date: output\n");
    assert_eq!(content(&project.path("output/stamp.json")), stamp);
}

#[test]
fn what_changed_is_named_and_built_anew() {
    let project = Project::new();
    project.build(&[]).succeeded();
    let before = content(&project.path("output/coreos_1.2.3.root"));
    for (file, name) in [
        ("programs/coreos-init", "program coreos-init"),
        ("overlay/etc/motd", "overlay overlay"),
        ("output/coreos.raw", "coreos.raw"),
    ] {
        project.write(file, "something else\n");
        let run = project.build(&[]).succeeded();
        assert!(run.stderr.contains(&format!("changed: {name}\n")), "{}", run.stderr);
    }
    assert_ne!(content(&project.path("output/coreos_1.2.3.root")), before);
    check_image(&project.path("output"));
}

#[test]
fn another_version_takes_the_place_of_the_last() {
    let project = Project::new();
    project.build(&[]).succeeded();
    project.build(&["--version", "2.0.0~rc1", "--no-qcow2"]).succeeded();
    assert_eq!(
        project.names("output"),
        [
            "coreos.raw",
            "coreos_2.0.0~rc1.cdx.json",
            "coreos_2.0.0~rc1.efi",
            "coreos_2.0.0~rc1.licences.txt",
            "coreos_2.0.0~rc1.manifest.json",
            "coreos_2.0.0~rc1.packages.json",
            "coreos_2.0.0~rc1.root",
            "coreos_2.0.0~rc1.spdx.json",
            "coreos_2.0.0~rc1.verity",
            "stamp.json"
        ]
    );
}

#[test]
fn machines_read_one_object_per_line() {
    let project = Project::new();
    let run = project.build(&["--json"]).succeeded();
    let events: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert!(count("start") >= 7);
    assert_eq!(count("start"), count("end"));
    let result = events.last().expect("events");
    assert_eq!(result["event"], "result");
    assert_eq!(result["version"], "1.2.3");
    assert_eq!(result["root_hash"].as_str().map(str::len), Some(64));

    project.write("manifest.toml", "nonsense");
    let run = project.build(&["--json"]).failed("manifest.toml:1:");
    let event: serde_json::Value = serde_json::from_str(run.stdout.trim()).expect("one object");
    assert_eq!(event["event"], "error");
}

#[test]
fn mistakes_are_told_in_one_line_and_leave_no_trace() {
    type Change = fn(&Project);
    let cases: [(Change, &[&str], &str); 10] = [
        (
            |project| fs::remove_file(project.path("manifest.toml")).expect("removed"),
            &[],
            "cannot read the manifest manifest.toml",
        ),
        (|project| project.write("manifest.toml", "id = 7"), &[], "manifest.toml:1:"),
        (|project| project.change_manifest("name = ", "nmae = "), &[], "nmae"),
        (
            |project| fs::remove_file(project.path("programs/coreos-init")).expect("removed"),
            &[],
            "programs/coreos-init; build it first",
        ),
        (
            |project| project.change_manifest("\"overlay\"", "\"nowhere\""),
            &[],
            "nowhere, an overlay of the manifest",
        ),
        (
            |project| project.change_manifest("\"virtio_blk\"", "\"e1000\""),
            &[],
            "no module `e1000`",
        ),
        (
            |project| project.change_manifest("root = \"16 MiB\"", "root = \"2 MiB\""),
            &[],
            "more than 85 % of its slot",
        ),
        (
            |project| project.change_manifest("esp = \"64 MiB\"", "esp = \"34 MiB\""),
            &[],
            "3 must fit the EFI partition",
        ),
        (|_| (), &["--version", "1/2"], "\"1/2\" is not a version"),
        (|project| project.set_installer("echo 'E: broken' >&2; exit 1"), &[], "broken"),
    ];
    for (change, more, complaint) in cases {
        let project = Project::new();
        change(&project);
        project.build(more).failed(complaint);
        assert!(!project.path("output").exists(), "{complaint}");
    }
}

#[test]
fn an_output_that_cannot_be_a_directory_is_named() {
    let project = Project::new();
    project.write("file", "");
    let arguments = Project::build_arguments("file/output");
    Run::of(project.command().args(arguments)).failed("output directory file/output");
}

/// Runs a build that may write files of at most so many blocks of 512 bytes.
fn limited(project: &Project, blocks: u32) -> Run {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f \"$0\" && exec \"$@\""]).arg(blocks.to_string());
    command.arg(env!("CARGO_BIN_EXE_image")).args(Project::build_arguments("output"));
    project.prepare(&mut command);
    Run::of(&mut command)
}

#[test]
fn a_file_that_cannot_be_written_whole_leaves_the_earlier_results() {
    let project = Project::new();
    project.build(&[]).succeeded();
    let before: Vec<_> =
        RESULTS.iter().map(|name| content(&project.path(&format!("output/{name}")))).collect();
    project.write("overlay/etc/motd", "changed\n");
    // The root has more than 2 MB.
    limited(&project, 2000).failed("cannot write output/.building/coreos_1.2.3.root");
    assert_eq!(project.names("output"), RESULTS);
    let after: Vec<_> =
        RESULTS.iter().map(|name| content(&project.path(&format!("output/{name}")))).collect();
    assert!(before == after);
}

#[test]
fn a_signal_stops_the_build_and_what_it_runs_and_leaves_nothing() {
    let project = Project::new();
    let script = "cd \"$(dirname \"$0\")/..\" && echo $$ > new && mv new pid && exec sleep 600";
    project.set_installer(script);
    let arguments = Project::build_arguments("output");
    let child = project.command().args(arguments).stderr(Stdio::piped()).spawn().expect("runs");
    let installer = wait_for(&project.path("pid"));
    let pid = child.id().to_string();
    let status = Command::new("kill").arg(&pid).status().expect("kill");
    assert!(status.success());
    let run = Run::from(child.wait_with_output().expect("ends"));
    assert_eq!(run.code, Some(128 + 15), "{}", run.stderr);
    assert!(run.stderr.contains("error: interrupted"), "{}", run.stderr);
    assert!(!project.path("output").exists());
    let process = format!("/proc/{}/cmdline", installer.trim());
    wait_until(|| !content(Path::new(&process)).is_some_and(|line| line.starts_with(b"sleep")));
}

fn wait_for(path: &Path) -> String {
    wait_until(|| path.exists());
    fs::read_to_string(path).expect("readable")
}

/// Waits for what must come, far longer than it can take.
fn wait_until(happened: impl Fn() -> bool) {
    for _ in 0..6000 {
        if happened() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it never happened");
}
