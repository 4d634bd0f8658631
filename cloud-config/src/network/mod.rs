//! Descriptions of a network, in the languages of the platforms → [`Network`] → files of
//! systemd-networkd.
//!
//! ```text
//! text → tree → one reading for each language → interfaces → check → files
//! ```
//!
//! network-config, which people write, is read with every mistake told and its place. What
//! platforms write about a machine is read for what it says of addresses; what else stands there
//! is passed over. Radios, tunnels, policy routing and other renderers are told and left out.

mod v1; // cloud-init's network-config, version 1
mod v2; // version 2, which is netplan's language

mod debian; // interfaces(5)
mod digitalocean; // its metadata
mod guestinfo; // lines of KEY=VALUE
mod openstack; // network_data.json
mod packet; // Equinix Metal's metadata

mod check; // what depends on several interfaces
mod described; // what machines wrote
mod devices; // bonds, bridges, VLANs
mod interface;
mod networkd; // the files
mod values; // what both versions have in common

use crate::address::Address;
use crate::decoder::Decoder;
use crate::finding::{Finding, Findings, Span};
use crate::outline::Shape;
use crate::parse::{self, Parsed};
use crate::tree::{Data, Node};
use crate::user_data::MAX_USER_DATA;
use crate::variable::Values;
use described::Described;

pub use interface::{
    Bond, BondMode, Bridge, HashPolicy, Interface, Kind, Match, Overrides, Route, Vlan,
};

/// The interfaces that a description has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    interfaces: Vec<Interface>,
}

/// An interface, and where it is described.
type Placed = (Interface, Span);

/// The languages in which platforms describe a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// cloud-init's network-config, version 1 or 2.
    NetworkConfig,
    /// OpenStack's `network_data.json`.
    OpenStack,
    /// `interfaces` and `dns` of DigitalOcean's metadata, as JSON.
    DigitalOcean,
    /// `network` of Equinix Metal's metadata, as JSON.
    Packet,
    /// Lines of `interface.N.KEY=VALUE` and `dns.KEY=VALUE`, as VMware's guestinfo has them.
    Guestinfo,
    /// Debian's interfaces(5), as old config drives have it.
    Debian,
}

impl Format {
    const NAMES: [(&'static str, Format); 6] = [
        ("network-config", Format::NetworkConfig),
        ("network_data.json", Format::OpenStack),
        ("digitalocean", Format::DigitalOcean),
        ("packet", Format::Packet),
        ("guestinfo", Format::Guestinfo),
        ("interfaces", Format::Debian),
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().map(|(_, format)| format)
    }

    /// Its name, for messages and for keeping it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    /// The format of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }
}

/// Reads a description of a network. What could be understood comes with everything that is
/// wrong, by place.
#[must_use]
pub fn parse(format: Format, text: &str) -> (Network, Vec<Finding>) {
    let mut findings = Findings::default();
    if text.len() > MAX_USER_DATA {
        let message = format!("more than {MAX_USER_DATA} bytes: not a {}", format.name());
        findings.push(Finding::error(Span::default(), message));
        return (Network::default(), findings.sorted());
    }
    let placed = |interfaces: Vec<Interface>| {
        interfaces.into_iter().map(|interface| (interface, Span::default())).collect::<Vec<_>>()
    };
    let interfaces = match format {
        Format::Guestinfo => placed(guestinfo::interfaces(text, &mut findings)),
        Format::Debian => placed(debian::interfaces(text, &mut findings)),
        Format::NetworkConfig => {
            let Parsed { source, root, findings: mistakes } = parse::parse(text, 0);
            findings.extend(mistakes);
            // The addresses that variables stand for come from here: there are none yet.
            let mut decoder = Decoder::new(&source, Values::Unknown);
            let interfaces = match root.filter(|root| !root.is_null()) {
                Some(root) => network_config(&mut decoder, &root),
                None => Vec::new(),
            };
            findings = decoder.into_findings(findings);
            interfaces
        }
        Format::OpenStack | Format::DigitalOcean | Format::Packet => {
            // JSON is YAML.
            let Parsed { root, findings: mistakes, .. } = parse::parse(text, 0);
            findings.extend(mistakes);
            let root = Described(root.as_ref());
            placed(match format {
                Format::OpenStack => openstack::interfaces(root, &mut findings),
                Format::DigitalOcean => digitalocean::interfaces(root, &mut findings),
                _ => packet::interfaces(root, &mut findings),
            })
        }
    };
    let interfaces = check::check(interfaces, &mut findings);
    (Network { interfaces }, findings.sorted())
}

/// Reads what stands under `network` of a configuration.
pub(crate) fn of_node(decoder: &mut Decoder<'_>, node: &Node) -> Network {
    let interfaces = network_config(decoder, node);
    Network { interfaces: check::check(interfaces, &mut decoder.findings) }
}

/// What a network-config looks like: version 2, or 1.
pub(crate) const SHAPE: Shape = Shape::Either(&[v2::SHAPE, v1::SHAPE]);

/// Reads a network-config, on its own or under `network:`, by the version that it says it has.
fn network_config(decoder: &mut Decoder<'_>, root: &Node) -> Vec<Placed> {
    let whole = Described(Some(root));
    let inner = if whole.get("network").is_none() { whole } else { whole.get("network") };
    let first = inner.get("version").text() == Some("1") || is_list(inner.get("config"));
    if first { v1::interfaces(decoder, root) } else { v2::interfaces(decoder, root) }
}

fn is_list(value: Described<'_>) -> bool {
    matches!(value.0.map(|node| &node.data), Some(Data::List(_)))
}

impl Network {
    /// The interfaces, in order.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The files that tell networkd and udev the same, by name and content.
    #[must_use]
    pub fn to_networkd(&self) -> Vec<(String, String)> {
        let all = &self.interfaces;
        all.iter().flat_map(|interface| networkd::files(interface, all)).collect()
    }

    /// The addresses that are given to interfaces, in order.
    #[must_use]
    pub fn static_addresses(&self) -> Vec<Address> {
        self.interfaces.iter().flat_map(|interface| interface.addresses.clone()).collect()
    }

    /// Whether any interface gets an address by DHCP.
    #[must_use]
    pub fn wants_dhcp(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.dhcp4 || interface.dhcp6)
    }
}
