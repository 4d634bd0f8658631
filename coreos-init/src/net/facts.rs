//! What `$private_ipv4` and the like stand for on this machine.
//!
//! environment → metadata → static addresses of the configuration → lease: the first that knows
//! a variable gives its value, and the report says which it was.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cloud_config::{Address, Variable};

use super::Lease;
use crate::source::MetaData;

/// The variables that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Their values, never empty.
    pub map: BTreeMap<Variable, String>,
    /// Where each value comes from, for the report.
    pub origin: BTreeMap<Variable, String>,
}

/// Name of the environment variable that overrides `variable`, as coreos-cloudinit has it.
pub fn override_name(variable: Variable) -> &'static str {
    match variable {
        Variable::PrivateIpv4 => "COREOS_PRIVATE_IPV4",
        Variable::PublicIpv4 => "COREOS_PUBLIC_IPV4",
        Variable::PrivateIpv6 => "COREOS_PRIVATE_IPV6",
        Variable::PublicIpv6 => "COREOS_PUBLIC_IPV6",
        Variable::Hostname => "COREOS_HOSTNAME",
        Variable::InstanceId => "COREOS_INSTANCE_ID",
        Variable::Region => "COREOS_REGION",
        Variable::Zone => "COREOS_ZONE",
    }
}

/// The values of all variables that can be told.
///
/// `overrides` are environment variables by name, see [`override_name`]; empty ones do not count.
/// Private is the first address of a private range, else the first of all; public is the first
/// that the whole internet can reach. A machine with no such address, as in a laboratory, has
/// its private address as its public one, and the origin says so.
pub fn values(
    overrides: &BTreeMap<String, String>,
    meta_data: &MetaData,
    static_addresses: &[Address],
    lease: Option<&Lease>,
) -> Values {
    let fixed: Vec<IpAddr> = static_addresses.iter().map(|address| address.ip).collect();
    let leased: Vec<IpAddr> =
        lease.iter().filter_map(|lease| lease.address.map(IpAddr::from)).collect();
    let given: Vec<IpAddr> =
        lease.iter().flat_map(|lease| &lease.ipv6).copied().map(IpAddr::from).collect();
    let on = lease.map_or("", |lease| lease.interface.as_str());
    let (leased_on, given_on) = (format!("DHCP on {on}"), format!("routers on {on}"));
    let seen = [(fixed, STATIC), (leased, leased_on.as_str()), (given, given_on.as_str())];

    let mut values = Values::default();
    for family in [
        Family {
            private: (Variable::PrivateIpv4, meta_data.private_ipv4.map(IpAddr::from)),
            public: (Variable::PublicIpv4, meta_data.public_ipv4.map(IpAddr::from)),
            has: IpAddr::is_ipv4,
        },
        Family {
            private: (Variable::PrivateIpv6, meta_data.private_ipv6.map(IpAddr::from)),
            public: (Variable::PublicIpv6, meta_data.public_ipv6.map(IpAddr::from)),
            has: IpAddr::is_ipv6,
        },
    ] {
        for (variable, told) in [family.private, family.public] {
            if let Some(value) = overrides.get(override_name(variable)).map(|value| value.trim())
                && !value.is_empty()
            {
                values.set(variable, value.to_owned(), override_name(variable));
            } else if let Some(ip) = told {
                values.set(variable, ip.to_string(), "metadata");
            }
        }
        for (addresses, origin) in &seen {
            let mut own = addresses.iter().copied().filter(family.has);
            let private = own.clone().find(|ip| is_private(*ip)).or_else(|| own.clone().next());
            values.set_missing(family.private.0, private, origin);
            values.set_missing(family.public.0, own.find(|ip| is_global(*ip)), origin);
        }
        values.share(family.private.0, family.public.0);
    }
    for (variable, told) in [
        (Variable::Hostname, &meta_data.hostname),
        (Variable::InstanceId, &meta_data.instance_id),
        (Variable::Region, &meta_data.region),
        (Variable::Zone, &meta_data.zone),
    ] {
        let given = overrides.get(override_name(variable)).map(|value| value.trim());
        match (given.filter(|value| !value.is_empty()), told) {
            (Some(value), _) => values.set(variable, value.to_owned(), override_name(variable)),
            (None, Some(value)) if variable.accepts(value) => {
                values.set(variable, value.clone(), "metadata");
            }
            (None, _) => {}
        }
    }
    values
}

/// Whether the network must be brought up before the configuration can be applied: to fetch it,
/// or because it uses an address that only the network can tell. `known` are the values without
/// it.
pub fn needs_network(url_wanted: bool, used: &[Variable], known: &Values) -> bool {
    let by_lease =
        [Variable::PrivateIpv4, Variable::PublicIpv4, Variable::PrivateIpv6, Variable::PublicIpv6];
    url_wanted
        || used
            .iter()
            .any(|variable| by_lease.contains(variable) && !known.map.contains_key(variable))
}

