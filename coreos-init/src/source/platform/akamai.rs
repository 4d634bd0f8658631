//! Akamai's cloud, once Linode.
//!
//! <https://techdocs.akamai.com/cloud-computing/docs/metadata-service-api>

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::service::{Refusal, Service};
use super::told::{Told, lines, list, parse_address, text};

/// By IPv4, and by IPv6.
pub(super) const BASES: &[&str] = &["http://169.254.169.254", "http://[fd00:a9fe:a9fe::1]"];
/// How long the token is good for, in seconds.
const TOKEN_LIFE: (&str, &str) = ("Metadata-Token-Expiry-Seconds", "300");

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    let Some(token) = service.token("/v1/token", TOKEN_LIFE)? else {
        return Err(service.nonsense("/v1/token", "it gives no token"));
    };
    service.always("Metadata-Token", token);
    service.always("Accept", "application/json");
    let instance = service.required_json("/v1/instance")?;
    let mut told = Told::default();
    told.meta_data.instance_id = text(&instance, "/id");
    told.meta_data.hostname = text(&instance, "/label");
    told.meta_data.region = text(&instance, "/region");
    if let Some(network) = service.json("/v1/network")? {
        let first4 = |pointer: &str| {
            list(&network, pointer)
                .iter()
                .find_map(Value::as_str)
                .and_then(parse_address::<Ipv4Addr>)
        };
        told.meta_data.public_ipv4 = first4("/ipv4/public");
        told.meta_data.private_ipv4 = first4("/ipv4/private");
        told.meta_data.public_ipv6 =
            text(&network, "/ipv6/slaac").and_then(|text| parse_address::<Ipv6Addr>(&text));
    }
    if let Some(keys) = service.json("/v1/ssh-keys")? {
        let users = keys.get("users").and_then(Value::as_object);
        let all = users.into_iter().flat_map(|users| users.values());
        told.meta_data.public_keys =
            lines(all.flat_map(|keys| list(keys, "")).filter_map(Value::as_str));
    }
    told.set_base64(service.text("/v1/user-data")?.as_deref());
    Ok(told)
}
