//! `image inspect` from the outside, on what this program makes and on what
//! others do.

mod support;

use std::fs;

use serde_json::Value;
use support::checks::run;
use support::{Project, Run};

fn inspect(project: &Project, file: &str) -> Run {
    Run::of(project.command().args(["inspect", file]))
}

fn inspect_json(project: &Project, file: &str) -> Value {
    let run = Run::of(project.command().args(["inspect", "--json", file])).succeeded();
    serde_json::from_str(&run.stdout).expect("JSON")
}

#[test]
fn every_result_of_a_build_is_recognised_by_its_content() {
    let project = Project::new();
    project.build(&[]).succeeded();
    for (file, kind, first_line) in [
        ("coreos.raw", "disk", "disk image, 113 MB, "),
        ("coreos_1.2.3.root", "root", "root file system, EROFS, "),
        ("coreos_1.2.3.verity", "verity", "verity tree over "),
        ("coreos_1.2.3.efi", "uki", "EFI program, "),
    ] {
        fs::copy(project.path("output").join(file), project.path("thing")).expect("copied");
        let text = inspect(&project, "thing").succeeded().stdout;
        assert!(text.starts_with(first_line), "{text}");
        assert_eq!(inspect_json(&project, "thing")["kind"], kind);
    }
    let text = inspect(&project, "output/coreos.raw").succeeded().stdout;
    for line in [
        "    1 ESP                64 MiB at      1 MiB  ",
        "    a 1.2.3, ",
        "    b empty",
        "    coreos_1.2.3+3.efi: 3 tries left, 0 done, slot a, kernel 6.1.0-test, ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line:?} in\n{text}");
    }
    inspect(&project, "output/coreos.qcow2")
        .failed("qemu-img convert -O raw output/coreos.qcow2 disk.raw");
}

#[test]
fn a_damaged_partition_table_is_told() {
    let project = Project::new();
    project.build(&["--no-qcow2"]).succeeded();
    let raw = project.path("output/coreos.raw");
    let mut bytes = fs::read(&raw).expect("there");
    bytes[512..1024].fill(0xff);
    fs::write(&raw, &bytes).expect("written");
    let report = inspect_json(&project, "output/coreos.raw");
    assert_eq!(report["recovered"], true);
    let end = bytes.len() - 512;
    bytes[end..].fill(0xff);
    fs::write(&raw, &bytes).expect("written");
    inspect(&project, "output/coreos.raw").failed("output/coreos.raw");
}

#[test]
fn discs_of_other_programs_are_read_and_judged() {
    let project = Project::new();
    for (config, accepted) in
        [("#cloud-config\nhostname: a\n", true), ("#cloud-config\nusers: 7\n", false)]
    {
        project.write("tree/user-data", config);
        project.write("tree/meta-data", "instance-id: a\n");
        let options = ["-as", "mkisofs", "-quiet", "-J", "-R", "-V", "cidata", "-o"];
        run("xorriso", &options, &[&project.path("disc.iso"), &project.path("tree")]);
        let report = inspect_json(&project, "disc.iso");
        assert_eq!(report["kind"], "config_disc");
        assert_eq!(report["label"], "cidata");
        assert_eq!(report["accepted"], accepted);
        assert_eq!(report["findings"].as_array().map(Vec::is_empty), Some(accepted));
        let text = inspect(&project, "disc.iso").succeeded().stdout;
        assert_eq!(text.contains("a machine accepts"), accepted, "{text}");
        assert_eq!(text.contains("user-data:2:8: error: "), !accepted, "{text}");
    }
}

#[test]
fn a_fat_volume_with_a_configuration_is_a_disc() {
    let project = Project::new();
    project.write("user-data", "#!/bin/sh\n");
    let disc = project.path("disc.img");
    fs::File::create(&disc).and_then(|file| file.set_len(4 << 20)).expect("sparse");
    run("mkfs.fat", &["-n", "CIDATA"], &[&disc]);
    let source = project.path("user-data");
    run("mcopy", &["-i"], &[&disc, &source, "::user-data".as_ref()]);
    let report = inspect_json(&project, "disc.img");
    assert_eq!(report["label"], "CIDATA");
    assert_eq!(report["accepted"], true);
}

#[test]
fn what_is_cut_off_or_rubbish_is_told_in_one_line() {
    let project = Project::new();
    project.write("user-data", &format!("#cloud-config\n{}", "# a comment\n".repeat(20_000)));
    let mut command = project.command();
    command.args(["config-iso", "--user-data=user-data", "-o", "disc.iso"]);
    Run::of(&mut command).succeeded();
    let iso = fs::read(project.path("disc.iso")).expect("there");
    project.build(&["--no-qcow2"]).succeeded();
    let result = |name: &str| fs::read(project.path("output").join(name)).expect("there");
    let (raw, uki, root) =
        (result("coreos.raw"), result("coreos_1.2.3.efi"), result("coreos_1.2.3.root"));
    for (bytes, complaint) in [
        (&iso[..40_000], "thing"),
        (&iso[..150_000], "damaged config disc"),
        (&raw[..3 << 20], "damaged disk image"),
        (&uki[..5000], "damaged EFI program"),
        (&root[..100_000], "damaged root file system"),
        (&b""[..], "is no disk image"),
        (&b"verity\0\0"[..], "damaged verity tree"),
        (&[0xa5; 100_000][..], "is no disk image"),
    ] {
        fs::write(project.path("thing"), bytes).expect("written");
        inspect(&project, "thing").failed(complaint);
    }
    inspect(&project, "nowhere").failed("cannot read nowhere");
    inspect(&project, ".").failed("cannot read .");
}
