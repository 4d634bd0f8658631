//! Scripts of packages that run in a sandbox, and files that a package has put elsewhere.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::deb::{self, Locked};
use support::{Project, Run};
use tar::{Builder, EntryType};

/// What the scripts need of the tree.
const PROGRAMS: [(&str, &str); 8] = [
    ("/bin/sh", "usr/bin/sh"),
    ("/usr/bin/env", "usr/bin/env"),
    ("/usr/bin/setpriv", "usr/bin/setpriv"),
    ("/bin/chown", "usr/bin/chown"),
    ("/bin/chmod", "usr/bin/chmod"),
    ("/bin/ln", "usr/bin/ln"),
    ("/bin/rm", "usr/bin/rm"),
    ("/bin/mkdir", "usr/bin/mkdir"),
];

fn control(name: &str) -> String {
    format!(
        "Package: {name}\nVersion: 1\nArchitecture: amd64\nInstalled-Size: 1\n\
         Maintainer: Nobody <nobody@localhost>\nDescription: a package\n"
    )
}

/// A shell and a few programs of this machine, with their libraries.
fn programs() -> Vec<u8> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (from, to) in PROGRAMS {
        files.insert(to.to_owned(), fs::canonicalize(from).expect("a program of the machine"));
        let output = Command::new("ldd").arg(from).output().expect("ldd");
        for word in String::from_utf8_lossy(&output.stdout).split_whitespace() {
            if word.starts_with('/') {
                let real = fs::canonicalize(word).expect("a library");
                files.insert(
                    format!("usr/{}", word.trim_start_matches("/usr").trim_start_matches('/')),
                    real,
                );
            }
        }
    }
    let mut tar = Builder::new(Vec::new());
    for (link, to) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        let mut header = deb::header(EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("./{link}"), to).expect("appended");
    }
    for (path, from) in files {
        let bytes = fs::read(&from).expect("readable");
        let mut header = deb::header(EntryType::Regular, 0o755, bytes.len());
        tar.append_data(&mut header, format!("./{path}"), bytes.as_slice()).expect("appended");
    }
    tar.into_inner().expect("written")
}

/// A project with a third package, `busy`, that has these scripts; `small` has `usr/share/large`.
fn project(scripts: &[(&str, &str)], entry: &str) -> Project {
    let project = Project::new();
    let small = fs::read(project.path("archive/small.deb")).expect("there");
    let shell = deb::deb_of(&control("a-shell"), &[], &programs());
    let mut data = Builder::new(Vec::new());
    for (path, text) in [
        ("etc/busy.conf", "old\n"),
        ("usr/share/busy/stale", "stale\n"),
        ("usr/share/large", "own\n"),
    ] {
        let mut header = deb::header(EntryType::Regular, 0o644, text.len());
        data.append_data(&mut header, format!("./{path}"), text.as_bytes()).expect("appended");
    }
    let busy = deb::deb_of(&control("busy"), scripts, &data.into_inner().expect("written"));
    let url = format!("file:{}", project.path("archive").display());
    let packages = [("a-shell", "1", &shell), ("busy", "1", &busy), ("small", "1.0-1", &small)]
        .map(|(name, version, bytes)| {
            fs::write(project.path(&format!("archive/{name}.deb")), bytes).expect("written");
            Locked::new(name, version, &format!("{name}.deb"), bytes)
        });
    project.write("manifest.lock", &deb::lock(&url, &["busy", "small"], &packages));
    project.change_manifest("[\"small\"]", "[\"busy\", \"small\"]");
    project.change_manifest("[accounts.groups]", "[accounts.groups]\nbusy = 251");
    let entry = format!("{entry}\ngroups = [{{ name = \"busy\" }}]");
    let diversion = "diversions = [{ path = \"usr/share/large\", to = \"usr/share/large.other\" }]";
    project.change_manifest(
        "[units]",
        &format!("[[script]]\npackage = \"busy\"\n{entry}\n{diversion}\n\n[units]"),
    );
    project
}

fn tree(project: &Project) -> Run {
    Run::of(project.command().args([
        "tree",
        "--manifest=manifest.toml",
        "--coreos-init=programs/coreos-init",
        "--cache=cache",
        "--tar=tree.tar",
    ]))
}

/// The files of the tree: kind, mode and owner, and the text of small ones.
fn files(tar: &Path) -> BTreeMap<String, (EntryType, u32, u64, u64, String)> {
    let mut archive = tar::Archive::new(fs::File::open(tar).expect("a tar"));
    let mut found = BTreeMap::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let header = entry.header().clone();
        let mut text = String::new();
        if entry.size() < 5000 {
            let _ = entry.by_ref().read_to_string(&mut text);
        }
        let link = header.link_name().expect("a link").unwrap_or_default();
        text += &link.to_string_lossy();
        let (mode, uid, gid) =
            (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        found.insert(path, (header.entry_type(), mode, uid, gid, text));
    }
    found
}

