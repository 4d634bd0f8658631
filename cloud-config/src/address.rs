//! Addresses with a prefix, and those that a configuration gives to this machine.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::config::{Config, UnitKind};

/// An IP address and the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the prefix: at most 32 or 128.
    pub prefix: u8,
}

/// A text is not `ADDRESS/PREFIX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAddress;

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address with a prefix, such as 10.0.0.5/24")
    }
}

impl std::error::Error for NotAnAddress {}

impl FromStr for Address {
    type Err = NotAnAddress;

    /// `ADDRESS/PREFIX`, or an address alone, which is a network of its own.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NotAnAddress)?;
        let longest = longest(ip);
        let prefix = match prefix {
            None => longest,
            Some(digits) if !digits.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(NotAnAddress);
            }
            Some(digits) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or(NotAnAddress)?
            }
        };
        Ok(Self { ip, prefix })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl Address {
    /// Whether another address is in the same network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let host = u32::from(longest(self.ip) - self.prefix);
        let network = |ip| bits(ip).checked_shr(host).unwrap_or(0);
        self.ip.is_ipv4() == other.is_ipv4() && network(self.ip) == network(other)
    }
}

fn longest(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The addresses that the `.network` units of a configuration and their drop-ins give to
/// interfaces, in order. An address that networkd is to choose (`0.0.0.0/24`) is not one, nor is
/// one that holds a variable.
#[must_use]
pub fn config_static_addresses(config: &Config) -> Vec<Address> {
    let described = config.network.iter().flat_map(|network| network.value.static_addresses());
    let units = config
        .units
        .iter()
        .filter(|unit| unit.kind == UnitKind::Network && !unit.mask)
        .filter(|unit| unit.name.value.ends_with(".network"))
        .flat_map(|unit| {
            unit.content.iter().chain(unit.drop_ins.iter().map(|drop_in| &drop_in.content))
        })
        .flat_map(|content| addresses(content));
    units.chain(described).collect()
}

fn addresses(unit: &str) -> Vec<Address> {
    let mut section = "";
    let mut found = Vec::new();
    for line in unit.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if key.trim() == "Address" && matches!(section, "[Network]" | "[Address]") {
            let address = value.trim().parse::<Address>().ok();
            found.extend(address.filter(|address| !address.ip.is_unspecified()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Values};

    #[test]
    fn addresses_have_a_prefix() {
        for (text, want) in [
            ("10.0.0.5/24", Some("10.0.0.5/24")),
            ("10.0.0.5", Some("10.0.0.5/32")),
            ("2001:db8::1/64", Some("2001:db8::1/64")),
            ("::1", Some("::1/128")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.5/33", None),
            ("10.0.0.5/", None),
            ("10.0.0.5/+8", None),
            ("10.0.0/8", None),
            ("", None),
        ] {
            let parsed = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(parsed.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses() {
        for (network, other, want) in [
            ("10.0.0.5/24", "10.0.0.1", true),
            ("10.0.0.5/24", "10.0.1.1", false),
            ("10.0.0.5/0", "192.0.2.1", true),
            ("10.0.0.5/32", "10.0.0.5", true),
            ("2001:db8::1/64", "2001:db8::ff", true),
            ("2001:db8::1/64", "2001:db8:1::1", false),
            ("::/0", "::1", true),
            ("0.0.0.0/0", "::1", false),
        ] {
            let network: Address = network.parse().unwrap();
            assert_eq!(network.contains(other.parse().unwrap()), want, "{network} {other}");
        }
    }

    #[test]
    fn static_addresses_come_from_network_units() {
        let text = "#cloud-config
coreos:
  units:
    - name: 10-eth.network
      content: |
        [Match]
        Name=eth0
        Address=192.0.2.9/24
        [Network]
        # Address=192.0.2.8/24
        Address = 10.0.0.5/24
        Address=0.0.0.0/24
        Address=$private_ipv4/24
        [Address]
        Address=2001:db8::5/64
      drop-ins:
        - name: more.conf
          content: |
            [Network]
            Address=10.0.0.6/24
    - name: masked.network
      mask: true
      content: |
        [Network]
        Address=10.0.0.7/24
    - name: x.service
      content: |
        [Network]
        Address=10.0.0.8/24
";
        let (config, _) = Document::parse(text).decode(&Values::Unknown);
        let found: Vec<_> =
            config_static_addresses(&config).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.5/24", "2001:db8::5/64", "10.0.0.6/24"]);
    }
}
