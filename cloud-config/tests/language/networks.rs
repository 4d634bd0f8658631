//! Descriptions of networks as platforms write them (`fixtures/networks/NAME.FORMAT`), and what
//! becomes of them: the same names with `.expected`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cloud_config::network::{Format, parse};

use crate::support::lines;

/// Every description, by file name.
pub(crate) fn fixtures() -> BTreeMap<String, (Format, String, PathBuf)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((_, format)) = name.split_once('.').filter(|_| !name.ends_with(".expected"))
        else {
            continue;
        };
        let format = Format::from_name(format.trim_end_matches(".yaml")).expect(&name);
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = path.with_file_name(format!("{name}.expected"));
        found.insert(name, (format, text, expected));
    }
    found
}

#[test]
fn every_language_of_the_platforms_becomes_networkds() {
    for (name, (format, text, expected)) in fixtures() {
        let (network, findings) = parse(format, &text);
        let mut shown: String = lines(&findings).iter().map(|line| format!("{line}\n")).collect();
        for (file, content) in network.to_networkd() {
            shown.push_str(&format!("--- {file}\n{content}"));
        }
        let path = expected.display().to_string();
        let expected = std::fs::read_to_string(expected).unwrap_or_default();
        assert!(shown == expected, "{name} is not {path} but\n{shown}");
    }
}

#[test]
fn every_language_has_an_example() {
    for format in Format::all() {
        assert!(fixtures().values().any(|(found, ..)| *found == format), "{}", format.name());
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
}

#[test]
fn what_is_wrong_in_version_1_is_told_with_its_place() {
    let text = "version: 1
config:
- type: physical
- {type: wifi, name: w}
- type: physical
  name: eth0
  subnets:
  - {type: static}
  - {type: stati, address: 10.0.0.5/24}
  - {type: static, address: 10.0.0.5, netmask: 255.0.255.0}
  - {address: 10.0.0.5/24}
  - {type: static, address: 10.0.0.5/24, gatewy: 10.0.0.1}
- {type: vlan, name: v, vlan_link: eth0}
- {type: vlan, name: w, vlan_id: 5000, vlan_link: eth0}
- {type: bond, name: b, bond_interfaces: [eth0, eth0, b], params: {bond-mode: x}}
- {type: physical, name: eth0}
- {type: route, destination: 10.0.0.0/8, gateway: 192.0.2.1}
- {type: route, destination: x, gateway: 10.0.0.1}
- {type: nameserver, interface: eth9, address: dns}
- just text
";
    let (_, findings) = parse(Format::NetworkConfig, text);
    let want = [
        "3:3: error: an entry of `config` has no `name`",
        "4:10: error: the type `wifi` is not known; known are physical, bond, bridge, vlan, \
         nameserver, route and loopback",
        "5:3: warning: `eth0` is a member of another and gets no address of its own; write \
         addresses, routes and DHCP at the interface it is part of",
        "8:5: error: this static subnet has no address with a prefix; such as `address: \
         10.0.0.5/24`",
        "9:12: error: the type `stati` of a subnet is not known",
        "10:5: error: this static subnet has no address with a prefix; such as `address: \
         10.0.0.5/24`",
        "11:5: error: an entry of `subnets` has no `type`",
        "12:42: error: unknown key `gatewy` in an entry of `subnets`; did you mean `gateway`?",
        "13:3: error: the VLAN `v` has no number; such as `id: 5` and `link: eth0`",
        "14:3: error: the VLAN `w` has no number; such as `id: 5` and `link: eth0`",
        "14:34: error: the number of a VLAN is at most 4094",
        "15:3: error: `eth0` is a member already",
        "15:3: error: `b` is a member already",
        "15:79: error: `bond-mode` must be a mode such as active-backup or 802.3ad, found `x`",
        "16:3: error: there is an interface `eth0` already",
        "17:3: error: the gateway of this route is in no interface's network",
        "18:3: error: `x` is not a network",
        "19:10: error: there is no interface `eth9` above",
        "19:48: error: a name server must be an IP address, found `dns`",
        "20:3: error: expected the keys of an entry of `config`, found a single value",
    ];
    assert_eq!(lines(&findings), want);
}

#[test]
fn what_machines_wrote_and_makes_no_sense_is_left_out_and_told() {
    let cases: [(Format, &str, &[&str]); 7] = [
        (Format::OpenStack, "{", &["1:1: error:"]),
        (
            Format::OpenStack,
            r#"{"links": [{"id": "a", "type": "phy", "ethernet_mac_address": "x"}], "networks": [{"link": "b", "type": "ipv4"}]}"#,
            &["`x` is not a MAC address", "without a MAC address", "on no known link"],
        ),
        (Format::DigitalOcean, "[]", &[]),
        (Format::Packet, r#"{"interfaces": [{"name": "eth0"}]}"#, &["without a MAC address"]),
        (
            Format::Guestinfo,
            "interface.0.ip.0.address=10.0.0.5\ninterface.1.dhcp=yes\nx\n",
            &["`10.0.0.5` is not an address with a prefix", "neither name nor mac", "KEY=VALUE"],
        ),
        // Names that would be paths of files.
        (
            Format::Debian,
            "iface bond0 inet manual\n  bond-slaves ../../x eth0\niface vlan5 inet manual\n  \
             vlan-id 5\n  vlan-raw-device /x\n",
            &["`../../x` cannot be the name of a member", "the VLAN `vlan5` has no link"],
        ),
        (
            Format::Debian,
            "iface eth0 inet static\nmapping eth0\niface eth0 inet ppp\niface\n",
            &["has no address", "`mapping` is not", "the method `ppp`", "expected `iface NAME"],
        ),
    ];
    for (format, text, wanted) in cases {
        let found = lines(&parse(format, text).1);
        for want in wanted {
            let is_there = found.iter().any(|line| line.contains(want));
            assert!(is_there, "{}: {want} not in {found:#?}", format.name());
        }
        assert_eq!(found.is_empty(), wanted.is_empty(), "{}: {found:#?}", format.name());
    }
}
