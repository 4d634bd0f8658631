//! What one interface is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cloud_config::Address;
use cloud_config::network::{Interface, Kind};

use super::Lease;
use super::links::LinkChoice;

/// A route through an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination; none for everything of the router's family.
    pub to: Option<Address>,
    /// The router, or none if the destination is on the link.
    pub via: Option<IpAddr>,
}

impl Route {
    /// The default route through `via`.
    pub fn default_via(via: IpAddr) -> Route {
        Route { to: None, via: Some(via) }
    }

    /// The destination, spelled out.
    pub(super) fn destination(&self) -> Address {
        let everything = match self.via {
            Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        self.to.unwrap_or(Address { ip: everything, prefix: 0 })
    }
}

/// What one interface is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Addresses with their prefixes.
    pub addresses: Vec<Address>,
    /// Routes, in the order in which they are added.
    pub routes: Vec<Route>,
    /// Name servers, the best first.
    pub dns: Vec<IpAddr>,
    /// The longest packet of an interface of hardware, in bytes.
    pub mtu: Option<u32>,
}

/// Settings for an interface that is yet to be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Static {
    /// Which interface.
    pub link: LinkChoice,
    /// What it is given.
    pub settings: Settings,
}

impl From<&Lease> for Settings {
    fn from(lease: &Lease) -> Settings {
        let default = lease.router.map(|router| Route::default_via(router.into()));
        Settings {
            // What routers handed out is there already.
            addresses: lease
                .address
                .map(|ip| Address { ip: ip.into(), prefix: lease.prefix })
                .into_iter()
                .collect(),
            routes: lease.routes.iter().copied().chain(default).collect(),
            dns: lease.dns.clone(),
            mtu: None,
        }
    }
}

/// Entries that match by a pattern or a driver mean any interface: the names that udev will give
/// are not known yet.
impl From<&Interface> for Static {
    fn from(interface: &Interface) -> Static {
        let link = match &interface.matching {
            None => LinkChoice { name: Some(interface.id.clone()), mac: None },
            Some(matching) => LinkChoice {
                name: matching.name.clone().filter(|name| !name.contains(['*', '?', '['])),
                mac: matching.macaddress.as_ref().and_then(|mac| mac.parse().ok()),
            },
        };
        let routes = interface.routes.iter().map(|route| Route { to: route.to, via: route.via });
        let settings = Settings {
            addresses: interface.addresses.clone(),
            routes: routes.collect(),
            dns: interface.nameservers.clone(),
            // What is made has it from then on.
            mtu: interface.mtu.filter(|_| interface.kind == Kind::Ethernet),
        };
        Static { link, settings }
    }
}

impl Settings {
    /// Whether `router` can be reached without being told that it is on the link: it is in the
    /// network of one of the addresses, or has an address that only links know.
    pub(super) fn reaches(&self, router: IpAddr) -> bool {
        let link_local = matches!(router, IpAddr::V6(ip) if ip.is_unicast_link_local());
        link_local || self.addresses.iter().any(|network| network.contains(router))
    }

