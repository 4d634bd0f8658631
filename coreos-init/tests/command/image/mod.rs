//! `plan --image`: what would change on the machine of a disk image.

mod drive;

use std::fs;
use std::process::Command;

use disk::layout::{Role, Slot};
use drive::Drive;

use crate::{coreos_init, run};

const FIRST: &str = "#cloud-config
hostname: alpha
users:
- name: ann
  uid: 2000
  groups: [docker]
  ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEhAhqPZ/1cDW+DqHQ1l4e1Cu8lxN0NFpBvEg1vVn+Vx]
write_files:
- {path: /etc/app/conf, content: 'a=1'}
- {path: /opt/tool, content: x, permissions: '0755'}
- {path: /etc/motd, content: 'mine'}
coreos:
  units: [{name: etcd.service, enable: true}]
";

/// Without the user, with another content, and with what is in the image only.
const SECOND: &str = "#cloud-config
hostname: beta
write_files:
- {path: /etc/app/conf, content: 'a=2'}
- {path: /etc/pair/b, content: 'b'}
";

/// Runs `plan` with a configuration.
fn plan(arguments: &[&str], text: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.yaml");
    fs::write(&file, text).unwrap();
    let mut command = coreos_init();
    let (code, out, err) = run(command.arg("plan").args(arguments).arg("--from-file").arg(&file));
    let here = format!("{}/", directory.path().display());
    (code, out.replace(&here, ""), err.replace(&here, ""))
}

fn plan_image(drive: &Drive, text: &str) -> (i32, String, String) {
    let path = drive.path();
    let (code, out, err) = plan(&["--image", path.to_str().unwrap()], text);
    (code, out, err.replace(path.to_str().unwrap(), "DISK"))
}

#[test]
fn a_disk_that_never_booted_is_planned_for_as_its_first_boot_would() {
    let drive = Drive::new();
    let before = fs::read(drive.path()).unwrap();
    let (code, out, err) = plan_image(&drive, "#cloud-config\nhostname: alpha\n");
    assert_eq!(code, 2, "{err}");
    assert_eq!(err, "note: DISK boots 1.0.0 from slot a, with no state yet\n");
    assert!(
        out.starts_with(
            "# create /etc/hostname 0644 0:0 6 bytes (hostname, node.yaml:2:11)\n\
             --- /dev/null\n+++ b/etc/hostname\n@@ -0,0 +1 @@\n+alpha\n"
        ),
        "{out}"
    );
    // What the image has is changed, what is on the state of another machine is not known.
    let (code, out, _) = plan_image(&drive, FIRST);
    assert_eq!(code, 2);
    assert!(out.contains("--- a/etc/motd\n+++ b/etc/motd\n@@ -1 +1 @@\n-welcome\n+mine"), "{out}");
    assert!(out.contains("# create /home/ann directory 0700 2000:2000 "), "{out}");
    assert!(fs::read(drive.path()).unwrap() == before, "a plan writes nothing");
}

#[test]
fn programs_get_json() {
    let drive = Drive::new();
    let path = drive.path();
    let arguments = ["--json", "--image", path.to_str().unwrap()];
    let (code, out, _) = plan(&arguments, "#cloud-config\nhostname: alpha\n");
    assert_eq!(code, 2);
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(plan["changes"][0]["path"], "/etc/hostname");
    assert_eq!(plan["changes"][0]["change"], "create");
}

