//! OpenStack's `network_data.json`: links, the networks on them, and services.
//!
//! <https://docs.openstack.org/nova/latest/user/metadata.html#openstack-metadata>

use std::collections::BTreeMap;

use super::described::{Described, entry_name, kernel_name};
use super::interface::{Bond, BondMode, HashPolicy, Interface, Kind, Route, Vlan};
use super::values;
use crate::finding::Findings;

pub(super) fn interfaces(root: Described<'_>, findings: &mut Findings) -> Vec<Interface> {
    let links: Vec<_> = root.get("links").list().collect();
    // What the document calls a link, and what we call it.
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for (index, link) in links.iter().enumerate() {
        let Some(id) = link.get("id").text() else {
            link.doubt("a link without an `id` is left out".to_owned(), findings);
            continue;
        };
        let name = match link.get("type").text() {
            Some("bond") => kernel_name(id, &format!("bond{index}")),
            Some("vlan") => {
                let number = link.get("vlan_id").text().unwrap_or_default();
                kernel_name(id, &format!("vlan{number}"))
            }
            _ => entry_name(id, &format!("link{index}")),
        };
        names.insert(id, name);
    }
    let mut interfaces: Vec<Interface> =
        links.iter().filter_map(|link| interface(*link, &names, findings)).collect();
    for network in root.get("networks").list() {
        let name = network.get("link").text().and_then(|id| names.get(id));
        let interface =
            name.and_then(|name| interfaces.iter_mut().find(|interface| interface.id == *name));
        match interface {
            Some(interface) => address(network, interface, findings),
            None => network.doubt("this network is on no known link".to_owned(), findings),
        }
    }
    let servers: Vec<_> = servers(root.get("services"), findings);
    let up = |one: &&mut Interface| one.dhcp4 || one.dhcp6 || !one.addresses.is_empty();
    if let Some(interface) = interfaces.iter_mut().find(up) {
        for server in servers {
            if !interface.nameservers.contains(&server) {
                interface.nameservers.push(server);
            }
        }
    }
    for interface in &mut interfaces {
        interface.reach_gateways();
    }
    interfaces
}

fn interface(
    link: Described<'_>,
    names: &BTreeMap<&str, String>,
    findings: &mut Findings,
) -> Option<Interface> {
    let name = names.get(link.get("id").text()?)?;
    let mac = link.get("ethernet_mac_address").mac(findings);
    let mut interface = match link.get("type").text() {
        Some("bond") => {
            let members = link.get("bond_links").list().filter_map(Described::text);
            let bond = Bond {
                members: members.filter_map(|id| names.get(id).cloned()).collect(),
                mode: link.get("bond_mode").read("a mode", BondMode::from_name, findings),
                monitor: link.get("bond_miimon").number().or(Some(100)),
                hash_policy: link.get("bond_xmit_hash_policy").read(
                    "a policy",
                    HashPolicy::from_name,
                    findings,
                ),
                ..Bond::default()
            };
            Interface { kind: Kind::Bond(bond), macaddress: mac, ..Interface::default() }
        }
        Some("vlan") => {
            let parent = link.get("vlan_link").text().and_then(|id| names.get(id));
            let number = link.get("vlan_id").number().and_then(|number| u16::try_from(number).ok());
            let (Some(parent), Some(id)) = (parent, number.filter(|number| *number <= 4094)) else {
                link.doubt("a VLAN without number or link is left out".to_owned(), findings);
                return None;
            };
            let kind = Kind::Vlan(Vlan { id, link: parent.clone() });
            let mac = link.get("vlan_mac_address").mac(findings);
            Interface { kind, macaddress: mac, ..Interface::default() }
        }
        // Whatever the host's end of it is: bridge, ovs, vif, tap, phy …
        _ => match mac {
            Some(mac) => Interface::by_mac(name, &mac),
            None => {
                link.doubt("a link without a MAC address is left out".to_owned(), findings);
                return None;
            }
        },
    };
    interface.id = name.clone();
    interface.mtu = link.get("mtu").number().filter(|mtu| *mtu >= 68);
    Some(interface)
}

fn address(network: Described<'_>, interface: &mut Interface, findings: &mut Findings) {
    match network.get("type").text().unwrap_or_default() {
        "ipv4_dhcp" => interface.dhcp4 = true,
        "ipv6_dhcp" | "ipv6_dhcpv6-stateful" => interface.dhcp6 = true,
        "ipv6_slaac" | "ipv6_dhcpv6-stateless" => interface.accept_ra = Some(true),
        "ipv4" | "ipv6" => {
            let address = network.get("ip_address").address(network.get("netmask"), findings);
            interface.addresses.extend(address);
        }
        other => network.doubt(format!("networks of the type {other:?} are left out"), findings),
    }
    if let Some(via) = network.get("gateway").ip(findings) {
        interface.routes.push(Route::default_via(via));
    }
    for route in network.get("routes").list() {
        let Some(via) = route.get("gateway").ip(findings) else { continue };
        let to = route.get("network").address(route.get("netmask"), findings);
        let everything = to.is_some_and(|to| to.prefix == 0);
        match to {
            Some(_) if everything => interface.routes.push(Route::default_via(via)),
            Some(to) if values::route_problem(Some(to), Some(via)).is_none() => {
                interface.routes.push(Route { to: Some(to), ..Route::default_via(via) });
            }
            Some(_) => route.doubt("a route of two families is left out".to_owned(), findings),
            None => {}
        }
    }
    // A gateway that is in the routes, too, is one.
    let mut seen = Vec::new();
    interface.routes.retain(|route| {
        let new = !seen.contains(route);
        seen.push(route.clone());
        new
    });
    interface.nameservers.extend(servers(network.get("services"), findings));
    for server in network.get("dns_nameservers").list() {
        interface.nameservers.extend(server.ip(findings));
    }
}

fn servers(services: Described<'_>, findings: &mut Findings) -> Vec<std::net::IpAddr> {
    let dns = services.list().filter(|service| service.get("type").text() == Some("dns"));
    dns.filter_map(|service| service.get("address").ip(findings)).collect()
}
