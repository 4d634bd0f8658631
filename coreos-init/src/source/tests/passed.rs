//! What a hypervisor passes to its guest besides discs: credentials, strings of the firmware, the
//! address of a seed; and what else may lie on a disc.

use super::*;
use crate::source::smbios::table;

impl Machine {
    /// A machine whose firmware has this serial number and these strings.
    fn firmware(self, serial: &str, strings: &[&str]) -> Machine {
        let directory = self.path("sys/firmware/dmi/tables");
        fs::create_dir_all(&directory).unwrap();
        let count = [u8::try_from(strings.len()).unwrap()];
        let bytes = table(&[(1, &[0, 0, 0, 1, 0], &[serial]), (11, &count, strings)]);
        fs::write(directory.join("DMI"), bytes).unwrap();
        self
    }
}

const CONFIG_BASE64: &str = "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogYQo=";

#[test]
fn a_credential_comes_by_fw_cfg_firmware_and_command_line() {
    let plain = format!("io.systemd.credential:coreos.config={CONFIG}");
    let binary = format!("io.systemd.credential.binary:coreos.config={CONFIG_BASE64}");
    let line = format!("quiet systemd.set_credential_binary=coreos.config:{CONFIG_BASE64}");
    let cases = [
        (
            Machine::new()
                .fw_cfg("opt/io.systemd.credentials/coreos.config", CONFIG.as_bytes())
                .firmware("", &["io.systemd.credential:coreos.config=#cloud-config\n"]),
            "coreos.config (fw_cfg)",
        ),
        (Machine::new().firmware("", &["other", &plain]), "coreos.config (SMBIOS)"),
        (Machine::new().firmware("", &[&binary]), "coreos.config (SMBIOS)"),
        (Machine::new().command_line(&line), "coreos.config (kernel command line)"),
    ];
    for (machine, place) in cases {
        let found = machine.find().found.unwrap();
        assert_eq!(found.source, SourceName::Credentials);
        assert_eq!(found.place, place);
        assert_eq!(String::from_utf8_lossy(&found.user_data), CONFIG, "{place}");
    }
}

#[test]
fn meta_data_and_network_may_be_credentials_too() {
    let network_config = "version: 2\n";
    let found = Machine::new()
        .firmware(
            "",
            &[
                "io.systemd.credential:coreos.meta-data=instance-id: i-1",
                &format!("io.systemd.credential:coreos.network-config={network_config}"),
                "io.systemd.credential:coreos.config-else=x",
                "io.systemd.credential:ssh.authorized_keys.root=ssh-x AAAA",
            ],
        )
        .find()
        .found
        .unwrap();
    assert_eq!(found.meta_data.instance_id.as_deref(), Some("i-1"));
    assert_eq!(found.network, network(Format::NetworkConfig, network_config));
    assert!(found.user_data.is_empty());
}

#[test]
fn a_credential_that_is_not_base64_is_told() {
    let search =
        Machine::new().firmware("", &["io.systemd.credential.binary:coreos.config=%"]).find();
    let looked = at(&search.looked, SourceName::Credentials);
    let reason = "coreos.config is not base64 (SMBIOS)";
    assert_eq!(looked.outcome, Outcome::Failed(reason.to_owned()));
}

#[test]
fn a_seed_is_fetched_from_the_address_in_serial_number_or_command_line() {
    let server = Server::start("200 OK", "#cloud-config\n");
    let ds = format!("ds=nocloud;s=http://{}/seed/;h=node;i=i-1", server.address);
    for (machine, place) in [
        (Machine::new().firmware(&ds, &[]), "serial number"),
        (Machine::new().command_line(&format!("quiet {ds}")), "kernel command line"),
    ] {
        let search = find(&machine.places(), &mut Wired);
        let looked = at(&search.looked, SourceName::NoCloud);
        let url = format!("http://{}/seed/", server.address);
        assert_eq!(looked.place, format!("ds=nocloud {url} ({place})"));
        let found = search.found.unwrap();
        assert_eq!(found.user_data, b"#cloud-config\n");
        assert_eq!(found.meta_data.hostname.as_deref(), Some("node"));
        assert_eq!(found.meta_data.instance_id.as_deref(), Some("i-1"));
    }
}

#[test]
fn a_seed_that_is_not_there_is_told_and_a_name_alone_needs_no_network() {
    let server = Server::start("404 Not Found", "");
    let line = format!("ds=nocloud;s=http://{}/", server.address);
    let search = find(&Machine::new().command_line(&line).places(), &mut Wired);
    let looked = at(&search.looked, SourceName::NoCloud);
    let reason = "there is neither user-data nor meta-data";
    assert_eq!(looked.outcome, Outcome::Failed(reason.to_owned()));

    let search = Machine::new().command_line("ds=nocloud;h=node").find();
    assert_eq!(at(&search.looked, SourceName::NoCloud).outcome, Outcome::MetaData);
    assert_eq!(search.found.unwrap().meta_data.hostname.as_deref(), Some("node"));
}

#[test]
fn a_config_drive_has_addresses_in_ec2s_form_and_an_old_network_by_path() {
    let files = [
        ("openstack/latest/user_data", CONFIG),
        (
            "openstack/latest/meta_data.json",
            r#"{"hostname": "b", "network_config": {"content_path": "/content/0000", "name": "n"}}"#,
        ),
        ("openstack/content/0000", "auto eth0\niface eth0 inet dhcp\n"),
        ("ec2/latest/meta-data.json", r#"{"local-ipv4": "10.0.0.5", "public-ipv4": ""}"#),
    ];
    let found = Machine::new().iso("sr0", "config-2", &files, ROCK_RIDGE).find().found.unwrap();
    assert_eq!(found.meta_data.private_ipv4, Some([10, 0, 0, 5].into()));
    assert_eq!(found.network, network(Format::Debian, "auto eth0\niface eth0 inet dhcp\n"));
    assert_eq!(found.notes, Vec::<String>::new());
}

#[test]
fn vendor_data_does_where_there_is_no_user_data() {
    let files = [("meta-data", "instance-id: i-1\n"), ("vendor-data", CONFIG)];
    let found = Machine::new().iso("sr0", "cidata", &files, ROCK_RIDGE).find().found.unwrap();
    assert_eq!(found.user_data, CONFIG.as_bytes());
    assert_eq!(found.place, "/dev/sr0 (cidata): vendor-data");
}

#[test]
fn the_ovf_environment_may_be_a_disc() {
    let xml = format!(
        "<Environment><PropertySection><Property key='user-data' value='{CONFIG_BASE64}'/>\
         </PropertySection></Environment>"
    );
    let files = [("ovf-env.xml", xml.as_str())];
    let found = Machine::new().iso("sr0", "OVF ENV", &files, ROCK_RIDGE).find().found.unwrap();
    assert_eq!(found.source, SourceName::Disc);
    assert_eq!(found.place, "/dev/sr0 (OVF ENV): OVF environment: user-data");
    assert_eq!(found.user_data, CONFIG.as_bytes());
}
