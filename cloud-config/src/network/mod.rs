//! network-config version 2: text → [`Network`] → files of systemd-networkd.
//!
//! The part of netplan's language that NoCloud discs carry: `ethernets`, with addresses, DHCP,
//! routes and name servers. Version 1, bonds, vlans, bridges and radios are told and left out.

mod interface;
mod keys;
mod networkd;

use crate::address::Address;
use crate::decoder::Decoder;
use crate::finding::{Finding, Findings, Span};
use crate::parse::{self, Parsed};
use crate::user_data::MAX_USER_DATA;
use crate::variable::Values;

pub use interface::{Interface, Match, Route};

/// The interfaces of a network-config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    interfaces: Vec<Interface>,
}

/// The languages in which platforms describe a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// cloud-init's network-config.
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
    match format {
        Format::NetworkConfig => parse_v2(text),
        _ => {
            let message = "this description of the network is not read yet";
            (Network::default(), vec![Finding::warning(Span::default(), message)])
        }
    }
}

/// Reads a network-config, on its own or under `network:`. What could be understood comes with
/// everything that is wrong, by place.
#[must_use]
pub fn parse_v2(text: &str) -> (Network, Vec<Finding>) {
    let mut findings = Findings::default();
    if text.len() > MAX_USER_DATA {
        let message = format!("more than {MAX_USER_DATA} bytes: not a network-config");
        findings.push(Finding::error(Span::default(), message));
        return (Network::default(), findings.sorted());
    }
    let Parsed { source, root, findings: mistakes } = parse::parse(text);
    findings.extend(mistakes);
    // The addresses that variables stand for come from here: there are none yet.
    let mut decoder = Decoder::new(&source, Values::Unknown);
    let interfaces = match root.filter(|root| !root.is_null()) {
        Some(root) => keys::interfaces(&mut decoder, &root),
        None => Vec::new(),
    };
    (Network { interfaces }, decoder.into_findings(findings).sorted())
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
        self.interfaces.iter().flat_map(networkd::files).collect()
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
