//! A small project to build from: a manifest, a package in an archive that is a directory, and
//! the lock that names it.

#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod checks;
pub(crate) mod deb;
pub(crate) mod module;
pub(crate) mod stub;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const MANIFEST: &str = r#"
id = "coreos-test"
name = "Test"
version = "1.2.3"
channel = "alpha"
overlay = ["overlay"]

[packages]
architecture = "amd64"
suite = "trixie"
components = ["main"]
mirror = "file:/nowhere/debian"
security_mirror = "file:/nowhere/security"
install = ["small"]

[accounts.users]
[accounts.groups]

[[program]]
name = "coreos-init"
path = "usr/lib/coreos/coreos-init"

[units]
default = "multi-user.target"
enable = []

[kernel]
command_line = "quiet"

[initrd]
always = ["erofs", "ext4"]
hardware = ["virtio_blk"]

[disk]
esp = "64 MiB"
root = "16 MiB"
verity = "1 MiB"
state = "8 MiB"
"#;

const CONTROL: &str = "Package: small\nVersion: 1.0-1\nArchitecture: amd64\nInstalled-Size: 12\n\
    Maintainer: Nobody <nobody@localhost>\nDescription: a small system\n";

/// Files of the one package.
fn package() -> Vec<(&'static str, Vec<u8>)> {
    let modules = "usr/lib/modules/6.1.0-test";
    let text = |text: &str| text.as_bytes().to_vec();
    let join = |name: &str| -> &'static str { format!("{modules}/{name}").leak() };
    vec![
        ("boot/vmlinuz-6.1.0-test", vec![0x4b; 700_000]),
        (join("modules.builtin"), text("kernel/ext4.ko\n")),
        (join("kernel/crc.ko"), module::module(&["crc32"], &[], &[])),
        (join("kernel/erofs.ko"), module::module(&[], &["crc32"], &["alias=fs-erofs"])),
        (join("kernel/virtio_blk.ko"), module::module(&[], &[], &["alias=virtio:d00000002v*"])),
        ("usr/lib/systemd/boot/efi/linuxx64.efi.stub", stub::stub(8)),
        ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", stub::stub(1)),
        ("usr/lib/systemd/system/multi-user.target", text("[Unit]\nDescription=All\n")),
        ("usr/lib/os-release", text("ID=debian\n")),
        (
            "usr/share/large",
            (0..2_000_000_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        ),
        ("etc/ld.so.cache", text("cache")),
        ("usr/share/base-passwd/passwd.master", text("root::0:0:root:/root:/bin/sh\n")),
        ("usr/share/base-passwd/group.master", text("root::0:\n")),
    ]
}

/// A project in a directory of its own.
pub(crate) struct Project {
    directory: TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Project {
    pub(crate) fn new() -> Project {
        let project = Project { directory: TempDir::new().expect("temporary directory") };
        project.write("manifest.toml", MANIFEST);
        project.write("overlay/etc/motd", "hello\n");
        project.write("programs/coreos-init", "first program\n");
        project.set_package(&deb::deb(CONTROL, &package()));
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("directory made");
        fs::write(path, content).expect("file written");
    }

    /// Replaces a piece of the manifest, which must be there.
    pub(crate) fn change_manifest(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("manifest.toml")).expect("readable");
        assert!(text.contains(from), "{from}");
        self.write("manifest.toml", &text.replacen(from, to, 1));
    }

    /// Puts a package into the archive and into the lock.
    pub(crate) fn set_package(&self, bytes: &[u8]) {
        let archive = self.path("archive");
        fs::create_dir_all(&archive).expect("directory made");
        fs::write(archive.join("small.deb"), bytes).expect("package written");
        let url = format!("file:{}", archive.display());
        let package = deb::Locked::new("small", "1.0-1", "small.deb", bytes);
        self.write("manifest.lock", &deb::lock(&url, &["small"], &[package]));
    }

    /// The program, to be run in the project.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image"));
        self.prepare(&mut command);
        command
    }

    /// Makes any program run in the project.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.current_dir(self.directory.path());
    }

    /// The arguments of a build of this project into `output`.
    pub(crate) fn build_arguments(output: &str) -> Vec<String> {
        let fixed = [
            "build",
            "--manifest=manifest.toml",
            "--coreos-init=programs/coreos-init",
            "--cache=cache",
        ];
        fixed.map(str::to_owned).into_iter().chain([format!("--output={output}")]).collect()
    }

    /// Builds into `output` with more arguments.
    pub(crate) fn build(&self, more: &[&str]) -> Run {
        Run::of(self.command().args(Project::build_arguments("output")).args(more))
    }

    /// Names of what is in a directory of the project.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(directory)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Run {
        Run::from(command.output().expect("runs"))
    }

    /// Fails the test unless the run succeeded.
    pub(crate) fn succeeded(self) -> Run {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the run failed with one error that says `what`.
    pub(crate) fn failed(self, what: &str) -> Run {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        let errors = self.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{}", self.stderr);
        assert!(self.stderr.contains(what), "{what:?} is not in {}", self.stderr);
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// A file's content, if it is there.
pub(crate) fn content(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok()
}
