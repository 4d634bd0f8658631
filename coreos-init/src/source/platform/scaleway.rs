//! Scaleway. Its user-data is given only to who asks from a port that root alone may take.
//!
//! <https://www.scaleway.com/en/developers/api/instances/> (user data)

use serde_json::Value;

use super::service::{Refusal, Service};
use super::told::{Told, address, lines, list, text};

/// By IPv4, and on machines with IPv6 alone by IPv6.
pub(super) const BASES: &[&str] = &["http://169.254.42.42", "http://[fd00:42::42]"];

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    let server = service.required_json("/conf?format=json")?;
    let mut told = Told::default();
    let meta_data = &mut told.meta_data;
    meta_data.instance_id = text(&server, "/id");
    meta_data.hostname = text(&server, "/hostname").or_else(|| text(&server, "/name"));
    meta_data.zone = text(&server, "/location/zone_id").or_else(|| text(&server, "/zone"));
    // fr-par-1 is a zone of fr-par.
    meta_data.region =
        meta_data.zone.as_ref().and_then(|zone| Some(zone.rsplit_once('-')?.0.to_owned()));
    let keys: Vec<_> =
        list(&server, "/ssh_public_keys").iter().filter_map(|key| text(key, "/key")).collect();
    meta_data.public_keys = lines(keys.iter().map(String::as_str));
    meta_data.private_ipv4 = address(&server, "/private_ip");
    let of = |family: &str| -> Option<&Value> {
        list(&server, "/public_ips")
            .iter()
            .find(|ip| ip.get("family").is_some_and(|named| named == family))
    };
    meta_data.public_ipv4 = of("inet")
        .and_then(|ip| address(ip, "/address"))
        .or_else(|| address(&server, "/public_ip/address"));
    meta_data.public_ipv6 = of("inet6")
        .and_then(|ip| address(ip, "/address"))
        .or_else(|| address(&server, "/ipv6/address"));
    told.user_data = service.get_as_root("/user_data/cloud-init")?.unwrap_or_default();
    Ok(told)
}
