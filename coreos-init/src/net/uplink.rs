//! The network while the configuration is looked for: brought up at most once, only if something
//! asks for it, and only as far as is asked for.
//!
//! ```text
//! ip= of the command line, else a source's description, else a lease, else (for neighbours on the
//! link only) an address that the machine gives itself
//! ```

use std::error::Error;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloud_config::Address;
use cloud_config::network;

use super::{
    IpArgument, IpArgumentError, LEASE_DEADLINE, Lease, Mac, NetError, Network, Settings, Static,
    Wiring, ip_arguments,
};
use crate::source::{self, Need, NetworkDescription, Places, Up};

/// How long a lease is waited for where an address that the machine gives itself will do.
const LINK_DEADLINE: Duration = Duration::from_secs(5);

/// The network of this machine while its configuration is looked for.
#[derive(Debug)]
pub struct Uplink<'a> {
    places: &'a Places,
    resolv_conf: PathBuf,
    network: Option<Network>,
    lease: Option<Lease>,
    /// How far it is up.
    reach: Option<Need>,
    /// What is said of it.
    known: Option<network::Network>,
    /// The directory of the kernel's modules.
    modules: Option<PathBuf>,
    /// What is made of the interfaces, and what they are given.
    wiring: Wiring,
    /// Why it is not as described.
    unwired: Option<NetError>,
}

/// The addresses that `ip=` on the command line gives this machine.
pub fn statics_of(command_line: &str) -> Result<Vec<Static>, IpArgumentError> {
    let arguments = ip_arguments(command_line)?.into_iter();
    Ok(arguments
        .filter_map(|argument| match argument {
            IpArgument::Static(fixed) => Some(fixed),
            IpArgument::Dhcp(_) => None,
        })
        .collect())
}

type AnyError = Box<dyn Error + Send + Sync>;

impl source::Uplink for Uplink<'_> {
    fn up(&mut self, need: Need) -> Result<Up, AnyError> {
        if self.reach < Some(need) {
            self.raise(need)?;
            self.reach = Some(need);
        }
        let interfaces = match &self.network {
            Some(network) => network.interfaces()?,
            None => Vec::new(),
        };
        Ok(Up { interfaces })
    }

    fn know(&mut self, network: &NetworkDescription) {
        Uplink::know(self, &parsed(network));
    }
}

impl<'a> Uplink<'a> {
    /// Nothing is brought up yet. Name servers will be written to `resolv_conf`.
    pub fn new(places: &'a Places, resolv_conf: PathBuf) -> Uplink<'a> {
        Uplink {
            places,
            resolv_conf,
            network: None,
            lease: None,
            reach: None,
            known: None,
            modules: None,
            wiring: Wiring::default(),
            unwired: None,
        }
    }

    /// Modules that the kernel lacks for bonds, bridges and VLANs are loaded from `directory`,
    /// that of one release, and not by the kernel itself.
    #[must_use]
    pub fn with_modules(self, directory: PathBuf) -> Uplink<'a> {
        Uplink { modules: Some(directory), ..self }
    }

    /// Takes note of what is said of the network. It counts if it is not up yet.
    pub fn know(&mut self, network: &network::Network) {
        if !network.interfaces().is_empty() {
            self.known = Some(network.clone());
        }
    }

    /// Whether a lease was taken.
    pub fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// The lease, taken now if it was not yet.
    pub fn lease(&mut self) -> Result<Lease, NetError> {
        self.lease_within(LEASE_DEADLINE, false)
    }

    /// The same where an address of IPv6 is wanted, too: one more is asked for if the lease that
    /// was taken has none.
    pub fn lease_with_ipv6(&mut self) -> Result<Lease, NetError> {
        self.lease = self.lease.take().filter(|lease| !lease.ipv6.is_empty());
        self.lease_within(LEASE_DEADLINE, true)
    }

    /// Leaves the interfaces as they were found.
    pub fn teardown(&mut self) -> Result<(), NetError> {
        self.reach = None;
        self.network.take().map_or(Ok(()), Network::teardown)
    }

