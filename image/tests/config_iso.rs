//! `image config-iso` from the outside.

mod support;

use std::fs;
use std::io::Cursor;

use support::checks::run;
use support::{Project, Run, content};

const CONFIG: &str = "#cloud-config\nhostname: one\n";
const NETWORK: &str = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n";

/// Writes a disc in the project with more arguments.
fn write_disc(project: &Project, more: &[&str]) -> Run {
    let mut command = project.command();
    command.args(["config-iso", "--user-data=user-data", "-o", "disc.iso"]);
    Run::of(command.args(more))
}

#[test]
fn other_readers_find_every_file_under_its_long_name() {
    let project = Project::new();
    project.write("user-data", CONFIG);
    project.write("meta-data", "{\"uuid\": \"one\"}\n");
    project.write("network-config", NETWORK);
    let cases = [
        (
            "config-2",
            ["openstack/latest/user_data", "openstack/latest/meta_data.json", "network-config"],
        ),
        ("cidata", ["user-data", "meta-data", "network-config"]),
    ];
    for (label, paths) in cases {
        let more = ["--meta-data=meta-data", "--network-config=network-config", "--label", label];
        write_disc(&project, &more).succeeded();
        let iso = project.path("disc.iso");
        for names in ["any", "norock"] {
            let out = project.path(&format!("{label}-{names}"));
            let reader = ["-read_fs", names, "-osirrox", "on", "-indev"];
            run("xorriso", &reader, &[&iso, "-extract".as_ref(), "/".as_ref(), &out]);
            for (path, source) in paths.iter().zip(["user-data", "meta-data", "network-config"]) {
                assert_eq!(content(&out.join(path)), content(&project.path(source)), "{path}");
            }
        }
        let mut disc = disk::disc::open(Cursor::new(fs::read(&iso).expect("there"))).expect("disc");
        assert_eq!(disc.label(), label);
        assert_eq!(disc.read(paths[0], 1 << 20).expect("read").as_deref(), Some(CONFIG.as_bytes()));
    }
}

#[test]
fn the_same_sources_give_the_same_disc() {
    let project = Project::new();
    project.write("user-data", CONFIG);
    write_disc(&project, &[]).succeeded();
    let first = content(&project.path("disc.iso"));
    write_disc(&project, &[]).succeeded();
    assert!(content(&project.path("disc.iso")) == first);
}

#[test]
fn warnings_are_told_and_the_disc_is_written() {
    let project = Project::new();
    project.write("user-data", "#cloud-config\nhostnam: one\n");
    let run = write_disc(&project, &[]).succeeded();
    assert!(run.stderr.starts_with("user-data:2:1: warning: "), "{}", run.stderr);
    assert!(project.path("disc.iso").exists());
}

#[test]
fn a_script_passes_as_it_is() {
    let project = Project::new();
    project.write("user-data", "#!/bin/sh\nhostnam: [\n");
    assert_eq!(write_disc(&project, &[]).succeeded().stderr, "");
}

#[test]
fn what_a_machine_would_refuse_is_refused_and_nothing_is_written() {
    let large = "# a comment\n".repeat(10 << 20 >> 3);
    let cases: [(&str, &[u8], &str); 6] = [
        ("user-data", b"#cloud-config\nhostname: [\n", "user-data:"),
        ("user-data", b"\x7fELF\x02\x01\x01\0\0\xff\xfe\x80", "user-data:1:"),
        ("user-data", large.as_bytes(), "user-data:1:1: error: "),
        ("meta-data", b"uuid: 1", "meta-data:1:1: error: "),
        ("network-config", b"version: 7\n", "network-config:"),
        ("network-config", b"\xff\xfe", "network-config:1:1: error: "),
    ];
    for (name, bytes, complaint) in cases {
        let project = Project::new();
        project.write("user-data", CONFIG);
        project.write("meta-data", "{}");
        project.write("network-config", NETWORK);
        project.write("disc.iso", "an earlier disc");
        fs::write(project.path(name), bytes).expect("written");
        let more = ["--meta-data=meta-data", "--network-config=network-config"];
        let run = write_disc(&project, &more).failed(complaint);
        assert!(run.stderr.contains(&format!("error: {name} would be refused")), "{}", run.stderr);
        assert_eq!(content(&project.path("disc.iso")).as_deref(), Some(&b"an earlier disc"[..]));
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let project = Project::new();
    write_disc(&project, &[]).failed("error: cannot read user-data");
    project.write("user-data", CONFIG);
    write_disc(&project, &["--meta-data=nowhere"]).failed("error: cannot read nowhere");
    let mut command = project.command();
    command.args(["config-iso", "--user-data=user-data", "-o", "no/such/disc.iso"]);
    Run::of(&mut command).failed("error: cannot write no/such/disc.iso");
}

#[test]
fn a_disc_is_as_private_as_its_source() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new();
    project.write("user-data", CONFIG);
    for mode in [0o600, 0o644] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(project.path("user-data"), permissions).expect("allowed");
        write_disc(&project, &[]).succeeded();
        let written = fs::metadata(project.path("disc.iso")).expect("there").permissions();
        assert_eq!(written.mode() & 0o777, mode);
    }
}

#[test]
fn a_file_of_nodes_gives_each_its_own_disc_and_a_mistake_in_one_gives_none() {
    let project = Project::new();
    project.write("node.yaml", "#cloud-config\nhostname: \"{{hostname}}\"\n");
    let nodes = "template = \"node.yaml\"\ngateway = \"192.0.2.1\"\n\
                 [[node]]\nhostname = \"node1\"\naddress = \"192.0.2.11/24\"\n\
                 [[node]]\nhostname = \"node2\"\naddress = \"192.0.2.12/24\"\n";
    project.write("nodes.toml", nodes);
    let discs = || {
        let mut command = project.command();
        Run::of(command.args(["config-iso", "--nodes=nodes.toml", "-o", "isos"]))
    };
    let run = discs().succeeded();
    assert_eq!(run.stdout, "isos/node1.iso\nisos/node2.iso\n");
    for (name, address) in [("node1", "192.0.2.11/24"), ("node2", "192.0.2.12/24")] {
        let bytes = content(&project.path(&format!("isos/{name}.iso"))).expect("there");
        let mut disc = disk::disc::open(Cursor::new(bytes)).expect("a disc");
        let mut read = |path: &str| {
            let bytes = disc.read(path, 1 << 20).expect("readable").expect("there");
            String::from_utf8(bytes).expect("UTF-8")
        };
        let user_data = read("openstack/latest/user_data");
        assert_eq!(user_data, format!("#cloud-config\nhostname: \"{name}\"\n"));
        assert!(read("network-config").contains(address));
    }
    fs::remove_dir_all(project.path("isos")).expect("removed");
    project.write("nodes.toml", &nodes.replace("192.0.2.12/24", "192.0.2.11/24"));
    let run = discs().failed("nodes.toml: no disc was written");
    assert!(
        run.stderr.contains("node2: another node has the address 192.0.2.11"),
        "{}",
        run.stderr
    );
    project.write("nodes.toml", "template = 7\n");
    discs().failed("nodes.toml:1:12: ");
    assert!(!project.path("isos").exists());
}
