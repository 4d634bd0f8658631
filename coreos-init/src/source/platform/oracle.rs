//! Oracle Cloud Infrastructure, by version 2 of its metadata service.
//!
//! <https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm>

use super::service::{Refusal, Service};
use super::told::{Told, address, lines, text};

/// By IPv4, and on machines with IPv6 alone by IPv6.
pub(super) const BASES: &[&str] = &["http://169.254.169.254", "http://[fd00:c1::a9fe:a9fe]"];

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    service.always("Authorization", "Bearer Oracle");
    let instance = service.required_json("/opc/v2/instance/")?;
    let mut told = Told::default();
    let meta_data = &mut told.meta_data;
    meta_data.instance_id = text(&instance, "/id");
    meta_data.hostname = text(&instance, "/hostname").or_else(|| text(&instance, "/displayName"));
    meta_data.region =
        text(&instance, "/canonicalRegionName").or_else(|| text(&instance, "/region"));
    meta_data.zone = text(&instance, "/availabilityDomain");
    let keys = text(&instance, "/metadata/ssh_authorized_keys").unwrap_or_default();
    meta_data.public_keys = lines([keys.as_str()]);
    told.set_base64(text(&instance, "/metadata/user_data").as_deref());
    if let Some(vnics) = service.json("/opc/v2/vnics/")? {
        told.meta_data.private_ipv4 = address(&vnics, "/0/privateIp");
        told.meta_data.public_ipv6 = address(&vnics, "/0/ipv6Addresses/0");
    }
    Ok(told)
}
