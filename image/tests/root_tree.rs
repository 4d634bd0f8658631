//! From a package tar to a root file system image, over a tar that is small enough to read.

#[path = "support/module.rs"]
mod module;

use image::erofs::{Image, Options};
use image::manifest::Manifest;
use image::tree::finish::{FinishError, Request, RootTree, root_tree};
use image::tree::{Node, Tree};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

const MANIFEST: &str = r#"
id = "test-os"
name = "Test OS"
version = "1"
channel = "alpha"
overlay = ["dist"]
[packages]
architecture = "amd64"
suite = "trixie"
components = ["main"]
mirror = "http://mirror/debian"
security_mirror = "http://mirror/security"
install = ["app"]
[[remove]]
reason = "not needed"
packages = ["helper"]
paths = ["usr/share/doc"]
[accounts.users]
app = 250
[accounts.groups]
app = 251
[[accounts.login]]
name = "core"
id = 500
home = "home/core"
shell = "bin/sh"
groups = ["app"]
[[program]]
name = "tool"
path = "usr/lib/tool/tool"
links = ["usr/bin/tool"]
[[permission]]
paths = ["etc/secret"]
mode = 0o640
group = "app"
[units]
enable = ["app.service"]
default = "multi-user.target"
[kernel]
command_line = "quiet"
[initrd]
always = []
hardware = []
[disk]
esp = "64 MiB"
root = "64 MiB"
verity = "1 MiB"
state = "64 MiB"
"#;

const STATUS: &str = "Package: app\nStatus: install ok installed\nInstalled-Size: 3\n\
    Architecture: amd64\nVersion: 1.0-1\n\n\
    Package: helper\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n\n";

/// Path, mode, owner, time, contents; a path that ends with a slash is a directory.
type Packed = (&'static str, u32, (u64, u64), u64, &'static str);

const FILES: [Packed; 16] = [
    ("usr/bin/app", 0o755, (0, 0), 1000, "#!/bin/sh\n"),
    ("usr/bin/sh", 0o755, (0, 0), 1, "shell"),
    ("usr/bin/helper", 0o755, (0, 0), 2000, "#!/usr/bin/perl\n"),
    ("usr/share/doc/app/README", 0o644, (0, 0), 1, "read me"),
    ("usr/lib/systemd/system/app.service", 0o644, (0, 0), 1, "[Install]\nWantedBy=x.target\n"),
    ("usr/lib/systemd/system/multi-user.target", 0o644, (0, 0), 1, "[Unit]\n"),
    ("usr/lib/os-release", 0o644, (0, 0), 1, "ID=debian\n"),
    ("boot/vmlinuz-6.12-test", 0o644, (0, 0), 1, "kernel"),
    ("etc/passwd", 0o644, (0, 0), 1, "root:x:0:0::/root:/bin/sh\napp:x:998:997::/:/bin/sh\n"),
    ("etc/group", 0o644, (0, 0), 1, "root:x:0:\nshadow:x:42:\napp:x:997:\n"),
    ("etc/ld.so.cache", 0o644, (0, 0), 3000, "cache"),
    ("var/lib/app/", 0o750, (998, 997), 1, ""),
    ("var/lib/dpkg/status", 0o644, (0, 0), 1, STATUS),
    ("var/lib/dpkg/info/app.list", 0o644, (0, 0), 1, "/.\n/usr/bin/app\n"),
    ("var/lib/dpkg/info/helper.list", 0o644, (0, 0), 1, "/.\n/usr/bin/helper\n"),
    ("dev/null", 0o666, (0, 0), 1, "a device in real life"),
];

/// A project of a few files and the tar of its packages.
struct Project {
    directory: TempDir,
    manifest: Manifest,
    programs: BTreeMap<String, PathBuf>,
}

impl Project {
    /// Leaves out the files whose path begins with `without`.
    fn new(without: &str) -> Project {
        let directory = tempfile::tempdir().unwrap();
        let on_disk = |path: &str| directory.path().join(path);
        fs::create_dir_all(on_disk("dist/etc")).unwrap();
        fs::write(on_disk("dist/etc/secret"), "secret").unwrap();
        fs::write(on_disk("tool"), "#!/bin/sh\n").unwrap();
        let mut tar = Builder::new(fs::File::create(on_disk("root.tar")).unwrap());
        for (path, mode, (uid, gid), time, content) in FILES {
            if path.starts_with(without) && !without.is_empty() {
                continue;
            }
            let directory = path.ends_with('/');
            let mut header = Header::new_ustar();
            let kind = if directory { EntryType::Directory } else { EntryType::Regular };
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(uid);
            header.set_gid(gid);
            header.set_mtime(time);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, format!("./{path}"), content.as_bytes()).unwrap();
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        tar.append_link(&mut header, "bin", "usr/bin").unwrap();
        tar.finish().unwrap();
        let manifest = Manifest::parse(MANIFEST, Path::new("manifest")).unwrap();
        let programs = BTreeMap::from([("tool".to_owned(), on_disk("tool"))]);
        Project { directory, manifest, programs }
    }

