//! The package stage's cache, with a stand-in for the installer.

use image::manifest::{Manifest, Packages};
use image::packages::{Installer, PackagesError, RootTar, root_tar};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A directory with an installer that runs `script`, and counts its runs in `runs`.
struct Bench {
    directory: TempDir,
    installer: Installer,
    packages: Packages,
}

impl Bench {
    fn new(script: &str) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("installer");
        let runs = directory.path().join("runs");
        fs::write(&program, format!("#!/bin/sh\necho >>{}\n{script}\n", runs.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let keyring = program.clone();
        let installer = Installer { program, keyring, as_root: false, workspace: None };
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("coreos.toml");
        let packages = Manifest::read(&manifest).unwrap().packages;
        Bench { directory, installer, packages }
    }

    fn run(&self, refresh: bool) -> Result<RootTar, PackagesError> {
        let cache = self.directory.path().join("cache");
        root_tar(&self.packages, &self.installer, &cache, refresh, &mut |_| {})
    }

    fn runs(&self) -> usize {
        let text = fs::read_to_string(self.directory.path().join("runs")).unwrap_or_default();
        text.lines().count()
    }

    /// Everything in the cache but its lock.
    fn cached(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.directory.path().join("cache"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        names
    }
}

#[test]
fn the_same_inputs_are_installed_once() {
    let mut bench = Bench::new("echo \"I: working...\" >&2; echo tar");
    let first = bench.run(false).unwrap();
    assert_eq!(fs::read_to_string(&first.path).unwrap(), "tar\n");
    assert!(!first.cached);
    let second = bench.run(false).unwrap();
    assert!(second.cached);
    assert_eq!((bench.runs(), second.path), (1, first.path));
    assert!(!bench.run(true).unwrap().cached);
    assert_eq!(bench.runs(), 2);
    assert_eq!(bench.cached(), [first.inputs.as_str()]);

    bench.packages.install.pop();
    assert_ne!(bench.run(false).unwrap().inputs, first.inputs);
    assert_eq!(bench.runs(), 3);
}

#[test]
fn old_results_do_not_pile_up() {
    let mut bench = Bench::new("echo tar");
    let mut keys = Vec::new();
    for _ in 0..5 {
        bench.packages.install.pop();
        keys.push(bench.run(false).unwrap().inputs);
    }
    let cached = bench.cached();
    assert_eq!(cached.len(), 3);
    assert!(cached.contains(&keys[4]));
}

#[test]
fn a_failure_leaves_the_last_result_and_nothing_else() {
    let bench = Bench::new(
        "[ -e \"$0.fail\" ] || { echo whole; exit 0; }\n\
         echo half; echo 'E: Unable to locate package nonesuch' >&2; exit 25",
    );
    let good = bench.run(false).unwrap();
    fs::write(bench.directory.path().join("installer.fail"), "").unwrap();
    let error = bench.run(true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "trixie has no package nonesuch: correct `install` of [packages] in the manifest"
    );
    assert_eq!(fs::read_to_string(&good.path).unwrap(), "whole\n");
    assert_eq!(bench.cached(), [good.inputs]);
}

#[test]
fn steps_are_reported() {
    let bench = Bench::new("echo 'I: running apt-get update...' >&2; echo 'Get:1 x' >&2");
    let mut steps = Vec::new();
    let cache = bench.directory.path().join("cache");
    let mut note = |step: &str| steps.push(step.to_owned());
    root_tar(&bench.packages, &bench.installer, &cache, false, &mut note).unwrap();
    assert_eq!(steps, ["running apt-get update", "putting the result on the disk"]);
}

#[test]
fn what_is_missing_on_this_machine_is_named() {
    let mut bench = Bench::new("exit 0");
    bench.installer.program = "/no/such/mmdebstrap".into();
    let message = bench.run(false).unwrap_err().to_string();
    let wanted = "/no/such/mmdebstrap is missing: install the package mmdebstrap on this machine";
    assert_eq!(message, wanted);
    bench.installer.keyring = "/no/such/keyring".into();
    let message = bench.run(false).unwrap_err().to_string();
    assert!(message.ends_with("install the package debian-archive-keyring on this machine"));
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let bench = Bench::new("exit 0");
    fs::write(bench.directory.path().join("cache"), "a file").unwrap();
    let message = bench.run(false).unwrap_err().to_string();
    assert!(message.starts_with("cannot use the package cache /"), "{message}");
}
