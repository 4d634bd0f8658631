//! Bonds, bridges and VLANs on the way to what a configuration is at.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cloud_config::network::{Format, parse};
use coreos_init::net::{NetError, Network, Settings, Uplink, Wiring};
use coreos_init::source::Places;
use host::http::{Fetch, Proxy, fetch};

use crate::cables::{Cables, ip};

/// Long enough for any machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST: &str = "52:54:00:00:00:01";
const SECOND: &str = "52:54:00:00:00:02";

fn wiring(text: &str) -> Wiring {
    let (network, findings) = parse(Format::NetworkConfig, &format!("version: 2\n{text}"));
    assert!(!cloud_config::has_errors(&findings), "{findings:?}");
    Wiring::from_network(&network)
}

/// Whether this host's kernel has such a thing. It says so where it has not.
fn has(cables: &Cables, kind: &[&str]) -> bool {
    let add = [&["-n", &cables.there, "link", "add"], kind].concat();
    let made = Command::new("ip").args(&add).output().expect("ip must be installed");
    if !made.status.success() {
        eprintln!("skipped: this host's kernel has no {kind:?}");
        return false;
    }
    ip(&["-n", &cables.there, "link", "delete", "probe"]);
    true
}

/// Configures what is described, reads from the other end, and leaves everything as it was. What
/// is there in between is shown by `during`.
fn reach<T: Send>(
    cables: &Cables,
    wiring: &Wiring,
    url: &str,
    during: impl FnOnce() -> T + Send,
) -> (String, T) {
    let resolv_conf = cables.resolv_conf();
    let result = cables.here(|| {
        let mut network = Network::open().unwrap();
        network.wire(wiring, &mut |module| panic!("{module} is asked for")).unwrap();
        network.configure_static(&wiring.statics, &resolv_conf, PATIENCE).unwrap();
        let how = Fetch { proxy: Proxy::Never, deadline: PATIENCE, ..Fetch::default() };
        let document = String::from_utf8(fetch(url, &how).unwrap()).unwrap();
        let shown = during();
        network.teardown().unwrap();
        (document, shown)
    });
    cables.assert_untouched();
    for link in cables.show(&["link"]) {
        assert_eq!(link.get("master"), None, "{link}");
        assert_eq!(link.get("linkinfo"), None, "{link}");
        let mtu = if link["ifname"] == "lo" { 65_536 } else { 1500 };
        assert_eq!(link["mtu"], mtu, "{link}");
    }
    result
}

#[test]
fn a_bridge_is_a_way_and_is_gone_afterwards() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", FIRST, "10.99.0.1/24").cable("eth1", SECOND, "10.98.0.1/24");
    cables.serve("10.99.0.1:80", "over a bridge");
    let wiring = wiring(
        "ethernets:
  wan: {match: {macaddress: '52:54:00:00:00:01'}, mtu: 1400}
bridges:
  br0:
    interfaces: [wan]
    mtu: 1400
    macaddress: '52:54:00:00:00:99'
    addresses: [10.99.0.5/24]
    parameters: {stp: true}
",
    );
    let (document, links) = reach(&cables, &wiring, "http://10.99.0.1/", || {
        let show = |name| cables.show(&["-details", "link", "show", name]).remove(0);
        (show("eth0"), show("br0"))
    });
    assert_eq!(document, "over a bridge");
    let (port, bridge) = links;
    assert_eq!((&port["master"], &port["mtu"]), (&"br0".into(), &1400.into()), "{port}");
    assert_eq!((&bridge["address"], &bridge["mtu"]), (&"52:54:00:00:00:99".into(), &1400.into()));
    assert_eq!(bridge["linkinfo"]["info_data"]["stp_state"], 0, "one cable: no half a minute");
}

#[test]
fn names_that_only_udev_knows_mean_all_interfaces_where_they_are_as_many() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", FIRST, "10.99.0.1/24").cable("eth1", SECOND, "10.98.0.1/24");
    let two = wiring("bridges: {br0: {interfaces: [ens192, ens224], addresses: [10.99.0.5/24]}}\n");
    cables.serve("10.99.0.1:80", "two ports");
    assert_eq!(reach(&cables, &two, "http://10.99.0.1/", || ()).0, "two ports");
    for members in ["[ens192]", "[ens192, ens224, ens256]"] {
        let other = wiring(&format!("bridges: {{br0: {{interfaces: {members}, dhcp4: true}}}}\n"));
        let result = cables.here(|| {
            let mut network = Network::open().unwrap();
            let result = network.wire(&other, &mut |_| Ok(()));
            network.teardown().unwrap();
            result
        });
        let Err(NetError::NoSuchInterface { wanted, .. }) = result else { panic!("{result:?}") };
        assert_eq!(wanted, "ens192");
        cables.assert_untouched();
    }
}

