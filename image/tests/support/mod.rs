//! A small project to build from: a manifest, a few packages, and a stand-in
//! for the installer that brings them without a network.

#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod checks;
pub(crate) mod stub;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Where the tools of the tests are; the stand-in comes before.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

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
mirror = "http://localhost/debian"
security_mirror = "http://localhost/security"
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

const STATUS: &str = "\
Package: small
Status: install ok installed
Installed-Size: 12
Architecture: amd64
Version: 1.0-1

";

/// Files of the one package.
fn package() -> Vec<(&'static str, Vec<u8>)> {
    let modules = "usr/lib/modules/6.1.0-test";
    let text = |text: &str| text.as_bytes().to_vec();
    let join = |name: &str| -> &'static str { format!("{modules}/{name}").leak() };
    vec![
        ("boot/vmlinuz-6.1.0-test", vec![0x4b; 700_000]),
        (
            join("modules.dep"),
            text("kernel/erofs.ko: kernel/crc.ko\nkernel/crc.ko:\nkernel/virtio_blk.ko:\n"),
        ),
        (join("modules.alias"), text("alias virtio:d00000002v* virtio_blk\n")),
        (join("modules.builtin"), text("kernel/ext4.ko\n")),
        (join("kernel/erofs.ko"), vec![0xe0; 9000]),
        (join("kernel/crc.ko"), vec![0xc0; 5000]),
        (join("kernel/virtio_blk.ko"), vec![0xb0; 4096]),
        ("usr/lib/systemd/boot/efi/linuxx64.efi.stub", stub::stub(8)),
        ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", stub::stub(1)),
        ("usr/lib/systemd/system/multi-user.target", text("[Unit]\nDescription=All\n")),
        ("usr/lib/os-release", text("ID=debian\n")),
        (
            "usr/share/large",
            (0..2_000_000_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        ),
        ("etc/ld.so.cache", text("cache")),
        ("etc/passwd", text("root:x:0:0:root:/root:/bin/sh\n")),
        ("etc/group", text("root:x:0:\n")),
        ("etc/shadow", text("root:*:19000:0:99999:7:::\n")),
        ("etc/gshadow", text("root:*::\n")),
        ("var/lib/dpkg/status", text(STATUS)),
        ("var/lib/dpkg/info/small.list", text("/.\n/usr\n/usr/share\n/usr/share/large\n")),
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
        project.write_packages(&package());
        project.set_installer("exec cat \"$(dirname \"$0\")/../packages.tar\"");
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

    /// What stands in for `mmdebstrap`, as a shell script.
    pub(crate) fn set_installer(&self, script: &str) {
        self.write("tools/mmdebstrap", &format!("#!/bin/sh\n{script}\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path("tools/mmdebstrap"), mode).expect("made executable");
    }

    fn write_packages(&self, files: &[(&str, Vec<u8>)]) {
        let file = File::create(self.path("packages.tar")).expect("created");
        let mut archive = tar::Builder::new(file);
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1_700_000_000);
            archive.append_data(&mut header, path, &content[..]).expect("appended");
        }
        archive.into_inner().and_then(|mut file| file.flush()).expect("written");
    }

    /// The program, to be run in the project.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image"));
        self.prepare(&mut command);
        command
    }

    /// Makes any program run in the project.
    pub(crate) fn prepare(&self, command: &mut Command) {
        let path = format!("{}:{PATH}", self.path("tools").display());
        command.current_dir(self.directory.path()).env("PATH", path);
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