/// Boots the root `lower` on the state `state`, as far as file systems go, and does things there.
/// The kernel's own overlayfs covers `/etc`; nobody else sees the mounts.
fn on_a_machine(lower: &str, state: &str, script: &str) -> String {
    let mounts = r#"
        lower=$1 state=$2 program=$3
        mkdir -p "$state/etc/upper" "$state/etc/work"
        merged=$(mktemp -d)
        trap 'umount -R "$merged"; rmdir "$merged"' EXIT
        mount --bind "$lower" "$merged"
        mount -t overlay overlay -o "lowerdir=$lower/etc,upperdir=$state/etc/upper,workdir=$state/etc/work" "$merged/etc"
        for name in var home root opt srv; do
            mkdir -p "$state/$name"
            mount --bind "$state/$name" "$merged/$name"
        done
        mount -t tmpfs tmpfs "$merged/run"
    "#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation=private", "sh", "-ec"])
        .arg(format!("{mounts}\n{script}"))
        .args(["sh", lower, state, env!("CARGO_BIN_EXE_coreos-init")])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_state_of_an_earlier_boot_counts_as_it_does_on_the_machine() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: overlayfs needs root");
        return;
    }
    let mut drive = Drive::new();
    let (tree, work) = (Drive::tree("1.0.0"), tempfile::tempdir_in("/dev/shm").unwrap());
    let state = work.path().join("state");
    for (name, text) in [("first", FIRST), ("second", SECOND)] {
        fs::write(work.path().join(format!("{name}.yaml")), text).unwrap();
    }
    let script = r#"
        configs=$(dirname "$state")
        "$program" apply --root "$merged" --from-file "$configs/first.yaml" > /dev/null
        # A file of the image that is gone, one that was changed, and one that is a link now.
        rm "$merged/etc/pair/a"
        ln -s pair/b "$merged/etc/link"
        ln -s /etc/link "$merged/opt/far"
        "$program" plan --root "$merged" --from-file "$configs/second.yaml" || [ $? = 2 ]
    "#;
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let there = on_a_machine(&path(tree.path()), &path(&state), script);
    let there = there.replace(&format!("{}/second", path(work.path())), "node");
    drive.put_state(&state);

    let (code, out, err) = plan_image(&drive, FIRST);
    assert_eq!(err, "note: DISK boots 1.0.0 from slot a, with the state of its last boot\n");
    // `/run` is another one at every boot.
    let again: Vec<_> = out.lines().filter(|line| line.starts_with("# ")).collect();
    assert_eq!(again.len(), 1, "{out}");
    assert!(again[0].starts_with("# create /run/metadata/coreos "), "{out}");
    assert_eq!(code, 2);

    let (_, out, _) = plan_image(&drive, SECOND);
    let lines = |text: &str, first: &str| -> Vec<String> {
        let wanted = text.lines().filter(|line| line.starts_with(first));
        wanted.map(str::to_owned).collect()
    };
    // What was put over a file of the image is known to come back; a directory does not know.
    let restored =
        "# restore /etc/motd 0644 0:0 4 bytes -> 0644 0:0 8 bytes (no longer configured)";
    let removed = "# remove /etc/motd (no longer configured)";
    let of_run = |line: &String| !line.contains(" /run/");
    let of_machine: Vec<String> = lines(&there, "# ").into_iter().filter(of_run).collect();
    let of_image: Vec<String> = lines(&out, "# ").into_iter().filter(of_run).collect();
    let expected = of_machine.iter().map(|line| line.replace(removed, restored));
    assert_eq!(of_image, expected.collect::<Vec<_>>());
    assert!(of_image.len() > 8, "{out}");
    assert!(out.contains("-a=1\n"), "{out}");

    // What a link leads to, and what a whiteout hides.
    let appended = "#cloud-config\nwrite_files:\n- {path: /opt/far, content: c, append: true}\n\
                    - {path: /etc/pair/a, content: a}\n";
    let (_, out, err) = plan_image(&drive, appended);
    assert!(out.contains("# create /etc/pair/a "), "{out}{err}");
}

#[test]
fn the_slot_that_the_boot_loader_would_take_is_planned_for() {
    let mut drive = Drive::empty();
    for (slot, version, motd) in [(Slot::A, "1.0.0", "old\n"), (Slot::B, "2.0.0", "new\n")] {
        let tree = Drive::tree(version);
        fs::write(tree.path().join("etc/motd"), motd).unwrap();
        drive.put_release(slot, version, &tree);
    }
    let text = "#cloud-config\nwrite_files: [{path: /etc/motd, content: mine}]\n";
    for (entries, release, slot, motd) in [
        (&["coreos_1.0.0.efi", "coreos_2.0.0+3.efi"][..], "2.0.0", "b", "-new\n"),
        (&["coreos_1.0.0.efi", "coreos_2.0.0+0-3.efi"], "1.0.0", "a", "-old\n"),
        (&["coreos_1.0.0.efi"], "1.0.0", "a", "-old\n"),
        (&["COREOS_1.0.0.EFI", "other.efi"], "1.0.0", "a", "-old\n"),
    ] {
        drive.put_entries(entries);
        let (code, out, err) = plan_image(&drive, text);
        let told = format!("note: DISK boots {release} from slot {slot}, with no state yet\n");
        assert_eq!((code, err), (2, told), "{entries:?}");
        assert!(out.contains(motd), "{entries:?}: {out}");
    }
}

