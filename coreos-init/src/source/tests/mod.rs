//! Whole searches on machines made of files: discs by xorriso and mtools, sysfs by hand.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;
use network::{Server, Unplugged, Unwanted, Wired};

mod network; // networks that are not there
mod passed; // what a hypervisor passes to its guest

const CONFIG: &str = "#cloud-config\nhostname: a\n";

/// A machine that has what it was given.
struct Machine {
    root: TempDir,
    command_line: String,
    exclude: Vec<String>,
}

impl Machine {
    fn new() -> Machine {
        let root = tempfile::tempdir().unwrap();
        for directory in ["sys/class/block", "dev", "state", "tree"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Machine { root, command_line: String::new(), exclude: Vec::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn command_line(mut self, text: &str) -> Machine {
        self.command_line = text.to_owned();
        self
    }

    fn exclude(mut self, name: &str) -> Machine {
        self.exclude.push(name.to_owned());
        self
    }

    /// A block device that holds `bytes`.
    fn device(self, name: &str, bytes: &[u8]) -> Machine {
        fs::write(self.path("dev").join(name), bytes).unwrap();
        self.shown(name, bytes.len())
    }

    fn shown(self, name: &str, size: usize) -> Machine {
        let entry = self.path("sys/class/block").join(name);
        fs::create_dir_all(&entry).unwrap();
        fs::write(entry.join("size"), format!("{}\n", size.div_ceil(512))).unwrap();
        self
    }

    /// An ISO 9660 disc as the machine's `name`.
    fn iso(self, name: &str, label: &str, files: &[(&str, &str)], options: &[&str]) -> Machine {
        let tree = tree(files);
        run(Command::new("xorriso")
            .args(["-as", "mkisofs", "-quiet", "-V", label])
            .args(options)
            .arg("-o")
            .arg(self.path("dev").join(name))
            .arg(tree.path()));
        self.shown(name, 1 << 20)
    }

    /// A FAT volume as the machine's `name`.
    fn fat(self, name: &str, label: &str, files: &[(&str, &str)]) -> Machine {
        let tree = tree(files);
        let image = self.path("dev").join(name);
        run(Command::new("mkfs.vfat").args(["-C", "-n", label]).arg(&image).arg("2048"));
        for entry in fs::read_dir(tree.path()).unwrap() {
            run(Command::new("mcopy")
                .arg("-i")
                .arg(&image)
                .arg("-s")
                .arg(entry.unwrap().path())
                .arg("::"));
        }
        self.shown(name, 1 << 20)
    }

    fn fw_cfg(self, name: &str, bytes: &[u8]) -> Machine {
        let entry = self.path("sys/firmware/qemu_fw_cfg/by_name").join(name);
        fs::create_dir_all(&entry).unwrap();
        fs::write(entry.join("raw"), bytes).unwrap();
        fs::write(entry.join("size"), format!("{}\n", bytes.len())).unwrap();
        self
    }

    fn last(self, found: &Found) -> Machine {
        save_last(&self.path("state"), found).unwrap();
        self
    }

    fn places(&self) -> Places {
        Places {
            sysfs: self.path("sys"),
            dev: self.path("dev"),
            command_line: self.command_line.clone(),
            state: self.path("state"),
            exclude: self.exclude.clone(),
            roots: PathBuf::new(),
        }
    }

    fn find(&self) -> Search {
        find(&self.places(), &mut Unwanted)
    }
}

fn tree(files: &[(&str, &str)]) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    tree
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let program = command.get_program();
    assert!(status.unwrap_or_else(|error| panic!("{program:?}: {error}")).success(), "{command:?}");
}

/// What was looked at, in short.
fn outcomes(search: &Search) -> Vec<(SourceName, &str, Outcome)> {
    let looked = search.looked.iter();
    looked.map(|looked| (looked.source, looked.place.as_str(), looked.outcome.clone())).collect()
}

/// What was at this source.
fn at(looked: &[Looked], source: SourceName) -> &Looked {
    looked.iter().find(|looked| looked.source == source).unwrap()
}

fn last(user_data: &str) -> Found {
    Found {
        source: SourceName::Disc,
        place: "/dev/sr9".to_owned(),
        name: USER_DATA.to_owned(),
        user_data: user_data.as_bytes().to_vec(),
        meta_data: MetaData::default(),
        network: None,
        notes: Vec::new(),
    }
}

fn network(format: Format, text: &str) -> Option<NetworkDescription> {
    Some(NetworkDescription { format, text: text.as_bytes().to_vec() })
}

const ROCK_RIDGE: &[&str] = &["-R"];

#[test]
fn a_machine_without_anything_says_where_it_looked() {
    let machine = Machine::new();
    let search = machine.find();
    assert_eq!(search.found, None);
    assert_eq!(
        outcomes(&search),
        [
            (SourceName::CommandLine, "no cloud-config-url=", Outcome::Absent),
            (SourceName::Disc, "no disc", Outcome::Absent),
            (SourceName::FwCfg, "no such device", Outcome::Absent),
            (SourceName::Credentials, "no coreos.config", Outcome::Absent),
            (SourceName::Guestinfo, "not on VMware", Outcome::Absent),
            (SourceName::NoCloud, "no ds=nocloud", Outcome::Absent),
            (SourceName::Cloud, "no platform is named or known", Outcome::Absent),
            (SourceName::Last, "/var/lib/coreos-init/last", Outcome::Absent),
        ]
    );
}

#[test]
fn a_config_drive_is_read_with_its_meta_data() {
    let files = [
        ("openstack/latest/user_data", CONFIG),
        (
            "openstack/latest/meta_data.json",
            r#"{"hostname": "b", "public_keys": {"k": "ssh-x AAAA"}}"#,
        ),
        ("openstack/latest/network_data.json", r#"{"links": []}"#),
        ("openstack/latest/vendor_data.json", "{}"),
    ];
    for options in [ROCK_RIDGE, &["-J"], &["-R", "-J"]] {
        let machine =
            Machine::new().device("vda", &[0; 4096]).iso("sr0", "config-2", &files, options);
        let search = machine.find();
        let found = search.found.as_ref().unwrap();
        assert_eq!(found.source, SourceName::Disc);
        assert_eq!(found.place, "/dev/sr0 (config-2): openstack/latest/user_data");
        assert_eq!(found.name, "user-data");
        assert_eq!(found.user_data, CONFIG.as_bytes());
        assert_eq!(found.meta_data.hostname.as_deref(), Some("b"));
        assert_eq!(found.meta_data.public_keys, ["ssh-x AAAA"]);
        assert_eq!(found.network, network(Format::OpenStack, r#"{"links": []}"#));
        assert_eq!(found.notes, Vec::<String>::new());
        assert_eq!(
            outcomes(&search)[1..],
            [(SourceName::Disc, "/dev/sr0 (config-2)", Outcome::Found)]
        );
    }
}

#[test]
fn a_no_cloud_disc_is_read_from_iso_and_fat() {
    let files = [
        ("user-data", CONFIG),
        ("meta-data", "instance-id: i-1\nlocal-hostname: b\n"),
        ("network-config", "version: 2\n"),
        ("vendor-data", "#cloud-config\n"),
    ];
    for machine in [
        Machine::new().iso("sr0", "cidata", &files, ROCK_RIDGE),
        Machine::new().fat("vdb", "CIDATA", &files),
    ] {
        let found = machine.find().found.unwrap();
        assert!(found.place.ends_with(": user-data"), "{}", found.place);
        assert_eq!(found.user_data, CONFIG.as_bytes());
        assert_eq!(found.meta_data.instance_id.as_deref(), Some("i-1"));
        assert_eq!(found.network, network(Format::NetworkConfig, "version: 2\n"));
        assert_eq!(found.notes, ["vendor-data is not used, as there is user-data"]);
    }
}

#[test]
fn the_network_configuration_of_a_disc_is_there_without_user_data_too() {
    let file = ("network-config", "version: 2\n");
    for files in [&[file] as &[_], &[file, ("user-data", CONFIG)]] {
        let machine = Machine::new().iso("sr0", "cidata", files, ROCK_RIDGE);
        let found = network_of_disc(&machine.places());
        assert_eq!(found, network(Format::NetworkConfig, file.1));
    }
    assert_eq!(network_of_disc(&Machine::new().places()), None);
}

#[test]
fn plain_files_do_on_a_config_drive_too_and_short_names_are_told() {
    let machine = Machine::new().iso("sr0", "CONFIG-2", &[("user_data", CONFIG)], &[]);
    let found = machine.find().found.unwrap();
    assert_eq!(found.user_data, CONFIG.as_bytes());
    assert!(found.notes.iter().any(|note| note.contains("Rock Ridge")), "{:?}", found.notes);
}

#[test]
fn the_systems_own_disk_and_other_discs_are_not_asked() {
    let files = [("user-data", CONFIG)];
    let machine = Machine::new()
        .fat("vda", "CIDATA", &files)
        .fat("vda1", "CIDATA", &files)
        .iso("sr0", "Debian 13", &files, ROCK_RIDGE)
        .device("vdb", &[0x5a; 1 << 16])
        .device("vdc", b"short")
        .shown("sr1", 0)
        .exclude("vda");
    let search = machine.find();
    assert_eq!(search.found, None);
    assert_eq!(
        outcomes(&search)[1],
        (SourceName::Disc, "none of sr0, vdb, vdc is labelled config-2 or cidata", Outcome::Absent)
    );
}

#[test]
fn a_broken_disc_is_told_and_the_search_goes_on() {
    let files = [("user-data", CONFIG), ("meta-data", "local-hostname: b\n")];
    let machine = Machine::new()
        .iso("sr0", "cidata", &files, ROCK_RIDGE)
        .iso("sr1", "cidata", &files, ROCK_RIDGE)
        .shown("vdb", 1 << 20);
    let whole = fs::read(machine.path("dev/sr0")).unwrap();
    // The head with the label is there, the files are not.
    fs::write(machine.path("dev/sr0"), &whole[..40 * 1024]).unwrap();
    let search = machine.find();
    let outcomes = outcomes(&search);
    assert!(matches!(outcomes[1].2, Outcome::Failed(_)), "{outcomes:?}");
    assert_eq!(outcomes[2], (SourceName::Disc, "/dev/sr1 (cidata)", Outcome::Found));
    assert_eq!(search.found.unwrap().user_data, CONFIG.as_bytes());
}

#[test]
fn a_disc_whose_meta_data_makes_no_sense_still_gives_its_user_data() {
    let files = [("user-data", CONFIG), ("meta-data", "- not\n- a mapping\n")];
    let found = Machine::new().iso("sr0", "cidata", &files, ROCK_RIDGE).find().found.unwrap();
    assert_eq!(found.user_data, CONFIG.as_bytes());
    assert_eq!(found.meta_data, MetaData::default());
    assert_eq!(found.notes, ["meta-data is not used: not a mapping"]);
}

#[test]
fn user_data_that_is_too_large_is_a_failure() {
    let large = "#".repeat(cloud_config::MAX_USER_DATA + 1);
    let machine = Machine::new()
        .iso("sr0", "cidata", &[("user-data", &large)], ROCK_RIDGE)
        .fw_cfg("opt/coreos-init/user-data", large.as_bytes());
    let search = machine.find();
    assert_eq!(search.found, None);
    let outcomes = outcomes(&search);
    for (source, _, outcome) in &outcomes[1..3] {
        assert!(matches!(outcome, Outcome::Failed(_)), "{source}: {outcome:?}");
    }
}

#[test]
fn meta_data_alone_is_used_but_only_if_nobody_has_user_data() {
    let files = [("user-data", ""), ("meta-data", "local-hostname: b\n")];
    let disc = || Machine::new().iso("sr0", "cidata", &files, ROCK_RIDGE);

    let machine = disc().last(&last(CONFIG));
    let search = machine.find();
    assert_eq!(search.found.as_ref().unwrap().user_data, b"");
    assert_eq!(search.found.as_ref().unwrap().meta_data.hostname.as_deref(), Some("b"));
    assert_eq!(outcomes(&search)[1].2, Outcome::MetaData);
    assert!(search.looked.iter().all(|looked| looked.source != SourceName::Last));

    let found = disc().fw_cfg("opt/coreos-init/user-data", CONFIG.as_bytes()).find().found.unwrap();
    assert_eq!(found.source, SourceName::FwCfg);
    assert_eq!(found.meta_data, MetaData::default());
}

#[test]
fn an_empty_disc_does_not_hide_the_last_configuration() {
    let files = [("user-data", ""), ("meta-data", "")];
    let machine = Machine::new().iso("sr0", "cidata", &files, ROCK_RIDGE).last(&last(CONFIG));
    let search = machine.find();
    assert_eq!(outcomes(&search)[1].2, Outcome::Empty);
    assert_eq!(search.found.unwrap().source, SourceName::Last);
}

#[test]
fn fw_cfg_is_read_under_our_name_and_as_cloud_config_under_others() {
    let name = "opt/coreos-init/user-data";
    let (coreos, flatcar) = ("opt/com.coreos/config", "opt/org.flatcar-linux/config");
    let ignition = br#"{"ignition": {"version": "3.4.0"}}"#;
    let script = "#!/bin/sh\n";

    let found = Machine::new().fw_cfg(name, script.as_bytes()).find().found.unwrap();
    assert_eq!((found.place.as_str(), found.user_data.as_slice()), (name, script.as_bytes()));

    let machine = Machine::new().fw_cfg(coreos, ignition).fw_cfg(flatcar, CONFIG.as_bytes());
    let search = machine.find();
    assert_eq!(search.found.as_ref().unwrap().place, flatcar);
    assert_eq!(
        outcomes(&search)[2..],
        [
            (SourceName::FwCfg, coreos, Outcome::Failed("it is not a cloud-config".to_owned())),
            (SourceName::FwCfg, flatcar, Outcome::Found),
        ]
    );

    let machine = Machine::new().fw_cfg("etc/table-loader", b"x").fw_cfg(name, b"");
    let search = machine.find();
    assert_eq!(search.found, None);
    assert_eq!(outcomes(&search)[2], (SourceName::FwCfg, name, Outcome::Empty));
}

#[test]
fn an_address_on_the_command_line_comes_before_everything() {
    let server = Server::start("200 OK", CONFIG);
    let line = format!("quiet cloud_config_url=http://user:pass@{}/config?token=x", server.address);
    let machine = Machine::new().command_line(&line).iso(
        "sr0",
        "cidata",
        &[("user-data", "#!/bin/sh\n")],
        ROCK_RIDGE,
    );
    let search = find(&machine.places(), &mut Wired);
    assert_eq!(search.found.as_ref().unwrap().user_data, CONFIG.as_bytes());
    let shown = format!("http://{}/config?...", server.address);
    assert_eq!(outcomes(&search), [(SourceName::CommandLine, shown.as_str(), Outcome::Found)]);
}

#[test]
fn an_address_that_fails_is_told_and_the_disc_is_read() {
    let disc = |line: &str| {
        Machine::new().command_line(line).iso("sr0", "cidata", &[("user-data", CONFIG)], ROCK_RIDGE)
    };
    let machine = disc("cloud-config-url=http://host/config");
    let search = find(&machine.places(), &mut Unplugged);
    assert_eq!(search.found.as_ref().unwrap().source, SourceName::Disc);
    assert_eq!(search.looked[0].outcome, Outcome::Failed("no carrier".to_owned()));

    let search = disc("cloud-config-url=file:///etc/shadow").find();
    assert_eq!(search.found.as_ref().unwrap().source, SourceName::Disc);
    assert!(matches!(search.looked[0].outcome, Outcome::Failed(_)));

    let server = Server::start("200 OK", "");
    let machine = disc(&format!("cloud-config-url=http://{}/", server.address));
    let search = find(&machine.places(), &mut Wired);
    assert_eq!(search.looked[0].outcome, Outcome::Empty);

    let server = Server::start("404 Not Found", "");
    let machine = disc(&format!("cloud-config-url=http://{}/", server.address));
    let search = find(&machine.places(), &mut Wired);
    assert!(matches!(&search.looked[0].outcome, Outcome::Failed(why) if why.contains("404")));
}

#[test]
fn a_machine_with_a_disc_never_waits_for_the_network() {
    // Its meta-data alone is enough: the platform has spoken.
    for file in [("user-data", CONFIG), ("meta-data", "instance-id: i-1\n")] {
        let machine = Machine::new()
            .command_line("platform=ec2")
            .iso("sr0", "cidata", &[file], ROCK_RIDGE)
            .find();
        assert_eq!(machine.found.unwrap().source, SourceName::Disc);
        assert!(machine.looked.iter().all(|looked| looked.source != SourceName::Cloud));
    }
}

#[test]
fn a_platform_without_its_service_is_told_and_the_last_configuration_is_used() {
    let machine = Machine::new().command_line("platform=ec2").last(&last(CONFIG));
    let search = find(&machine.places(), &mut Unplugged);
    assert_eq!(search.found.unwrap().source, SourceName::Last);
    let cloud = at(&search.looked, SourceName::Cloud);
    assert_eq!(cloud.place, "ec2 at http://169.254.169.254 (platform=ec2)");
    assert_eq!(cloud.outcome, Outcome::Failed("no carrier".to_owned()));

    for (line, place) in [
        ("platform=metal", "metal has none (platform=metal)"),
        ("quiet", "no platform is named or known"),
    ] {
        let search = Machine::new().command_line(line).find();
        let cloud = at(&search.looked, SourceName::Cloud);
        assert_eq!((cloud.place.as_str(), &cloud.outcome), (place, &Outcome::Absent));
    }
    let search = Machine::new().command_line("platform=ec3").find();
    let cloud = at(&search.looked, SourceName::Cloud);
    assert!(matches!(&cloud.outcome, Outcome::Failed(why) if why.contains("gce")));
}

#[test]
fn the_last_configuration_is_used_when_nothing_else_is_there() {
    let machine = Machine::new().last(&last(CONFIG));
    let search = machine.find();
    assert_eq!(search.found.as_ref().unwrap().source, SourceName::Last);
    assert_eq!(search.found.as_ref().unwrap().user_data, CONFIG.as_bytes());
    assert_eq!(at(&search.looked, SourceName::Last).outcome, Outcome::Found);

    fs::write(machine.path("state/var/lib/coreos-init/last/configuration.json"), "{").unwrap();
    let search = machine.find();
    assert_eq!(search.found, None);
    assert!(matches!(at(&search.looked, SourceName::Last).outcome, Outcome::Failed(_)));
}

#[test]
fn what_was_installed_is_on_the_own_disk_and_a_disc_outranks_it() {
    let files = [("coreos/user-data", CONFIG), ("coreos/meta-data", "local-hostname: b\n")];
    let machine = || Machine::new().fat("vda1", "ESP", &files).exclude("vda");
    let found = machine().find().found.expect("a configuration");
    assert_eq!(found.source, SourceName::Installed);
    assert_eq!(found.place, "/dev/vda1: coreos/user-data");
    assert_eq!(found.user_data, CONFIG.as_bytes());
    assert_eq!(found.meta_data.hostname.as_deref(), Some("b"));

    let disc = machine().iso("sr0", "cidata", &[("user-data", "#cloud-config\n")], &["-R"]);
    let found = disc.find().found.expect("a configuration");
    assert_eq!(found.source, SourceName::Disc);

    let other = Machine::new().fat("vda1", "OTHER", &files).exclude("vda");
    assert_eq!(other.find().found, None);
}
