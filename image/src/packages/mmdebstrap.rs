//! `mmdebstrap`, the installer behind the seam: its arguments, its run, its complaints.

use super::{Inputs, Installer, PackagesError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// How often the output is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// What unshare(1) ends with if there is no such program.
const NOT_FOUND: i32 = 127;
/// Longest reason of a failure; a complaint may quote all the files of a command.
const MAX_REASON: usize = 200;

/// Installs into a root of its own and writes that as a tar to `output`.
pub(super) fn install(
    inputs: &Inputs,
    installer: &Installer,
    cache: &Path,
    output: &File,
    progress: &mut dyn FnMut(&str),
) -> Result<(), PackagesError> {
    if !installer.keyring.exists() {
        let missing = installer.keyring.display().to_string();
        return Err(PackagesError::NotInstalled { missing, package: "debian-archive-keyring" });
    }
    let failed = |source| PackagesError::Run { program: installer.program.clone(), source };
    // Not a pipe: should this process be killed, the installer goes on writing, comes to its
    // end and removes what it has unpacked.
    let log = tempfile::tempfile_in(cache)
        .map_err(|source| PackagesError::Cache { path: cache.to_owned(), source })?;
    let child = command(installer)
        .args(arguments(inputs, installer))
        // The initrd is not Debian's, so its hook need not make one.
        .env("INITRD", "No")
        // It would make the files' times depend on more than the inputs.
        .env_remove("SOURCE_DATE_EPOCH")
        .env("LC_ALL", "C.UTF-8")
        .envs(installer.workspace.iter().map(|directory| ("TMPDIR", directory)))
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(log.try_clone().map_err(failed)?)
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => not_installed(installer),
            _ => failed(source),
        })?;
    let (status, lines) = follow(child, &log, progress).map_err(failed)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(NOT_FOUND) if installer.as_root => Err(not_installed(installer)),
        _ => Err(diagnose(&lines, inputs, cache)),
    }
}

fn not_installed(installer: &Installer) -> PackagesError {
    let missing = installer.program.display().to_string();
    PackagesError::NotInstalled { missing, package: "mmdebstrap" }
}

/// The installer without its arguments. As root it binds `/proc`, `/sys` and `/dev/shm` of this
/// machine into the root it makes. That happens in a mount namespace of its own: were it killed
/// in this machine's, the mounts would stay, and who then removes the directory removes what is
/// mounted there.
fn command(installer: &Installer) -> Command {
    if !installer.as_root {
        return Command::new(&installer.program);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(&installer.program);
    command
}

/// Waits for the end of the installer and reports its steps from what it writes to `log`.
fn follow(
    mut child: Child,
    log: &File,
    progress: &mut dyn FnMut(&str),
) -> io::Result<(ExitStatus, Vec<String>)> {
    let mut lines = Vec::new();
    let mut unfinished = Vec::new();
    let mut position = 0;
    let mut buffer = [0; 4096];
    loop {
        // Asked first, so that what it wrote before its end is still read.
        let status = child.try_wait()?;
        loop {
            let count = log.read_at(&mut buffer, position)?;
            if count == 0 {
                break;
            }
            position += count as u64;
            unfinished.extend(&buffer[..count]);
            while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unfinished.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if let Some(step) = step(&line) {
                    progress(step);
                }
                lines.push(line);
            }
        }
        if let Some(status) = status {
            return Ok((status, lines));
        }
        thread::sleep(LOOK);
    }
}

/// The step that a line announces.
fn step(line: &str) -> Option<&str> {
    line.strip_prefix("I: ")?.strip_suffix("...").filter(|step| !step.contains("signal"))
}

/// The arguments; the tar goes to standard output.
fn arguments(inputs: &Inputs, installer: &Installer) -> Vec<String> {
    let mode = if installer.as_root { "root" } else { "unshare" };
    let mut arguments = vec![
        "--variant=essential".to_owned(),
        format!("--mode={mode}"),
        "--format=tar".to_owned(),
        format!("--architectures={}", inputs.architecture),
        format!("--include={}", inputs.packages.join(",")),
        "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
        "--aptopt=Acquire::Languages \"none\"".to_owned(),
        "--aptopt=Acquire::Retries \"3\"".to_owned(),
        format!("--customize-hook={}", inputs.customize),
        inputs.suite.clone(),
        "-".to_owned(),
    ];
    let signed = format!("[signed-by={}]", installer.keyring.display());
    arguments.extend(inputs.archives.iter().map(|archive| format!("deb {signed} {archive}")));
    arguments
}

