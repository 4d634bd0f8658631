//! The keys of guestinfo → a configuration.

use std::fmt::Write as _;
use std::io::Read;
use std::net::IpAddr;

use cloud_config::network::Format;
use cloud_config::{Address, MAX_USER_DATA};
use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::ovf;
use crate::source::metadata::{MetaData, parse_yaml};
use crate::source::platform::base64;
use crate::source::{ConfigUrl, Found, NetworkDescription};

/// More interfaces, addresses, routes or servers than any machine has.
const MOST: usize = 32;
/// What stands for a value that was taken away after use.
const TAKEN: &[u8] = b"---";
/// How a configuration under another system's key must begin.
const HEADER: &[u8] = b"#cloud-config";

/// What knows the variables of guestinfo.
pub trait GuestInfo {
    /// The value of `guestinfo.KEY`, if there is one; an error says why it cannot be had.
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String>;
}

/// What the variables come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// All that they say, its user-data perhaps not yet.
    pub(in crate::source) found: Box<Found>,
    pub(in crate::source) wanted: Wanted,
}

/// What is still to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) enum Wanted {
    /// Nothing.
    Nothing,
    /// The user-data, at this address.
    Address(ConfigUrl),
}

/// Asks for every variable that makes up a configuration.
pub fn understand(info: &mut dyn GuestInfo) -> Result<Answer, String> {
    let mut answer = read(info, "guestinfo")?;
    if answer.found.user_data.is_empty()
        && answer.wanted == Wanted::Nothing
        && let Some(xml) = present(info, "ovfenv")?
    {
        match ovf::properties(&xml) {
            Ok(properties) => {
                let bare = answer.found.is_bare();
                let of_ovf = properties_answer(properties)?;
                if bare || !of_ovf.found.user_data.is_empty() || of_ovf.wanted != Wanted::Nothing {
                    answer = of_ovf;
                }
            }
            Err(reason) => {
                answer.found.notes.push(format!("guestinfo.ovfenv is not used: {reason}"));
            }
        }
    }
    Ok(answer)
}

/// The same of the properties of an OVF environment, which may use the plain names of
/// appliances, too.
pub(in crate::source) fn properties_answer(
    mut properties: ovf::Properties,
) -> Result<Answer, String> {
    let mut answer = read(&mut properties, "OVF environment")?;
    let found = &mut answer.found;
    if found.user_data.is_empty()
        && answer.wanted == Wanted::Nothing
        && let Some(user_data) = properties.value("user-data")
    {
        // In base64, as appliances want it; else as it stands.
        found.user_data = base64(user_data).unwrap_or_else(|| user_data.as_bytes().to_vec());
        found.place.push_str(": user-data");
    }
    let text = |key: &str| {
        let text = properties.value(key).map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let meta_data = &mut found.meta_data;
    meta_data.hostname = meta_data.hostname.take().or_else(|| text("hostname"));
    meta_data.instance_id = meta_data.instance_id.take().or_else(|| text("instance-id"));
    if let Some(keys) = text("public-keys") {
        meta_data.public_keys.extend(keys.lines().map(|line| line.trim().to_owned()));
    }
    Ok(answer)
}

fn read(info: &mut dyn GuestInfo, place: &str) -> Result<Answer, String> {
    let mut found = Box::new(Found::of_vmware(place));
    let mut wanted = Wanted::Nothing;
    if let Some(bytes) = encoded(info, "metadata", &mut found)? {
        cloud_init_meta_data(&bytes, &mut found);
    }
    let lines = network_lines(info, &mut found.meta_data)?;
    if !lines.is_empty() {
        let text = lines.into_bytes();
        found.network = Some(NetworkDescription { format: Format::Guestinfo, text });
    }
    if let Some(name) = present_text(info, "hostname")? {
        found.meta_data.hostname = Some(name);
    }
    for key in ["coreos.config.data", "ignition.config.data", "userdata", "vendordata"] {
        let Some(bytes) = encoded(info, key, &mut found)? else { continue };
        if key == "ignition.config.data" && !bytes.starts_with(HEADER) {
            found.notes.push(format!("{key} is not used: it is not a cloud-config"));
            continue;
        }
        if bytes.len() > MAX_USER_DATA {
            return Err(format!("{key} is larger than {MAX_USER_DATA} bytes"));
        }
        found.place = format!("{place}: {key}");
        found.user_data = bytes;
        break;
    }
    if found.user_data.is_empty()
        && let Some(url) = present_text(info, "coreos.config.url")?
    {
        found.place = format!("{place}: coreos.config.url");
        wanted = Wanted::Address(ConfigUrl::new(&url).map_err(|error| error.to_string())?);
    }
    Ok(Answer { found, wanted })
}

/// A variable that has a value.
fn present(info: &mut dyn GuestInfo, key: &str) -> Result<Option<Vec<u8>>, String> {
    let value = info.get(key)?;
    Ok(value.filter(|value| !value.trim_ascii().is_empty() && value.trim_ascii() != TAKEN))
}

fn present_text(info: &mut dyn GuestInfo, key: &str) -> Result<Option<String>, String> {
    let value = present(info, key)?;
    Ok(value.map(|value| String::from_utf8_lossy(&value).trim().to_owned()))
}

/// A variable whose encoding is the value of another. One that cannot be decoded is told.
fn encoded(
    info: &mut dyn GuestInfo,
    key: &str,
    found: &mut Found,
) -> Result<Option<Vec<u8>>, String> {
    let Some(value) = present(info, key)? else { return Ok(None) };
    let encoding = present_text(info, &format!("{key}.encoding"))?.unwrap_or_default();
    match decode(&value, &encoding) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(reason) => {
            found.notes.push(format!("{key} is not used: {reason}"));
            Ok(None)
        }
    }
}

