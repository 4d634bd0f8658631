//! Interfaces → the files that networkd and udev read.
//!
//! A virtual interface may have the address of its member or parent: its files come first, so
//! that it is not taken for the other.

use std::fmt::Write as _;

use super::interface::{Bond, Bridge, Interface, Kind, Match, Overrides, Route};

type Line = (&'static str, String);

/// The files of `interface`, one of `all`: `.netdev` or `.link`, and `.network`.
pub(super) fn files(interface: &Interface, all: &[Interface]) -> Vec<(String, String)> {
    let id = &interface.id;
    let mut files = Vec::new();
    let rank = match &interface.kind {
        Kind::Ethernet => {
            files.extend(link(interface).map(|text| (format!("10-{id}.link"), text)));
            "10"
        }
        virtual_kind => {
            let address = address(interface, all);
            if address == Address::OfMembers {
                files.push((format!("05-{id}.link"), keep_address(id)));
            }
            files.push((format!("05-{id}.netdev"), netdev(interface, virtual_kind, &address)));
            "05"
        }
    };
    files.push((format!("{rank}-{id}.network"), network(interface, all)));
    files
}

/// What udev does to the interface before networkd sees it.
fn link(interface: &Interface) -> Option<String> {
    let mut lines: Vec<Line> = Vec::new();
    lines.extend(interface.set_name.clone().map(|name| ("Name", name)));
    lines.extend(interface.wakeonlan.then(|| ("WakeOnLan", "magic".to_owned())));
    if lines.is_empty() {
        return None;
    }
    let mut out = String::new();
    let which = match &interface.matching {
        // What is made of others may have the address of a card, but was not made with it.
        Some(matching) => matches(matching, "OriginalName", "PermanentMACAddress"),
        None => vec![("OriginalName", interface.id.clone())],
    };
    section(&mut out, "Match", &which);
    section(&mut out, "Link", &lines);
    Some(out)
}

/// The MAC address that something virtual has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// As networkd and the kernel think fit.
    Any,
    /// This one.
    Given(String),
    /// That which the kernel takes from a member.
    OfMembers,
}

/// Bonds and bridges have the address of their first member, as without networkd: a hypervisor
/// that knows which address a card has drops what is sent from another one, or to it.
fn address(interface: &Interface, all: &[Interface]) -> Address {
    let known = |id: &String| all.iter().find(|other| other.id == *id);
    if let Some(mac) = interface.address(all) {
        return Address::Given(mac.to_owned());
    }
    let real = interface.members().iter().filter_map(known).any(|one| one.kind != Kind::Dummy);
    if real { Address::OfMembers } else { Address::Any }
}

/// Keeps udev from giving it an address.
fn keep_address(id: &str) -> String {
    let mut out = String::new();
    section(&mut out, "Match", &[("OriginalName", id.to_owned())]);
    section(&mut out, "Link", &[("MACAddressPolicy", "none".to_owned())]);
    out
}

fn netdev(interface: &Interface, kind: &Kind, address: &Address) -> String {
    let name = match kind {
        Kind::Ethernet | Kind::Dummy => "dummy",
        Kind::Bond(_) => "bond",
        Kind::Bridge(_) => "bridge",
        Kind::Vlan(_) => "vlan",
    };
    let mut lines = vec![("Name", interface.id.clone()), ("Kind", name.to_owned())];
    lines.extend(interface.mtu.map(|mtu| ("MTUBytes", mtu.to_string())));
    match address {
        Address::Any => {}
        Address::Given(mac) => lines.push(("MACAddress", mac.clone())),
        Address::OfMembers => lines.push(("MACAddress", "none".to_owned())),
    }
    let mut out = String::new();
    section(&mut out, "NetDev", &lines);
    match kind {
        Kind::Bond(bond) => section(&mut out, "Bond", &bond_lines(bond)),
        Kind::Bridge(bridge) => section(&mut out, "Bridge", &bridge_lines(bridge)),
        Kind::Vlan(vlan) => section(&mut out, "VLAN", &[("Id", vlan.id.to_string())]),
        Kind::Ethernet | Kind::Dummy => {}
    }
    out
}

fn bond_lines(bond: &Bond) -> Vec<Line> {
    let milliseconds = |value: Option<u32>| value.map(|value| format!("{value}ms"));
    let lacp = bond.lacp_fast.map(|fast| if fast { "fast" } else { "slow" }.to_owned());
    present([
        ("Mode", bond.mode.map(|mode| mode.name().to_owned())),
        ("TransmitHashPolicy", bond.hash_policy.map(|policy| policy.name().to_owned())),
        ("LACPTransmitRate", lacp),
        ("MIIMonitorSec", milliseconds(bond.monitor)),
        ("UpDelaySec", milliseconds(bond.up_delay)),
        ("DownDelaySec", milliseconds(bond.down_delay)),
        ("MinLinks", bond.min_links.map(|links| links.to_string())),
    ])
}

fn bridge_lines(bridge: &Bridge) -> Vec<Line> {
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    present([
        ("STP", bridge.stp.map(yes)),
        ("Priority", number(bridge.priority)),
        ("ForwardDelaySec", number(bridge.forward_delay)),
        ("HelloTimeSec", number(bridge.hello_time)),
        ("MaxAgeSec", number(bridge.max_age)),
        ("AgeingTimeSec", number(bridge.ageing_time)),
    ])
}

