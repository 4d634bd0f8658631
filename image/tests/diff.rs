//! `image diff` and the documents of a build, from the outside.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Project, Run, content};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&content(path).expect("there")).expect("JSON")
}

fn diff(project: &Project, more: &[&str]) -> Run {
    Run::of(project.command().args(["diff", "first", "second"]).args(more))
}

/// Two builds: one file changed, one added, one removed.
fn built() -> Project {
    let project = Project::new();
    project.write("overlay/etc/gone", "gone\n");
    let build = |project: &Project, output: &str, version: &str| {
        let mut arguments = Project::build_arguments(output);
        arguments.extend(["--no-qcow2".to_owned(), format!("--version={version}")]);
        Run::of(project.command().args(arguments)).succeeded();
    };
    build(&project, "first", "1.0.0");
    fs::remove_file(project.path("overlay/etc/gone")).expect("removed");
    project.write("overlay/etc/motd", "hello, world\n");
    project.write("overlay/etc/new", "new\n");
    build(&project, "second", "1.1.0");
    project
}

#[test]
fn what_changed_is_told_with_what_a_machine_would_fetch() {
    let project = built();
    let told = diff(&project, &["--files"]).succeeded().stdout;
    for line in [
        "version 1.0.0 → 1.1.0\n",
        "packages: 0 changed, 0 added, 0 removed\n",
        "  ~ etc/motd 6 bytes → 13 bytes\n",
        "  + etc/new 0 bytes → 4 bytes\n",
        "  - etc/gone 5 bytes → 0 bytes\n",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    let difference: Value =
        serde_json::from_str(&diff(&project, &["--json"]).succeeded().stdout).expect("JSON");
    let number = |path: &str| difference.pointer(path).and_then(Value::as_u64).expect("a number");
    // The large file has not changed and is not fetched again.
    let (fetched, whole) = (number("/download/root"), number("/root/new"));
    assert!(fetched > 0 && fetched * 10 < whole, "{fetched} of {whole}");
    let same = Run::of(project.command().args(["diff", "first", "first"])).succeeded().stdout;
    assert!(
        same.contains("a machine fetches ") && same.contains(": 0 bytes of the root"),
        "{same}"
    );
}

#[test]
fn a_directory_without_a_build_is_told() {
    let project = Project::new();
    diff(&project, &[]).failed("first is no directory of a build");
}

#[test]
fn every_package_is_in_every_document() {
    let project = Project::new();
    project.build(&["--no-qcow2"]).succeeded();
    let path = |end: &str| project.path(&format!("output/coreos_1.2.3.{end}"));
    let spdx = json(&path("spdx.json"));
    assert_eq!(spdx["spdxVersion"], "SPDX-2.3");
    assert_eq!(spdx["packages"][1]["name"], "small");
    let locator = &spdx["packages"][1]["externalRefs"][0]["referenceLocator"];
    assert_eq!(locator, "pkg:deb/debian/small@1.0-1?arch=amd64&distro=trixie");
    let cyclonedx = json(&path("cdx.json"));
    assert_eq!(cyclonedx["bomFormat"], "CycloneDX");
    assert_eq!(cyclonedx["components"][0]["purl"], *locator);
    assert_eq!(json(&path("packages.json"))["packages"]["small"]["version"], "1.0-1");
    let licences = fs::read_to_string(path("licences.txt")).expect("there");
    assert!(licences.contains("small"), "{licences}");
}