#[test]
fn what_cannot_be_planned_for_is_told_in_one_line() {
    let text = "#cloud-config\nhostname: alpha\n";
    let refused = |drive: &Drive, complaint: &str| {
        let (code, out, err) = plan_image(drive, text);
        assert_eq!((code, out.as_str()), (1, ""), "{complaint}");
        assert_eq!(err, format!("error: {complaint}\n"));
    };
    for (bytes, complaint) in [
        (&b""[..], "DISK is no disk image: the disk has no GUID partition table"),
        (b"rubbish", "DISK is no disk image: the disk has no GUID partition table"),
        (
            b"QFI\xfb\0\0\0\x03",
            "DISK is a qcow2 image; only plain (raw) disk images are read: \
             use `qemu-img convert -O raw` first",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "DISK is packed by zstd; only plain (raw) disk images are read: use `zstd -d` first",
        ),
    ] {
        let drive = Drive::empty();
        fs::write(drive.path(), bytes).unwrap();
        refused(&drive, complaint);
    }

    let mut drive = Drive::new();
    drive.put_entries(&["other.efi"]);
    refused(&drive, "DISK would not boot: its ESP has no entry in EFI/Linux");
    drive.put_entries(&["coreos_1.0.0+0-3.efi"]);
    refused(&drive, "DISK would not boot: every release on it was tried in vain");
    drive.put_entries(&["coreos_3.0.0.efi"]);
    refused(
        &drive,
        "DISK would boot coreos_3.0.0.efi, but no slot holds that release (a: 1.0.0, b: 0.0.1)",
    );
    drive.put_entries(&["coreos_1.0.0.efi"]);

    drive.no_longer_fresh();
    drive.write_at(drive.offset(Role::State) + 510, b"\x55\xaa").unwrap();
    refused(
        &drive,
        "the state of DISK cannot be read: it holds something that is no ext4 file system; \
         a boot would leave it as it is",
    );
    let root = drive.offset(Role::Root(Slot::A));
    drive.write_at(root + 1024, &[0; 64]).unwrap();
    let hash = drive.root_hash(Slot::A);
    refused(
        &drive,
        &format!(
            "slot a of DISK cannot be read: cannot read the file system: \
             block 0 is not what the root hash {hash} says"
        ),
    );
    let rubbish = [0; 8192];
    drive.write_at(root, &rubbish).unwrap();
    drive.protect(Slot::A, &rubbish);
    refused(
        &drive,
        "slot a of DISK cannot be read: the file system is damaged, or made by another program: \
         no superblock with blocks of 4096 bytes",
    );
    drive.write_at(drive.offset(Role::Verity(Slot::A)), &[0; 512]).unwrap();
    refused(&drive, "slot a of DISK cannot be checked: no verity superblock found");
    drive.write_at(drive.offset(Role::Esp), &[0; 4096]).unwrap();
    refused(&drive, "the ESP of DISK cannot be read: the disc is neither ISO 9660 nor FAT");

    let missing = plan(&["--image", "/nonexistent"], text);
    assert_eq!(missing.0, 1);
    assert_eq!(
        missing.2,
        "error: cannot read /nonexistent: No such file or directory (os error 2)\n"
    );
}

#[test]
fn no_damage_is_more_than_an_error() {
    let mut drive = Drive::new();
    let state = tempfile::tempdir().unwrap();
    for path in ["etc/upper/app", "var/lib", "home/ann"] {
        fs::create_dir_all(state.path().join(path)).unwrap();
    }
    fs::write(state.path().join("etc/upper/hostname"), "gamma\n").unwrap();
    drive.put_state(state.path());
    let sound = fs::read(drive.path()).unwrap();
    let (_, out, _) = plan_image(&drive, FIRST);
    assert!(out.contains("-gamma\n+alpha\n"), "{out}");
    // Superblocks, inodes and directories of all three file systems, and the table.
    let regions =
        [0, drive.offset(Role::Esp), drive.offset(Role::Root(Slot::A)), drive.offset(Role::State)];
    let mut random = 12_345_u64;
    for round in 0..160 {
        let file = drive.file();
        let mut touched = Vec::new();
        for _ in 0..4 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = regions[round % 4] + (random >> 33) % 16_384;
            std::os::unix::fs::FileExt::write_all_at(&file, &[(random >> 20) as u8], at).unwrap();
            touched.push(at);
        }
        let (code, _, err) = plan_image(&drive, FIRST);
        assert!((0..=2).contains(&code), "{touched:?}: {err}");
        assert!(!err.contains("panicked"), "{touched:?}: {err}");
        for at in touched {
            drive.write_at(at, &sound[at as usize..=at as usize]).unwrap();
        }
    }
}
