//! Addresses of IPv6 as routers hand them out: by autoconfiguration, which the kernel does itself
//! when it hears an advertisement, or by DHCPv6 where the advertisement says so.
//!
//! ```text
//! carrier → link-local address → solicitation → advertisement (RFC 4861, RFC 8106)
//!   → A prefix to make an address in: wait until the kernel has done so
//!   → M flag alone: DHCPv6
//! ```

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use cloud_config::Address;
use mozim::{DhcpError, DhcpV6Client, DhcpV6Config, DhcpV6Mode, DhcpV6State};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};
use rtnetlink::Handle;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::links::{self, Link};

/// How often the kernel is asked for an address.
const POLL: Duration = Duration::from_millis(50);
/// How often routers are asked, until one answers.
const SOLICIT: Duration = Duration::from_secs(1);
/// The largest advertisement.
const LARGEST: usize = 9000;
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Types of ICMPv6.
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;

/// What routers gave an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) index: u32,
    pub(super) interface: String,
    pub(super) addresses: Vec<Ipv6Addr>,
    pub(super) dns: Vec<IpAddr>,
    /// An address by DHCPv6, which the kernel does not have yet.
    pub(super) leased: Option<Address>,
}

/// What an advertisement says, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Advertisement {
    /// Addresses are to be had by DHCPv6.
    managed: bool,
    /// There is a prefix to make addresses in.
    autonomous: bool,
    dns: Vec<Ipv6Addr>,
}

/// Listens on all `links` at once and returns what the first of them is given. Without a router
/// it never returns: the caller has the deadline.
pub(super) async fn first(handle: &Handle, links: &[Link]) -> Option<Given> {
    let mut listening = JoinSet::new();
    for link in links.iter().cloned() {
        let handle = handle.clone();
        listening.spawn(async move {
            let name = link.name.clone();
            ask(&handle, link).await.map_err(|reason| format!("{name}: {reason}"))
        });
    }
    while let Some(answer) = listening.join_next().await {
        match answer {
            Ok(Ok(given)) => return Some(given),
            Ok(Err(reason)) => log::warn!("IPv6 on {reason}"),
            Err(error) => log::warn!("IPv6 ended early: {error}"),
        }
    }
    None
}

async fn ask(handle: &Handle, link: Link) -> Result<Given, String> {
    let told = |error: io::Error| error.to_string();
    let socket = listen(link.index).map_err(told)?;
    links::carrier(handle, link.index).await.map_err(told)?;
    let own = wait_for(handle, link.index, Ipv6Addr::is_unicast_link_local).await.map_err(told)?;
    let advertisement = loop {
        // A router that advertised before this was listened for says it again.
        solicit(&socket, link.index).await.map_err(told)?;
        if let Ok(heard) = timeout(SOLICIT, hear(&socket)).await {
            break heard.map_err(told)?;
        }
    };
    let mut given = Given {
        index: link.index,
        interface: link.name.clone(),
        dns: advertisement.dns.iter().copied().map(IpAddr::from).collect(),
        ..Given::default()
    };
    if advertisement.autonomous {
        let global = |ip: &Ipv6Addr| !ip.is_unicast_link_local();
        wait_for(handle, link.index, global).await.map_err(told)?;
        let all = links::addresses(handle, link.index).await.map_err(told)?;
        given.addresses = all.into_iter().filter(global).collect();
    } else if advertisement.managed {
        lease(&link, own[0], &mut given).await?;
    } else {
        return Err("the router gives no addresses".to_owned());
    }
    Ok(given)
}

/// Waits until the interface has an address of this kind that is known to be its own alone.
async fn wait_for(
    handle: &Handle,
    index: u32,
    kind: impl Fn(&Ipv6Addr) -> bool,
) -> io::Result<Vec<Ipv6Addr>> {
    loop {
        let mut addresses = links::addresses(handle, index).await?;
        addresses.retain(&kind);
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        sleep(POLL).await;
    }
}

/// A raw socket of ICMPv6; the calls are those of any socket for datagrams.
fn listen(index: u32) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
    // By this limit a router knows that nothing was routed to it.
    setsockopt(&socket, sockopt::Ipv6MulticastHops, &255)?;
    let interface = nix::net::if_::if_indextoname(index)?;
    let interface = OsStr::from_bytes(interface.to_bytes()).to_owned();
    setsockopt(&socket, sockopt::BindToDevice, &interface)?;
    UdpSocket::from_std(socket.into())
}

