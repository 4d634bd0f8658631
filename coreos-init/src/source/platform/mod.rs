//! Metadata services of clouds, over HTTP.
//!
//! command line or firmware → [`Platform`] → network → the service's documents → [`Found`]
//!
//! Each platform is a file with one function, which asks a [`Service`] for the few documents that
//! it documents and puts them into one form. A new one needs a line in the table below and
//! a mark in [`detect`].

mod akamai;
mod azure;
mod detect; // which platform this is
mod digitalocean;
mod ec2;
mod gce;
mod hetzner;
mod openstack;
mod oracle;
mod packet;
mod scaleway;
mod service; // one service that is being asked
mod told; // what the documents have in common
mod vultr;

use std::fmt;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::path::Path;
use std::time::Instant;

use host::error::chain;

use super::{Found, Glance, Need, Places, SourceName, Survey, USER_DATA, Uplink};
use detect::{Detected, Firmware, detect};
use service::{Base, DEADLINE, Refusal, Service};
use told::Told;
pub(super) use told::base64;

/// Where a machine can run, as far as that decides who is asked for its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is the platform of that name
pub enum Platform {
    Akamai,
    Azure,
    DigitalOcean,
    Ec2,
    Gce,
    Hetzner,
    OpenStack,
    Oracle,
    Packet,
    Scaleway,
    Vultr,
    /// Asked through its backdoor, not over the network.
    Vmware,
    /// Nobody is asked.
    Metal,
}

/// A platform that is asked over the network.
struct Row {
    bases: &'static [&'static str],
    need: Need,
    ask: fn(&mut Service) -> Result<Told, Refusal>,
}

impl Platform {
    /// The platforms by all their names; the first of each is the one to show.
    const NAMES: &'static [(&'static str, Platform)] = &[
        ("akamai", Platform::Akamai),
        ("linode", Platform::Akamai),
        ("azure", Platform::Azure),
        ("digitalocean", Platform::DigitalOcean),
        ("ec2", Platform::Ec2),
        ("aws", Platform::Ec2),
        ("gce", Platform::Gce),
        ("gcp", Platform::Gce),
        ("hetzner", Platform::Hetzner),
        ("openstack", Platform::OpenStack),
        ("oracle", Platform::Oracle),
        ("oraclecloud", Platform::Oracle),
        ("packet", Platform::Packet),
        ("equinixmetal", Platform::Packet),
        ("scaleway", Platform::Scaleway),
        ("vultr", Platform::Vultr),
        ("vmware", Platform::Vmware),
        ("metal", Platform::Metal),
        ("none", Platform::Metal),
        ("qemu", Platform::Metal),
    ];

    /// The platform of this name.
    pub fn from_name(name: &str) -> Option<Platform> {
        let named = Platform::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, platform)| *platform)
    }

    fn row(self) -> Option<Row> {
        use Need::{Link, Net};
        let (bases, need, ask): (_, _, fn(&mut Service) -> _) = match self {
            Platform::Akamai => (akamai::BASES, Net, akamai::ask),
            Platform::Azure => (azure::BASES, Net, azure::ask),
            Platform::DigitalOcean => (digitalocean::BASES, Link, digitalocean::ask),
            Platform::Ec2 => (ec2::BASES, Net, ec2::ask),
            Platform::Gce => (gce::BASES, Net, gce::ask),
            Platform::Hetzner => (hetzner::BASES, Net, hetzner::ask),
            Platform::OpenStack => (openstack::BASES, Link, openstack::ask),
            Platform::Oracle => (oracle::BASES, Net, oracle::ask),
            Platform::Packet => (packet::BASES, Net, packet::ask),
            Platform::Scaleway => (scaleway::BASES, Net, scaleway::ask),
            Platform::Vultr => (vultr::BASES, Net, vultr::ask),
            Platform::Vmware | Platform::Metal => return None,
        };
        Some(Row { bases, need, ask })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Platform::NAMES.iter().find(|(_, platform)| platform == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

/// The platform that this machine runs on, if the command line or the firmware says it.
pub fn platform_of(command_line: &str, sysfs: &Path) -> Option<Platform> {
    match detect(command_line, &Firmware::read(sysfs)) {
        Detected::Is(platform, _) => Some(platform),
        Detected::Unknown { .. } | Detected::Nothing => None,
    }
}

pub(super) fn look(places: &Places, uplink: &mut dyn Uplink, survey: &mut Survey) {
    let start = Instant::now();
    let firmware = Firmware::read(&places.sysfs);
    let (place, glance) = match detect(&places.command_line, &firmware) {
        Detected::Nothing => ("no platform is named or known".to_owned(), Glance::Absent),
        Detected::Unknown { parameter, name } => {
            let known: Vec<_> = Platform::NAMES.iter().map(|(name, _)| *name).collect();
            let reason = format!("no such platform; there are {}", known.join(", "));
            (format!("{parameter}={name}"), Glance::Failed(reason))
        }
        Detected::Is(platform, why) => match platform.row() {
            None => (format!("{platform} has none ({why})"), Glance::Absent),
            Some(row) => {
                let (place, glance) = ask(places, uplink, &row);
                (format!("{platform} at {place} ({why})"), glance)
            }
        },
    };
    survey.note(SourceName::Cloud, place, start, glance);
}

fn ask(places: &Places, uplink: &mut dyn Uplink, row: &Row) -> (String, Glance) {
    let mut bases: Vec<Base> = row.bases.iter().map(|url| Base::from(*url)).collect();
    let up = match uplink.up(row.need) {
        Ok(up) => up,
        Err(error) => return (bases[0].url.clone(), Glance::Failed(chain(&*error))),
    };
    if row.bases == openstack::BASES {
        bases.extend(up.interfaces.iter().map(|index| link_local(*index)));
    }
    let mut service = Service::new(bases, places.roots.clone(), DEADLINE);
    let glance = match (row.ask)(&mut service) {
        Err(refusal) => Glance::Failed(refusal.to_string()),
        Ok(told) => Glance::Holds(Box::new(Found {
            source: SourceName::Cloud,
            place: service.place(),
            name: USER_DATA.to_owned(),
            user_data: told.user_data,
            meta_data: told.meta_data,
            network: told.network,
            notes: told.notes,
        })),
    };
    (service.place(), glance)
}

/// OpenStack's service on the link of an interface.
fn link_local(interface: u32) -> Base {
    let ip: Ipv6Addr = openstack::LINK_LOCAL.parse().expect("an address of IPv6");
    let to = SocketAddrV6::new(ip, 80, 0, interface);
    Base { url: format!("http://[{}]", openstack::LINK_LOCAL), to: Some(to.into()) }
}

#[cfg(test)]
mod tests;
