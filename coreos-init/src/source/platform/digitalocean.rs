//! DigitalOcean. Its machines have no DHCP on all networks: the same document says what their
//! interfaces are given.
//!
//! <https://docs.digitalocean.com/reference/api/metadata/>

use cloud_config::network::Format;

use super::service::{Refusal, Service};
use super::told::{Told, address, lines, list, text};
use crate::source::NetworkDescription;

pub(super) const BASES: &[&str] = &["http://169.254.169.254"];

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    const ALL: &str = "/metadata/v1.json";
    let droplet = service.required_json(ALL)?;
    let mut told = Told::default();
    let meta_data = &mut told.meta_data;
    meta_data.instance_id = text(&droplet, "/droplet_id");
    meta_data.hostname = text(&droplet, "/hostname");
    meta_data.region = text(&droplet, "/region");
    meta_data.public_keys =
        lines(list(&droplet, "/public_keys").iter().filter_map(serde_json::Value::as_str));
    meta_data.public_ipv4 = address(&droplet, "/interfaces/public/0/ipv4/ip_address");
    meta_data.private_ipv4 = address(&droplet, "/interfaces/private/0/ipv4/ip_address");
    meta_data.public_ipv6 = address(&droplet, "/interfaces/public/0/ipv6/ip_address");
    meta_data.private_ipv6 = address(&droplet, "/interfaces/private/0/ipv6/ip_address");
    told.user_data = match droplet.get("user_data").and_then(serde_json::Value::as_str) {
        Some(user_data) => user_data.as_bytes().to_vec(),
        None => service.get("/metadata/v1/user-data")?.unwrap_or_default(),
    };
    if droplet.pointer("/interfaces").is_some() {
        // Only what concerns the network: the rest of the document holds the user-data again.
        let network = serde_json::json!({
            "interfaces": droplet["interfaces"],
            "dns": droplet["dns"],
        });
        let text = network.to_string().into_bytes();
        told.network = Some(NetworkDescription { format: Format::DigitalOcean, text });
    }
    Ok(told)
}
