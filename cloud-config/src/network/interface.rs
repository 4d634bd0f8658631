//! An interface as a network-config describes it.

use std::net::IpAddr;

use crate::address::Address;

/// An entry of `ethernets`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// The name of the entry; without a match, the name of the interface.
    pub id: String,
    /// `match`: which interface it is.
    pub matching: Option<Match>,
    /// `set-name`: what the interface is called from then on.
    pub set_name: Option<String>,
    /// `dhcp4`.
    pub dhcp4: bool,
    /// `dhcp6`.
    pub dhcp6: bool,
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
    /// `optional`: the boot does not wait for it.
    pub optional: bool,
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

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Interface {
    /// Whether a gateway is known not to be in any network of the interface.
    pub(super) fn is_outside(&self, gateway: IpAddr) -> bool {
        let leased = if gateway.is_ipv4() { self.dhcp4 } else { self.dhcp6 };
        let link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
        !leased && !link_local && !self.addresses.iter().any(|network| network.contains(gateway))
    }
}
