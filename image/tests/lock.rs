//! `image lock` from the outside, against a small archive that the test makes and signs.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use disk::erofs;
use sha2::{Digest, Sha256};
use support::deb::{self, deb_of};
use support::{Project, Run};
use tar::Builder;

const BEFORE: &str = "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n  echo made\nfi\n";
const AFTER: &str = "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n  echo made\n  \
    chmod 0700 /var/log/server\nfi\n";

/// A project whose packages come from an archive of its own, and the key that signs it.
struct Signed {
    project: Project,
    gnupg: PathBuf,
}

impl Drop for Signed {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.gnupg)
            .args(["--kill", "gpg-agent"])
            .status();
    }
}

impl Signed {
    fn new() -> Signed {
        let project = Project::new();
        fs::remove_file(project.path("manifest.lock")).expect("removed");
        let url = |name: &str| format!("file:{}", project.path(name).display());
        project.change_manifest("file:/nowhere/debian", &url("debian"));
        project.change_manifest("file:/nowhere/security", &url("security"));
        project.change_manifest("\"small\"", "\"server\", \"small\"");
        let gnupg = project.path("gnupg");
        fs::create_dir(&gnupg).expect("made");
        let signed = Signed { project, gnupg };
        signed.gpg(&["--quick-generate-key", "archive", "ed25519", "sign", "never"]);
        let keyring = signed.project.path("keyring.gpg");
        signed.gpg(&["--output", keyring.to_str().expect("UTF-8"), "--export"]);
        signed.publish("1.0-1", BEFORE);
        signed
    }