#[test]
fn what_a_script_does_is_in_the_tree_and_said() {
    let postinst = "#!/bin/sh\nset -e\n[ \"$1\" = configure ]\n\
        echo new >/etc/busy.conf\nmkdir -p /usr/share/busy/made\nchown 0:251 /usr/share/busy/made\n\
        chmod 2750 /usr/share/busy/made\nln -s ../busy.conf /etc/busy.d\nrm /usr/share/busy/stale\n\
        echo left >/tmp/left\necho left >/run/left\necho said by a script\n\
        echo \"$DPKG_MAINTSCRIPT_PACKAGE $DPKG_MAINTSCRIPT_NAME\" >/etc/who\n";
    let preinst = "#!/bin/sh\necho \"$1\" >/etc/before\n";
    let scripts = [("postinst", postinst), ("preinst", preinst)];
    let project = project(&scripts, "scripts = \"sandboxed\"");
    let run = tree(&project).succeeded();
    let warning = "warning: the image has what scripts of busy wrote in a sandbox";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    assert!(run.stderr.contains("ran those of busy in a sandbox"), "{}", run.stderr);
    let files = files(&project.path("tree.tar"));
    let text = |path: &str| files.get(path).map(|file| file.4.as_str());
    assert_eq!(text("etc/busy.conf"), Some("new\n"));
    assert_eq!(text("etc/busy.d"), Some("../busy.conf"));
    assert_eq!(text("etc/before"), Some("install\n"));
    assert_eq!(text("etc/who"), Some("busy postinst\n"));
    assert_eq!(text("usr/share/busy/stale"), None);
    assert!(!files.keys().any(|path| path.ends_with("left") || path.contains(".scripts")));
    let made = &files["usr/share/busy/made"];
    assert_eq!((made.1, made.2, made.3), (0o2750, 0, 251));
    // The diversion: its own file, and the other package's beside it.
    assert_eq!(text("usr/share/large"), Some("own\n"));
    assert!(files.contains_key("usr/share/large.other"));

    // It comes out of the cache the same, and is still said.
    let before = fs::read(project.path("tree.tar")).expect("there");
    let run = tree(&project).succeeded();
    assert!(run.stderr.contains(warning) && !run.stderr.contains("ran those"), "{}", run.stderr);
    assert!(fs::read(project.path("tree.tar")).expect("there") == before);
    project.build(&[]).succeeded();
    let bill = fs::read(project.path("output/coreos_1.2.3.packages.json")).expect("there");
    let bill: serde_json::Value = serde_json::from_slice(&bill).expect("JSON");
    assert_eq!(bill["packages"]["busy"]["scripts"], "sandboxed");
    assert_eq!(bill["packages"]["small"].get("scripts"), None);
}

#[test]
fn a_script_sees_and_reaches_nothing_of_this_machine() {
    // Each line must fail, or find nothing.
    let postinst = "#!/bin/sh\n\
        [ ! -e /etc/passwd.of.host ] || exit 10\n\
        ls=$(echo /proc/[0-9]*); for process in $ls; do [ -e $process/root/etc/debian_version ] && exit 11; done\n\
        while read -r line; do case $line in *eth*|*ens*|*wl*) exit 12;; esac; done </proc/net/dev\n\
        setpriv --bounding-set +sys_admin true 2>/dev/null && exit 13\n\
        (cd / && exec 9</proc/1/root/etc/debian_version) 2>/dev/null && exit 14\n\
        echo x 2>/dev/null >/proc/sysrq-trigger && exit 15\n\
        exit 0\n";
    let project = project(&[("postinst", postinst)], "scripts = \"sandboxed\"");
    tree(&project).succeeded();
}

#[test]
fn a_script_that_fails_ends_the_build_with_its_words() {
    let postinst = "#!/bin/sh\necho there is no such thing >&2\nexit 3\n";
    let project = project(&[("postinst", postinst)], "scripts = \"sandboxed\"");
    let run = tree(&project).failed("the sandboxed scripts of packages failed");
    assert!(
        run.stderr.contains("  there is no such thing\n  busy: postinst ended with 3"),
        "{}",
        run.stderr
    );
    assert!(!project.path("tree.tar").exists());
    assert_eq!(project.names("cache/trees"), [""; 0]);
}

#[test]
fn without_the_word_no_script_runs() {
    let postinst = "#!/bin/sh\necho ran >/etc/ran\n";
    let project = project(&[("postinst", postinst)], "does = \"nothing\"");
    tree(&project).succeeded();
    assert!(!files(&project.path("tree.tar")).contains_key("etc/ran"));
}

#[test]
fn a_user_without_rights_runs_scripts_too() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let postinst = "#!/bin/sh\nset -e\necho new >/etc/busy.conf\nmkdir /etc/made\n";
    let project = project(&[("postinst", postinst)], "scripts = \"sandboxed\"");
    let top = project.path("");
    let status = Command::new("chown").args(["-R", "65534:65534"]).arg(&top).status();
    assert!(status.expect("chown").success());
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--no-new-privs",
    ]);
    let program = project.path("image");
    fs::copy(env!("CARGO_BIN_EXE_image"), &program).expect("copied");
    command.arg(program).args([
        "tree",
        "--manifest=manifest.toml",
        "--coreos-init=programs/coreos-init",
        "--cache=cache",
        "--tar=tree.tar",
    ]);
    project.prepare(&mut command);
    Run::of(&mut command).succeeded();
    let files = files(&project.path("tree.tar"));
    assert_eq!(files["etc/busy.conf"].4, "new\n");
    assert_eq!((files["etc/made"].2, files["etc/made"].3), (0, 0));
}
