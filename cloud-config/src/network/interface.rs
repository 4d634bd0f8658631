//! An interface as any description of a network has it.

use std::net::IpAddr;

use crate::address::Address;

/// An interface, of hardware or made of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// The name of the entry; without a match, the name of the interface.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// `match`: which interface of hardware it is.
    pub matching: Option<Match>,
    /// `set-name`: what the interface is called from then on.
    pub set_name: Option<String>,
    /// `macaddress`: the address that it is given.
    pub macaddress: Option<String>,
    /// `dhcp4`.
    pub dhcp4: bool,
    /// `dhcp6`.
    pub dhcp6: bool,
    /// `accept-ra`: whether routers are listened to. Nothing said: as the system does.
    pub accept_ra: Option<bool>,
    /// `dhcp4-overrides`.
    pub dhcp4_overrides: Overrides,
    /// `dhcp6-overrides`.
    pub dhcp6_overrides: Overrides,
    /// `addresses`, in order.
    pub addresses: Vec<Address>,
    /// `gateway4`, `gateway6` and `routes`, in order.
    pub routes: Vec<Route>,
    /// `nameservers.addresses`, in order.
    pub nameservers: Vec<IpAddr>,
    /// `nameservers.search`, in order.
    pub search: Vec<String>,
    /// `mtu`, in bytes.
    pub mtu: Option<u32>,
    /// `wakeonlan`.
    pub wakeonlan: bool,
    /// `optional`: the boot does not wait for it.
    pub optional: bool,
}

/// What an interface is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Kind {
    /// Of hardware.
    #[default]
    Ethernet,
    /// Several that act as one.
    Bond(Bond),
    /// A switch between others.
    Bridge(Bridge),
    /// One of the networks that share a cable.
    Vlan(Vlan),
    /// Of nothing.
    Dummy,
}

/// An entry of `bonds`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bond {
    /// The ids of its members.
    pub members: Vec<String>,
    /// How it spreads what it sends.
    pub mode: Option<BondMode>,
    /// How often the members' carriers are looked at, in milliseconds.
    pub monitor: Option<u32>,
    /// How long a carrier must be there before it counts, in milliseconds.
    pub up_delay: Option<u32>,
    /// How long a carrier must be away before it counts, in milliseconds.
    pub down_delay: Option<u32>,
    /// LACP packets every second and not every half minute.
    pub lacp_fast: Option<bool>,
    /// What decides on the member that a packet goes out by.
    pub hash_policy: Option<HashPolicy>,
    /// The id of the member that is used if it can be.
    pub primary: Option<String>,
    /// How many members must have a carrier.
    pub min_links: Option<u32>,
}

/// How a bond spreads what it sends. The numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is the kernel's mode of the same name
pub enum BondMode {
    BalanceRr = 0,
    ActiveBackup = 1,
    BalanceXor = 2,
    Broadcast = 3,
    Lacp = 4,
    BalanceTlb = 5,
    BalanceAlb = 6,
}

