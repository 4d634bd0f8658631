//! The variables of guestinfo, as a hypervisor would give them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cloud_config::network::Format;

use super::vmware::properties_answer;
use super::*;
use crate::source::{NetworkDescription, Up};

/// A hypervisor that has these.
#[derive(Debug, Clone)]
struct Variables(BTreeMap<String, Vec<u8>>);

impl GuestInfo for Variables {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(key).cloned())
    }
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    Variables(
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect(),
    )
}

fn found(pairs: &[(&str, &str)]) -> Found {
    *understand(&mut variables(pairs)).unwrap().found
}

const CONFIG: &str = "#cloud-config\nhostname: a\n";
const BASE64: &str = "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogYQo=";
/// The same, packed by gzip.
const PACKED: &str = "H4sIAAAAAAACA1NOzskvTdFNzs9Ly0znysgvLslLzE21UkjkAgBR3LOOGgAAAA==";

#[test]
fn user_data_comes_under_the_keys_and_encodings_of_all() {
    for (key, encoding, value) in [
        ("coreos.config.data", "", CONFIG),
        ("coreos.config.data", "base64", BASE64),
        ("coreos.config.data", "b64", BASE64),
        ("coreos.config.data", "gzip+base64", PACKED),
        ("coreos.config.data", "gz+b64", PACKED),
        ("ignition.config.data", "base64", BASE64),
        ("userdata", "gzip+base64", PACKED),
        ("userdata", "", CONFIG),
        ("vendordata", "BASE64", BASE64),
    ] {
        let found = found(&[(key, value), (&format!("{key}.encoding"), encoding)]);
        assert_eq!(String::from_utf8_lossy(&found.user_data), CONFIG, "{key} {encoding}");
        assert_eq!(found.place, format!("guestinfo: {key}"));
        assert_eq!(found.notes, Vec::<String>::new());
    }
}

#[test]
fn the_first_key_wins_and_what_was_taken_away_is_none() {
    let all = [("coreos.config.data", "first"), ("userdata", "second"), ("vendordata", "third")];
    assert_eq!(found(&all).user_data, b"first");
    assert_eq!(found(&[("coreos.config.data", "---"), ("userdata", "x")]).user_data, b"x");
    assert_eq!(found(&[("coreos.config.data", " \n"), ("userdata", "---")]).user_data, b"");
}

#[test]
fn what_cannot_be_decoded_or_is_of_another_language_is_told() {
    for (pairs, note) in [
        (
            &[("userdata", "%"), ("userdata.encoding", "base64")][..],
            "userdata is not used: it is not base64",
        ),
        (
            &[("userdata", BASE64), ("userdata.encoding", "gzip+base64")],
            "userdata is not used: it is not gzip: invalid gzip header",
        ),
        (
            &[("userdata", "x"), ("userdata.encoding", "rot13")],
            "userdata is not used: its encoding \"rot13\" is not known",
        ),
        (
            &[("ignition.config.data", "{\"ignition\": {}}")],
            "ignition.config.data is not used: it is not a cloud-config",
        ),
        (&[("metadata", "- a")], "metadata is not used: not a mapping"),
    ] {
        let found = found(pairs);
        assert_eq!(found.notes, [note]);
        assert!(found.user_data.is_empty());
    }
    let large = "x".repeat(cloud_config::MAX_USER_DATA + 1);
    assert!(understand(&mut variables(&[("userdata", &large)])).is_err());
}

#[test]
fn a_packed_value_cannot_fill_the_memory() {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![0; 64 << 20]).unwrap();
    let mut info = variables(&[("userdata.encoding", "gzip")]);
    info.0.insert("userdata".to_owned(), packer.finish().unwrap());
    assert!(understand(&mut info).unwrap_err().contains("larger than"));
}

#[test]
fn interfaces_become_lines_and_addresses_by_role() {
    let found = found(&[
        ("hostname", "node-1"),
        ("interface.0.mac", "00:50:56:00:00:01"),
        ("interface.0.role", "private"),
        ("interface.0.ip.0.address", "10.0.0.5/24"),
        ("interface.0.ip.1.address", "fd00::5/64"),
        ("interface.0.route.0.gateway", "10.0.0.1"),
        ("interface.0.route.0.destination", "0.0.0.0/0"),
        ("interface.1.name", "eth1"),
        ("interface.1.dhcp", "yes"),
        ("interface.1.role", "public"),
        ("interface.3.name", "never"),
        ("dns.server.0", "10.0.0.53"),
        ("dns.domain.0", "example.com"),
    ]);
    assert_eq!(found.meta_data.hostname.as_deref(), Some("node-1"));
    assert_eq!(found.meta_data.private_ipv4, Some([10, 0, 0, 5].into()));
    assert_eq!(found.meta_data.private_ipv6, "fd00::5".parse().ok());
    assert_eq!(found.meta_data.public_ipv4, None);
    let network = found.network.unwrap();
    assert_eq!(network.format, Format::Guestinfo);
    assert_eq!(
        String::from_utf8(network.text).unwrap(),
        "interface.0.mac=00:50:56:00:00:01
interface.0.role=private
interface.0.ip.0.address=10.0.0.5/24
interface.0.ip.1.address=fd00::5/64
interface.0.route.0.gateway=10.0.0.1
interface.0.route.0.destination=0.0.0.0/0
interface.1.name=eth1
interface.1.dhcp=yes
interface.1.role=public
dns.server.0=10.0.0.53
dns.domain.0=example.com
"
    );
}