    fn gpg(&self, arguments: &[&str]) {
        let output = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--yes",
                "--passphrase",
                "",
                "--pinentry-mode",
                "loopback",
            ])
            .arg("--homedir")
            .arg(&self.gnupg)
            .args(arguments)
            .output()
            .expect("gnupg must be installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Puts the package `server` with this script into the archive, beside `small`, and signs it.
    fn publish(&self, version: &str, script: &str) {
        let control = format!(
            "Package: server\nVersion: {version}\nArchitecture: amd64\nDescription: serves\n"
        );
        let mut data = Builder::new(Vec::new());
        let mut header = deb::header(tar::EntryType::Regular, 0o755, 8);
        data.append_data(&mut header, "./usr/bin/server", &b"program\n"[..]).expect("appended");
        let data = data.into_inner().expect("written");
        let server = deb_of(&control, &[("postinst", script)], &data);
        let small = fs::read(self.project.path("archive/small.deb")).expect("readable");
        let mut packages = String::new();
        for (name, version, bytes) in [("server", version, &server), ("small", "1.0-1", &small)] {
            let path = format!("pool/{name}_{version}.deb");
            let file = self.project.path("debian").join(&path);
            fs::create_dir_all(file.parent().expect("inside")).expect("made");
            fs::write(file, bytes).expect("written");
            packages += &format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: {path}\n\
                 Size: {}\nSHA256: {}\n\n",
                bytes.len(),
                sha256(bytes)
            );
        }
        self.sign("debian", "trixie", &packages);
        self.sign("debian", "trixie-updates", "");
        self.sign("security", "trixie-security", "");
    }

    fn sign(&self, archive: &str, suite: &str, packages: &str) {
        let index = format!("{archive}/dists/{suite}/main/binary-amd64/Packages");
        self.project.write(&index, packages);
        let mut date = Command::new("date");
        let date = date.args(["-u", "+%a, %d %b %Y %H:%M:%S UTC"]).env("LC_ALL", "C").output();
        let date = String::from_utf8(date.expect("date runs").stdout).expect("UTF-8");
        self.project.write(
            "Release",
            &format!(
                "Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: {date}Components: main\n\
                 SHA256:\n {} {} main/binary-amd64/Packages\n",
                sha256(packages.as_bytes()),
                packages.len()
            ),
        );
        let [release, signed] = [
            self.project.path("Release"),
            self.project.path(&format!("{archive}/dists/{suite}/InRelease")),
        ]
        .map(|path| path.to_str().expect("UTF-8").to_owned());
        self.gpg(&["--output", &signed, "--clear-sign", &release]);
    }

    fn lock(&self, more: &[&str]) -> Run {
        let fixed = ["lock", "--manifest=manifest.toml", "--cache=cache", "--keyring=keyring.gpg"];
        Run::of(self.project.command().args(fixed).args(more))
    }

    /// The lock as it is on the disk.
    fn written(&self) -> Option<String> {
        fs::read_to_string(self.project.path("manifest.lock")).ok()
    }

    fn add_to_manifest(&self, text: &str) {
        let manifest = fs::read_to_string(self.project.path("manifest.toml")).expect("readable");
        self.project.write("manifest.toml", &(manifest + text));
    }

    /// The project with the first script reviewed, locked, and the second one published.
    fn with_a_changed_script() -> Signed {
        let signed = Signed::new();
        signed.add_to_manifest(&reviewed(BEFORE, ""));
        let run = signed.lock(&[]).succeeded();
        assert!(run.stdout.contains("manifest.lock: 2 packages"), "{}", run.stdout);
        signed.publish("1.1-1", AFTER);
        signed
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reviewed(script: &str, actions: &str) -> String {
    format!(
        "\n[[script]]\npackage = \"server\"\nreviewed = [\"{}\"]\ndoes = \"Says so.\"\n{actions}",
        sha256(script.as_bytes())
    )
}

#[test]
fn a_script_that_nobody_has_seen_is_shown_and_nothing_is_written() {
    let signed = Signed::new();
    let run = signed.lock(&[]).failed("scripts of server have not been reviewed");
    for shown in ["server: postinst", &sha256(BEFORE.as_bytes()), "echo made", "sandboxed"] {
        assert!(run.stderr.contains(shown), "{shown:?} is not in {}", run.stderr);
    }
    assert_eq!(signed.written(), None);
}

#[test]
fn a_changed_script_stops_the_lock_with_its_difference() {
    let signed = Signed::with_a_changed_script();
    let before = signed.written().expect("written");
    // The lock that there is still fits, and says nothing of what is new.
    signed.lock(&[]).succeeded();
    let run = signed.lock(&["--update"]).failed("it was reviewed, and has changed");
    for shown in [
        "server: postinst",
        &sha256(AFTER.as_bytes()),
        "+  chmod 0700 /var/log/server",
        "[[script]]\n  package = \"server\"\n  reviewed = [",
        "scripts = \"sandboxed\"",
    ] {
        assert!(run.stderr.contains(shown), "{shown:?} is not in {}", run.stderr);
    }
    // What is the same is not shown as changed.
    assert!(!run.stderr.contains("+  echo made"), "{}", run.stderr);
    assert_eq!(signed.written().expect("there"), before);
}

#[test]
fn the_manifest_says_what_to_do_instead_and_the_build_does_it() {
    let signed = Signed::with_a_changed_script();
    let before = signed.written().expect("written");
    let directory = "directories = [{ path = \"etc/server\", mode = 0o700 }]\n";
    signed.add_to_manifest(&reviewed(AFTER, directory));
    let shown = signed.lock(&["--update", "--dry-run"]).succeeded();
    assert!(shown.stdout.contains("server 1.0-1 → 1.1-1"), "{}", shown.stdout);
    assert_eq!(signed.written().expect("there"), before);
    let run = signed.lock(&["--update"]).succeeded();
    assert!(run.stdout.contains("server 1.0-1 → 1.1-1"), "{}", run.stdout);
    assert!(run.stdout.contains("one package changes; written"), "{}", run.stdout);
    assert_ne!(signed.written().expect("there"), before);
    signed.project.build(&["--no-qcow2"]).succeeded();
    let root = fs::File::open(signed.project.path("output/coreos_1.2.3.root")).expect("there");
    let files = erofs::list(&root).expect("readable");
    assert_eq!(files["etc/server"].mode, 0o040_700);
    assert!(files.contains_key("usr/bin/server"));
}

#[test]
fn or_the_scripts_run_in_a_sandbox() {
    let signed = Signed::with_a_changed_script();
    signed.add_to_manifest("\n[[script]]\npackage = \"server\"\nscripts = \"sandboxed\"\n");
    let run = signed.lock(&["--update"]).succeeded();
    assert!(run.stdout.contains("server 1.0-1 → 1.1-1"), "{}", run.stdout);
}

#[test]
fn an_archive_that_was_changed_after_it_was_signed_is_refused() {
    let signed = Signed::with_a_changed_script();
    let before = signed.written().expect("written");
    let index = "debian/dists/trixie/main/binary-amd64/Packages";
    let packages = fs::read_to_string(signed.project.path(index)).expect("readable");
    signed.project.write(index, &packages.replace("1.1-1", "9.9-9"));
    signed.lock(&["--update"]).failed("is not what the archive signed");
    // The same for a package behind the index.
    signed.project.write(index, &packages);
    signed.add_to_manifest(&reviewed(AFTER, ""));
    fs::remove_dir_all(signed.project.path("cache")).expect("removed");
    signed.project.write("debian/pool/server_1.1-1.deb", "not the package");
    signed.lock(&["--update"]).failed("server");
    assert_eq!(signed.written().expect("there"), before);
}
