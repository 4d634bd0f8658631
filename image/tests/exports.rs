//! `image export` from the outside: each format against the field's own tools.

mod support;

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::Command;

use disk::packed::Header;
use image::initrd::cpio::{self, Entry};
use support::checks::run;
use support::{Project, Run, content};

const ALL: &str = "--format=vmdk,ova,gce,install,iso,pxe";
const FILES: [&str; 8] = [
    "coreos-gce.tar.gz",
    "coreos-pxe.efi",
    "coreos-pxe.initrd",
    "coreos-pxe.vmlinuz",
    "coreos.install",
    "coreos.iso",
    "coreos.ova",
    "coreos.vmdk",
];

fn export(project: &Project, more: &[&str]) -> Run {
    let mut command = project.command();
    command.args(["export", "output"]).args(more);
    if !more.iter().any(|argument| argument.starts_with("--installer")) {
        command.arg("--installer=programs/coreos-init");
    }
    Run::of(&mut command)
}

/// A built project with everything exported into `exports`.
fn exported(more: &[&str]) -> Project {
    let project = Project::new();
    project.build(&["--no-qcow2"]).succeeded();
    let arguments: Vec<&str> = [ALL, "--output=exports"].iter().chain(more).copied().collect();
    export(&project, &arguments).succeeded();
    assert_eq!(project.names("exports"), FILES);
    project
}

fn raw(project: &Project) -> PathBuf {
    project.path("output/coreos.raw")
}

#[test]
fn every_format_holds_the_disk_that_was_built() {
    let project = exported(&[]);
    let path = |name: &str| project.path(&format!("exports/{name}"));
    let compare = |format: &str, file: &PathBuf| {
        run("qemu-img", &["compare", "-f", "raw", "-F", format], &[&raw(&project), file]);
    };
    run("qemu-img", &["check", "-f", "vmdk"], &[&path("coreos.vmdk")]);
    compare("vmdk", &path("coreos.vmdk"));
    check_ova(&project);
    compare("vmdk", &project.path("unpacked/coreos-disk1.vmdk"));

    let mut command = Command::new("tar");
    command.arg("-xzSf").arg(path("coreos-gce.tar.gz")).arg("-C").arg(project.path("unpacked"));
    Run::of(&mut command).succeeded();
    let disk = project.path("unpacked/disk.raw");
    assert_eq!(fs::metadata(&disk).expect("there").len() % (1 << 30), 0, "whole GiB");
    assert!(run("sgdisk", &["--verify"], &[&disk]).contains("No problems found"));
    let partition = |disk: &PathBuf| run("sgdisk", &["--info=2"], &[disk]);
    assert_eq!(partition(&disk), partition(&raw(&project)));

    check_packed(&content(&path("coreos.install")).expect("there"), &raw(&project));
}

