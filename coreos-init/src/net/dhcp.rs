//! One DHCPv4 lease, as early as any interface gets one.

use std::net::{IpAddr, Ipv4Addr};

use cloud_config::Address;
use mozim::{DhcpError, DhcpV4Client, DhcpV4Config, DhcpV4Lease, DhcpV4State};
use rtnetlink::Handle;
use tokio::task::JoinSet;

use super::links::{self, Link};
use super::settings::prefix_of_mask;
use super::{Lease, Route};

/// The hardware type of Ethernet, which stands before the MAC address in a client id.
const ETHERNET: u8 = 1;

/// Asks on all `links` at once, on each as soon as it has a carrier, and returns the first lease.
/// Without one it never returns unless every link fails: the caller has the deadline.
pub(super) async fn first_lease(handle: &Handle, links: &[Link]) -> Option<Lease> {
    let mut asking = JoinSet::new();
    for link in links.iter().cloned() {
        let handle = handle.clone();
        asking.spawn(async move {
            let name = link.name.clone();
            ask(&handle, link).await.map_err(|reason| format!("{name}: {reason}"))
        });
    }
    while let Some(answer) = asking.join_next().await {
        match answer {
            Ok(Ok(lease)) => return Some(lease),
            Ok(Err(reason)) => log::warn!("DHCP on {reason}"),
            Err(error) => log::warn!("DHCP ended early: {error}"),
        }
    }
    None
}

async fn ask(handle: &Handle, link: Link) -> Result<Lease, String> {
    links::carrier(handle, link.index).await.map_err(|error| error.to_string())?;
    let mac = link.mac.0;
    let told = |error: DhcpError| error.msg().to_owned();
    let mut config = DhcpV4Config::new(&link.name);
    config.set_iface_index(link.index).set_iface_mac_raw(&mac).map_err(told)?;
    config.set_client_id(ETHERNET, &mac);
    let mut client = DhcpV4Client::init(config, None).await.map_err(told)?;
    loop {
        if let DhcpV4State::Done(lease) = client.run().await.map_err(told)? {
            return convert(&link, &lease);
        }
    }
}

fn convert(link: &Link, lease: &DhcpV4Lease) -> Result<Lease, String> {
    let address = lease.yiaddr;
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return Err(format!("the server lent {address}"));
    }
    // A server that sends no mask leaves everything but the machine itself to the router.
    let prefix = prefix_of_mask(lease.subnet_mask).filter(|prefix| *prefix > 0).unwrap_or(32);
    let classless = lease.classless_routes.as_deref();
    let (router, routes) = match classless {
        // RFC 3442: with these the router option must be ignored.
        Some(classless) => {
            let default = classless.iter().find(|route| route.prefix_length == 0);
            let others = classless.iter().filter(|route| route.prefix_length > 0);
            let others = others.map(|route| Route {
                to: Some(Address { ip: route.destination.into(), prefix: route.prefix_length }),
                via: (!route.router.is_unspecified()).then_some(route.router.into()),
            });
            (default.map(|route| route.router), others.collect())
        }
        None => (lease.gateways.iter().flatten().next().copied(), Vec::new()),
    };
    let server = if lease.srv_id.is_unspecified() { lease.siaddr } else { lease.srv_id };
    let usable = |address: &Ipv4Addr| !address.is_unspecified();
    Ok(Lease {
        interface: link.name.clone(),
        address: Some(address),
        ipv6: Vec::new(),
        prefix,
        router: router.filter(usable),
        routes,
        dns: lease.dns_srvs.iter().flatten().copied().filter(usable).map(IpAddr::from).collect(),
        server,
        lease_seconds: lease.lease_time_sec,
        client_id: [&[ETHERNET], link.mac.0.as_slice()].concat(),
    })
}
