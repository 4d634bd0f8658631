//! Hetzner Cloud.
//!
//! <https://docs.hetzner.cloud/reference/cloud#server-metadata>

use cloud_config::network::Format;

use super::service::{Refusal, Service};
use super::told::{Told, list, parse_address, text};
use crate::source::NetworkDescription;
use crate::source::metadata::{MetaData, parse_yaml};

pub(super) const BASES: &[&str] = &["http://169.254.169.254"];

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    const META_DATA: &str = "/hetzner/v1/metadata";
    let Some(bytes) = service.get(META_DATA)? else {
        return Err(service.nonsense(META_DATA, "there is no such document"));
    };
    let mut told = Told::default();
    told.meta_data = MetaData::from_yaml(&bytes, &mut told.notes)
        .map_err(|reason| service.nonsense(META_DATA, &reason))?;
    // Networks that the machine is attached to, if it is to any.
    if let Some(networks) = service.text(&format!("{META_DATA}/private-networks"))?
        && let Ok(networks) = parse_yaml(&networks)
    {
        let first = list(&networks, "").iter().find_map(|network| text(network, "/ip"));
        told.meta_data.private_ipv4 = first.and_then(|text| parse_address(&text));
    }
    if let Some(network) = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| parse_yaml(text).ok()?.get("network-config").cloned())
        && network.is_object()
    {
        // JSON is YAML.
        let text = network.to_string().into_bytes();
        told.network = Some(NetworkDescription { format: Format::NetworkConfig, text });
    }
    told.user_data = service.get("/hetzner/v1/userdata")?.unwrap_or_default();
    Ok(told)
}