/// Whether it is an address of IPv6 that is missing.
pub fn needs_ipv6(used: &[Variable], known: &Values) -> bool {
    let missing = |variable: &Variable| !known.map.contains_key(variable);
    let of_ipv6 =
        |variable: &&Variable| matches!(variable, Variable::PrivateIpv6 | Variable::PublicIpv6);
    used.iter().filter(of_ipv6).any(missing)
}

const STATIC: &str = "static address in the configuration";

/// IPv4 or IPv6: its two variables with what the metadata says of them.
struct Family {
    private: (Variable, Option<IpAddr>),
    public: (Variable, Option<IpAddr>),
    has: fn(&IpAddr) -> bool,
}

impl Values {
    /// Sets a variable to what is known by `origin`.
    pub fn set(&mut self, variable: Variable, value: String, origin: &str) {
        self.map.insert(variable, value);
        self.origin.insert(variable, origin.to_owned());
    }

    fn set_missing(&mut self, variable: Variable, ip: Option<IpAddr>, origin: &str) {
        if let Some(ip) = ip
            && !self.map.contains_key(&variable)
        {
            self.set(variable, ip.to_string(), origin);
        }
    }

    /// A machine that has only one of the two addresses has it as both.
    fn share(&mut self, private: Variable, public: Variable) {
        for (missing, other, note) in [
            (public, private, "same as the private address, as no public one is known"),
            (private, public, "same as the public address, as no private one is known"),
        ] {
            if let Some(value) = self.map.get(&other).cloned()
                && !self.map.contains_key(&missing)
            {
                let origin = self.origin.get(&other).map_or("", String::as_str);
                let origin = format!("{origin} ({note})");
                self.set(missing, value, &origin);
            }
        }
    }
}

/// Reachable from nearby only: RFC 1918, carrier-grade NAT, unique local, link-local.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || is_shared(ip) || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// RFC 6598, between a provider and its customers.
fn is_shared(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
}