async fn solicit(socket: &UdpSocket, index: u32) -> io::Result<()> {
    // The kernel sums it up.
    let message = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    let to = SocketAddrV6::new(ALL_ROUTERS, 0, 0, index);
    socket.send_to(&message, SocketAddr::from(to)).await.map(drop)
}

async fn hear(socket: &UdpSocket) -> io::Result<Advertisement> {
    let mut message = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut message).await?;
        if let Some(advertisement) = advertisement(&message[..length]) {
            return Ok(advertisement);
        }
    }
}

/// Reads an advertisement: sixteen bytes, then options of a type, a length in eights, a value.
fn advertisement(message: &[u8]) -> Option<Advertisement> {
    const PREFIX: u8 = 3;
    const SERVERS: u8 = 25;
    let (head, mut options) = message.split_at_checked(16)?;
    if head[0] != ADVERTISEMENT || head[1] != 0 {
        return None;
    }
    let mut advertisement =
        Advertisement { managed: head[5] & 0x80 != 0, ..Advertisement::default() };
    while let [kind, eights, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(eights) * 8)?;
        // An option without a length would never end.
        if option.is_empty() {
            return None;
        }
        match kind {
            PREFIX if option.len() == 32 => advertisement.autonomous |= option[3] & 0x40 != 0,
            SERVERS => {
                let servers = option.get(8..).unwrap_or_default().chunks_exact(16);
                let address = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from);
                advertisement.dns.extend(servers.filter_map(address));
            }
            _ => {}
        }
        options = rest;
    }
    Some(advertisement)
}

async fn lease(link: &Link, own: Ipv6Addr, given: &mut Given) -> Result<(), String> {
    let told = |error: DhcpError| error.msg().to_owned();
    let mut config = DhcpV6Config::new(&link.name, DhcpV6Mode::NonTemporaryAddresses);
    config.set_iface_index(link.index).set_link_local_ip(own);
    config.set_duid_by_iface_mac(&link.mac.0);
    let mut client = DhcpV6Client::init(config, None).await.map_err(told)?;
    loop {
        if let DhcpV6State::Done(lease) = client.run().await.map_err(told)? {
            given.addresses = vec![lease.address];
            given.leased = Some(Address { ip: lease.address.into(), prefix: 128 });
            given.dns.extend(lease.dns_srvs.iter().copied().map(IpAddr::from));
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As radvd sends it: a hop limit of 64, a lifetime of half an hour, then the options.
    fn message(flags: u8, options: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, 64, flags, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend(options.concat());
        message
    }

    fn prefix(flags: u8) -> Vec<u8> {
        let mut option = vec![3, 4, 64, flags, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0];
        option.extend("2001:db8::".parse::<Ipv6Addr>().unwrap().octets());
        option
    }

    fn servers(addresses: &[&str]) -> Vec<u8> {
        let eights = u8::try_from(1 + 2 * addresses.len()).unwrap();
        let mut option = vec![25, eights, 0, 0, 0, 0, 0, 60];
        for address in addresses {
            option.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        option
    }

    #[test]
    fn advertisements_say_how_addresses_are_to_be_had() {
        let link_address: &[u8] = &[1, 1, 0x52, 0x54, 0, 0, 0, 1];
        let dns = ["fd00::53", "2001:db8::53"];
        let cases = [
            (message(0, &[]), Some((false, false, 0))),
            (message(0x80, &[link_address]), Some((true, false, 0))),
            (message(0, &[&prefix(0xc0), &servers(&dns)]), Some((false, true, 2))),
            // On the link, but not to make addresses in.
            (message(0xc0, &[&prefix(0x80)]), Some((true, false, 0))),
            (message(0, &[&[3, 0, 0]]), None),
            (message(0, &[&[25, 9, 0]]), None),
            (message(0, &[&[25, 1, 0, 0, 0, 0, 0, 0]]), Some((false, false, 0))),
            (vec![133; 16], None),
            (vec![], None),
        ];
        for (message, expected) in cases {
            let read = advertisement(&message);
            let read = read.map(|read| (read.managed, read.autonomous, read.dns.len()));
            assert_eq!(read, expected, "{message:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_message_is_survived(mut bytes: Vec<u8>) {
            let _ = advertisement(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = ADVERTISEMENT;
            }
            let _ = advertisement(&bytes);
        }
    }
}
