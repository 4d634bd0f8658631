//! The kernel's network interfaces, over rtnetlink.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use cloud_config::Address;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use super::Route;

/// How often a link is asked whether it has a carrier.
const CARRIER_POLL: Duration = Duration::from_millis(20);

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Not six pairs of hexadecimal digits with `:` or `-` between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no MAC address")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Mac, MacError> {
        let mut mac = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut mac {
            let is_pair =
                |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(is_pair).ok_or(MacError)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Mac(mac)) }
    }
}

/// An Ethernet interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Mac,
    pub(super) up: bool,
    pub(super) carrier: bool,
    /// The bond or bridge that it is a member of.
    pub(super) above: Option<u32>,
    /// The longest packet, in bytes.
    pub(super) mtu: u32,
}

/// How an interface is chosen. Nothing said: any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkChoice {
    /// Its name. Names that udev will give are not known yet: on a machine with one interface any
    /// name means that one.
    pub name: Option<String>,
    /// Its MAC address.
    pub mac: Option<Mac>,
}

impl LinkChoice {
    /// The link that is meant. The order of `links` decides where nothing else does.
    pub(super) fn choose<'a>(&self, links: &'a [Link]) -> Option<&'a Link> {
        if let Some(mac) = self.mac {
            return links.iter().find(|link| link.mac == mac);
        }
        let Some(name) = &self.name else {
            return links.iter().find(|link| link.carrier).or(links.first());
        };
        match links {
            [only] => Some(only),
            _ => links.iter().find(|link| link.name == *name),
        }
    }
}

impl fmt::Display for LinkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.mac, &self.name) {
            (Some(mac), _) => write!(f, "{mac}"),
            (None, Some(name)) => f.write_str(name),
            (None, None) => f.write_str("any"),
        }
    }
}

/// The Ethernet interfaces, by index: those of hardware, the ends of virtual cables, and, of
/// those that are made of others, the ones of these indexes.
pub(super) async fn ethernet(handle: &Handle, made: &[u32]) -> io::Result<Vec<Link>> {
    let messages: Vec<_> = handle.link().get().execute().try_collect().await.map_err(into_io)?;
    let mut links: Vec<_> = messages.iter().filter_map(|message| link(message, made)).collect();
    links.sort_by_key(|link| link.index);
    Ok(links)
}

fn link(message: &LinkMessage, made: &[u32]) -> Option<Link> {
    let flags = message.header.flags;
    if message.header.link_layer_type != LinkLayerType::Ether || flags.contains(LinkFlags::Loopback)
    {
        return None;
    }
    let index = message.header.index;
    let (mut name, mut mac, mut above, mut mtu) = (None, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Address(value) => mac = value.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Controller(index) => above = Some(*index).filter(|index| *index != 0),
            LinkAttribute::Mtu(value) => mtu = *value,
            LinkAttribute::LinkInfo(infos)
                if !made.contains(&index) && infos.iter().any(is_made_of_others) =>
            {
                return None;
            }
            _ => {}
        }
    }
    Some(Link {
        index,
        name: name?,
        mac: mac.filter(|mac| mac.0 != [0; 6])?,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        above,
        mtu,
    })
}

/// Bridges, bonds, dummies and their like, which some drivers bring along when they are loaded.
fn is_made_of_others(info: &LinkInfo) -> bool {
    matches!(info, LinkInfo::Kind(kind) if *kind != InfoKind::Veth)
}

pub(super) async fn set_up(handle: &Handle, index: u32) -> io::Result<()> {
    let message = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(message).execute().await.map_err(into_io)
}

pub(super) async fn set_down(handle: &Handle, index: u32) -> io::Result<()> {
    let message = LinkUnspec::new_with_index(index).down().build();
    handle.link().set(message).execute().await.map_err(into_io)
}

pub(super) async fn set_mtu(handle: &Handle, index: u32, mtu: u32) -> io::Result<()> {
    let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
    handle.link().set(message).execute().await.map_err(into_io)
}

/// Returns when the link of this index has a carrier.
pub(super) async fn carrier(handle: &Handle, index: u32) -> io::Result<()> {
    loop {
        let messages: Vec<_> = handle
            .link()
            .get()
            .match_index(index)
            .execute()
            .try_collect()
            .await
            .map_err(into_io)?;
        if messages.iter().any(|message| message.header.flags.contains(LinkFlags::LowerUp)) {
            return Ok(());
        }
        tokio::time::sleep(CARRIER_POLL).await;
    }
}