/// Unpacks the appliance into `unpacked` and checks its description.
fn check_ova(project: &Project) {
    let ova = project.path("exports/coreos.ova");
    let listing = run("tar", &["-tf"], &[&ova]);
    assert_eq!(listing, "coreos.ovf\ncoreos.mf\ncoreos-disk1.vmdk\n");
    fs::create_dir(project.path("unpacked")).expect("made");
    let mut command = Command::new("tar");
    command.arg("-xf").arg(&ova).arg("-C").arg(project.path("unpacked"));
    Run::of(&mut command).succeeded();
    let manifest = fs::read_to_string(project.path("unpacked/coreos.mf")).expect("there");
    for line in manifest.lines() {
        let (name, digest) = line.split_once(")= ").expect(line);
        let name = name.strip_prefix("SHA256(").expect(line);
        let sum = run("sha256sum", &[], &[&project.path(&format!("unpacked/{name}"))]);
        assert!(sum.starts_with(digest), "{line}: {sum}");
    }
    assert_eq!(manifest.lines().count(), 2, "{manifest}");
    let ovf = project.path("unpacked/coreos.ovf");
    run("xmllint", &["--noout"], &[&ovf]);
    let ask = |path: &str| {
        // Names without their name spaces: there are many.
        let path = path.replace('@', "@*[local-name()='").replace("=\"", "']=\"");
        run("xmllint", &["--xpath", &path], &[&ovf])
    };
    let size = fs::metadata(project.path("unpacked/coreos-disk1.vmdk")).expect("there").len();
    assert_eq!(ask("count(//*[local-name()='Property'][@userConfigurable=\"true\"])"), "15\n");
    assert_eq!(ask(&format!("count(//*[local-name()='File'][@size=\"{size}\"])")), "1\n");
    let capacity = fs::metadata(raw(project)).expect("there").len();
    assert_eq!(ask(&format!("count(//*[local-name()='Disk'][@capacity=\"{capacity}\"])")), "1\n");
    let transport = "count(//*[local-name()='VirtualHardwareSection']\
                     [@transport=\"com.vmware.guestInfo\"])";
    assert_eq!(ask(transport), "1\n");
    for (what, count) in [("VirtualSCSI", 1), ("VmxNet3", 1)] {
        let path = format!("count(//*[local-name()='ResourceSubType'][.='{what}'])");
        assert_eq!(run("xmllint", &["--xpath", &path], &[&ovf]), format!("{count}\n"), "{what}");
    }
    let text = fs::read_to_string(&ovf).expect("there");
    for part in [
        ">vmx-15<",
        "vmw:key=\"firmware\" vmw:value=\"efi\"",
        "vmw:key=\"bootOptions.efiSecureBootEnabled\" vmw:value=\"false\"",
        "ovf:key=\"guestinfo.coreos.config.data\"",
        "#streamOptimized\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Unpacks what an installer carries, and compares it with the disk.
fn check_packed(packed: &[u8], raw: &PathBuf) {
    let mut stream = Cursor::new(packed);
    let header = Header::read(&mut stream).expect("a header");
    let data = zstd::decode_all(&packed[stream.position() as usize..]).expect("frames");
    let disk = fs::read(raw).expect("there");
    assert_eq!((header.size, header.version.as_str()), (disk.len() as u64, "1.2.3"));
    assert_eq!(header.sha256, image::digest::of_bytes(&data));
    let mut unpacked = vec![0; disk.len()];
    let mut rest = &data[..];
    for &(offset, length) in &header.runs {
        let (these, others) = rest.split_at(length as usize);
        unpacked[offset as usize..][..these.len()].copy_from_slice(these);
        rest = others;
    }
    assert!(rest.is_empty() && unpacked == disk);
}

#[test]
fn the_installer_is_on_a_disc_that_starts_and_in_a_pair_for_the_network() {
    let project = Project::new();
    project.build(&["--no-qcow2"]).succeeded();
    project.write("node.yaml", "#cloud-config\nhostname: one\n");
    let more = ["--config=node.yaml", "--install-device=auto", "--power-off", "--output=exports"];
    export(&project, &[&["--format=iso,pxe,install"][..], &more].concat()).succeeded();
    let path = |name: &str| project.path(&format!("exports/{name}"));

    let initrd = content(&path("coreos-pxe.initrd")).expect("there");
    let program = content(&project.path("programs/coreos-init")).expect("there");
    let (system, carried) = archives(&initrd);
    assert_eq!(system["init"], Entry::Program(program));
    assert!(system.contains_key("lib/modules/load"));
    let file = |name: &str| match &carried[name] {
        Entry::File(bytes) => bytes.clone(),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(file("config/user-data"), b"#cloud-config\nhostname: one\n");
    let words = "coreos.install.device=auto\ncoreos.install.finish=poweroff\n";
    assert_eq!(String::from_utf8_lossy(&file("words")), words);
    assert_eq!(Some(file("image")), content(&path("coreos.install")));

    let uki = content(&path("coreos-pxe.efi")).expect("there");
    let section = |name: &str| image::uki::section(&uki, name).expect("a UKI").expect("there");
    assert_eq!(section(".initrd"), initrd);
    assert_eq!(section(".linux"), content(&path("coreos-pxe.vmlinuz")).expect("there"));
    assert_eq!(section(".cmdline"), b"quiet");

    // The disc: El Torito for a drive, a partition table for a stick, both the same partition.
    let iso = path("coreos.iso");
    let mut command = Command::new("xorriso");
    command.arg("-indev").arg(&iso).args(["-report_el_torito", "plain", "-pvd_info"]);
    let report = Run::of(&mut command).succeeded();
    let report = report.stdout + &report.stderr;
    assert!(report.contains("UEFI"), "{report}");
    assert!(report.contains("Volume id    : 'COREOS_INSTALL'"), "{report}");
    assert!(run("sgdisk", &["--verify"], &[&iso]).contains("No problems found"));
    let table = run("sgdisk", &["--print"], &[&iso]);
    let esp = table.lines().find(|line| line.contains("EF00")).expect("an EFI partition");
    let first: u64 = esp.split_whitespace().nth(1).expect(esp).parse().expect(esp);
    let program = project.path("from-iso");
    let mut command = Command::new("mcopy");
    command.arg("-i").arg(format!("{}@@{}", iso.display(), first * 512));
    command.arg("::/EFI/BOOT/BOOTX64.EFI").arg(&program);
    Run::of(&mut command).succeeded();
    assert!(content(&program).expect("there") == uki);
    let image = report.lines().find(|line| line.starts_with("El Torito boot img")).expect("one");
    let place: u64 = image.split_whitespace().last().expect(image).parse().expect(image);
    assert_eq!(place * 2048, first * 512, "{report}");
}

/// What is packed of an installer's initrd, and the archive behind it.
fn archives(initrd: &[u8]) -> (cpio::Entries, cpio::Entries) {
    // That is not compressed and begins at a whole word.
    let at = (0..initrd.len())
        .step_by(4)
        .find(|&at| initrd[at..].starts_with(b"070701") && cpio::read(&initrd[at..]).is_some());
    let at = at.expect("a second archive");
    let first = zstd::decode_all(&initrd[..trimmed(&initrd[..at])]).expect("one frame");
    (cpio::read(&first).expect("an archive"), cpio::read(&initrd[at..]).expect("an archive"))
}

/// Length without the zeros that fill up a word.
fn trimmed(bytes: &[u8]) -> usize {
    let filling = (0..4).find(|&count| zstd::decode_all(&bytes[..bytes.len() - count]).is_ok());
    bytes.len() - filling.expect("a frame and less than a word")
}

#[test]
fn the_same_build_gives_the_same_bytes() {
    let (first, second) = (exported(&[]), exported(&[]));
    for name in FILES {
        let path = format!("exports/{name}");
        assert!(content(&first.path(&path)) == content(&second.path(&path)), "{name}");
    }
}

#[test]
fn a_signed_build_has_a_signed_installer_and_an_appliance_that_says_so() {
    let project = Project::new();
    let made = project.command().args(["keys", "--bits=2048", "--output=keys"]).output();
    Run::from(made.expect("runs")).succeeded();
    project.build(&["--no-qcow2", "--secure-boot-keys=keys"]).succeeded();
    export(&project, &["--format=ova,pxe", "--secure-boot-keys=keys"]).succeeded();
    let mut command = Command::new("sbverify");
    command.arg("--cert").arg(project.path("keys/db.crt"));
    Run::of(command.arg(project.path("output/coreos-pxe.efi"))).succeeded();
    let mut command = Command::new("tar");
    command.arg("-xOf").arg(project.path("output/coreos.ova")).arg("coreos.ovf");
    let ovf = command.output().expect("tar").stdout;
    let flag = "bootOptions.efiSecureBootEnabled\" vmw:value=\"true\"";
    assert!(String::from_utf8_lossy(&ovf).contains(flag));
}

#[test]
fn mistakes_are_told_in_one_line_and_leave_no_trace() {
    let project = Project::new();
    export(&project, &["--format=ova"]).failed("output is no directory of a build");
    project.build(&["--no-qcow2"]).succeeded();
    let before = project.names("output");
    project.write("broken.yaml", "#cloud-config\nhostname: [\n");
    for (arguments, complaint) in [
        (&["--format=iso", "--installer=nowhere"][..], "cannot read nowhere; build it first"),
        (&["--format=iso", "--install-device=sda"], "neither auto nor a path"),
        (&["--format=iso", "--config=broken.yaml"], "broken.yaml would be refused"),
        (&["--format=iso", "--config=nowhere.yaml"], "cannot read nowhere.yaml"),
        (&["--format=iso", "--secure-boot-keys=nowhere"], "cannot read nowhere/db.key"),
    ] {
        export(&project, arguments).failed(complaint);
        assert_eq!(project.names("output"), before, "{complaint}");
    }
    project.write("output/coreos_1.2.3.efi", "something else");
    export(&project, &["--format=ova"]).failed("is not the file that the build's manifest names");
}
