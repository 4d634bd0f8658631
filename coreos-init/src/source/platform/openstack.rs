//! OpenStack's metadata service, where there is no config drive.
//!
//! <https://docs.openstack.org/nova/latest/user/metadata.html>

use super::service::{Refusal, Service};
use super::told::{Told, parse_address};
use crate::source::{MetaData, NetworkDescription};
use cloud_config::network::Format;

/// By IPv4; by IPv6 it is a link-local address, which needs its interface said.
pub(super) const BASES: &[&str] = &["http://169.254.169.254"];
/// The same service by IPv6.
pub(super) const LINK_LOCAL: &str = "fe80::a9fe:a9fe";

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    const META_DATA: &str = "/openstack/latest/meta_data.json";
    let mut told = Told::default();
    let Some(bytes) = service.get(META_DATA)? else {
        return Err(service.nonsense(META_DATA, "there is no such document"));
    };
    told.meta_data = MetaData::from_json(&bytes, &mut told.notes)
        .map_err(|reason| service.nonsense(META_DATA, &reason))?;
    // Only the part that speaks as EC2 does knows a floating address.
    for (name, slot) in [
        ("local-ipv4", &mut told.meta_data.private_ipv4),
        ("public-ipv4", &mut told.meta_data.public_ipv4),
    ] {
        if slot.is_none() {
            let text = service.text(&format!("/latest/meta-data/{name}"));
            *slot = text.ok().flatten().and_then(|text| parse_address(&text));
        }
    }
    told.network = service
        .get("/openstack/latest/network_data.json")?
        .map(|text| NetworkDescription { format: Format::OpenStack, text });
    told.user_data = service.get("/openstack/latest/user_data")?.unwrap_or_default();
    Ok(told)
}