    fn lease_within(&mut self, deadline: Duration, ipv6: bool) -> Result<Lease, NetError> {
        if let Some(lease) = &self.lease {
            return Ok(lease.clone());
        }
        let lease = match self.network()?.lease(deadline, ipv6) {
            // Why there is no way as it is described says more than that there is no other.
            Err(error) => return Err(self.unwired.take().unwrap_or(error)),
            Ok(lease) => lease,
        };
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    fn network(&mut self) -> Result<&mut Network, NetError> {
        if self.network.is_none() {
            let mut network = Network::open()?;
            // What the command line says of addresses is all there is.
            if ip_arguments(&self.places.command_line).is_ok_and(|said| said.is_empty()) {
                self.wiring = self.described();
            }
            let modules = self.modules.as_deref();
            let wired = network.wire(&self.wiring, &mut |module| load(modules, module));
            if let Err(error) = wired {
                // What was made of it is no use. There may be another way.
                log::warn!("{}", host::error::chain(&error));
                network.teardown()?;
                network = Network::open()?;
                self.wiring = self.wiring.of_hardware();
                self.unwired = Some(error);
            }
            self.network = Some(network);
        }
        self.network.as_mut().ok_or(NetError::NoInterface)
    }

    fn raise(&mut self, need: Need) -> Result<(), AnyError> {
        if let Some(directory) = self.resolv_conf.parent() {
            fs::create_dir_all(directory)?;
        }
        let resolv_conf = self.resolv_conf.clone();
        let statics = match statics_of(&self.places.command_line)? {
            none if none.is_empty() => {
                self.network()?;
                self.wiring.statics.clone()
            }
            some => some,
        };
        if !statics.is_empty() {
            return Ok(self.network()?.configure_static(&statics, &resolv_conf, LEASE_DEADLINE)?);
        }
        let deadline = if need == Need::Link { LINK_DEADLINE } else { LEASE_DEADLINE };
        let lease = match self.lease_within(deadline, false) {
            Err(NetError::NoLease { .. }) if need == Need::Link => return self.address_itself(),
            other => other?,
        };
        let settings = Settings::from(&lease);
        Ok(self.network()?.configure(&lease.interface, &settings, &resolv_conf)?)
    }

    /// Gives the first interface with a carrier an address of RFC 3927, derived from its own.
    /// Nobody is asked whether it is free: it is used for a few seconds, towards one neighbour.
    fn address_itself(&mut self) -> Result<(), AnyError> {
        let resolv_conf = self.resolv_conf.clone();
        let network = self.network()?;
        let (name, mac) = network.first_with_carrier()?;
        let address = Address { ip: IpAddr::V4(link_local(mac)), prefix: 16 };
        let settings = Settings { addresses: vec![address], ..Settings::default() };
        Ok(network.configure(&name, &settings, &resolv_conf)?)
    }

    /// What is said of the network: by what needs it now, else by a disc without user-data.
    fn described(&self) -> Wiring {
        let disc = || source::network_of_disc(self.places).map(|disc| parsed(&disc));
        let described = self.known.clone().or_else(disc);
        described.map_or_else(Wiring::default, |network| Wiring::from_network(&network))
    }
}

fn parsed(described: &NetworkDescription) -> network::Network {
    network::parse(described.format, &String::from_utf8_lossy(&described.text)).0
}

/// Loads a module for what is made of interfaces.
fn load(directory: Option<&Path>, module: &str) -> io::Result<()> {
    let Some(directory) = directory else { return Err(io::ErrorKind::Unsupported.into()) };
    // Of its own accord this one makes a bond0, which networkd would then take for ours.
    let parameters = if module == "bonding" { c"max_bonds=0" } else { c"" };
    host::modules::load_named(directory, module, parameters)
}

/// 169.254.1.0 to 169.254.254.255, without those that metadata services have.
fn link_local(mac: Mac) -> Ipv4Addr {
    let [.., a, b] = mac.0;
    let third = 1 + a % 254;
    // 169.254.169.254, 169.254.42.42 and their like.
    let third = if matches!(third, 42 | 169) { third + 1 } else { third };
    Ipv4Addr::new(169, 254, third, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_its_own_is_on_the_link_and_nobody_elses() {
        for a in 0..=255 {
            for b in 0..=255 {
                let ip = link_local(Mac([2, 0, 0, 0, a, b]));
                let [first, second, third, _] = ip.octets();
                assert_eq!((first, second), (169, 254));
                assert!((1..=254).contains(&third) && third != 169 && third != 42, "{ip}");
            }
        }
    }
}
