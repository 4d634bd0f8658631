//! The network, as far as finding and understanding the configuration needs it.
//!
//! ```text
//! variables, metadata, static addresses → facts::values → needs_network?
//!   → Network: bonds, bridges, VLANs made, links up → lease, or Static from ip= or network-config
//!   → configure → (fetch)
//!   → teardown: nothing is left for udev and networkd to trip over
//! ```
//!
//! The kernel is spoken to by rtnetlink and packet sockets only; no helper program runs. The
//! lease is taken with the client id that networkd will use (`ClientIdentifier=mac`), so that the
//! machine keeps the address which its configuration was filled in with. A network without IPv4
//! does, too: addresses of IPv6 come from router advertisements, which the kernel follows, or by
//! DHCPv6 where they say so.

mod devices; // bonds, bridges and VLANs in the kernel
mod dhcp; // one DHCPv4 lease
pub mod facts; // what $private_ipv4 and the like stand for
mod ip_argument; // ip= of the kernel command line
mod links; // rtnetlink
mod network; // bringing it up, and down again
mod router; // addresses of IPv6 as routers hand them out
mod settings; // what one interface is given
mod uplink; // brought up only if something asks for it
mod wiring; // bonds, bridges, VLANs

pub use ip_argument::{IpArgument, IpArgumentError, ip_arguments};
pub use links::{LinkChoice, Mac};
pub use network::{NetError, Network};
pub use settings::{Route, Settings, Static};
pub use uplink::{Uplink, statics_of};
pub use wiring::{Device, Made, Part, Wiring};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How long a lease is waited for unless something says otherwise.
pub const LEASE_DEADLINE: Duration = Duration::from_secs(10);

/// What the network gave this machine: an address that a DHCP server lent, addresses that routers
/// of IPv6 handed out, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The interface it came by, under its name of now (`eth0`): udev may rename it later.
    pub interface: String,
    /// The address that was lent, if there is IPv4.
    pub address: Option<Ipv4Addr>,
    /// Addresses of IPv6, which the kernel has already.
    pub ipv6: Vec<Ipv6Addr>,
    /// The length of the network's prefix.
    pub prefix: u8,
    /// The default router.
    pub router: Option<Ipv4Addr>,
    /// Further routes.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// The server.
    pub server: Ipv4Addr,
    /// How long the address is lent for, in seconds.
    pub lease_seconds: u32,
    /// The client id that was sent: the hardware type and the MAC address.
    pub client_id: Vec<u8>,
}