impl BondMode {
    const NAMES: [(&'static str, BondMode); 7] = [
        ("balance-rr", BondMode::BalanceRr),
        ("active-backup", BondMode::ActiveBackup),
        ("balance-xor", BondMode::BalanceXor),
        ("broadcast", BondMode::Broadcast),
        ("802.3ad", BondMode::Lacp),
        ("balance-tlb", BondMode::BalanceTlb),
        ("balance-alb", BondMode::BalanceAlb),
    ];

    /// The mode of this name or number.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let number = name.parse().ok();
        let named =
            |(at, (known, _)): &(usize, &(&str, Self))| *known == name || Some(*at) == number;
        Self::NAMES.iter().enumerate().find(named).map(|(_, (_, mode))| *mode)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// What decides on the member that a packet goes out by. The numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is the kernel's policy of the same name
pub enum HashPolicy {
    Layer2 = 0,
    Layer34 = 1,
    Layer23 = 2,
    Encap23 = 3,
    Encap34 = 4,
}

impl HashPolicy {
    const NAMES: [(&'static str, HashPolicy); 5] = [
        ("layer2", HashPolicy::Layer2),
        ("layer3+4", HashPolicy::Layer34),
        ("layer2+3", HashPolicy::Layer23),
        ("encap2+3", HashPolicy::Encap23),
        ("encap3+4", HashPolicy::Encap34),
    ];

    /// The policy of this name or number.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let number = name.parse().ok();
        let named =
            |(at, (known, _)): &(usize, &(&str, Self))| *known == name || Some(*at) == number;
        Self::NAMES.iter().enumerate().find(named).map(|(_, (_, policy))| *policy)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// An entry of `bridges`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// The ids of its members.
    pub members: Vec<String>,
    /// Whether it speaks the spanning tree protocol.
    pub stp: Option<bool>,
    /// Of the spanning tree protocol: the lowest becomes the root.
    pub priority: Option<u32>,
    /// In seconds.
    pub forward_delay: Option<u32>,
    /// In seconds.
    pub hello_time: Option<u32>,
    /// In seconds.
    pub max_age: Option<u32>,
    /// How long an address is remembered, in seconds.
    pub ageing_time: Option<u32>,
}

/// An entry of `vlans`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// The number of the network, 0 to 4094.
    pub id: u16,
    /// The id of the interface with the cable.
    pub link: String,
}

/// A number that IEEE 802.1Q reserves: none was given.
pub(super) const NO_VLAN: u16 = 4095;

impl Default for Vlan {
    fn default() -> Self {
        Self { id: NO_VLAN, link: String::new() }
    }
}

/// `match`: all that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// `macaddress`, in lower case.
    pub macaddress: Option<String>,
    /// `name`: a name or a pattern.
    pub name: Option<String>,
    /// `driver`: a name or a pattern.
    pub driver: Option<String>,
}

/// `dhcp4-overrides` and `dhcp6-overrides`: what of a lease is used. Nothing said: as the system
/// does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // each is the key of the same name
pub struct Overrides {
    pub use_dns: Option<bool>,
    pub use_domains: Option<bool>,
    pub use_hostname: Option<bool>,
    pub use_mtu: Option<bool>,
    pub use_ntp: Option<bool>,
    pub use_routes: Option<bool>,
    pub send_hostname: Option<bool>,
    pub hostname: Option<String>,
    pub route_metric: Option<u32>,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// `to`; nothing for everything.
    pub to: Option<Address>,
    /// `via`.
    pub via: Option<IpAddr>,
    /// `metric`.
    pub metric: Option<u32>,
    /// `on-link`: the gateway is reached directly, in no network of the interface.
    pub on_link: bool,
}

impl Route {
    /// The route to everything through `via`.
    #[must_use]
    pub fn default_via(via: IpAddr) -> Self {
        Self { via: Some(via), ..Self::default() }
    }
}

impl Interface {
    /// An interface of hardware by its MAC address, which must be in lower case.
    pub(super) fn by_mac(id: &str, mac: &str) -> Self {
        let matching = Match { macaddress: Some(mac.to_owned()), ..Match::default() };
        Self { id: id.to_owned(), matching: Some(matching), ..Self::default() }
    }

    /// The ids of the interfaces that it has for members.
    #[must_use]
    pub fn members(&self) -> &[String] {
        match &self.kind {
            Kind::Bond(bond) => &bond.members,
            Kind::Bridge(bridge) => &bridge.members,
            Kind::Ethernet | Kind::Vlan(_) | Kind::Dummy => &[],
        }
    }

    /// The MAC address that it has, as far as the description of `all` says it: its own, that of
    /// the card that it is, or of the first member of a bond or bridge.
    #[must_use]
    pub fn address<'a>(&'a self, all: &'a [Self]) -> Option<&'a str> {
        let mut interface = self;
        // Each step leads to another one, unless they are members of one another.
        for _ in 0..=all.len() {
            if let Some(mac) = &interface.macaddress {
                return Some(mac);
            }
            if interface.kind == Kind::Ethernet {
                return interface.matching.as_ref()?.macaddress.as_deref();
            }
            let first = interface.members().first()?;
            interface = all.iter().find(|other| other.id == *first)?;
        }
        None
    }

    /// Whether a gateway is known not to be in any network of the interface.
    pub(super) fn is_outside(&self, gateway: IpAddr) -> bool {
        let leased = match gateway {
            IpAddr::V4(_) => self.dhcp4,
            IpAddr::V6(_) => self.dhcp6 || self.accept_ra == Some(true),
        };
        let link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
        !leased && !link_local && !self.addresses.iter().any(|network| network.contains(gateway))
    }

    /// Takes gateways outside of all networks to be reached directly, as a platform that writes
    /// such a thing means it.
    pub(super) fn reach_gateways(&mut self) {
        for index in 0..self.routes.len() {
            let outside = self.routes[index].via.is_some_and(|via| self.is_outside(via));
            self.routes[index].on_link |= outside;
        }
    }
}
