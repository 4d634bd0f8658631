//! An interface → the files that networkd and udev read.

use std::fmt::Write as _;

use super::interface::{Interface, Match, Route};

/// The `.network` file of an interface, and the `.link` file that names it.
pub(super) fn files(interface: &Interface) -> Vec<(String, String)> {
    let mut files = Vec::new();
    if let (Some(name), Some(matching)) = (&interface.set_name, &interface.matching) {
        let mut link = String::new();
        section(&mut link, "Match", &matches(matching, "OriginalName"));
        section(&mut link, "Link", &[("Name", name.clone())]);
        files.push((format!("10-{}.link", interface.id), link));
    }
    files.push((format!("10-{}.network", interface.id), network(interface)));
    files
}

fn network(interface: &Interface) -> String {
    let mut out = String::new();
    section(&mut out, "Match", &which(interface));

    let mut link = Vec::new();
    link.extend(interface.mtu.map(|mtu| ("MTUBytes", mtu.to_string())));
    link.extend(interface.optional.then(|| ("RequiredForOnline", "no".to_owned())));
    section(&mut out, "Link", &link);

    let dhcp = match (interface.dhcp4, interface.dhcp6) {
        (true, true) => "yes",
        (true, false) => "ipv4",
        (false, true) => "ipv6",
        (false, false) => "no",
    };
    let mut network = vec![("DHCP", dhcp.to_owned())];
    network.extend(interface.addresses.iter().map(|address| ("Address", address.to_string())));
    network.extend(interface.nameservers.iter().map(|server| ("DNS", server.to_string())));
    if !interface.search.is_empty() {
        network.push(("Domains", interface.search.join(" ")));
    }
    section(&mut out, "Network", &network);

    for route in &interface.routes {
        section(&mut out, "Route", &route_lines(route));
    }
    out
}

/// What the `.network` file matches. A renamed interface is matched by what does not depend on
/// the renaming, if there is such a thing.
fn which(interface: &Interface) -> Vec<(&'static str, String)> {
    match (&interface.matching, &interface.set_name) {
        (None, _) => vec![("Name", interface.id.clone())],
        (Some(Match { macaddress: Some(mac), .. }), Some(_)) => {
            vec![("MACAddress", mac.clone())]
        }
        (Some(_), Some(name)) => vec![("Name", name.clone())],
        (Some(matching), None) => matches(matching, "Name"),
    }
}

fn matches(matching: &Match, name: &'static str) -> Vec<(&'static str, String)> {
    let Match { macaddress, name: pattern, driver } = matching;
    [("MACAddress", macaddress), (name, pattern), ("Driver", driver)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
        .collect()
}

fn route_lines(route: &Route) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    lines.extend(route.to.map(|to| ("Destination", to.to_string())));
    lines.extend(route.via.map(|via| ("Gateway", via.to_string())));
    lines.extend(route.metric.map(|metric| ("Metric", metric.to_string())));
    lines.extend(route.on_link.then(|| ("GatewayOnLink", "yes".to_owned())));
    lines
}

fn section(out: &mut String, name: &str, lines: &[(&str, String)]) {
    if lines.is_empty() {
        return;
    }
    let separator = if out.is_empty() { "" } else { "\n" };
    writeln!(out, "{separator}[{name}]").expect("writing to a String cannot fail");
    for (key, value) in lines {
        writeln!(out, "{key}={value}").expect("writing to a String cannot fail");
    }
}