    fn root_tree(&self) -> Result<RootTree, FinishError> {
        let tar = fs::File::open(self.directory.path().join("root.tar")).unwrap();
        root_tree(&Request {
            manifest: &self.manifest,
            packages: &Tree::from_tar(tar).unwrap(),
            project: self.directory.path(),
            programs: &self.programs,
            version: &"2.0".parse().unwrap(),
        })
    }
}

fn image(root: &RootTree) -> Vec<u8> {
    let options =
        Options { uuid: [1; 16], volume_name: "root", epoch: root.epoch, last: &root.own };
    let mut bytes = Vec::new();
    Image::plan(&root.tree, &options).unwrap().write(&mut bytes).unwrap();
    bytes
}

#[test]
fn packages_overlay_and_programs_become_one_root() {
    let root = Project::new("").root_tree().unwrap();
    let paths: Vec<&str> = root.tree.iter().map(|(path, _)| path).collect();
    for path in ["usr/bin/helper", "usr/share/doc", "dev/null", "var/lib", "boot/vmlinuz-6.12-test"]
    {
        assert!(!paths.contains(&path), "{path} should be gone");
    }
    let text = |path: &str| {
        let bytes = root.tree.read_file(path).unwrap().unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(bytes).unwrap()
    };
    assert!(text("etc/os-release").contains("VERSION_ID=2.0\n"));
    assert_eq!(text("usr/bin/tool"), "#!/bin/sh\n");
    assert!(text("etc/passwd").contains("app:x:250:251:"));
    assert!(text("usr/lib/tmpfiles.d/coreos-var.conf").contains("d /var/lib/app 0750 app app -\n"));
    assert_eq!(
        text("usr/lib/systemd/system/x.target.wants/app.service"),
        text("usr/lib/systemd/system/app.service")
    );
    let secret = root.tree.get("etc/secret").unwrap();
    assert_eq!((secret.mode, secret.uid, secret.gid), (0o640, 0, 251));
    assert_eq!(root.kernel.release, "6.12-test");
    assert_eq!(root.kernel.image.to_vec().unwrap(), b"kernel");
    let packages: Vec<&str> = root.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(packages, ["app"]);
    assert_eq!((root.missing.len(), root.unmatched.len()), (0, 0));
    // The newest file of all came in no package.
    assert_eq!(root.epoch, 2000);
}

#[test]
fn the_index_of_modules_names_those_that_stay() {
    let mut project = Project::new("");
    let text =
        MANIFEST.replace("\"usr/share/doc\"", "\"usr/share/doc\", \"usr/lib/modules/*/odd\"");
    project.manifest = Manifest::parse(&text, Path::new("manifest")).unwrap();
    let tar = fs::File::open(project.directory.path().join("root.tar")).unwrap();
    let mut packages = Tree::from_tar(tar).unwrap();
    for (path, wants) in [("kernel/plain", None), ("kernel/net", Some("crc")), ("odd/crc", None)] {
        let bytes = module::module(&[], wants.as_slice(), &[]);
        let path = format!("usr/lib/modules/6.12-test/{path}.ko");
        packages.tree.insert(&path, Node::file(0o644, bytes)).unwrap();
    }
    let request = Request {
        manifest: &project.manifest,
        packages: &packages,
        project: project.directory.path(),
        programs: &project.programs,
        version: &"2.0".parse().unwrap(),
    };
    let root = root_tree(&request).unwrap();
    let read =
        |name: &str| root.tree.read_file(&format!("usr/lib/modules/6.12-test/{name}")).unwrap();
    let index = String::from_utf8(read("modules.dep").expect("an index")).unwrap();
    let mut lines: Vec<&str> = index.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["kernel/net.ko:", "kernel/plain.ko:"]);
    // Where nothing of them is removed the index stays as it came.
    let whole = Manifest::parse(MANIFEST, Path::new("manifest")).unwrap();
    let root = root_tree(&Request { manifest: &whole, ..request }).unwrap();
    assert!(!root.tree.contains("usr/lib/modules/6.12-test/modules.dep"));
}

#[test]
fn the_same_inputs_give_the_same_image() {
    let (one, two) = (Project::new(""), Project::new(""));
    assert_eq!(image(&one.root_tree().unwrap()), image(&two.root_tree().unwrap()));
}

#[test]
fn what_is_wrong_is_one_line_that_names_it() {
    for (without, wanted) in [
        ("etc/ld.so.cache", "the packages bring no etc/ld.so.cache"),
        ("etc/passwd", "the packages bring no etc/passwd"),
        ("boot/", "the packages bring 0 kernels, one is needed: see `install` of [packages]"),
        (
            "usr/lib/systemd/system/app",
            "the unit app.service is to be enabled, but no package and no overlay brings it",
        ),
    ] {
        assert_eq!(Project::new(without).root_tree().unwrap_err().to_string(), wanted);
    }
    let mut project = Project::new("");
    project.programs.clear();
    let message = project.root_tree().unwrap_err().to_string();
    assert_eq!(message, "the program tool of the manifest is not among those that were built");
}

#[test]
fn something_removed_that_is_needed_is_reported() {
    let mut project = Project::new("");
    project.manifest.remove[0].packages = Vec::new();
    let root = project.root_tree().unwrap();
    let missing: Vec<String> = root.missing.iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["usr/bin/helper needs the interpreter /usr/bin/perl, which is not there"]);
}
