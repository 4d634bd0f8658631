//! Running the programs that the tests compare with.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// Runs a program to its end, in a locale whose messages can be compared.
pub(crate) fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

/// What a program prints, which must succeed.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = output(program, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program}: {}", text(&output.stdout) + &text(&output.stderr));
    text(&output.stdout)
}
