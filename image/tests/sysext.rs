//! System extensions of packages: what goes in, what does not, and what is refused.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};

use disk::erofs::{Found, content, list};
use disk::gpt::Table;
use disk::window::Window;
use support::deb::{self, Locked, deb_of, header};
use support::{Project, Run};
use tar::{Builder, EntryType};

const CONTROL: &str = "Package: tool\nVersion: 1\nArchitecture: amd64\nDescription: test\n";

/// Path, mode and text of a file.
type Entry<'a> = (&'a str, u32, &'a str);

/// A project whose archive has a package `tool` of these files, and the lock of an extension of it.
fn project(files: &[Entry<'_>], scripts: &[(&str, &str)]) -> Project {
    let project = Project::new();
    let mut data = Builder::new(Vec::new());
    for (path, mode, text) in files {
        let mut header = header(EntryType::Regular, *mode, text.len());
        data.append_data(&mut header, format!("./{path}"), text.as_bytes()).unwrap();
    }
    let bytes = deb_of(CONTROL, scripts, &data.into_inner().unwrap());
    fs::write(project.path("archive/tool.deb"), &bytes).unwrap();
    let url = format!("file:{}", project.path("archive").display());
    let locked = [Locked::new("tool", "1", "tool.deb", &bytes)];
    project.write("tool.lock", &deb::lock(&url, &["tool"], &locked));
    project
}

fn make(project: &Project, more: &[&str]) -> Run {
    let fixed = ["sysext", "--packages=tool", "--manifest=manifest.toml", "--cache=cache"];
    Run::of(project.command().args(fixed).args(["-o", "tool.raw"]).args(more))
}

/// The files of an extension, and the text of one.
fn files(project: &Project) -> (BTreeMap<String, Found>, impl Fn(&Found) -> String) {
    let file = File::open(project.path("tool.raw")).unwrap();
    let table = Table::read(&mut &file).unwrap();
    let range = table.byte_range(&table.partition(1).unwrap());
    let found = list(Window::new(&file, range.clone())).unwrap();
    let text = move |found: &Found| {
        let bytes = content(Window::new(&file, range.clone()), found, 4096).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    (found, text)
}

#[test]
fn an_extension_has_what_of_its_packages_it_may_have_and_the_same_bytes_each_time() {
    let project = project(
        &[
            ("usr/bin/tool", 0o755, "tool\n"),
            ("lib/libtool.so", 0o644, "library\n"),
            ("opt/tool/data", 0o600, "data\n"),
            ("etc/tool.conf", 0o644, "settings\n"),
            ("usr/share/doc/tool/copyright", 0o644, "mine\n"),
        ],
        &[("postinst", "#!/bin/sh\nadduser tool\n")],
    );
    let remove = "[[remove]]\nreason = \"documents\"\npaths = [\"usr/share/doc\"]\noptional = true\n\n[units]";
    project.change_manifest("[units]", remove);
    let run = make(&project, &[]).succeeded();
    assert!(run.stdout.contains("package tool 1\nroot hash "), "{}", run.stdout);
    assert!(run.stderr.contains("holds /usr and /opt alone: etc/tool.conf\n"), "{}", run.stderr);
    assert!(run.stderr.contains("is not done: tool (postinst)\n"), "{}", run.stderr);
    let (found, text) = files(&project);
    let names: Vec<&str> =
        found.iter().filter(|(_, file)| file.is_file()).map(|(path, _)| path.as_str()).collect();
    let release = "usr/lib/extension-release.d/extension-release.tool";
    assert_eq!(names, ["opt/tool/data", "usr/bin/tool", release, "usr/lib/libtool.so"]);
    assert_eq!(found["usr/bin/tool"].mode & 0o7777, 0o755);
    assert_eq!(found["opt/tool/data"].mode & 0o7777, 0o600);
    assert_eq!(text(&found[release]), "ID=coreos-test\nSYSEXT_LEVEL=1\nARCHITECTURE=x86-64\n");

    let first = fs::read(project.path("tool.raw")).unwrap();
    fs::remove_dir_all(project.path("cache")).unwrap();
    let again = make(&project, &[]).succeeded();
    assert_eq!(again.stdout, run.stdout);
    assert!(fs::read(project.path("tool.raw")).unwrap() == first);
    // A directory lies over the packages.
    project.write("more/usr/bin/tool", "mine\n");
    make(&project, &["more"]).succeeded();
    let (found, text) = files(&project);
    assert_eq!(text(&found["usr/bin/tool"]), "mine\n");
}

#[test]
fn what_would_harm_the_system_is_refused_and_named() {
    let plain = ("usr/bin/tool", 0o755, "tool\n");
    for (file, more, what) in [
        (("usr/bin/su", 0o4755, "x"), &[][..], "usr/bin/su would run with the rights of others"),
        (("usr/share/large", 0o644, "x"), &[], "usr/share/large is a file of the image"),
        (
            ("usr/lib/modules/6/a.ko", 0o644, "x"),
            &[],
            "usr/lib/modules/6/a.ko is a file of the image",
        ),
        (
            ("usr/bin/script", 0o755, "#!/usr/bin/perl\n"),
            &[],
            "usr/bin/script needs the interpreter /usr/bin/perl, which is not there; name a package",
        ),
        (("usr/bin/x", 0o755, "x"), &["--packages=more"], "it was made for tool; write it anew"),
        (
            ("usr/bin/x", 0o755, "x"),
            &["--packages=small", "--packages-lock=new"],
            "small is in the image",
        ),
    ] {
        let run = make(&project(&[plain, file], &[]), more);
        run.failed(what);
    }
    let project = project(&[plain, ("usr/bin/su", 0o4755, "x")], &[]);
    make(&project, &["--privileged"]).succeeded();
    assert_eq!(files(&project).0["usr/bin/su"].mode & 0o7777, 0o4755);
}

#[test]
fn an_extension_of_nothing_that_it_may_hold_is_refused() {
    let project = project(&[("etc/tool.conf", 0o644, "settings\n")], &[]);
    make(&project, &[]).failed("tool has no files below usr or opt");
    assert!(!project.path("tool.raw").exists());
    Run::of(project.command().args(["sysext", "-o", "x.raw"]))
        .code
        .filter(|code| *code == 2)
        .unwrap();
}