fn network(interface: &Interface, all: &[Interface]) -> String {
    let mut out = String::new();
    section(&mut out, "Match", &which(interface, all));

    let mut link = Vec::new();
    if interface.kind == Kind::Ethernet {
        link.extend(interface.macaddress.clone().map(|mac| ("MACAddress", mac)));
        link.extend(interface.mtu.map(|mtu| ("MTUBytes", mtu.to_string())));
    }
    link.extend(interface.optional.then(|| ("RequiredForOnline", "no".to_owned())));
    section(&mut out, "Link", &link);

    let dhcp = match (interface.dhcp4, interface.dhcp6) {
        (true, true) => "yes",
        (true, false) => "ipv4",
        (false, true) => "ipv6",
        (false, false) => "no",
    };
    let mut network = vec![("DHCP", dhcp.to_owned())];
    network.extend(interface.accept_ra.map(|accept| ("IPv6AcceptRA", yes(accept))));
    network.extend(interface.addresses.iter().map(|address| ("Address", address.to_string())));
    network.extend(interface.nameservers.iter().map(|server| ("DNS", server.to_string())));
    if !interface.search.is_empty() {
        network.push(("Domains", interface.search.join(" ")));
    }
    network.extend(relations(interface, all));
    section(&mut out, "Network", &network);

    for route in &interface.routes {
        section(&mut out, "Route", &route_lines(route));
    }
    if interface.dhcp4 {
        section(&mut out, "DHCPv4", &override_lines(&interface.dhcp4_overrides, true));
    }
    if interface.dhcp6 {
        section(&mut out, "DHCPv6", &override_lines(&interface.dhcp6_overrides, false));
    }
    out
}

/// What it is a part of, and what is made of it.
fn relations(interface: &Interface, all: &[Interface]) -> Vec<Line> {
    let id = &interface.id;
    let mut lines = Vec::new();
    for other in all {
        match &other.kind {
            Kind::Bond(bond) if bond.members.contains(id) => {
                lines.push(("Bond", other.id.clone()));
                lines.extend(
                    (bond.primary.as_ref() == Some(id)).then(|| ("PrimarySlave", yes(true))),
                );
            }
            Kind::Bridge(bridge) if bridge.members.contains(id) => {
                lines.push(("Bridge", other.id.clone()));
            }
            Kind::Vlan(vlan) if vlan.link == *id => lines.push(("VLAN", other.id.clone())),
            _ => {}
        }
    }
    lines
}

/// What the `.network` file matches. A renamed interface is matched by what does not depend on
/// the renaming, if there is such a thing; the member of a bond, which takes the bond's address,
/// by the address that it was made with.
fn which(interface: &Interface, all: &[Interface]) -> Vec<Line> {
    let id = &interface.id;
    let bonded =
        all.iter().any(|one| matches!(&one.kind, Kind::Bond(bond) if bond.members.contains(id)));
    let mac_key = if bonded { "PermanentMACAddress" } else { "MACAddress" };
    match (&interface.matching, &interface.set_name) {
        (None, _) => vec![("Name", id.clone())],
        (Some(Match { macaddress: Some(mac), .. }), Some(_)) => vec![(mac_key, mac.clone())],
        (Some(_), Some(name)) => vec![("Name", name.clone())],
        (Some(matching), None) => matches(matching, "Name", mac_key),
    }
}

fn matches(matching: &Match, name: &'static str, mac: &'static str) -> Vec<Line> {
    let Match { macaddress, name: pattern, driver } = matching;
    present([(mac, macaddress.clone()), (name, pattern.clone()), ("Driver", driver.clone())])
}

fn route_lines(route: &Route) -> Vec<Line> {
    present([
        ("Destination", route.to.map(|to| to.to_string())),
        ("Gateway", route.via.map(|via| via.to_string())),
        ("Metric", route.metric.map(|metric| metric.to_string())),
        ("GatewayOnLink", route.on_link.then(|| yes(true))),
    ])
}

/// DHCPv6 knows fewer of them: routes and MTU are the routers' there.
fn override_lines(overrides: &Overrides, v4: bool) -> Vec<Line> {
    let flag = |value: Option<bool>| value.map(yes);
    let v4_flag = |value: Option<bool>| flag(value.filter(|_| v4));
    present([
        ("UseDNS", flag(overrides.use_dns)),
        ("UseDomains", flag(overrides.use_domains)),
        ("UseHostname", flag(overrides.use_hostname)),
        ("UseMTU", v4_flag(overrides.use_mtu)),
        ("UseNTP", flag(overrides.use_ntp)),
        ("UseRoutes", v4_flag(overrides.use_routes)),
        ("SendHostname", flag(overrides.send_hostname)),
        ("Hostname", overrides.hostname.clone().filter(|_| v4)),
        ("RouteMetric", overrides.route_metric.filter(|_| v4).map(|metric| metric.to_string())),
    ])
}

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn present<const N: usize>(lines: [(&'static str, Option<String>); N]) -> Vec<Line> {
    lines.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn section(out: &mut String, name: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    let separator = if out.is_empty() { "" } else { "\n" };
    writeln!(out, "{separator}[{name}]").expect("writing to a String cannot fail");
    for (key, value) in lines {
        writeln!(out, "{key}={value}").expect("writing to a String cannot fail");
    }
}
