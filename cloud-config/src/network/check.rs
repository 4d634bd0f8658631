//! What depends on several interfaces: names that are there once, members and parents that exist.

use std::collections::BTreeSet;

use super::Placed;
use super::interface::{Interface, Kind, NO_VLAN, Vlan};
use super::values::{self, ENTRY};
use crate::finding::{Finding, Findings, quoted};

/// The interfaces that make sense together. A member or parent of which nothing is said is an
/// interface of that name without an address.
pub(super) fn check(placed: Vec<Placed>, findings: &mut Findings) -> Vec<Interface> {
    let mut names = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut places = Vec::new();
    for (mut interface, span) in placed {
        let id = interface.id.clone();
        if !names.insert(id.clone()) {
            let message = format!("there is an interface {} already", quoted(&id));
            findings.push(Finding::error(span, message));
            continue;
        }
        if let Kind::Vlan(Vlan { id: number, link }) = &interface.kind {
            let missing = if *number == NO_VLAN { "number" } else { "link" };
            if *number == NO_VLAN || !values::is_name(link, ENTRY) || *link == id {
                let message = format!("the VLAN {} has no {missing}", quoted(&id));
                findings.push(
                    Finding::error(span, message).with_hint("such as `id: 5` and `link: eth0`"),
                );
                continue;
            }
        }
        let mut members = interface.members().to_vec();
        members.retain(|member| {
            // It becomes the name of an interface of its own, and with that of a file.
            if !values::is_name(member, ENTRY) {
                let message = format!("{} cannot be the name of a member", quoted(member));
                findings.push(Finding::error(span, message));
                return false;
            }
            let free = *member != id && taken.insert(member.clone());
            if !free {
                let message = format!("{} is a member already", quoted(member));
                findings.push(Finding::error(span, message));
            }
            free
        });
        match &mut interface.kind {
            Kind::Bond(bond) => {
                if let Some(primary) = bond.primary.take_if(|primary| !members.contains(primary)) {
                    let message = format!("{} is no member of this bond", quoted(&primary));
                    findings.push(Finding::error(span, message));
                }
                bond.members = members;
            }
            Kind::Bridge(bridge) => bridge.members = members,
            Kind::Ethernet | Kind::Vlan(_) | Kind::Dummy => {}
        }
        interfaces.push(interface);
        places.push(span);
    }
    for (interface, span) in interfaces.iter_mut().zip(places) {
        if taken.contains(&interface.id) && strip(interface) {
            let message = format!("{} is a member of another", quoted(&interface.id));
            findings.push(
                Finding::warning(span, format!("{message} and gets no address of its own"))
                    .with_hint("write addresses, routes and DHCP at the interface it is part of"),
            );
        }
    }
    let implied: BTreeSet<_> = interfaces.iter().flat_map(needs).collect();
    let implied = implied.into_iter().filter(|id| !names.contains(id));
    let implied: Vec<_> = implied.map(|id| Interface { id, ..Interface::default() }).collect();
    interfaces.extend(implied);
    interfaces
}

/// Takes away what only an interface with an address can use; whether there was anything.
fn strip(interface: &mut Interface) -> bool {
    let bare = Interface {
        id: interface.id.clone(),
        kind: interface.kind.clone(),
        matching: interface.matching.clone(),
        set_name: interface.set_name.clone(),
        macaddress: interface.macaddress.clone(),
        mtu: interface.mtu,
        wakeonlan: interface.wakeonlan,
        optional: interface.optional,
        ..Interface::default()
    };
    let stripped = *interface != bare;
    *interface = bare;
    stripped
}

/// The ids of the interfaces that this one is made of.
fn needs(interface: &Interface) -> Vec<String> {
    match &interface.kind {
        Kind::Vlan(vlan) => vec![vlan.link.clone()],
        _ => interface.members().to_vec(),
    }
}
