use std::fs;
use std::path::Path;

use crate::root::Root;
use crate::{coreos_init, fixture, run};

/// The fixture that has something of everything needs an address besides.
fn apply(root: &Root, file: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = coreos_init();
    command.arg("apply").arg("--root").arg(root.path()).arg("--from-file").arg(file).args(more);
    run(&mut command)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The listing with hashes shortened, as this user can make it.
fn golden() -> String {
    let golden = fs::read_to_string(fixture("everything.tree")).unwrap();
    if is_root() {
        return golden;
    }
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let own = format!(" {uid}:{gid}");
    let lines = golden.lines().map(|line| match line.rsplit_once(' ') {
        Some((start, owner)) if line.starts_with('/') && owner.contains(':') => {
            format!("{start}{own}\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn a_root_gets_all_that_a_machine_would() {
    let root = Root::new();
    let (code, out, err) = apply(&root, &fixture("everything.yaml"), &[]);
    assert_eq!(code, 0, "{err}");
    if is_root() {
        assert_eq!(err, "");
    }
    assert!(out.contains("wrote /etc/hostname\n"), "{out}");
    assert!(
        out.ends_with("on the machine: start app.service\non the machine: start etcd.service\n")
    );
    let found = root.listing();
    let ledger = found.find("/var/").expect("the ledger");
    assert_eq!(found[..ledger], golden(), "{found}");
    assert!(!found[ledger..].contains("s3cret"));
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let root = Root::new();
    apply(&root, &fixture("everything.yaml"), &[]);
    let before = root.listing();
    let (code, out, _) = apply(&root, &fixture("everything.yaml"), &[]);
    assert_eq!(code, 0);
    assert!(out.starts_with("nothing to do: all is as configured\n"), "{out}");
    assert_eq!(root.listing(), before);
}

#[test]
fn a_dry_run_says_and_does_nothing() {
    let root = Root::new();
    let before = root.listing();
    let (code, out, _) = apply(&root, &fixture("everything.yaml"), &["--dry-run"]);
    assert_eq!(code, 0);
    for line in [
        "file /etc/hostname 0644 0:0 6 bytes (hostname, 2:11)",
        "file /etc/app/token 0600 1000:998 6 bytes (write_files, 18:11)",
        "link /etc/systemd/system/tmp.mount -> /dev/null (coreos.units, 59:13)",
        "on the machine: start etcd.service",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }
    assert!(!out.contains("s3cret") && !out.contains("$6$"), "{out}");
    assert_eq!(root.listing(), before);
}

#[test]
fn what_vanishes_from_the_config_vanishes_from_the_root() {
    let (root, never) = (Root::new(), Root::new());
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.yaml");
    fs::write(&empty, "#cloud-config\n").unwrap();
    apply(&root, &fixture("everything.yaml"), &[]);
    let (code, out, err) = apply(&root, &empty, &[]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("removed /etc/hostname\n"), "{out}");
    assert!(err.contains("the account `ann` is no longer configured"), "{err}");
    for file in ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"] {
        assert_eq!(root.read(file), never.read(file), "{file}");
    }
    assert!(!root.path().join("opt/bin/hello").exists());
    assert!(!root.path().join("etc/systemd/system/docker.service.d").exists());
    assert!(root.path().join("home/ann/.profile").exists(), "homes stay");
    assert_eq!(root.read("etc/coreos/update.conf"), root.read("usr/share/coreos/update.conf"));
}

#[test]
fn the_articles_config_is_applied() {
    let root = Root::new();
    let mut command = coreos_init();
    command.arg("apply").arg("--root").arg(root.path());
    command.arg("--from-file").arg(fixture("article.yaml"));
    command.env("COREOS_PRIVATE_IPV4", "10.1.2.3");
    let (code, out, err) = run(&mut command);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("there is no unit `fleet.service` on this machine"), "{err}");
    assert!(out.ends_with("on the machine: start etcd.service\n"), "{out}");
    let settings = root.read("run/systemd/system/etcd.service.d/20-cloudinit.conf");
    assert!(settings.contains("10.1.2.3"), "{settings}");
    assert!(root.read("home/core/.ssh/authorized_keys").ends_with(" core@coreos\n"));
    assert_eq!(root.read("etc/environment"), root.read("run/metadata/coreos"));
    assert!(root.read("etc/environment").contains("COREOS_PRIVATE_IPV4=10.1.2.3\n"));
}

#[test]
fn an_address_that_nothing_tells_is_an_error_at_its_place() {
    let root = Root::new();
    let before = root.listing();
    let (code, out, err) = apply(&root, &fixture("article.yaml"), &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    let name = fixture("article.yaml").display().to_string();
    assert!(err.contains(&format!("{name}:7:19: error: ")), "{err}");
    let note = "note: COREOS_PRIVATE_IPV4=VALUE in the environment stands for $private_ipv4";
    assert_eq!(err.lines().last(), Some(note));
    assert_eq!(root.listing(), before);
}

#[test]
fn a_refused_config_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.yaml");
    for (text, error) in [
        (
            "#cloud-config\nhostname: a\nwrite_files:\n  - path: /etc/a\n    contnet: x\n",
            ":5:5: error: ",
        ),
        (
            "#cloud-config\nhostname: a\nusers:\n  - name: bob\n    groups: [nowhere]\n",
            ":5:14: error: there is no group `nowhere` on this machine",
        ),
        (
            "#cloud-config\nhostname: a\nwrite_files:\n  - path: /etc/a\n    owner: nobody\n",
            ":5:12: error: there is no user `nobody` on this machine",
        ),
        ("hostname: a\n", ":1:1: error: "),
    ] {
        let root = Root::new();
        let before = root.listing();
        fs::write(&file, text).unwrap();
        let (code, out, err) = apply(&root, &file, &[]);
        assert_eq!((code, out.as_str()), (1, ""), "{text}");
        assert!(err.contains(&format!("{}{error}", file.display())), "{err}");
        assert_eq!(root.listing(), before, "{text}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_one_line_and_changes_nothing() {
    let root = Root::new();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(
        &file,
        "#cloud-config\nhostname: a\nwrite_files:\n  - path: /etc/passwd/x\n    content: x\n",
    )
    .unwrap();
    let before = root.listing();
    let (code, _, err) = apply(&root, &file, &[]);
    assert_eq!(code, 1);
    let line =
        "error: cannot write /etc/passwd/x (write_files, 4:11): Not a directory (os error 20)";
    assert_eq!(err.lines().last(), Some(line));
    assert_eq!(root.listing(), before);
}

#[test]
fn a_root_that_is_not_there_is_2() {
    let mut command = coreos_init();
    command.args(["apply", "--root", "/nonexistent/root", "--from-file"]);
    let (code, out, err) = run(command.arg(fixture("everything.yaml")));
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "error: cannot use /nonexistent/root as a root directory: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_script_waits_for_the_machine_to_run_it() {
    let root = Root::new();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let (code, out, _) = apply(&root, &file, &[]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "wrote /run/coreos-init/scripts/1\non the machine: run /run/coreos-init/scripts/1\n"
    );
    assert_eq!(root.read("run/coreos-init/scripts/1"), "#!/bin/sh\n");
}

#[test]
fn somebody_who_is_not_root_owns_what_they_write() {
    if !is_root() {
        return; // every other test here is run by somebody then
    }
    let root = Root::new();
    root.give_to(65_534);
    let file = root.path().join("config.yaml");
    fs::copy(fixture("everything.yaml"), &file).unwrap();
    let program = root.path().join("program");
    // By another process: a child that a test beside this one starts would inherit the file while
    // it is open for writing, and what is open for writing cannot be executed.
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_coreos-init")).arg(&program).status();
    assert!(copied.unwrap().success());
    let mut command = std::process::Command::new(&program);
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    std::os::unix::process::CommandExt::gid(&mut command, 65_534);
    command.arg("apply").arg("--root").arg(root.path()).arg("--from-file").arg(&file);
    let (code, _, err) = run(&mut assert_cmd::Command::from_std(command));
    assert_eq!(code, 0, "{err}");
    assert_eq!(err, "warning: not run as root: everything will belong to you\n");
    assert_eq!(root.read("etc/app/token"), "s3cret");
}