/// The addresses of IPv6 that the link has and that are known to be its own alone.
pub(super) async fn addresses(handle: &Handle, index: u32) -> io::Result<Vec<Ipv6Addr>> {
    let request = handle.address().get().set_link_index_filter(index).execute();
    let messages: Vec<AddressMessage> = request.try_collect().await.map_err(into_io)?;
    let mut addresses = Vec::new();
    for message in messages {
        let (mut ip, mut flags) = (None, AddressFlags::empty());
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Address(IpAddr::V6(address)) => ip = Some(address),
                AddressAttribute::Flags(all) => flags = all,
                _ => {}
            }
        }
        let unsure = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
        addresses.extend(ip.filter(|_| !flags.intersects(unsure)));
    }
    Ok(addresses)
}

/// Adds an address; one that is there already is fine.
pub(super) async fn add_address(handle: &Handle, index: u32, address: Address) -> io::Result<()> {
    let mut request = handle.address().add(index, address.ip, address.prefix).replace();
    if address.ip.is_ipv6() {
        // Without waiting a second or two for somebody else to claim it.
        let message = request.message_mut();
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    request.execute().await.map_err(into_io)
}

/// Adds a route; `on_link` if its router is in none of the interface's networks.
pub(super) async fn add_route(
    handle: &Handle,
    index: u32,
    route: Route,
    on_link: bool,
) -> io::Result<()> {
    let to = route.destination();
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to.ip, to.prefix)
        .map_err(io::Error::other)?
        .output_interface(index);
    if let Some(via) = route.via {
        builder = builder.gateway(via).map_err(io::Error::other)?;
        if on_link {
            builder = builder.onlink();
        }
    } else {
        builder = builder.scope(RouteScope::Link);
    }
    handle.route().add(builder.build()).replace().execute().await.map_err(into_io)
}

/// Takes every address from the link, and with the addresses their routes.
pub(super) async fn flush(handle: &Handle, index: u32) -> io::Result<()> {
    let addresses: Vec<_> = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute()
        .try_collect()
        .await
        .map_err(into_io)?;
    for address in addresses {
        match handle.address().del(address).execute().await.map_err(into_io) {
            // A secondary address goes with its primary one.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            other => other?,
        }
    }
    Ok(())
}

pub(super) fn into_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_six_pairs() {
        assert_eq!("52:54:00:Ab:cd:0f".parse(), Ok(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0x0f])));
        assert_eq!("52-54-00-ab-cd-0f".parse(), Ok(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0x0f])));
        assert_eq!(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0x0f]).to_string(), "52:54:00:ab:cd:0f");
        for bad in
            ["", "52:54:00:ab:cd", "52:54:00:ab:cd:0f:00", "5:54:00:ab:cd:0f", "+1:54:00:ab:cd:0f"]
        {
            assert_eq!(bad.parse::<Mac>(), Err(MacError), "{bad}");
        }
    }

    #[test]
    fn links_are_chosen_by_mac_then_name_then_carrier() {
        let link = |index: u32, carrier| Link {
            index,
            name: format!("eth{index}"),
            mac: Mac([2, 0, 0, 0, 0, index as u8]),
            up: true,
            carrier,
            above: None,
            mtu: 1500,
        };
        let two = [link(0, false), link(1, true)];
        let one = [link(0, false)];
        let choice = |name: Option<&str>, mac: Option<u8>| LinkChoice {
            name: name.map(str::to_owned),
            mac: mac.map(|last| Mac([2, 0, 0, 0, 0, last])),
        };
        let cases: [(_, &[Link], _); 9] = [
            (choice(None, Some(1)), &two, Some(1)),
            (choice(Some("eth0"), Some(1)), &two, Some(1)),
            (choice(Some("eth0"), Some(9)), &two, None),
            (choice(Some("eth0"), None), &two, Some(0)),
            (choice(Some("enp1s0"), None), &two, None),
            (choice(Some("enp1s0"), None), &one, Some(0)),
            (choice(None, None), &two, Some(1)),
            (choice(None, None), &one, Some(0)),
            (choice(None, None), &[], None),
        ];
        for (choice, links, expected) in cases {
            assert_eq!(choice.choose(links).map(|link| link.index), expected, "{choice:?}");
        }
    }
}
