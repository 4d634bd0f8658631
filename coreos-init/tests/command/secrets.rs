//! What is secret in a configuration is in nothing that is said of it: neither of a good one nor,
//! whatever is wrong beside the secret, of a bad one. What a running machine says besides is asked
//! of a node (`trial_on_a_node` in `qemu-tests`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use coreos_init::apply::{Owners, Root as Target, apply, survey};
use coreos_init::fetched::Wanted;
use coreos_init::net::Lease;
use coreos_init::plan::{Context, plan};
use coreos_init::reading::{Machine, Outside, Reading};
use coreos_init::report::Report;
use coreos_init::source::from_file;

use crate::root::Root;
use crate::{coreos_init, run};

/// In every one of these texts, each in a place of its own.
const SECRETS: [&str; 4] = ["hunter2", "s3cret", "tok3n", "saltsalt"];

/// Everything that may be secret, with nothing wrong.
const GOOD: &str = "#cloud-config
users:
  - name: ann
    passwd: $1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.
  - name: bob
    plain_text_passwd: hunter2
  - name: eve
    ssh_import_id: []
chpasswd: {list: 'core:hunter2'}
write_files:
  - path: /etc/app/key
    permissions: '0600'
    content: |
      -----BEGIN PRIVATE KEY-----
      s3cret
      -----END PRIVATE KEY-----
  - path: /etc/app/blob
    permissions: '0640'
    encoding: b64
    content: czNjcmV0IHMzY3JldA==
  - path: /etc/app/conf
    content: |
      password = hunter2
      url = https://me:hunter2@example.com/?x=tok3n
coreos:
  etcd:
    discovery: https://discovery.example.com/tok3n0123456789tok3n0123456789
  fleet: {etcd_username: me, etcd_password: hunter2}
  units:
    - name: app.service
      content: |
        [Service]
        Environment=API_TOKEN=tok3n
        ExecStart=/usr/bin/curl https://me:hunter2@example.com/?t=tok3n
runcmd:
  - curl -H Authorization:tok3n -u me:s3cret https://me:hunter2@example.com/
";

/// Something wrong right where a secret is.
pub(crate) const BAD: [&str; 16] = [
    "passwrod: hunter2",
    "users: [{name: ann, passwd: hunter2}]",
    "users: [{name: ann, passwd: [hunter2]}]",
    "users: [{name: ann, plain_text_passwd: {a: hunter2}}]",
    "users: [{name: ann, passwd: '$1$saltsalt$short'}]",
    "users: [{name: ann, password: hunter2, passwort: hunter2}]",
    "chpasswd: {list: ['hunter2']}",
    "chpasswd: {list: 'core hunter2'}",
    "chpasswd: {users: [{name: core, password: hunter2, type: hash}]}",
    "write_files: [{path: /etc/x, source: {uri: 'https://me:hunter2@h/?t=tok3n'}}]",
    "write_files: [{path: /etc/x, source: {uri: 'ftp://me:hunter2@h/?t=tok3n', sha256: ab}}]",
    "write_files:\n- path: /etc/x\n  permissions: '0600'\n  encoding: b64\n  content: s3cret!",
    "write_files:\n- path: /etc/x\n  permissions: '0600'\n  encoding: b46\n  content: s3cret",
    "coreos: {fleet: {etcd_passwort: hunter2}}",
    "coreos: {etcd: {discovery: 'https:/me:hunter2@h/?t=tok3n'}}",
    "users:\n- name: ann\n  plain_text_passwd: \"hunter2\n",
];

/// Checks a text with every command that takes one, on a root of its own; all that they say.
fn said_of(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.yaml");
    fs::write(&file, text).unwrap();
    let root = Root::new();
    let mut said = run(coreos_init().arg("validate").arg(&file));
    for arguments in
        [&["plan"][..], &["plan", "--json"], &["apply", "--dry-run"], &["apply"], &["plan"]]
    {
        let mut command = coreos_init();
        command.arg(arguments[0]).arg("--root").arg(root.path()).arg("--from-file").arg(&file);
        let (_, out, err) = run(command.args(&arguments[1..]));
        said.1.push_str(&out);
        said.2.push_str(&err);
    }
    let report = report_of(&file);
    said.1 + &said.2 + &report.text() + &report.summary(false)
}

/// No network.
struct Nowhere;

impl Outside for Nowhere {
    fn lease(&mut self, _: bool, _: bool) -> Result<Option<Lease>, String> {
        Ok(None)
    }

    fn get(&mut self, wanted: &Wanted) -> Result<Vec<u8>, String> {
        Err(format!("{} does not answer", host::http::redacted(&wanted.url)))
    }

    fn download(&mut self, wanted: &Wanted, _: &File) -> Result<(), String> {
        self.get(wanted).map(drop)
    }
}

/// The report that a machine makes of it.
pub(crate) fn report_of(file: &Path) -> Report {
    let root = Root::new();
    let found = from_file(file).unwrap();
    let nothing = BTreeMap::new();
    let path = root.path();
    let (files, keep, overrides) = (&path, Some(path), &nothing);
    let images = keep;
    let machine = Machine { files, keep, images, overrides, fixed: &[], machine_id: "" };
    let reading = Reading::new(&found, &machine, &mut Nowhere);
    let mut report = Report::begin(Some(&found), &[]);
    report.failures.extend(reading.failures.iter().cloned());
    report.notes.extend(reading.notes.iter().cloned());
    report.add_findings(&reading.findings, &reading.bundle);
    let owners = if nix::unistd::geteuid().is_root() { Owners::Set } else { Owners::Skip };
    let target = Target::open(root.path(), owners).unwrap();
    let (facts, _) = survey(&target, None, &reading.config).unwrap();
    let plan = plan(&reading.config, &Context { facts, ..reading.context.clone() });
    report.add_findings(&plan.findings, &reading.bundle);
    report.notes.extend(plan.notes.iter().cloned());
    report.add_applied(apply(&plan, &target).unwrap());
    report.add_uses(&plan, &reading.uses);
    report.conclude();
    assert!(!report.items.is_empty() || !report.findings.is_empty());
    report
}

#[test]
fn a_good_configuration_is_told_without_its_secrets() {
    let said = said_of(GOOD);
    for told in ["/etc/app/key", "/etc/shadow", "app.service", "node.yaml: ok"] {
        assert!(said.contains(told), "{told}:\n{said}");
    }
    for secret in SECRETS.iter().chain(&["czNjcmV0"]) {
        assert!(!said.contains(secret), "{secret}:\n{said}");
    }
}

#[test]
fn what_is_wrong_is_told_without_the_secret_beside_it() {
    let mut wrong = String::new();
    for text in BAD {
        let said = said_of(&format!("#cloud-config\n{text}\n"));
        assert!(said.contains("error: ") || said.contains("warning: "), "{text}:\n{said}");
        for secret in SECRETS.iter().filter(|secret| said.contains(*secret)) {
            let line = said.lines().find(|line| line.contains(secret)).unwrap();
            wrong.push_str(&format!("{text}\n    {line}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
