//! Amazon EC2, by version 2 of its metadata service and where that is not spoken by version 1.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>

use super::service::{Refusal, Service};
use super::told::{Told, lines, parse_address};

/// By IPv4, and on machines of the Nitro kind by IPv6.
pub(super) const BASES: &[&str] = &["http://169.254.169.254", "http://[fd00:ec2::254]"];
/// The version that knows of IPv6, and what every service of this kind has.
const VERSIONS: [&str; 2] = ["2021-01-03", "latest"];
const TOKEN: &str = "X-aws-ec2-metadata-token";
/// How long the token is good for, in seconds: longer than the machine needs it.
const TOKEN_LIFE: (&str, &str) = ("X-aws-ec2-metadata-token-ttl-seconds", "300");

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    if let Some(token) = service.token("/latest/api/token", TOKEN_LIFE)? {
        service.always(TOKEN, token);
    }
    let mut version = VERSIONS[0];
    let mut instance_id = service.text(&format!("/{version}/meta-data/instance-id"))?;
    if instance_id.is_none() {
        version = VERSIONS[1];
        instance_id = service.text(&format!("/{version}/meta-data/instance-id"))?;
    }
    let mut told = Told::default();
    if instance_id.is_none() {
        return Err(service.nonsense("/latest/meta-data/instance-id", "there is none"));
    }
    let mut key = |key: &str| service.text(&format!("/{version}/meta-data/{key}"));
    let hostname = match key("local-hostname")? {
        None => key("hostname")?,
        some => some,
    };
    told.meta_data.instance_id = instance_id;
    // A machine in a network with several domains has several names here.
    told.meta_data.hostname =
        hostname.and_then(|names| names.split_whitespace().next().map(str::to_owned));
    told.meta_data.private_ipv4 = key("local-ipv4")?.and_then(|text| parse_address(&text));
    told.meta_data.public_ipv4 = key("public-ipv4")?.and_then(|text| parse_address(&text));
    told.meta_data.public_ipv6 = key("ipv6")?.and_then(|text| parse_address(&text));
    told.meta_data.zone = key("placement/availability-zone")?;
    told.meta_data.region = key("placement/region")?;
    let mut keys = Vec::new();
    for line in key("public-keys/")?.unwrap_or_default().lines() {
        let number = line.split('=').next().unwrap_or_default();
        if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() {
            keys.extend(key(&format!("public-keys/{number}/openssh-key"))?);
        }
    }
    told.meta_data.public_keys = lines(keys.iter().map(String::as_str));
    told.user_data = service.get(&format!("/{version}/user-data"))?.unwrap_or_default();
    Ok(told)
}
