//! What a description makes of interfaces of hardware: bonds, bridges, VLANs, in the order in
//! which they can be made.
//!
//! interfaces → those with an address, and what they are made of → [`Wiring`]
//!
//! Only what the way to an address needs is made, and nothing is that has no hardware below it:
//! it is for a few seconds, until what the configuration is at can be fetched.

use cloud_config::network::{Bond, Interface, Kind, Network};

use super::links::{LinkChoice, Mac};
use super::settings::Static;

/// What is made, and what is given to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wiring {
    /// What is made, each after what it is made of.
    pub devices: Vec<Device>,
    /// What interfaces are given, those of hardware and those that are made.
    pub statics: Vec<Static>,
    /// Names of what is made and asks for its address.
    pub leased: Vec<String>,
}

/// Something that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What it is.
    pub made: Made,
    /// The MAC address that it is given.
    pub mac: Option<Mac>,
    /// The longest packet, in bytes.
    pub mtu: Option<u32>,
}

/// What is made of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// Several that act as one.
    Bond(Bond, Vec<Part>),
    /// A switch between others; whether it speaks the spanning tree protocol.
    Bridge(bool, Vec<Part>),
    /// The network of this number on a cable.
    Vlan(u16, Part),
}

/// What something is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// An interface of hardware: its id, which it is, and the longest packet, in bytes.
    Hardware(String, LinkChoice, Option<u32>),
    /// Something that was made before, by its name.
    Made(String),
}

impl Wiring {
    /// What a description comes to.
    pub fn from_network(network: &Network) -> Wiring {
        let all = network.interfaces();
        let asks = |interface: &Interface| {
            interface.dhcp4 || interface.dhcp6 || interface.accept_ra == Some(true)
        };
        let is_made = |interface: &&Interface| interface.kind != Kind::Ethernet;
        let mut wiring = Wiring::default();
        let with_address = |interface: &&Interface| !interface.addresses.is_empty();
        for interface in all.iter().filter(|one| with_address(one) || asks(one)).filter(is_made) {
            wiring.make(interface, all, &mut Vec::new());
        }
        let exists =
            |interface: &&Interface| interface.kind == Kind::Ethernet || wiring.has(&interface.id);
        wiring.statics = all.iter().filter(with_address).filter(exists).map(Static::from).collect();
        let leased = all.iter().filter(|one| asks(one) && wiring.has(&one.id));
        wiring.leased = leased.map(|interface| interface.id.clone()).collect();
        wiring
    }

    /// The same without what is made.
    #[must_use]
    pub fn of_hardware(&self) -> Wiring {
        let of_hardware = |one: &&Static| one.link.name.as_ref().is_none_or(|name| !self.has(name));
        Wiring {
            statics: self.statics.iter().filter(of_hardware).cloned().collect(),
            ..Wiring::default()
        }
    }

    fn has(&self, name: &str) -> bool {
        self.devices.iter().any(|device| device.name == name)
    }

    /// Plans an interface after what it is made of; the part that it then is. `above` are the
    /// names of those that are made of it: one among them that is made of itself is not made.
    fn make(
        &mut self,
        interface: &Interface,
        all: &[Interface],
        above: &mut Vec<String>,
    ) -> Option<Part> {
        let name = interface.id.clone();
        if interface.kind == Kind::Ethernet {
            let link = Static::from(interface).link;
            return Some(Part::Hardware(name, link, interface.mtu));
        }
        if self.has(&name) {
            return Some(Part::Made(name));
        }
        if above.contains(&name) {
            return None;
        }
        above.push(name.clone());
        let mut part = |id: &str| {
            let below = all.iter().find(|other| other.id == id)?;
            self.make(below, all, above)
        };
        let mut parts = |ids: &[String]| ids.iter().filter_map(|id| part(id)).collect::<Vec<_>>();
        let made = match &interface.kind {
            Kind::Bond(bond) => Some(Made::Bond(bond.clone(), parts(&bond.members))),
            Kind::Bridge(bridge) => {
                let members = parts(&bridge.members);
                // With one cable there is no loop that packets could run in, and nothing to
                // wait half a minute for.
                Some(Made::Bridge(bridge.stp == Some(true) && members.len() > 1, members))
            }
            Kind::Vlan(vlan) => part(&vlan.link).map(|link| Made::Vlan(vlan.id, link)),
            Kind::Ethernet | Kind::Dummy => None,
        };
        above.pop();
        let hollow = |made: &Made| match made {
            Made::Bond(_, members) | Made::Bridge(_, members) => members.is_empty(),
            Made::Vlan(..) => false,
        };
        let made = made.filter(|made| !hollow(made))?;
        let mac = interface.address(all).and_then(|mac| mac.parse().ok());
        self.devices.push(Device { name: name.clone(), made, mac, mtu: interface.mtu });
        Some(Part::Made(name))
    }
}

