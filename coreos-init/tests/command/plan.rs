//! `plan`, and that nothing secret is ever shown.

use std::fs;

use crate::root::Root;
use crate::{coreos_init, fixture, run};

/// Runs a verb on a root with a configuration.
fn with(root: &Root, verb: &str, text: &str, more: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.yaml");
    fs::write(&file, text).unwrap();
    let mut command = coreos_init();
    command.arg(verb).arg("--root").arg(root.path()).arg("--from-file").arg(&file).args(more);
    let (code, out, err) = run(&mut command);
    let here = format!("{}/", directory.path().display());
    (code, out.replace(&here, ""), err.replace(&here, ""))
}

#[test]
fn what_would_change_is_a_unified_diff_and_2() {
    if !nix::unistd::geteuid().is_root() {
        return; // whose the files are is part of it
    }
    let root = Root::new();
    let before = root.listing();
    let (code, out, err) = with(&root, "plan", "#cloud-config\nhostname: alpha\n", &[]);
    assert_eq!((code, err.as_str()), (2, ""));
    assert!(
        out.starts_with(
            "# create /etc/hostname 0644 0:0 6 bytes (hostname, node.yaml:2:11)\n\
             --- /dev/null\n+++ b/etc/hostname\n@@ -0,0 +1 @@\n+alpha\n"
        ),
        "{out}"
    );
    assert_eq!(root.listing(), before, "a plan writes nothing");

    with(&root, "apply", "#cloud-config\nhostname: alpha\n", &[]);
    let (code, out, _) = with(&root, "plan", "#cloud-config\nhostname: alpha\n", &[]);
    assert_eq!((code, out.as_str()), (0, "nothing would change: all is as configured\n"));

    let (code, out, _) = with(&root, "plan", "#cloud-config\nhostname: beta\n", &[]);
    assert_eq!(code, 2);
    assert!(
        out.contains("--- a/etc/hostname\n+++ b/etc/hostname\n@@ -1 +1 @@\n-alpha\n+beta\n"),
        "{out}"
    );

    let (code, out, _) = with(&root, "plan", "#cloud-config\n", &[]);
    assert_eq!(code, 2);
    assert!(out.starts_with("# remove /etc/hostname (no longer configured)\n"), "{out}");
}

#[test]
fn a_plan_for_programs_is_json() {
    let root = Root::new();
    let text = "#cloud-config\nwrite_files:\n- path: /etc/x\n  content: a\n  permissions: '0600'\n\
                coreos: {units: [{name: etcd.service, command: start}]}\n";
    let (code, out, _) = with(&root, "plan", text, &["--json"]);
    assert_eq!(code, 2, "{out}");
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    let change = &plan["changes"][0];
    assert_eq!(change["path"], "/etc/x");
    assert_eq!(change["change"], "create");
    assert_eq!(change["place"], "node.yaml:3:9");
    assert_eq!(change["after"]["mode"], "0600");
    assert_eq!(change["secret"], true);
    assert_eq!(plan["jobs"][0], "start etcd.service");
}

#[test]
fn what_would_be_refused_is_1() {
    let root = Root::new();
    let (code, out, err) = with(&root, "plan", "#cloud-config\nhostname: -\n", &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("node.yaml:2:11: error: "), "{err}");
    let mut command = coreos_init();
    command.args(["plan", "--root", "/", "--from-file", "/nonexistent"]);
    assert_eq!(run(&mut command).0, 1);
}

#[test]
fn secrets_are_in_no_output_and_no_diff() {
    let secrets =
        ["geheim", "s3cret", "hunter2", "tok3n", "$1$saltsalt", "tTWg0JeO", "sesame", "pw0rd"];
    let text = "#cloud-config
users:
  - name: ann
    passwd: $1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.
  - name: bob
    plain_text_passwd: geheim
chpasswd: {list: 'core:sesame'}
write_files:
  - path: /etc/app/token
    permissions: '0640'
    content: s3cret
  - path: /etc/app/conf
    content: |
      password = hunter2
      url=https://me:pw0rd@example.com/?x=tok3n
coreos:
  fleet: {etcd_username: me, etcd_password: hunter2}
runcmd:
  - curl -u me:s3cret https://example.com/
passwrod: hunter2
";
    let root = Root::new();
    let mut said = String::new();
    for (verb, more) in [
        ("plan", &[][..]),
        ("plan", &["--json"]),
        ("apply", &["--dry-run"]),
        ("apply", &[]),
        ("plan", &[]),
    ] {
        let (_, out, err) = with(&root, verb, text, more);
        said.push_str(&out);
        said.push_str(&err);
    }
    // With other secrets in the place of these, both are in the diff.
    let other = text.replace("hunter2", "hunter2x").replace("s3cret", "s3cretx");
    let (code, out, err) = with(&root, "plan", &other, &[]);
    assert_eq!(code, 2, "{err}");
    said.push_str(&out);
    said.push_str(&err);
    assert!(said.contains("/etc/app/token"));
    for secret in secrets {
        assert!(!said.contains(secret), "{secret}:\n{said}");
    }
}

#[test]
fn the_schema_that_is_kept_is_that_of_the_program() {
    let (code, out, _) = run(coreos_init().arg("schema"));
    assert_eq!(code, 0);
    let kept = fixture("../../../docs/cloud-config.schema.json");
    let kept = fs::read_to_string(kept).unwrap_or_default();
    assert!(kept == out, "run `coreos-init schema > docs/cloud-config.schema.json`");
}