fn decode(value: &[u8], encoding: &str) -> Result<Vec<u8>, String> {
    let of_base64 = |value: &[u8]| {
        let text = std::str::from_utf8(value).ok();
        text.and_then(base64).ok_or_else(|| "it is not base64".to_owned())
    };
    match encoding.to_ascii_lowercase().as_str() {
        "" => Ok(value.to_vec()),
        "b64" | "base64" => of_base64(value),
        "gz" | "gzip" => unpack(value),
        "gz+b64" | "gzip+b64" | "gz+base64" | "gzip+base64" => unpack(&of_base64(value)?),
        other => Err(format!("its encoding {other:?} is not known")),
    }
}

/// Of a packed value no more than any configuration may have, and a byte.
fn unpack(value: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = MAX_USER_DATA as u64 + 1;
    let read = MultiGzDecoder::new(value).take(limit).read_to_end(&mut bytes);
    read.map_err(|error| format!("it is not gzip: {error}"))?;
    Ok(bytes)
}

/// cloud-init's meta-data, which may describe the network, too.
fn cloud_init_meta_data(bytes: &[u8], found: &mut Found) {
    match MetaData::from_yaml(bytes, &mut found.notes) {
        Ok(meta_data) => found.meta_data = meta_data,
        Err(reason) => {
            found.notes.push(format!("metadata is not used: {reason}"));
            return;
        }
    }
    let tree = std::str::from_utf8(bytes).ok().and_then(|text| parse_yaml(text).ok());
    let tree = tree.unwrap_or(Value::Null);
    let text = match tree.get("network") {
        Some(Value::String(packed)) => {
            let encoding = tree.get("network.encoding").and_then(Value::as_str).unwrap_or_default();
            match decode(packed.as_bytes(), encoding) {
                Ok(text) => text,
                Err(reason) => {
                    found.notes.push(format!("network in metadata is not used: {reason}"));
                    return;
                }
            }
        }
        // JSON is YAML.
        Some(network @ Value::Object(_)) => network.to_string().into_bytes(),
        _ => return,
    };
    found.network = Some(NetworkDescription { format: Format::NetworkConfig, text });
}

/// `interface.N.…` and `dns.…` as lines, and the addresses among them whose role is said.
fn network_lines(info: &mut dyn GuestInfo, meta_data: &mut MetaData) -> Result<String, String> {
    let mut lines = String::new();
    for number in 0..MOST {
        let before = lines.len();
        let prefix = format!("interface.{number}");
        for key in ["name", "mac", "dhcp", "role"] {
            line(info, &format!("{prefix}.{key}"), &mut lines)?;
        }
        let role = present_text(info, &format!("{prefix}.role"))?;
        for index in 0..MOST {
            let key = format!("{prefix}.ip.{index}.address");
            let Some(address) = line(info, &key, &mut lines)? else { break };
            if let (Some(role), Ok(address)) = (&role, address.parse::<Address>()) {
                take_address(role, address.ip, meta_data);
            }
        }
        for index in 0..MOST {
            let key = format!("{prefix}.route.{index}");
            if line(info, &format!("{key}.gateway"), &mut lines)?.is_none() {
                break;
            }
            line(info, &format!("{key}.destination"), &mut lines)?;
        }
        if lines.len() == before {
            break;
        }
    }
    // Servers without an interface that is described say nothing.
    if lines.is_empty() {
        return Ok(lines);
    }
    for prefix in ["dns.server", "dns.domain"] {
        for index in 0..MOST {
            if line(info, &format!("{prefix}.{index}"), &mut lines)?.is_none() {
                break;
            }
        }
    }
    Ok(lines)
}

/// Adds the line of a variable that has a value.
fn line(info: &mut dyn GuestInfo, key: &str, lines: &mut String) -> Result<Option<String>, String> {
    let value = present_text(info, key)?.filter(|value| !value.contains(char::is_control));
    if let Some(value) = &value {
        writeln!(lines, "{key}={value}").expect("writing to a String cannot fail");
    }
    Ok(value)
}

fn take_address(role: &str, ip: IpAddr, meta_data: &mut MetaData) {
    match (role, ip) {
        ("private", IpAddr::V4(ip)) => _ = meta_data.private_ipv4.get_or_insert(ip),
        ("private", IpAddr::V6(ip)) => _ = meta_data.private_ipv6.get_or_insert(ip),
        ("public", IpAddr::V4(ip)) => _ = meta_data.public_ipv4.get_or_insert(ip),
        ("public", IpAddr::V6(ip)) => _ = meta_data.public_ipv6.get_or_insert(ip),
        _ => {}
    }
}
