//! Equinix Metal, once Packet: machines of metal, of which nothing tells where they stand.
//!
//! <https://deploy.equinix.com/developers/docs/metal/server-metadata/metadata/>

use std::net::IpAddr;

use cloud_config::network::Format;
use serde_json::Value;

use super::service::{Refusal, Service};
use super::told::{Told, address, lines, list, text};
use crate::source::NetworkDescription;

pub(super) const BASES: &[&str] = &["https://metadata.platformequinix.com"];

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    // It is a server of the open net, which may move.
    service.follow(3);
    let server = service.required_json("/metadata")?;
    let mut told = Told::default();
    let meta_data = &mut told.meta_data;
    meta_data.instance_id = text(&server, "/id");
    meta_data.hostname = text(&server, "/hostname");
    meta_data.region = text(&server, "/metro");
    meta_data.zone = text(&server, "/facility");
    meta_data.public_keys = lines(list(&server, "/ssh_keys").iter().filter_map(Value::as_str));
    let find = |public: bool, v4: bool| -> Option<IpAddr> {
        list(&server, "/network/addresses")
            .iter()
            .filter(|entry| entry.get("public").and_then(Value::as_bool) == Some(public))
            .filter_map(|entry| address::<IpAddr>(entry, "/address"))
            .find(|ip| ip.is_ipv4() == v4)
    };
    let v4 = |ip: IpAddr| if let IpAddr::V4(ip) = ip { Some(ip) } else { None };
    let v6 = |ip: IpAddr| if let IpAddr::V6(ip) = ip { Some(ip) } else { None };
    meta_data.public_ipv4 = find(true, true).and_then(v4);
    meta_data.private_ipv4 = find(false, true).and_then(v4);
    meta_data.public_ipv6 = find(true, false).and_then(v6);
    meta_data.private_ipv6 = find(false, false).and_then(v6);
    if let Some(network) = server.get("network").filter(|network| network.is_object()) {
        let text = network.to_string().into_bytes();
        told.network = Some(NetworkDescription { format: Format::Packet, text });
    }
    told.user_data = service.get("/userdata")?.unwrap_or_default();
    Ok(told)
}
