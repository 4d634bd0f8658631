//! What is left when the program, the disk or the power fails half-way.
//!
//! The real program, killed before every system call that changes something, and with every such
//! call failing: strace does both. Then full and read-only file systems of the kernel. Whatever
//! happens, every file is the old or the new one, whole; and the next run makes the rest.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::root::Root;
use crate::{coreos_init, fixture};

/// The system calls that this program changes a root with.
const CHANGES: [&str; 10] = [
    "write",
    "openat",
    "mkdirat",
    "fchownat",
    "fchown",
    "fchmod",
    "symlinkat",
    "renameat",
    "renameat2",
    "unlinkat",
];

/// Of another machine than the fixture that has something of everything.
const OTHER: &str = "#cloud-config
hostname: other
users:
  - name: eve
    ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAhQ3aHZgQ0T1yEu5yLXtOXTvVbQ1S1LQzXUXCsQJc1q eve]
write_files:
  - path: /etc/app/token
    permissions: '0600'
    content: other
  - path: /etc/other/deep/file
    content: other
coreos:
  units:
    - name: app.service
      content: |
        [Service]
        ExecStart=/usr/bin/true
";

/// A way from one state of a root to another.
struct Way {
    /// The configurations that the root has already.
    before: Vec<PathBuf>,
    config: PathBuf,
    /// What is there before, and after it.
    from: BTreeSet<String>,
    to: BTreeSet<String>,
    _other: tempfile::TempDir,
}

impl Way {
    /// Something of everything, onto an image as it is built.
    fn first() -> Way {
        Way::new(|_| (Vec::new(), fixture("everything.yaml")))
    }

    /// Another configuration after it.
    fn second() -> Way {
        Way::new(|other| (vec![fixture("everything.yaml")], other))
    }

    fn new(which: impl FnOnce(PathBuf) -> (Vec<PathBuf>, PathBuf)) -> Way {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other.yaml");
        fs::write(&other, OTHER).unwrap();
        let (before, config) = which(other);
        let (from, to) = (BTreeSet::new(), BTreeSet::new());
        let mut way = Way { before, config, from, to, _other: directory };
        let root = way.start(Root::new());
        way.from = root.entries();
        finish(&root, &way.config);
        way.to = root.entries();
        assert_ne!(way.from, way.to);
        way
    }

    /// A root at the beginning.
    fn start(&self, root: Root) -> Root {
        for config in &self.before {
            finish(&root, config);
        }
        root
    }

    /// Whatever happened to this root: no file is torn, and the next run completes.
    fn check(&self, root: &Root, what: &str) {
        for entry in root.entries() {
            let known = self.from.contains(&entry) || self.to.contains(&entry);
            // The record of an apply under way, its files beside their places, and directories
            // for new files.
            let passing = entry.starts_with("/var/lib/coreos-init/ledger.json ")
                || entry.contains("/.coreos-init-")
                || entry.split_once("/ ").is_some_and(|(path, _)| !path.contains(' '));
            assert!(known || passing, "{what}: neither old nor new: {entry}");
        }
        finish(root, &self.config);
        let now = root.entries();
        assert!(now == self.to, "{what}: after the next run\n{}", difference(&self.to, &now));
    }
}

fn difference(want: &BTreeSet<String>, got: &BTreeSet<String>) -> String {
    let missing = want.difference(got).map(|entry| format!("-{entry}"));
    missing.chain(got.difference(want).map(|entry| format!("+{entry}"))).collect()
}

fn arguments(root: &Path, config: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    ["apply", "--root", &text(root), "--from-file", &text(config)].map(String::from).to_vec()
}

