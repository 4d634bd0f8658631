//! The proof that nothing is missing without the scripts of packages: the packages of the lock,
//! installed by apt and dpkg with every script run, make the same root tree, path by path.
//!
//! What differs is on a list here, with the reason, and nothing else may.

mod support;

use image::archive::Transport;
use image::deb::package;
use image::deb::store::Store;
use image::lock::Lock;
use image::manifest::{Manifest, Removal};
use image::packages;
use image::progress::{Progress, Style};
use image::tree::archive::FromTar;
use image::tree::finish::{self, RootTree};
use image::tree::{Kind, Node, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::deb::header;
use tar::{Builder, EntryType};

/// Runs in the installed root, whose path is `$1`: kernel modules are unpacked, and indexed again
/// under their new names.
const UNPACK_MODULES: &str = r#"chroot "$1" sh -euc '
cd /usr/lib/modules
find . -name "*.ko.xz" -print0 | xargs -0 -r -n 64 -P 4 xz --decompress
for version in *; do depmod "$version"; done'"#;

/// What apt, dpkg and scripts leave that no image has, and why not.
const LEFTOVERS: [(&str, &[&str]); 4] = [
    (
        "settings, lists and logs of apt and debconf",
        &["etc/apt", "var/cache/apt", "var/cache/debconf", "var/lib/apt", "var/lib/ucf"],
    ),
    (
        "System V links and catalogues of document types",
        &[
            "etc/rc[0-6S].d",
            "etc/sgml",
            "var/lib/sgml-base",
            "var/lib/xml-core",
            "usr/local/share/sgml",
            "usr/local/share/xml",
        ],
    ),
    ("the initrd and boot links of an installed system", &["etc/initramfs-tools", "vmlinuz*"]),
    (
        "links to manual pages and other documentation, and the journal's catalogue",
        &["etc/alternatives/*.gz", "var/log/README", "var/lib/systemd/catalog"],
    ),
];

/// What differs between the two trees, and why it may.
const DIFFERENCES: [(&str, &str); 7] = [
    ("etc/ca-certificates.conf", "the comment at its beginning is our own"),
    ("etc/hosts.allow", "nothing but a comment"),
    ("etc/hosts.deny", "nothing but a comment"),
    ("etc/ld.so.cache", "names the program that wrote it"),
    ("etc/modules", "the comment is our own"),
    ("usr/lib/modules/*/modules.symbols", "depmod writes it in the order of a hash table"),
    ("usr/lib/sysimage/dpkg/status", "dpkg notes a settings file that is to go away as new"),
];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn finish(manifest: &Manifest, files: &FromTar, directory: &Path) -> RootTree {
    // Programs of the project are the same in both trees.
    let program = directory.join("program");
    fs::write(&program, "a program").unwrap();
    let names = manifest.programs.iter().map(|program| program.name.clone());
    let programs: BTreeMap<String, PathBuf> = names.map(|name| (name, program.clone())).collect();
    finish::root_tree(&finish::Request {
        manifest,
        packages: files,
        project: &project(),
        programs: &programs,
        version: &manifest.version,
    })
    .unwrap()
}

/// Installs the packages of the lock with apt and dpkg, from an archive of nothing else.
fn install(lock: &Lock, store: &Store, directory: &Path) -> FromTar {
    let archive = directory.join("archive");
    fs::create_dir(&archive).unwrap();
    let mut index = String::new();
    for locked in &lock.packages {
        let mut file = store.get(locked, &lock.urls(locked), &Transport::default()).unwrap();
        let control = package::control(&file).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let name = format!("{}.deb", locked.sha256);
        std::io::copy(&mut file, &mut File::create(archive.join(&name)).unwrap()).unwrap();
        let (size, sha256) = (locked.size, &locked.sha256);
        let _ = write!(
            index,
            "{}\nFilename: ./{name}\nSize: {size}\nSHA256: {sha256}\n\n",
            control.paragraph
        );
    }
    // By the name of the suite the installer finds what is essential.
    let (size, digest) = (index.len(), image::digest::of_bytes(index.as_bytes()));
    let release = format!(
        "Suite: trixie\nCodename: trixie\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n\
         SHA256:\n {digest} {size} Packages\n"
    );
    fs::write(archive.join("Packages"), index).unwrap();
    fs::write(archive.join("Release"), release).unwrap();
    let tar = directory.join("root.tar");
    let root = nix::unistd::geteuid().is_root();
    let mut command = match root {
        // In a mount namespace of its own: what it mounts must not stay if it is killed.
        true => Command::new("unshare"),
        false => Command::new("mmdebstrap"),
    };
    if root {
        command.args(["--mount", "--propagation", "private", "--", "mmdebstrap"]);
    }
    let output = command
        .arg("--variant=essential")
        .arg(format!("--mode={}", if root { "root" } else { "unshare" }))
        .arg(format!("--architectures={}", lock.architecture))
        .arg(format!("--include={}", lock.asked.join(",")))
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg("--dpkgopt=force-unsafe-io")
        .arg(format!("--customize-hook={UNPACK_MODULES}"))
        .arg("trixie")
        .arg(&tar)
        .arg(format!("deb [trusted=yes] copy:{} ./", archive.display()))
        // The initrd is not Debian's, so its hook need not make one.
        .env("INITRD", "No")
        .env_remove("SOURCE_DATE_EPOCH")
        .env("LC_ALL", "C.UTF-8")
        .env("TMPDIR", directory)
        .output()
        .unwrap_or_else(|error| panic!("mmdebstrap: {error}; see host-packages.txt"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Tree::from_tar(File::open(tar).unwrap()).unwrap()
}

/// Everything about a file but its name and its contents.
fn describe(tree: &Tree, path: &str) -> String {
    let Some(node) = tree.get(path) else { return "missing".to_owned() };
    let file = match &node.kind {
        Kind::HardLink(target) => tree.get(target).unwrap(),
        _ => node,
    };
    let Node { mode, uid, gid, xattrs, .. } = file;
    let kind = match &node.kind {
        Kind::File(content) => format!("file of {} bytes", content.len()),
        other => format!("{other:?}"),
    };
    let mode = if matches!(node.kind, Kind::Symlink(_)) { 0o777 } else { *mode };
    format!("{kind}, {mode:o} {uid}:{gid} {xattrs:?}")
}

fn differs(one: &Tree, two: &Tree, path: &str) -> Option<String> {
    let (a, b) = (describe(one, path), describe(two, path));
    if a != b {
        return Some(format!("{path}: {a} here, {b} by dpkg"));
    }
    match (&one.get(path)?.kind, &two.get(path)?.kind) {
        (Kind::File(a), Kind::File(b)) => {
            (a.to_vec().unwrap() != b.to_vec().unwrap()).then(|| format!("{path}: other contents"))
        }
        _ => None,
    }
}

#[test]
fn dpkg_makes_the_same_tree() {
    let manifest_path = project().join("image/coreos.toml");
    let manifest = Manifest::read(&manifest_path).unwrap();
    let lock = Lock::read(&image::lock::path_for(&manifest_path)).unwrap().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // What `make image` has fetched is not fetched again.
    let cache = project().join("target/packages");
    let request =
        packages::Request { lock: &lock, manifest: &manifest, cache: &cache, builder: "the proof" };
    let native = packages::tree(&request, &Progress::new(Style::Lines)).unwrap();
    let native = finish(&manifest, &native.files, directory.path());

    let store = Store::open(&cache.join("debs")).unwrap();
    let installed = install(&lock, &store, directory.path());
    let mut with_leftovers = manifest.clone();
    with_leftovers.remove.extend(LEFTOVERS.iter().map(|(reason, paths)| Removal {
        reason: (*reason).to_owned(),
        optional: false,
        packages: Vec::new(),
        paths: paths.iter().map(|path| (*path).to_owned().try_into().unwrap()).collect(),
    }));
    let dpkg = finish(&with_leftovers, &installed, directory.path());
    assert_eq!(native.packages, dpkg.packages);
    assert_eq!(native.epoch, dpkg.epoch);

    let allowed: Vec<(image::tree::glob::Glob, &str)> = DIFFERENCES
        .iter()
        .map(|(path, _)| ((*path).to_owned().try_into().unwrap(), *path))
        .collect();
    let paths: BTreeSet<&str> =
        native.tree.iter().chain(dpkg.tree.iter()).map(|(path, _)| path).collect();
    let (mut unexpected, mut seen) = (Vec::new(), BTreeSet::new());
    for path in paths {
        if let Some(difference) = differs(&native.tree, &dpkg.tree, path) {
            match allowed.iter().find(|(glob, _)| glob.matches(path)) {
                Some((_, known)) => {
                    seen.insert(*known);
                }
                None => unexpected.push(difference),
            }
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    let unused: Vec<&str> =
        DIFFERENCES.iter().map(|(path, _)| *path).filter(|path| !seen.contains(path)).collect();
    assert!(unused.is_empty(), "no longer different: {unused:?}");
    assert!(dpkg.unmatched.is_empty(), "no longer left over: {:?}", dpkg.unmatched);
}

/// The proof would be none if it overlooked something.
#[test]
fn a_difference_is_seen() {
    let tree = |mode: u32, content: &str| {
        let mut tar = Builder::new(Vec::new());
        let mut header = header(EntryType::Regular, mode, content.len());
        tar.append_data(&mut header, "usr/bin/x", content.as_bytes()).unwrap();
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(path.path(), tar.into_inner().unwrap()).unwrap();
        Tree::from_tar(File::open(path.path()).unwrap()).unwrap().tree
    };
    let one = tree(0o755, "abc");
    assert_eq!(differs(&one, &tree(0o755, "abc"), "usr/bin/x"), None);
    for other in [tree(0o4755, "abc"), tree(0o755, "abd"), Tree::new()] {
        assert!(differs(&one, &other, "usr/bin/x").is_some());
    }
}
