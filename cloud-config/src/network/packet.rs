//! Equinix Metal's `network`: ports that are bonded, and addresses on the bond.

use std::net::IpAddr;

use super::described::{Described, kernel_name};
use super::interface::{Bond, BondMode, HashPolicy, Interface, Kind, Route};
use crate::address::Address;
use crate::finding::Findings;

/// The private networks, which the private gateway leads to.
const PRIVATE: Address =
    Address { ip: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 0)), prefix: 8 };
/// Servers that the platform has at every place.
const SERVERS: [[u8; 4]; 2] = [[147, 75, 207, 207], [147, 75, 207, 208]];

pub(super) fn interfaces(root: Described<'_>, findings: &mut Findings) -> Vec<Interface> {
    let mut ports = Vec::new();
    let mut bonds: Vec<Interface> = Vec::new();
    for (index, port) in root.get("interfaces").list().enumerate() {
        let Some(mac) = port.get("mac").mac(findings) else {
            port.doubt("a port without a MAC address is left out".to_owned(), findings);
            continue;
        };
        let fallback = format!("eth{index}");
        let id = kernel_name(port.get("name").text().unwrap_or_default(), &fallback);
        let bonded = port.get("bond").text().map(|name| kernel_name(name, "bond0"));
        if let Some(name) = bonded {
            if !bonds.iter().any(|bond| bond.id == name) {
                bonds.push(bond(&name, root.get("bonding"), findings));
            }
            for bond in bonds.iter_mut().filter(|bond| bond.id == name) {
                if let Kind::Bond(kind) = &mut bond.kind {
                    kind.members.push(id.clone());
                }
                // As the switch knows it.
                bond.macaddress.get_or_insert_with(|| mac.clone());
            }
        }
        ports.push(Interface::by_mac(&id, &mac));
    }
    // Without bonds the first port has the addresses.
    let target = if bonds.is_empty() { ports.first_mut() } else { bonds.first_mut() };
    if let Some(target) = target {
        addresses(root, target, findings);
        target.nameservers = SERVERS.iter().copied().map(IpAddr::from).collect();
        target.reach_gateways();
    }
    ports.extend(bonds);
    ports
}

fn bond(name: &str, bonding: Described<'_>, findings: &mut Findings) -> Interface {
    let bond = Bond {
        mode: bonding.get("mode").read("a mode", BondMode::from_name, findings),
        monitor: Some(100),
        up_delay: Some(200),
        down_delay: Some(200),
        hash_policy: Some(HashPolicy::Layer34),
        ..Bond::default()
    };
    Interface { id: name.to_owned(), kind: Kind::Bond(bond), ..Interface::default() }
}

fn addresses(root: Described<'_>, target: &mut Interface, findings: &mut Findings) {
    for described in root.get("addresses").list() {
        if described.get("enabled").text() == Some("false") {
            continue;
        }
        let mask = if described.get("cidr").is_none() { "netmask" } else { "cidr" };
        let Some(address) = described.get("address").address(described.get(mask), findings) else {
            continue;
        };
        target.addresses.push(address);
        let Some(via) = described.get("gateway").ip(findings) else { continue };
        let public = described.get("public").text() == Some("true");
        let to = match (public, via) {
            (true, _) => None,
            (false, IpAddr::V4(_)) => Some(PRIVATE),
            (false, IpAddr::V6(_)) => continue,
        };
        target.routes.push(Route { to, ..Route::default_via(via) });
    }
}