#[test]
fn what_cannot_be_made_is_told_only_where_there_is_no_other_way() {
    let text = "version: 2\nbridges: {br0: {interfaces: [ens192, ens224, ens256], dhcp4: true}}\n";
    let (described, _) = parse(Format::NetworkConfig, text);
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", FIRST, "10.99.0.1/24").cable("eth1", SECOND, "10.98.0.1/24");
    let places = Places {
        sysfs: cables.directory.path().join("sys"),
        dev: cables.directory.path().join("dev"),
        command_line: String::new(),
        state: cables.directory.path().to_owned(),
        exclude: Vec::new(),
        roots: PathBuf::new(),
    };
    let ask = |cables: &Cables| {
        cables.here(|| {
            let mut uplink = Uplink::new(&places, cables.resolv_conf());
            uplink.know(&described);
            let lease = uplink.lease();
            uplink.teardown().unwrap();
            lease
        })
    };
    let refused = ask(&cables).unwrap_err();
    assert!(
        refused.to_string().starts_with("there is no interface ens192, only eth0"),
        "{refused}"
    );
    let cables = cables.dhcp("eth0", "10.99.0.50", "10.99.0.1");
    assert_eq!(ask(&cables).unwrap().address, Some([10, 99, 0, 50].into()));
    cables.assert_untouched();
}

#[test]
fn one_card_is_one_member_however_many_are_named() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", FIRST, "10.99.0.1/24");
    cables.serve("10.99.0.1:80", "one port");
    let two = wiring("bridges: {br0: {interfaces: [ens192, ens224], addresses: [10.99.0.5/24]}}\n");
    assert_eq!(reach(&cables, &two, "http://10.99.0.1/", || ()).0, "one port");
}

#[test]
fn a_lease_is_taken_on_a_bridge_and_nowhere_else() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables
        .cable("eth0", FIRST, "10.99.0.1/24")
        .cable("eth1", SECOND, "10.98.0.1/24")
        .dhcp("eth0", "10.99.0.50", "10.99.0.1")
        .dhcp("eth1", "10.98.0.50", "10.98.0.1");
    let wiring = wiring(
        "ethernets: {wan: {match: {macaddress: '52:54:00:00:00:01'}}}
bridges: {br0: {interfaces: [wan], dhcp4: true}}
",
    );
    let lease = cables.here(|| {
        let mut network = Network::open().unwrap();
        network.wire(&wiring, &mut |_| Ok(())).unwrap();
        let lease = network.lease(PATIENCE, false).unwrap();
        let resolv_conf = cables.resolv_conf();
        network.configure(&lease.interface, &Settings::from(&lease), &resolv_conf).unwrap();
        network.teardown().unwrap();
        lease
    });
    assert_eq!((lease.interface.as_str(), lease.address), ("br0", Some([10, 99, 0, 50].into())));
    cables.assert_untouched();
}

#[test]
fn a_bond_with_a_vlan_is_a_way_and_its_members_are_left_as_they_were() {
    let Some(cables) = Cables::new() else { return };
    let kinds = [
        &["probe", "type", "bond"][..],
        &["link", "lo", "name", "probe", "type", "vlan", "id", "5"],
    ];
    if !kinds.iter().all(|kind| has(&cables, kind)) {
        return; // a machine does it instead: `vmware.rs` of the scenarios
    }
    let cables = cables.cable("eth0", FIRST, "10.99.0.1/24").cable("eth1", SECOND, "10.98.0.1/24");
    for (arguments, address) in [
        (["link", "eth0", "name", "v0", "type", "vlan", "id", "5"], "10.97.0.1/24"),
        (["link", "eth1", "name", "v1", "type", "vlan", "id", "5"], "10.97.0.2/24"),
    ] {
        ip(&[&["-n", &cables.there, "link", "add"], &arguments[..]].concat());
        ip(&["-n", &cables.there, "address", "add", address, "dev", arguments[3]]);
        ip(&["-n", &cables.there, "link", "set", arguments[3], "up"]);
    }
    cables.serve("10.97.0.1:80", "over a VLAN");
    let wiring = wiring(
        "bonds:
  bond0: {interfaces: [eth0, eth1], mtu: 1400, parameters: {mode: active-backup, primary: eth0}}
vlans:
  vlan5: {id: 5, link: bond0, addresses: [10.97.0.5/24]}
",
    );
    let (document, bond) = reach(&cables, &wiring, "http://10.97.0.1/", || {
        cables.show(&["-details", "link", "show", "bond0"]).remove(0)
    });
    assert_eq!(document, "over a VLAN");
    let data = &bond["linkinfo"]["info_data"];
    assert_eq!((&data["mode"], &data["miimon"]), (&"active-backup".into(), &100.into()), "{bond}");
    assert_eq!(data["active_slave"], "eth0", "{bond}");
}
