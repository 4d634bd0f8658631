//! Microsoft Azure's Instance Metadata Service.
//!
//! <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>

use super::service::{Refusal, Service};
use super::told::{Told, address, lines, list, text};

pub(super) const BASES: &[&str] = &["http://169.254.169.254"];

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    service.always("Metadata", "true");
    let instance =
        service.required_json("/metadata/instance?api-version=2021-02-01&format=json")?;
    let mut told = Told::default();
    let meta_data = &mut told.meta_data;
    meta_data.instance_id = text(&instance, "/compute/vmId");
    meta_data.hostname = text(&instance, "/compute/osProfile/computerName")
        .or_else(|| text(&instance, "/compute/name"));
    meta_data.region = text(&instance, "/compute/location");
    meta_data.zone = text(&instance, "/compute/zone");
    let keys: Vec<_> = list(&instance, "/compute/publicKeys")
        .iter()
        .filter_map(|key| text(key, "/keyData"))
        // It may have been wrapped where it was pasted.
        .map(|key| key.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    meta_data.public_keys = lines(keys.iter().map(String::as_str));
    const FIRST: &str = "/network/interface/0/ipv4/ipAddress/0";
    meta_data.private_ipv4 = address(&instance, &format!("{FIRST}/privateIpAddress"));
    meta_data.public_ipv4 = address(&instance, &format!("{FIRST}/publicIpAddress"));
    meta_data.private_ipv6 =
        address(&instance, "/network/interface/0/ipv6/ipAddress/0/privateIpAddress");
    told.set_base64(text(&instance, "/compute/userData").as_deref());
    Ok(told)
}
