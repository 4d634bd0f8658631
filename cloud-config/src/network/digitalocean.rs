//! DigitalOcean's `interfaces` and `dns`.

use super::described::Described;
use super::interface::{Interface, Route};
use crate::finding::Findings;

pub(super) fn interfaces(root: Described<'_>, findings: &mut Findings) -> Vec<Interface> {
    let mut all = Vec::new();
    for kind in ["public", "private"] {
        for (index, described) in root.get("interfaces").get(kind).list().enumerate() {
            let Some(mac) = described.get("mac").mac(findings) else {
                let message = "an interface without a MAC address is left out";
                described.doubt(message.to_owned(), findings);
                continue;
            };
            let mut interface = Interface::by_mac(&format!("{kind}{index}"), &mac);
            let public = kind == "public";
            for family in ["ipv4", "ipv6", "anchor_ipv4"] {
                let ip = described.get(family);
                let mask = if ip.get("netmask").is_none() { "cidr" } else { "netmask" };
                let address = ip.get("ip_address").address(ip.get(mask), findings);
                interface.addresses.extend(address);
                // The anchor's network has a gateway that leads to the same router; that of a
                // private network leads nowhere else.
                if let Some(via) = ip.get("gateway").ip(findings)
                    && public
                    && family != "anchor_ipv4"
                {
                    interface.routes.push(Route::default_via(via));
                }
            }
            if public {
                for server in root.get("dns").get("nameservers").list() {
                    interface.nameservers.extend(server.ip(findings));
                }
            }
            interface.reach_gateways();
            all.push(interface);
        }
    }
    all
}