    /// The text of resolv.conf(5), of which the resolver reads three servers.
    pub(super) fn resolv_conf(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for server in &self.dns {
            let line = format!("nameserver {server}\n");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines.truncate(3);
        lines.concat()
    }
}

/// The length of the prefix that `mask` stands for, if it is a mask.
pub(super) fn prefix_of_mask(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let length = bits.leading_ones();
    (bits.count_ones() == length).then(|| u8::try_from(length).unwrap_or(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn a_router_is_reached_through_the_network_it_is_in() {
        let cases = [
            ("10.0.2.15/24", "10.0.2.2", true),
            ("10.0.2.15/24", "10.0.3.2", false),
            ("10.128.0.5/32", "10.128.0.1", false),
            ("10.128.0.5/32", "10.128.0.5", true),
            ("10.0.0.1/0", "203.0.113.1", true),
            ("2001:db8::5/64", "2001:db8::1", true),
            ("2001:db8::5/64", "2001:db8:0:1::1", false),
            ("2001:db8::5/64", "fe80::1", true),
            ("2001:db8::5/128", "2001:db8::1", false),
            ("::1/0", "2001:db8::1", true),
            ("10.0.2.15/24", "fe80::1", true),
            ("10.0.2.15/24", "2001:db8::1", false),
        ];
        for (own, router, expected) in cases {
            let settings = Settings { addresses: vec![address(own)], ..Settings::default() };
            assert_eq!(settings.reaches(router.parse().unwrap()), expected, "{own} {router}");
        }
    }

    #[test]
    fn masks_are_prefixes_only_without_holes() {
        let cases = [
            ([255, 255, 255, 0], Some(24)),
            ([255, 255, 255, 255], Some(32)),
            ([0, 0, 0, 0], Some(0)),
            ([255, 0, 255, 0], None),
            ([0, 0, 0, 255], None),
        ];
        for (mask, expected) in cases {
            assert_eq!(prefix_of_mask(mask.into()), expected, "{mask:?}");
        }
    }

    #[test]
    fn a_lease_becomes_address_routes_and_name_servers() {
        let lease = Lease {
            interface: "eth0".to_owned(),
            address: Some([10, 0, 2, 15].into()),
            ipv6: Vec::new(),
            prefix: 24,
            router: Some([10, 0, 2, 2].into()),
            routes: vec![Route { to: Some(address("169.254.169.254/32")), via: None }],
            dns: [3, 3, 4, 5, 6].map(|last| Ipv4Addr::new(10, 0, 2, last).into()).into(),
            server: [10, 0, 2, 2].into(),
            lease_seconds: 86400,
            client_id: vec![1, 2, 0, 0, 0, 0, 1],
        };
        let settings = Settings::from(&lease);
        assert_eq!(settings.addresses, [address("10.0.2.15/24")]);
        assert_eq!(settings.routes.len(), 2);
        assert_eq!(settings.routes[1], Route::default_via([10, 0, 2, 2].into()));
        let servers = "nameserver 10.0.2.3\nnameserver 10.0.2.4\nnameserver 10.0.2.5\n";
        assert_eq!(settings.resolv_conf(), servers);
    }

    #[test]
    fn a_network_config_becomes_what_its_static_interfaces_are_given() {
        let text = "version: 2
ethernets:
  leased:
    dhcp4: true
  eth1:
    addresses: [10.0.0.5/24]
    gateway4: 10.0.0.1
    nameservers: {addresses: [10.0.0.53]}
  by-mac:
    match: {macaddress: '52:54:00:00:00:01'}
    addresses: ['2001:db8::5/64']
    routes: [{to: '2001:db8:1::/48', via: 'fe80::1'}]
  by-pattern:
    match: {name: 'en*'}
    addresses: [10.1.0.5/24]
";
        let (network, findings) =
            cloud_config::network::parse(cloud_config::network::Format::NetworkConfig, text);
        assert!(!cloud_config::has_errors(&findings), "{findings:?}");
        let fixed = |link, ip, routes, dns| Static {
            link,
            settings: Settings { addresses: vec![address(ip)], routes, dns, mtu: None },
        };
        let named = LinkChoice { name: Some("eth1".to_owned()), mac: None };
        let by_mac = LinkChoice { name: None, mac: "52:54:00:00:00:01".parse().ok() };
        let route = Route { to: Some(address("2001:db8:1::/48")), via: "fe80::1".parse().ok() };
        assert_eq!(
            crate::net::Wiring::from_network(&network).statics,
            [
                fixed(
                    named,
                    "10.0.0.5/24",
                    vec![Route::default_via([10, 0, 0, 1].into())],
                    vec![[10, 0, 0, 53].into()]
                ),
                fixed(by_mac, "2001:db8::5/64", vec![route], Vec::new()),
                fixed(LinkChoice::default(), "10.1.0.5/24", Vec::new(), Vec::new()),
            ]
        );
    }
}