impl Device {
    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self.made {
            Made::Bond(..) => "bond",
            Made::Bridge(..) => "bridge",
            Made::Vlan(..) => "VLAN",
        }
    }

    /// The kernel's module for it.
    pub(super) fn module(&self) -> &'static str {
        match self.made {
            Made::Bond(..) => "bonding",
            Made::Bridge(..) => "bridge",
            Made::Vlan(..) => "8021q",
        }
    }

    /// What it is made of.
    pub(super) fn parts(&self) -> &[Part] {
        match &self.made {
            Made::Bond(_, members) | Made::Bridge(_, members) => members,
            Made::Vlan(_, link) => std::slice::from_ref(link),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_config::network::{Format, parse};

    fn wiring(text: &str) -> Wiring {
        let (network, findings) = parse(Format::NetworkConfig, &format!("version: 2\n{text}"));
        assert!(!cloud_config::has_errors(&findings), "{findings:?}");
        Wiring::from_network(&network)
    }

    /// One line each: `bond0 <- nic0 nic1`.
    fn shown(wiring: &Wiring) -> Vec<String> {
        let part = |part: &Part| match part {
            Part::Hardware(id, ..) | Part::Made(id) => id.clone(),
        };
        let line = |device: &Device| {
            let parts: Vec<_> = device.parts().iter().map(part).collect();
            format!("{} {} <- {}", device.kind(), device.name, parts.join(" "))
        };
        wiring.devices.iter().map(line).collect()
    }

    #[test]
    fn what_leads_to_an_address_is_made_in_order() {
        let wiring = wiring(
            "ethernets:
  nic0: {match: {macaddress: '52:54:00:00:00:01'}, mtu: 9000}
  nic1: {}
  other: {addresses: [10.9.0.5/24]}
vlans:
  vlan5: {id: 5, link: bond0, mtu: 1400, addresses: [10.5.0.5/24]}
  unused: {id: 6, link: bond0}
bridges:
  br0: {interfaces: [vlan7], dhcp4: true}
bonds:
  bond0: {interfaces: [nic0, nic1], parameters: {mode: active-backup}}
",
        );
        assert_eq!(
            shown(&wiring),
            ["bond bond0 <- nic0 nic1", "VLAN vlan5 <- bond0", "bridge br0 <- vlan7"]
        );
        assert_eq!(wiring.leased, ["br0"]);
        let given: Vec<_> = wiring.statics.iter().map(|one| one.link.to_string()).collect();
        assert_eq!(given, ["other", "vlan5"]);
        let Made::Bond(_, members) = &wiring.devices[0].made else { panic!("a bond") };
        let mac = LinkChoice { name: None, mac: "52:54:00:00:00:01".parse().ok() };
        assert_eq!(members[0], Part::Hardware("nic0".to_owned(), mac, Some(9000)));
        assert_eq!(wiring.devices[1].mtu, Some(1400));
    }

    #[test]
    fn nothing_is_made_where_nothing_needs_it() {
        for text in [
            "ethernets: {eth0: {addresses: [10.0.0.5/24]}}\n",
            "ethernets: {eth0: {dhcp4: true}}\nbonds: {bond0: {interfaces: [eth0]}}\n",
            // A bridge that no cable is in.
            "dummy-devices: {d0: {}}\nbridges: {br0: {interfaces: [d0], addresses: [10.0.0.5/24]}}\n",
            "bridges: {br0: {addresses: [10.0.0.5/24]}}\n",
            // Made of one another.
            "vlans:\n  a: {id: 1, link: b, addresses: [10.0.0.5/24]}\n  b: {id: 2, link: a}\n",
        ] {
            let wiring = wiring(text);
            assert_eq!(shown(&wiring), Vec::<String>::new(), "{text}");
            assert!(wiring.leased.is_empty(), "{text}");
            let made = wiring.statics.iter().any(|one| one.link.name.as_deref() == Some("br0"));
            assert!(!made, "{text}");
        }
    }

    #[test]
    fn a_tree_is_spanned_only_where_there_can_be_a_loop() {
        for (members, stp, expected) in [
            ("[eth0]", "true", false),
            ("[eth0, eth1]", "true", true),
            ("[eth0, eth1]", "false", false),
        ] {
            let wiring = wiring(&format!(
                "bridges: {{br0: {{interfaces: {members}, dhcp4: true, parameters: {{stp: {stp}}}}}}}\n"
            ));
            let Made::Bridge(spans, _) = &wiring.devices[0].made else { panic!("a bridge") };
            assert_eq!(*spans, expected, "{members} {stp}");
        }
    }
}
