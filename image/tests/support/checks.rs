//! What a built image must pass: the field's own checkers, and the manifest.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs a program that must succeed, and returns what it prints.
pub(crate) fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> String {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .args(paths)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; see host-packages.txt"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{error}");
    text
}

/// The one file of a directory whose name ends like this.
fn one_file(directory: &Path, end: &str) -> String {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(end))
        .collect();
    assert_eq!(names.len(), 1, "{names:?} end with {end} in {}", directory.display());
    names.remove(0)
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} in {value}"))
}

/// Checks everything that a build left in `directory`.
pub(crate) fn check_image(directory: &Path) {
    let manifest = fs::read(directory.join(one_file(directory, ".manifest.json"))).expect("read");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let part = |name: &str| directory.join(text(&manifest, &format!("/parts/{name}/file")));
    for name in ["root", "verity", "uki"] {
        let path = part(name);
        // The root is checked by its root hash below.
        if name != "root" {
            let sum = run("sha256sum", &["--binary"], &[&path]);
            let digest = text(&manifest, &format!("/parts/{name}/sha256"));
            assert!(sum.starts_with(digest), "{name}: {sum}");
        }
        let size = fs::metadata(&path).expect("there").len();
        assert_eq!(manifest.pointer(&format!("/parts/{name}/size")), Some(&Value::from(size)));
    }
    let packages = manifest.pointer("/packages").and_then(Value::as_object).expect("packages");
    assert!(!packages.is_empty());

    let (raw, qcow2) = (directory.join("coreos.raw"), directory.join("coreos.qcow2"));
    let verdict = run("sgdisk", &["--verify"], &[&raw]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    run("fsck.erofs", &[], &[&part("root")]);
    let root_hash = text(&manifest, "/root_hash");
    run("veritysetup", &["verify"], &[&part("root"), &part("verity"), Path::new(root_hash)]);
    run("qemu-img", &["check", "-f", "qcow2"], &[&qcow2]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "qcow2"], &[&raw, &qcow2]);
    check_inspection(&raw, &manifest);
}

/// Checks the disk as `image inspect` sees it against the manifest, and its
/// EFI partition against fsck.fat.
fn check_inspection(raw: &Path, manifest: &Value) {
    let report = run(env!("CARGO_BIN_EXE_image"), &["inspect", "--json"], &[raw]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let version = text(manifest, "/version");
    assert_eq!(text(&report, "/slots/0/root_hash"), text(manifest, "/root_hash"));
    assert_eq!(text(&report, "/slots/0/version"), version);
    assert_eq!(report.pointer("/slots/1/root_hash"), Some(&Value::Null));
    assert_eq!(text(&report, "/entries/0/file"), format!("coreos_{version}+3.efi"));
    assert_eq!(text(&report, "/entries/0/slot"), "a");
    assert_eq!(text(&report, "/entries/0/uki/cmdline"), text(manifest, "/cmdline"));
    assert_eq!(text(&report, "/entries/0/uki/kernel"), text(manifest, "/kernel"));
    assert_eq!(text(&report, "/entries/0/uki/version"), version);

    let number = |path| report.pointer(path).and_then(Value::as_u64).expect("a number");
    let (offset, size) = (number("/partitions/0/offset"), number("/partitions/0/size"));
    let esp = tempfile::NamedTempFile::new().expect("temporary file");
    copy_range(&File::open(raw).expect("there"), esp.as_file(), offset, size);
    run("fsck.fat", &["-n"], &[esp.path()]);
}

/// Copies a part of a file, leaving holes for zeros.
fn copy_range(from: &File, to: &File, offset: u64, size: u64) {
    const PIECE: u64 = 1 << 20;
    to.set_len(size).expect("sparse");
    let mut piece = vec![0; PIECE as usize];
    for start in (0..size).step_by(PIECE as usize) {
        let piece = &mut piece[..PIECE.min(size - start) as usize];
        from.read_exact_at(piece, offset + start).expect("readable");
        if piece.iter().any(|&byte| byte != 0) {
            to.write_all_at(piece, start).expect("written");
        }
    }
}
