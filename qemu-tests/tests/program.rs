//! The program's answers to what cannot be done: one clear line, exit code 2,
//! nothing left behind.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use qemu_tests::Workspace;

/// Runs `machine boot --name NAME` with `more`; the accelerator needs no trial.
fn boot(name: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_machine"));
    command.args(["boot", "--name", name]).args(more).env("MACHINE_ACCEL", "tcg");
    command.envs(environment.iter().copied()).output().unwrap()
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_is_missing_or_wrong_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image.raw");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let image = image.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 6] = [
        (
            "test-image",
            &["--image", "/no/image"],
            &[],
            "/no/image is not there; build it with `make image`",
        ),
        ("test-default", &[], &[("IMAGE_DIR", "/no")], "/no/coreos.raw is not there"),
        ("test-qemu", &["--image", image], &[("PATH", "/no")], "apt-get install qemu-utils"),
        ("test-accel", &["--image", image], &[("MACHINE_ACCEL", "hvf")], "MACHINE_ACCEL is `hvf`"),
        ("test-port", &["--image", image, "--ssh-port", &port], &[], "is in use"),
        ("../test-name", &["--image", image], &[], "cannot be the name of a machine"),
    ];
    for (name, more, environment, want) in cases {
        let text = complaint(&boot(name, more, environment));
        assert!(text.starts_with("error: ") && text.contains(want), "{name}: {text}");
        assert_eq!(text.lines().count(), 1, "{name}: {text}");
        let left = Workspace::here(None).machines().join(name);
        assert!(!left.exists(), "{name} left {}", left.display());
    }
    assert!(Path::new(image).exists());
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    for arguments in [&["--label", "other"], &["--memory", "1"], &["--ssh-port", "0"]] {
        let text = complaint(&boot("test-usage", arguments, &[]));
        assert!(text.contains(arguments[0]), "{text}");
    }
}