/// Applies undisturbed.
fn finish(root: &Root, config: &Path) {
    let output = coreos_init().args(arguments(root.path(), config)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Applies while something is done to the `number`th call of one kind, and tells what came out
/// of it; nothing if there are not so many.
fn disturb(root: &Root, config: &Path, call: &str, harm: &str, number: usize) -> Option<Output> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("strace");
    command.args(["--quiet=all", "-f", "--trace"]).arg(call).arg("--output").arg(log.path());
    command.arg(format!("--inject={call}:{harm}:when={number}"));
    command.arg(env!("CARGO_BIN_EXE_coreos-init")).args(arguments(root.path(), config));
    let output = command.output().expect("strace");
    let told = fs::read_to_string(log.path()).unwrap();
    let struck = told.contains("INJECTED") || told.contains("+++ killed by SIGKILL");
    struck.then_some(output)
}

/// Goes through every call of every kind, or each `step`th.
fn campaign(way: &Way, harm: &str, step: usize, judge: impl Fn(&Root, &Output, &str)) {
    // Calls of the kind that the program does not use, or that the machine has not, end at once.
    let mut struck = 0;
    for (offset, call) in CHANGES.iter().enumerate() {
        for number in (1 + offset % step..).step_by(step) {
            let root = way.start(Root::new());
            let Some(output) = disturb(&root, &way.config, call, harm, number) else { break };
            struck += 1;
            let what = format!("{call} {number}: {harm}");
            judge(&root, &output, &what);
            way.check(&root, &what);
        }
    }
    assert!(struck > 60 / step, "only {struck} calls were disturbed: does strace work here?");
}

fn is_killed(_: &Root, output: &Output, what: &str) {
    // strace ends as its child does.
    assert_eq!(output.status.signal(), Some(9), "{what}: {output:?}");
}

/// A failing call is an error in one line or, where it does not matter, none; never a panic.
fn is_told(_: &Root, output: &Output, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{what}: {said}");
    match output.status.code() {
        Some(0) => {}
        Some(1 | 2) => assert!(said.contains("error: "), "{what}: {said}"),
        other => panic!("{what}: {other:?}: {said}"),
    }
}

#[test]
fn killed_at_some_changes() {
    campaign(&Way::first(), "signal=KILL", 7, is_killed);
    campaign(&Way::second(), "signal=KILL", 7, is_killed);
}

#[test]
#[ignore = "minutes: part of `make soak`"]
fn killed_at_every_change() {
    campaign(&Way::first(), "signal=KILL", 1, is_killed);
    campaign(&Way::second(), "signal=KILL", 1, is_killed);
}

#[test]
fn some_changes_fail() {
    campaign(&Way::first(), "error=ENOSPC", 11, is_told);
    campaign(&Way::second(), "error=EROFS", 11, is_told);
}

#[test]
#[ignore = "minutes: part of `make soak`"]
fn every_change_fails() {
    for harm in ["error=ENOSPC", "error=EROFS", "error=EIO"] {
        campaign(&Way::first(), harm, 1, is_told);
        campaign(&Way::second(), harm, 1, is_told);
    }
}

/// Runs with mounts of its own, which end with the thread.
fn with_mounts(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("mounts need root: not run");
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}

fn tmpfs(path: &Path, pages: usize, more: MsFlags) {
    // An empty directory takes no page, a file of one byte takes one.
    let size = format!("size={},mode=0755", pages * 4096);
    mount(Some("tmpfs"), path, Some("tmpfs"), more, Some(size.as_str())).unwrap();
}

/// A disk that is full after each number of pages: all or nothing.
fn full(step: usize) {
    with_mounts(|| {
        for way in [Way::first(), Way::second()] {
            let mut failures = 0;
            for pages in (12..).step_by(step) {
                let root = way.start_on_tmpfs(pages);
                let Some(root) = root else { continue };
                let output =
                    coreos_init().args(arguments(root.path(), &way.config)).output().unwrap();
                if output.status.success() {
                    break;
                }
                failures += 1;
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.lines().last().unwrap_or_default();
                assert!(last.starts_with("error: cannot write "), "{pages} pages: {said}");
                assert!(last.contains("No space left on device"), "{pages} pages: {said}");
                let now = root.entries();
                assert!(now == way.from, "{pages} pages:\n{}", difference(&way.from, &now));
                tmpfs(root.path(), 4096, MsFlags::MS_REMOUNT);
                way.check(&root, &format!("{pages} pages"));
            }
            assert!(failures > 10 / step, "{failures}");
        }
    });
}

impl Way {
    /// A root at the beginning, on a file system of so many pages; none if it has not room for
    /// that.
    fn start_on_tmpfs(&self, pages: usize) -> Option<Root> {
        let root = self.start(Root::on(|path| tmpfs(path, 4096, MsFlags::empty())));
        let size = format!("size={}", pages * 4096);
        // The kernel refuses less than is in use.
        mount(None::<&str>, root.path(), None::<&str>, MsFlags::MS_REMOUNT, Some(size.as_str()))
            .is_ok()
            .then_some(root)
    }
}

#[test]
fn a_full_disk_changes_nothing() {
    full(5);
}

#[test]
#[ignore = "a minute: part of `make soak`"]
fn a_full_disk_changes_nothing_whenever_it_is_full() {
    full(1);
}

#[test]
fn a_read_only_root_changes_nothing() {
    with_mounts(|| {
        let way = Way::second();
        let root = way.start(Root::on(|path| tmpfs(path, 4096, MsFlags::empty())));
        let remount = |flags| {
            mount(
                None::<&str>,
                root.path(),
                None::<&str>,
                MsFlags::MS_REMOUNT | flags,
                None::<&str>,
            )
            .unwrap();
        };
        remount(MsFlags::MS_RDONLY);
        let output = coreos_init().args(arguments(root.path(), &way.config)).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap(),
            "error: cannot write /var/lib/coreos-init/ledger.json: Read-only file system (os error 30)"
        );
        assert_eq!(root.entries(), way.from);
        // As planned already: nothing is to be written.
        let output = coreos_init().args(arguments(root.path(), &way.before[0])).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        remount(MsFlags::empty());
        way.check(&root, "read-only");
    });
}
