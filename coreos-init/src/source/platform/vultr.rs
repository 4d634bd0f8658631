//! Vultr.
//!
//! <https://docs.vultr.com/how-to-retrieve-vultr-instance-metadata>

use serde_json::Value;

use super::service::{Refusal, Service};
use super::told::{Told, address, lines, list, text};

pub(super) const BASES: &[&str] = &["http://169.254.169.254"];

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    let instance = service.required_json("/v1.json")?;
    let mut told = Told::default();
    let meta_data = &mut told.meta_data;
    meta_data.instance_id =
        text(&instance, "/instance-v2-id").or_else(|| text(&instance, "/instanceid"));
    meta_data.hostname = text(&instance, "/hostname");
    meta_data.region = text(&instance, "/region/regioncode");
    // One text with a key in each line, or a list.
    let keys = match instance.get("public-keys") {
        Some(Value::String(keys)) => vec![keys.as_str()],
        _ => list(&instance, "/public-keys").iter().filter_map(Value::as_str).collect(),
    };
    meta_data.public_keys = lines(keys);
    let of = |kind: &str| {
        let is_meant = |nic: &&Value| nic.get("network-type").is_some_and(|named| named == kind);
        list(&instance, "/interfaces").iter().find(is_meant).unwrap_or(&Value::Null)
    };
    meta_data.public_ipv4 = address(of("public"), "/ipv4/address");
    meta_data.private_ipv4 = address(of("private"), "/ipv4/address");
    meta_data.public_ipv6 = address(of("public"), "/ipv6/address");
    told.user_data = service.get("/user-data/user-data")?.unwrap_or_default();
    Ok(told)
}
