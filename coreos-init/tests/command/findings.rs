//! What is wrong with a configuration is the same wherever it is looked at.

use std::fs;

use crate::root::Root;
use crate::secrets::{BAD, report_of};
use crate::{coreos_init, run};

/// The findings in what a command says: `1:2: error: message`.
fn findings(said: &str) -> Vec<String> {
    let lines = said.lines().filter_map(|line| line.split_once("node.yaml:").map(|(_, it)| it));
    let is_finding = |line: &&str| line.contains(": error: ") || line.contains(": warning: ");
    lines.filter(is_finding).map(str::to_owned).collect()
}

#[test]
fn validate_plan_and_boot_find_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.yaml");
    let more = [
        "hostnme: a\nhostname: b\nhostname: c",
        "hostname: a\n---\nhostname: b",
        "write_files:\n- path: /usr/x\n  permissions: '0999'\n\tcontent: a",
        "coreos:\n  units:\n  - name: app\n  - name: b.service\n    content: |\n      [Servce]\n      ExecStrt=/x",
        "network: {version: 2, ethernets: {a: {dhcp5: true, addresses: [10.0.0.1]}}}",
        "ssh_authorized_keys: [ssh-rsa nothing]",
        "bootcmd: [a]\nignition: {}",
        "write_files:\n- path: /etc/x\n  content: $private_ipv5 ${private_ipv4:-none}",
    ];
    let texts: Vec<String> =
        BAD.iter().chain(&more).map(|text| format!("#cloud-config\n{text}\n")).collect();
    let mut found = 0;
    for text in texts {
        fs::write(&file, &text).unwrap();
        let (_, out, err) = run(coreos_init().arg("validate").arg(&file));
        let validated = findings(&(out + &err));
        let root = Root::new();
        let mut plan = coreos_init();
        plan.arg("plan").arg("--root").arg(root.path()).arg("--from-file").arg(&file);
        let (_, _, err) = run(&mut plan);
        assert_eq!(findings(&err), validated, "{text}");

        let report = report_of(&file);
        let booted = report.findings.iter().map(|note| {
            let severity = if note.error { "error" } else { "warning" };
            format!("{}:{}: {severity}: {}", note.line, note.column, note.message)
        });
        assert_eq!(booted.collect::<Vec<_>>(), validated, "{text}");
        // The one who looks on the machine sees the lines, too.
        let summary = report.summary(false);
        for line in err.lines().filter(|line| line.contains(" | ") && !line.starts_with("  = ")) {
            assert!(summary.contains(line.trim()), "{line}\n{summary}");
        }
        found += validated.len();
    }
    assert!(found > 25, "{found}");
}
