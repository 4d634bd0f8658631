//! Extensions, of images that the field's tools made.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use coreos_init::ledger::sha256;
use disk::gpt::{ALIGNMENT, Partition, Table};
use disk::layout::{READ_ONLY, ROOT_TYPE, SECTOR, VERITY_TYPE};
use disk::verity::RootHash;

use crate::root::Root;
use crate::{coreos_init, run};

const UNIT: &str = "[Service]\nExecStart=/usr/bin/tool\n[Install]\nWantedBy=multi-user.target\n";

/// An image of an extension and its root hash.
fn image(name: &str, to: &Path) -> (PathBuf, String) {
    let files = to.join("files");
    for (path, text) in [
        (
            format!("usr/lib/extension-release.d/extension-release.{name}"),
            "ID=coreos-rs\nSYSEXT_LEVEL=1\n",
        ),
        ("usr/lib/systemd/system/tool.service".to_owned(), UNIT),
        ("usr/bin/tool".to_owned(), "#!/bin/sh\n"),
    ] {
        let path = files.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let run = |command: &mut Command| {
        let output = command.output().expect("see host-packages.txt");
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (root, verity) = (to.join("root"), to.join("verity"));
    run(Command::new("mkfs.erofs").arg(&root).arg(&files));
    let told = run(Command::new("veritysetup").arg("format").arg(&root).arg(&verity));
    let hash = told.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hash[at..at + 2], 16).unwrap();
    }
    let guids = RootHash(bytes);
    let (root, verity) = (fs::read(root).unwrap(), fs::read(verity).unwrap());
    let mut disk = vec![0; 4 * ALIGNMENT as usize];
    let mut table = Table::new(guids.root_guid(), disk.len() as u64 / SECTOR).unwrap();
    for (number, bytes, type_guid, guid) in
        [(1, root, ROOT_TYPE, guids.root_guid()), (2, verity, VERITY_TYPE, guids.verity_guid())]
    {
        let at = u64::from(number) * ALIGNMENT;
        assert!(bytes.len() as u64 <= ALIGNMENT);
        disk[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        let (first_lba, last_lba) = (at / SECTOR, (at + ALIGNMENT) / SECTOR - 1);
        let (label, attributes) = (String::new(), READ_ONLY);
        table
            .put(&Partition { number, label, type_guid, guid, first_lba, last_lba, attributes })
            .unwrap();
    }
    let path = to.join(format!("{name}.raw"));
    fs::write(&path, disk).unwrap();
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    table.write(&mut file).unwrap();
    (path, hash.to_owned())
}

fn with(root: &Root, verb: &str, text: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.yaml");
    fs::write(&file, text).unwrap();
    let arguments = ["--root".as_ref(), root.path().as_os_str(), "--from-file".as_ref()];
    let (code, out, err) = run(coreos_init().arg(verb).args(arguments).arg(&file));
    let here = format!("{}/", directory.path().display());
    (code, out.replace(&here, ""), err.replace(&here, ""))
}

fn named(name: &str, more: &str) -> String {
    format!(
        "#cloud-config\ncoreos:\n  extensions:\n  - name: {name}\n    source: /opt/tools.raw\n{more}"
    )
}

#[test]
fn an_extension_is_linked_with_its_root_hash_and_goes_when_it_is_no_longer_named() {
    let directory = tempfile::tempdir().unwrap();
    let (path, hash) = image("tools", directory.path());
    let root = Root::new();
    fs::create_dir(root.path().join("opt")).unwrap();
    fs::copy(&path, root.path().join("opt/tools.raw")).unwrap();
    let system = root.path().join("usr/lib/os-release");
    fs::write(&system, "ID=coreos-rs\n").unwrap();
    let sha256 = sha256(&fs::read(&path).unwrap());
    let config = named("tools", &format!("    sha256: {sha256}\n    root_hash: {hash}\n"));
    let config = config + "  units:\n  - name: tool.service\n    enable: true\n";

    let (code, out, err) = with(&root, "plan", &config);
    assert_eq!(code, 2, "{err}");
    assert!(out.contains("/var/lib/extensions/tools.raw"), "{out}");
    assert!(out.contains("on the machine: merge tools\n"), "{out}");
    assert!(!root.path().join("var").exists(), "a plan writes nothing");

    let (code, out, err) = with(&root, "apply", &config);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let links = root.path().join("var/lib/extensions");
    assert_eq!(fs::read_link(links.join("tools.raw")).unwrap(), Path::new("/opt/tools.raw"));
    assert_eq!(root.read("var/lib/extensions/tools.roothash"), format!("{hash}\n"));
    // Its unit is one that can be enabled, and is started once it is there.
    let wants = root.path().join("etc/systemd/system/multi-user.target.wants/tool.service");
    assert_eq!(fs::read_link(wants).unwrap(), Path::new("/usr/lib/systemd/system/tool.service"));
    assert!(out.contains("on the machine: start tool.service\n"), "{out}");

    let (code, out, _) = with(&root, "apply", &config);
    assert!(code == 0 && out.contains("nothing to do"), "{out}");
    fs::write(links.join("theirs.raw"), "not of a configuration").unwrap();
    let (code, out, err) = with(&root, "apply", "#cloud-config\nhostname: a\n");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("removed /var/lib/extensions/tools.raw\n"), "{out}");
    let left: Vec<_> = fs::read_dir(&links).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, ["theirs.raw"]);
    assert!(root.path().join("opt/tools.raw").exists());
}

#[test]
fn an_image_that_is_another_one_is_refused_at_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let (path, hash) = image("tools", directory.path());
    let root = Root::new();
    fs::create_dir(root.path().join("opt")).unwrap();
    fs::copy(&path, root.path().join("opt/tools.raw")).unwrap();
    fs::write(root.path().join("usr/lib/os-release"), "ID=coreos-rs\n").unwrap();
    let other = sha256(b"other");
    for (config, why) in [
        (
            named("tools", &format!("    root_hash: {other}\n")),
            format!("its root hash is {hash}, not `root_hash`"),
        ),
        (
            named("tool", &format!("    root_hash: {hash}\n")),
            "its name is `tools`, not `tool`".to_owned(),
        ),
        (
            named("tools", &format!("    sha256: {other}\n    root_hash: {hash}\n")),
            "/opt/tools.raw is not what was asked for".to_owned(),
        ),
    ] {
        let (code, out, err) = with(&root, "apply", &config);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("node.yaml:5:13: error: the extension `tool"), "{err}");
        assert!(err.contains(&why), "{err}");
        assert!(!root.path().join("var").exists(), "nothing is written");
    }
}
