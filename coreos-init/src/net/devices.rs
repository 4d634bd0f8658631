//! Bonds, bridges and VLANs in the kernel, over rtnetlink.

use std::io;

use cloud_config::network::{Bond, BondMode};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{BridgeStpState, InfoBridge, LinkMessage};
use rtnetlink::{Handle, LinkBond, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVlan};

use super::links::into_io;
use super::wiring::{Device, Made, Part};

/// How often a bond looks at its members' carriers unless something is said, in milliseconds.
const MONITOR: u32 = 100;

/// Makes a link a member of the bond or bridge `above`. A bond takes only what is down.
pub(super) async fn join(handle: &Handle, index: u32, above: u32) -> io::Result<()> {
    let message = LinkUnspec::new_with_index(index).controller(above).build();
    handle.link().set(message).execute().await.map_err(into_io)
}

/// Makes a bond, a bridge or a VLAN of `parts`, by their indexes, and returns its own. It has no
/// members yet. A kernel that has no such thing gives [`io::ErrorKind::Unsupported`].
pub(super) async fn make(
    handle: &Handle,
    device: &Device,
    parts: &[(&Part, u32)],
) -> io::Result<u32> {
    let name = device.name.as_str();
    let message = match &device.made {
        Made::Bond(bond, _) => finish(bond_message(name, bond, parts), device),
        Made::Bridge(stp, _) => {
            let state = if *stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled };
            let message = LinkMessageBuilder::<LinkBridge>::new(name);
            finish(message.append_info_data(InfoBridge::StpState(state)), device)
        }
        Made::Vlan(id, _) => {
            let (_, link) = parts.first().ok_or(io::ErrorKind::NotFound)?;
            finish(LinkVlan::new(name, *link, *id), device)
        }
    };
    handle.link().add(message).execute().await.map_err(into_io)?;
    let found: Vec<_> =
        handle.link().get().match_name(name).execute().try_collect().await.map_err(into_io)?;
    found.first().map(|link| link.header.index).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn finish<T>(message: LinkMessageBuilder<T>, device: &Device) -> LinkMessage {
    let message = match device.mac {
        Some(mac) => message.address(mac.0.to_vec()),
        None => message,
    };
    match device.mtu {
        Some(mtu) => message.mtu(mtu).build(),
        None => message.build(),
    }
}

fn bond_message(name: &str, bond: &Bond, parts: &[(&Part, u32)]) -> LinkMessageBuilder<LinkBond> {
    let mut message = LinkMessageBuilder::<LinkBond>::new(name);
    if let Some(mode) = bond.mode {
        message = message.mode((mode as u8).into());
    }
    // The kernel's own default is never to look.
    message = message.miimon(bond.monitor.filter(|every| *every > 0).unwrap_or(MONITOR));
    if let Some(delay) = bond.up_delay {
        message = message.updelay(delay);
    }
    if let Some(delay) = bond.down_delay {
        message = message.downdelay(delay);
    }
    if let Some(policy) = bond.hash_policy {
        message = message.xmit_hash_policy((policy as u8).into());
    }
    if let (Some(fast), Some(BondMode::Lacp)) = (bond.lacp_fast, bond.mode) {
        message = message.ad_lacp_rate(u8::from(fast).into());
    }
    if let Some(links) = bond.min_links {
        message = message.min_links(links);
    }
    let is_primary = |part: &Part| match part {
        Part::Hardware(id, ..) | Part::Made(id) => bond.primary.as_ref() == Some(id),
    };
    let primary = parts.iter().find(|(part, _)| is_primary(part));
    match primary {
        Some((_, index)) => message.primary(*index),
        None => message,
    }
}

/// Removes what was made.
pub(super) async fn remove(handle: &Handle, index: u32) -> io::Result<()> {
    handle.link().del(index).execute().await.map_err(into_io)
}
