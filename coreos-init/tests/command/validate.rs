use std::fs;

use crate::{coreos_init, fixture, run};

fn validate(text: &str) -> (i32, String, String) {
    run(coreos_init().args(["validate", "-"]).write_stdin(text))
}

#[test]
fn a_good_config_is_ok() {
    let file = fixture("everything.yaml");
    let (code, out, err) = run(coreos_init().arg("validate").arg(&file));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out, format!("{}: ok\n", file.display()));
}

#[test]
fn the_articles_config_is_ok_with_warnings() {
    let file = fixture("article.yaml");
    let (code, out, err) = run(coreos_init().arg("validate").arg(&file));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let name = file.display().to_string();
    let warning = out.lines().find(|line| line.contains("`units`")).expect("a warning");
    assert!(warning.starts_with(&format!("{name}:")), "{warning}");
    assert!(warning.contains(": warning: "), "{warning}");
    let last = out.lines().last().unwrap();
    assert!(last.starts_with(&format!("{name}: ok, ")) && last.ends_with(" warnings"), "{last}");
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let (code, out, err) =
        validate("#cloud-config\nhostnme: a\nhostname: -a\nwrite_files:\n  - path: x\n");
    assert_eq!((code, err.as_str()), (1, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "standard input:2:1: warning: unknown key `hostnme`",
            " 2 | hostnme: a",
            "   | ^^^^^^^",
            "  = did you mean `hostname`?",
        ]
    );
    for start in ["standard input:3:11: error: ", "standard input:5:11: error: "] {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}\n{out}");
    }
    assert_eq!(lines.last().unwrap(), &"standard input: 2 errors, 1 warning");
}

#[test]
fn several_files_are_all_checked() {
    let (good, missing) = (fixture("everything.yaml"), fixture("missing.yaml"));
    let mut command = coreos_init();
    let (code, out, err) =
        run(command.arg("validate").arg(&missing).arg(&good).arg("-").write_stdin("nonsense\n"));
    assert_eq!(code, 2);
    assert!(out.starts_with(&format!("{}: ok\n", good.display())), "{out}");
    assert!(out.ends_with("standard input: 1 error\n"), "{out}");
    assert_eq!(
        err,
        format!(
            "error: cannot read {}: No such file or directory (os error 2)\n",
            missing.display()
        )
    );
}

#[test]
fn what_is_no_config_is_told_in_few_lines() {
    let directory = tempfile::tempdir().unwrap();
    let rubbish: Vec<u8> = (0..=255).cycle().skip(7).take(5000).collect();
    let large = format!("#cloud-config\nhostname: {}\n", "a".repeat(10 << 20));
    for (name, bytes) in [("rubbish", rubbish), ("large", large.into_bytes())] {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (code, out, err) = run(coreos_init().arg("validate").arg(&path));
        assert_ne!(code, 0, "{name}");
        let said = format!("{out}{err}");
        assert!(said.len() < 1000 && said.lines().count() < 8, "{name}: {said}");
        assert!(said.contains("error: "), "{name}: {said}");
    }
}

#[test]
fn scripts_and_nothing_are_ok() {
    assert_eq!(
        validate("#!/bin/sh\nexit 1\n").1,
        "standard input: ok (a script: only its variables are checked)\n"
    );
    assert_eq!(validate("").1, "standard input: ok (empty)\n");
}

#[test]
fn a_command_line_that_makes_no_sense_is_2() {
    for arguments in [&["validate"][..], &["validate", "--frob"], &["frob"], &[]] {
        let (code, _, err) = run(coreos_init().args(arguments));
        assert_eq!(code, 2, "{arguments:?}");
        assert!(err.contains("Usage: "), "{arguments:?}: {err}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_mistake() {
    // More than a pipe holds.
    let many: String = (0..5000).map(|n| format!("hostname: -{n}\n")).collect();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_coreos-init"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("many.yaml");
    fs::write(&path, format!("#cloud-config\n{many}")).unwrap();
    command.arg("validate").arg(&path).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