#[test]
fn cloud_inits_meta_data_may_describe_the_network() {
    let network = "{\"version\": 2, \"ethernets\": {\"eth0\": {\"dhcp4\": true}}}";
    let plain = format!("instance-id: i-1\nlocal-hostname: node\nnetwork: {network}\n");
    let packed = "instance-id: i-1\nlocal-hostname: node\nnetwork: \
                  dmVyc2lvbjogMgpldGhlcm5ldHM6IHtldGgwOiB7ZGhjcDQ6IHRydWV9fQo=\n\
                  network.encoding: base64\n";
    for meta_data in [plain.as_str(), packed] {
        let found = found(&[("metadata", meta_data)]);
        assert_eq!(found.meta_data.instance_id.as_deref(), Some("i-1"));
        assert_eq!(found.meta_data.hostname.as_deref(), Some("node"));
        let network = found.network.unwrap();
        assert_eq!(network.format, Format::NetworkConfig);
        let text = String::from_utf8(network.text).unwrap();
        let (network, findings) = cloud_config::network::parse(network.format, &text);
        assert_eq!(findings, []);
        assert!(network.interfaces()[0].dhcp4, "{text}");
    }
}

#[test]
fn the_ovf_environment_has_the_same_keys_and_those_of_appliances() {
    let xml = |properties: &str| {
        format!(
            "<Environment xmlns:oe='http://schemas.dmtf.org/ovf/environment/1'>\
             <PropertySection>{properties}</PropertySection></Environment>"
        )
    };
    let of_coreos = xml(&format!(
        "<Property oe:key='guestinfo.coreos.config.data' oe:value='{BASE64}'/>\
         <Property oe:key='guestinfo.coreos.config.data.encoding' oe:value='base64'/>\
         <Property oe:key='guestinfo.hostname' oe:value='node'/>"
    ));
    let of_appliances = xml(&format!(
        "<Property oe:key='user-data' oe:value='{BASE64}'/>\
         <Property oe:key='hostname' oe:value='node'/>\
         <Property oe:key='instance-id' oe:value='i-1'/>\
         <Property oe:key='public-keys' oe:value='ssh-x AAAA'/>"
    ));
    for (xml, place) in [
        (&of_coreos, "OVF environment: coreos.config.data"),
        (&of_appliances, "OVF environment: user-data"),
    ] {
        let found = found(&[("ovfenv", xml)]);
        assert_eq!(String::from_utf8_lossy(&found.user_data), CONFIG);
        assert_eq!(found.meta_data.hostname.as_deref(), Some("node"));
        assert_eq!(found.place, place);
        // The variables themselves come first.
        let found = self::found(&[("ovfenv", xml), ("userdata", "x")]);
        assert_eq!(found.user_data, b"x");
    }
    let found = found(&[("ovfenv", "<a"), ("hostname", "node")]);
    assert_eq!(found.meta_data.hostname.as_deref(), Some("node"));
    assert!(found.notes[0].contains("ovfenv is not used"), "{:?}", found.notes);
    assert!(properties_answer(ovf::properties(b"<a/>").unwrap()).unwrap().found.is_bare());
}

/// A network that only says what it was told.
#[derive(Debug, Default)]
struct Listening(Vec<NetworkDescription>);

impl Uplink for Listening {
    fn up(&mut self, _: Need) -> Result<Up, Box<dyn Error + Send + Sync>> {
        Err("no carrier".into())
    }

    fn know(&mut self, network: &NetworkDescription) {
        self.0.push(network.clone());
    }
}

#[test]
fn an_address_is_fetched_over_the_network_that_guestinfo_describes() {
    let mut info = variables(&[
        ("coreos.config.url", "http://192.0.2.80/config"),
        ("interface.0.ip.0.address", "10.0.0.5/24"),
    ]);
    let answer = understand(&mut info).unwrap();
    let mut uplink = Listening::default();
    let places = Places {
        sysfs: PathBuf::new(),
        dev: PathBuf::new(),
        command_line: String::new(),
        state: PathBuf::new(),
        exclude: Vec::new(),
        roots: PathBuf::new(),
    };
    let glance = settle(answer, &places, &mut uplink);
    assert!(matches!(glance, Glance::Failed(reason) if reason == "no carrier"));
    assert_eq!(uplink.0[0].format, Format::Guestinfo);
    let bad = understand(&mut variables(&[("coreos.config.url", "file:///etc/shadow")]));
    assert!(bad.unwrap_err().contains("only http and https"));
}
