//! systemd's credentials, as a hypervisor or boot loader passes them: the configuration under
//! `coreos.config`, with `coreos.meta-data` and `coreos.network-config` beside it.
//!
//! ```text
//! fw_cfg    opt/io.systemd.credentials/NAME
//! SMBIOS    type 11: io.systemd.credential:NAME=VALUE, io.systemd.credential.binary:NAME=BASE64
//! kernel    systemd.set_credential=NAME:VALUE, systemd.set_credential_binary=NAME:BASE64
//! ```
//!
//! All others are systemd's: it takes them itself when it starts.

use std::path::Path;
use std::time::Instant;

use cloud_config::MAX_USER_DATA;
use cloud_config::network::Format;

use super::platform::base64;
use super::smbios::Smbios;
use super::{
    Found, Glance, MetaData, NetworkDescription, Places, SourceName, Survey, fw_cfg, parameters,
};

/// Where fw_cfg has them.
const FW_CFG: &str = "opt/io.systemd.credentials";
/// The configuration.
const CONFIG: &str = "coreos.config";
const META_DATA: &str = "coreos.meta-data";
const NETWORK: &str = "coreos.network-config";

pub(super) fn look(places: &Places, survey: &mut Survey) {
    let start = Instant::now();
    let smbios = Smbios::read(&places.sysfs);
    let (place, glance) = match read(places, &smbios) {
        Ok(None) => (format!("no {CONFIG}"), Glance::Absent),
        Ok(Some(found)) => (found.place.clone(), Glance::Holds(Box::new(found))),
        Err(reason) => (CONFIG.to_owned(), Glance::Failed(reason)),
    };
    survey.note(SourceName::Credentials, place, start, glance);
}

fn read(places: &Places, smbios: &Smbios) -> Result<Option<Found>, String> {
    let get = |name: &str| credential(name, &places.sysfs, &places.command_line, smbios);
    let (config, meta_data, network) = (get(CONFIG)?, get(META_DATA)?, get(NETWORK)?);
    if config.is_none() && meta_data.is_none() && network.is_none() {
        return Ok(None);
    }
    let mut found = Found { source: SourceName::Credentials, ..Found::empty() };
    if let Some((place, text)) = network {
        found.place = format!("{NETWORK} ({place})");
        found.network = Some(NetworkDescription { format: Format::NetworkConfig, text });
    }
    if let Some((place, bytes)) = meta_data {
        found.place = format!("{META_DATA} ({place})");
        match MetaData::from_yaml(&bytes, &mut found.notes) {
            Ok(meta_data) => found.meta_data = meta_data,
            Err(reason) => found.notes.push(format!("{META_DATA} is not used: {reason}")),
        }
    }
    if let Some((place, bytes)) = config {
        if bytes.len() > MAX_USER_DATA {
            return Err(format!("{CONFIG} is larger than {MAX_USER_DATA} bytes"));
        }
        found.place = format!("{CONFIG} ({place})");
        found.user_data = bytes;
    }
    Ok(Some(found))
}

/// A credential, and by which way it came. Each way is looked at in the order of systemd's own
/// import; a value in base64 that is none is an error.
fn credential(
    name: &str,
    sysfs: &Path,
    command_line: &str,
    smbios: &Smbios,
) -> Result<Option<(&'static str, Vec<u8>)>, String> {
    match fw_cfg::value(sysfs, &format!("{FW_CFG}/{name}")) {
        Ok(Some(bytes)) => return Ok(Some(("fw_cfg", bytes))),
        Ok(None) => {}
        Err(error) => return Err(format!("cannot read {FW_CFG}/{name}: {error}")),
    }
    let decoded = |value: &str, way: &'static str| {
        base64(value).map(|bytes| Some((way, bytes))).ok_or(format!("{name} is not base64 ({way})"))
    };
    for string in &smbios.strings {
        let assigned =
            |prefix: &str| string.strip_prefix(prefix)?.strip_prefix(name)?.strip_prefix('=');
        if let Some(value) = assigned("io.systemd.credential:") {
            return Ok(Some(("SMBIOS", value.as_bytes().to_vec())));
        }
        if let Some(value) = assigned("io.systemd.credential.binary:") {
            return decoded(value, "SMBIOS");
        }
    }
    let last = |parameter| {
        let values = parameters(command_line, parameter);
        values
            .filter_map(|value| Some(value.strip_prefix(name)?.strip_prefix(':')?.to_owned()))
            .last()
    };
    if let Some(value) = last("systemd.set_credential") {
        return Ok(Some(("kernel command line", value.into_bytes())));
    }
    match last("systemd.set_credential_binary") {
        Some(value) => decoded(&value, "kernel command line"),
        None => Ok(None),
    }
}
