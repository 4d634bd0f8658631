//! The commands of a workstation, as a person runs them.

mod apply;
mod crash;
mod extensions;
mod fetched;
mod findings;
mod image;
mod keys;
mod plan;
mod root;
mod secrets;
mod status;
mod validate;

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// The program, without the addresses that this environment may have.
fn coreos_init() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-init"));
    for name in [
        "PRIVATE_IPV4",
        "PUBLIC_IPV4",
        "PRIVATE_IPV6",
        "PUBLIC_IPV6",
        "HOSTNAME",
        "INSTANCE_ID",
        "REGION",
        "ZONE",
    ] {
        command.env_remove(format!("COREOS_{name}"));
    }
    command
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What a run came to: exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
