//! `image build` from the outside, on a project of a few files.

mod support;

use std::fs;
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
fn a_compressed_root_passes_the_same_checkers() {
    let project = Project::new();
    project.change_manifest("state = \"8 MiB\"", "state = \"8 MiB\"\ncompression = \"zstd\"");
    project.build(&[]).failed("unknown variant `zstd`, expected `none` or `lz4`");
    project.change_manifest("\"zstd\"", "\"lz4\"");
    let run = project.build(&[]).succeeded();
    assert!(run.stderr.contains("compressed with LZ4"), "{}", run.stderr);
    check_image(&project.path("output"));
    let root = project.path("output/coreos_1.2.3.root");
    let report = image::inspect::inspect(&root).expect("readable").to_string();
    assert!(report.contains("LZ4"), "{report}");
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
    fs::remove_dir_all(project.path("archive")).expect("removed");
    fs::remove_dir_all(project.path("cache")).expect("removed");
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
fn a_build_after_another_makes_the_bytes_of_one_from_nothing() {
    let project = Project::new();
    project.build(&[]).succeeded();
    let changes: [(&str, &str); 4] = [
        ("programs/coreos-init", "another first program\n"),
        ("overlay/etc/motd", &"longer than a block\n".repeat(1000)),
        ("overlay/usr/lib/a-new-one", "new\n"),
        // Damage is not taken over.
        ("output/coreos_1.2.3.verity", "damaged"),
    ];
    for (number, (file, text)) in changes.into_iter().enumerate() {
        project.write(file, text);
        project.build(&[]).succeeded();
        let fresh = format!("fresh-{number}");
        Run::of(project.command().args(Project::build_arguments(&fresh))).succeeded();
        for name in RESULTS.iter().filter(|&&name| name != "stamp.json") {
            let same = content(&project.path(&format!("output/{name}")))
                == content(&project.path(&format!("{fresh}/{name}")));
            assert!(same, "{file}: {name}");
        }
    }
}

#[test]
fn another_version_takes_the_place_of_the_last() {
    let project = Project::new();
    project.build(&[]).succeeded();
    project.build(&["--version", "2.0.0~rc1", "--no-qcow2"]).succeeded();
    assert_eq!(
        project.names("output"),
        [
            ".spare",
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
    let cases: [(Change, &[&str], &str); 14] = [
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
        (
            |project| fs::remove_file(project.path("manifest.lock")).expect("removed"),
            &[],
            "there is no lock manifest.lock: write it with `image lock --manifest manifest.toml`",
        ),
        (
            |project| project.change_manifest("[\"small\"]", "[\"large\", \"small\"]"),
            &[],
            "the lock manifest.lock is not of this manifest: it does not have large",
        ),
        (
            |project| project.write("manifest.lock", "format = 2"),
            &[],
            "manifest.lock:1: missing field",
        ),
        (
            |project| fs::remove_file(project.path("archive/small.deb")).expect("removed"),
            &[],
            "small 1.0-1 has vanished from the archive",
        ),
        (
            |project| project.write("archive/small.deb", "something else"),
            &[],
            "is not small 1.0-1 of the lock: its SHA-256 is",
        ),
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
fn a_signal_stops_the_build_and_leaves_nothing() {
    let project = Project::new();
    // Another build has its turn, and takes its time.
    fs::create_dir_all(project.path("cache")).expect("directory made");
    let turn = fs::File::create(project.path("cache/lock")).expect("created");
    turn.lock().expect("locked");
    let arguments = Project::build_arguments("output");
    let log = fs::File::create(project.path("log")).expect("created");
    let mut child = project.command().args(arguments).stderr(log).spawn().expect("runs");
    let told = || fs::read_to_string(project.path("log")).expect("readable");
    wait_until(|| told().contains("waiting for another build that uses the same cache"));
    let status = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(status.success());
    let code = child.wait().expect("ends").code();
    assert_eq!(code, Some(128 + 15), "{}", told());
    assert!(told().contains("error: interrupted"), "{}", told());
    assert!(!project.path("output").exists());
}

#[test]
fn builds_that_share_a_cache_take_turns() {
    let project = Project::new();
    let children: Vec<_> = ["one", "two", "three"]
        .map(|output| {
            let arguments = Project::build_arguments(output);
            project.command().args(arguments).stderr(Stdio::piped()).spawn().expect("runs")
        })
        .into();
    for child in children {
        Run::from(child.wait_with_output().expect("ends")).succeeded();
    }
    let root = |output: &str| content(&project.path(&format!("{output}/coreos_1.2.3.root")));
    assert!(root("one").is_some() && root("one") == root("two") && root("two") == root("three"));
    assert_eq!(project.names("cache"), ["debs", "lock", "trees"]);
    assert_eq!(project.names("cache/trees").len(), 1);
}

#[test]
fn what_a_killed_build_left_is_swept_and_damage_is_mended() {
    let project = Project::new();
    project.write("cache/trees/.new-something/data", "half");
    project.build(&[]).succeeded();
    let trees = project.names("cache/trees");
    assert_eq!(trees.len(), 1, "{trees:?}");
    let root = content(&project.path("output/coreos_1.2.3.root"));
    // A tree whose contents were cut, and a package that was changed, are made again.
    project.write(&format!("cache/trees/{}/data", trees[0]), "cut");
    let debs = project.names("cache/debs");
    let deb = debs.iter().find(|name| name.ends_with(".deb")).expect("a package");
    project.write(&format!("cache/debs/{deb}"), "damaged");
    fs::remove_dir_all(project.path("output")).expect("removed");
    project.build(&[]).succeeded();
    assert!(content(&project.path("output/coreos_1.2.3.root")) == root);
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