/// The reason of a failure, from the installer's output.
fn diagnose(lines: &[String], inputs: &Inputs, cache: &Path) -> PackagesError {
    let mentions = |text: &str| lines.iter().any(|line| line.contains(text));
    let names: Vec<String> = lines
        .iter()
        .filter_map(|line| {
            let rest = line.strip_prefix("E: ")?;
            let name = rest.strip_prefix("Unable to locate package ").or_else(|| {
                rest.strip_prefix("Package '")?.strip_suffix("' has no installation candidate")
            });
            name.map(str::to_owned)
        })
        .collect();
    if !names.is_empty() {
        return PackagesError::UnknownPackage { suite: inputs.suite.clone(), names };
    }
    if mentions("No space left on device") || mentions("don't have enough free space") {
        return PackagesError::DiskFull { cache: cache.to_owned() };
    }
    let namespace = [
        ("newuidmap", "install the package uidmap"),
        ("newgidmap", "install the package uidmap"),
        (
            "/etc/subuid",
            "your user has no numbers to map; as root, run `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`",
        ),
        ("unshare", "user namespaces are switched off; run as root or allow them with sysctl"),
    ];
    let complaints = || lines.iter().filter_map(|line| line.strip_prefix("E: "));
    for (sign, reason) in namespace {
        if complaints().any(|line| line.contains(sign) && !line.contains("apt-get")) {
            return PackagesError::NoNamespace { reason };
        }
    }
    // Complaints about a command that failed only repeat that command.
    let is_reason = |line: &&str| !line.ends_with(" failed") && !line.ends_with(" failed to run");
    let dpkg = || lines.iter().map(String::as_str).find(|line| line.starts_with("dpkg: error"));
    let reason = complaints().find(is_reason).or_else(dpkg);
    let reason = reason.or(lines.last().map(String::as_str)).unwrap_or("no output");
    PackagesError::Failed { reason: reason.chars().take(MAX_REASON).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::inputs::tests::packages;

    #[test]
    fn mounts_made_as_root_are_not_made_on_this_machine() {
        let mut installer = Installer::of_this_machine();
        installer.as_root = true;
        let command = command(&installer);
        assert_eq!(command.get_program(), "unshare");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--mount", "--propagation", "private", "--", "mmdebstrap"]);
    }

    #[test]
    fn every_input_is_an_argument() {
        let inputs = Inputs::new(&packages(&["bash", "dash"]));
        let mut installer = Installer::of_this_machine();
        installer.as_root = false;
        let arguments = arguments(&inputs, &installer);
        for wanted in [
            "--mode=unshare",
            "--architectures=amd64",
            "--include=bash,dash",
            "trixie",
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror/security trixie-security main",
        ] {
            assert!(arguments.iter().any(|argument| argument == wanted), "{wanted}");
        }
    }

    #[test]
    fn complaints_become_one_line_that_says_what_to_do() {
        let noise = "E: apt-get -o Dir::Bin::dpkg=env -o DPkg::Options::=--unset=TMPDIR failed";
        for (output, wanted) in [
            (
                vec!["E: Unable to locate package a", "E: Unable to locate package b", noise],
                "trixie has no package a, b: correct `install` of [packages] in the manifest",
            ),
            (
                vec!["E: Package 'c' has no installation candidate", noise],
                "trixie has no package c: correct",
            ),
            (
                vec!["I: x...", "E: Failed to fetch http://m/x  Could not resolve 'm'", noise],
                "packages cannot be installed: Failed to fetch http://m/x  Could not resolve 'm'",
            ),
            (
                vec!["dpkg: error: failed to write (No space left on device)", noise],
                "no space left on the disk of cache or",
            ),
            (
                vec!["W: /etc/subuid is empty", "E: failed to parse /etc/subuid and /etc/subgid"],
                "packages cannot be installed without root here: your user has no numbers",
            ),
            (vec!["E: unshare syscall failed"], "user namespaces are switched off"),
            (
                vec!["dpkg: error processing package x (--install):", noise],
                "packages cannot be installed: dpkg: error processing package x",
            ),
            (vec!["odd"], "packages cannot be installed: odd"),
            (vec![], "packages cannot be installed: no output"),
        ] {
            let lines: Vec<String> = output.into_iter().map(str::to_owned).collect();
            let inputs = Inputs::new(&packages(&["bash"]));
            let message = diagnose(&lines, &inputs, Path::new("cache")).to_string();
            assert!(message.contains(wanted), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
