//! Running a step and knowing what it cost.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) type AnyError = Box<dyn Error>;

/// What an update by one method costs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cost {
    /// Bytes that a machine fetches.
    pub(crate) bytes: u64,
    /// CPU seconds of the publisher.
    pub(crate) make: f64,
    /// CPU seconds of the machine.
    pub(crate) apply: f64,
    /// Bytes of memory of the machine, at the peak.
    pub(crate) memory: u64,
}

impl Cost {
    /// Another part that is fetched as well.
    pub(crate) fn add(&mut self, other: &Cost) {
        self.bytes += other.bytes;
        self.make += other.make;
        self.apply += other.apply;
        self.memory = self.memory.max(other.memory);
    }
}

/// Runs a program to its end; CPU seconds and peak memory in bytes.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(f64, u64), AnyError> {
    let report = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%U %S %M", "-o"]).arg(report.path()).arg(program).args(arguments);
    let output =
        command.stdout(Stdio::null()).output().map_err(|error| format!("time: {error}"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{program} {}: {told}", arguments.join(" ")).into());
    }
    let text = std::fs::read_to_string(report.path())?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, system, kibibytes] = numbers.as_slice() else { return Err(text.into()) };
    Ok((user + system, (kibibytes * 1024.0) as u64))
}

/// Fails if two files differ: a method that makes something else has no cost.
pub(crate) fn same(one: &Path, other: &Path) -> Result<(), AnyError> {
    let status = Command::new("cmp").arg("--quiet").args([one, other]).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{} is not {}", one.display(), other.display()).into()),
    }
}

pub(crate) fn size(path: &Path) -> Result<u64, AnyError> {
    Ok(std::fs::metadata(path)?.len())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str, AnyError> {
    path.to_str().ok_or_else(|| "a path that is no text".into())
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