/// Reachable from the whole internet.
fn is_global(ip: IpAddr) -> bool {
    !is_private(ip)
        && match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                !(ip.is_loopback()
                    || ip.is_documentation()
                    || ip.is_multicast()
                    || a == 0
                    || a >= 240
                    || (a, b, c) == (192, 0, 0)
                    || (a == 198 && b & 0xfe == 18))
            }
            // Global unicast is what IANA has opened, less documentation.
            IpAddr::V6(ip) => {
                let [first, second, ..] = ip.segments();
                first & 0xe000 == 0x2000
                    && (first, second) != (0x2001, 0xdb8)
                    && first != 0x3fff
                    && ip != Ipv6Addr::UNSPECIFIED
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Variable::{PrivateIpv4, PrivateIpv6, PublicIpv4, PublicIpv6};

    fn lease(address: &str) -> Lease {
        Lease {
            interface: "eth0".to_owned(),
            address: address.parse().ok(),
            ipv6: Vec::new(),
            prefix: 24,
            router: None,
            routes: Vec::new(),
            dns: Vec::new(),
            server: Ipv4Addr::UNSPECIFIED,
            lease_seconds: 60,
            client_id: Vec::new(),
        }
    }

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address { ip: text.parse().unwrap(), prefix: 24 }).collect()
    }

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const SAME_AS_PRIVATE: &str = " (same as the private address, as no public one is known)";
    const SAME_AS_PUBLIC: &str = " (same as the public address, as no private one is known)";

    #[test]
    fn the_first_that_knows_gives_the_value_and_the_origin_says_who() {
        let none = MetaData::default();
        let both = MetaData {
            private_ipv4: Some([10, 1, 1, 1].into()),
            public_ipv4: Some([8, 8, 8, 8].into()),
            ..MetaData::default()
        };
        let public_only =
            MetaData { public_ipv4: Some([8, 8, 4, 4].into()), ..MetaData::default() };
        let environment =
            variables(&[("COREOS_PRIVATE_IPV4", "172.16.0.1"), ("COREOS_PUBLIC_IPV4", " ")]);
        let nothing = BTreeMap::new();
        let fixed: &[&str] = &["1.1.1.1", "192.168.5.4", "192.168.5.5"];

        type Case<'a> = (
            &'a BTreeMap<String, String>,
            &'a MetaData,
            &'a [&'a str],
            Option<&'a str>,
            Option<(&'a str, &'a str)>,
            Option<(&'a str, &'a str)>,
        );
        let cases: [Case; 9] = [
            (&nothing, &none, &[], None, None, None),
            (
                &environment,
                &both,
                fixed,
                Some("10.9.9.9"),
                Some(("172.16.0.1", "COREOS_PRIVATE_IPV4")),
                Some(("8.8.8.8", "metadata")),
            ),
            (
                &nothing,
                &both,
                fixed,
                Some("10.9.9.9"),
                Some(("10.1.1.1", "metadata")),
                Some(("8.8.8.8", "metadata")),
            ),
            (
                &nothing,
                &public_only,
                &[],
                Some("10.9.9.9"),
                Some(("10.9.9.9", "DHCP on eth0")),
                Some(("8.8.4.4", "metadata")),
            ),
            (
                &nothing,
                &none,
                fixed,
                None,
                Some(("192.168.5.4", STATIC)),
                Some(("1.1.1.1", STATIC)),
            ),
            (
                &nothing,
                &none,
                &["10.0.0.5"],
                Some("9.9.9.9"),
                Some(("10.0.0.5", STATIC)),
                Some(("9.9.9.9", "DHCP on eth0")),
            ),
            (
                &nothing,
                &none,
                &[],
                Some("10.0.2.15"),
                Some(("10.0.2.15", "DHCP on eth0")),
                Some(("10.0.2.15", &format!("DHCP on eth0{SAME_AS_PRIVATE}"))),
            ),
            (
                &nothing,
                &none,
                &["9.9.9.9"],
                None,
                Some(("9.9.9.9", STATIC)),
                Some(("9.9.9.9", STATIC)),
            ),
            (
                &nothing,
                &public_only,
                &[],
                None,
                Some(("8.8.4.4", &format!("metadata{SAME_AS_PUBLIC}"))),
                Some(("8.8.4.4", "metadata")),
            ),
        ];
        for (n, (overrides, meta_data, fixed, leased, private, public)) in
            cases.into_iter().enumerate()
        {
            let lease = leased.map(lease);
            let values = values(overrides, meta_data, &addresses(fixed), lease.as_ref());
            for (variable, expected) in [(PrivateIpv4, private), (PublicIpv4, public)] {
                let got = values.map.get(&variable).map(String::as_str);
                assert_eq!(got, expected.map(|(value, _)| value), "case {n} {variable:?}");
                let got = values.origin.get(&variable).map(String::as_str);
                assert_eq!(got, expected.map(|(_, origin)| origin), "case {n} {variable:?}");
            }
            assert_eq!(values.map.get(&PrivateIpv6), None, "case {n}");
        }
    }

    #[test]
    fn ipv6_comes_from_metadata_and_static_addresses() {
        let fixed = addresses(&["10.0.0.5", "2606:4700::1", "fd00::5", "fe80::5"]);
        let values_ =
            values(&BTreeMap::new(), &MetaData::default(), &fixed, Some(&lease("10.0.0.9")));
        assert_eq!(values_.map[&PrivateIpv6], "fd00::5");
        assert_eq!(values_.map[&PublicIpv6], "2606:4700::1");

        let told = MetaData { public_ipv6: "2606:4700::2".parse().ok(), ..MetaData::default() };
        let values_ = values(&BTreeMap::new(), &told, &fixed, None);
        assert_eq!(values_.map[&PublicIpv6], "2606:4700::2");
        assert_eq!(values_.origin[&PublicIpv6], "metadata");
    }

    #[test]
    fn ranges_are_what_the_registries_say() {
        for private in [
            "10.0.0.1",
            "172.31.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "100.127.255.1",
            "169.254.1.1",
            "fd00::1",
            "fc00::1",
            "fe80::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
            assert!(!is_global(private.parse().unwrap()), "{private}");
        }
        for global in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1",
            "2a00::1",
        ] {
            assert!(is_global(global.parse().unwrap()), "{global}");
        }
        for neither in [
            "0.0.0.0",
            "127.0.0.1",
            "192.0.2.1",
            "203.0.113.9",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "2001:db8::1",
            "3fff::1",
            "ff02::1",
        ] {
            assert!(!is_global(neither.parse().unwrap()), "{neither}");
            assert!(!is_private(neither.parse().unwrap()), "{neither}");
        }
    }

    #[test]
    fn the_network_is_needed_for_an_address_to_fetch_or_one_to_be_leased() {
        let nothing = Values::default();
        let known =
            values(&BTreeMap::new(), &MetaData::default(), &addresses(&["192.168.5.4"]), None);
        let cases = [
            (false, vec![], &nothing, false),
            (true, vec![], &nothing, true),
            (true, vec![PrivateIpv4], &known, true),
            (false, vec![PrivateIpv4], &nothing, true),
            (false, vec![PublicIpv4], &nothing, true),
            (false, vec![PrivateIpv4, PublicIpv4], &known, false),
            (false, vec![PrivateIpv6, PublicIpv6], &nothing, true),
        ];
        for (url, used, known, expected) in cases {
            assert_eq!(needs_network(url, &used, known), expected, "{url} {used:?}");
        }
    }
}
