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
use crate::parse::{Parsed, parse};
use crate::user_data::MAX_USER_DATA;
use crate::variable::Values;

pub use interface::{Interface, Match, Route};

/// The interfaces of a network-config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    interfaces: Vec<Interface>,
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
    let Parsed { source, root, findings: mistakes } = parse(text);
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
