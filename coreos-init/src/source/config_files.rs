//! The files of a config drive or NoCloud seed, wherever they lie → what they say.
//!
//! It is either OpenStack's tree (`openstack/latest/user_data`) or plain files (`user-data`,
//! `meta-data`, `network-config`), whatever the label says.

use cloud_config::MAX_USER_DATA;
use cloud_config::network::Format;
use serde_json::Value;

use super::guestinfo::ovf;
use super::{Found, MetaData, NetworkDescription, SourceName, USER_DATA, guestinfo};

/// Where user-data may lie; the first that is not empty counts.
const USER_DATA_PATHS: [&str; 3] = ["openstack/latest/user_data", "user-data", "user_data"];
/// NoCloud's second user-data, from whoever offers the machine.
const VENDOR_DATA: &str = "vendor-data";
/// OpenStack's meta-data.
const META_DATA_JSON: &str = "openstack/latest/meta_data.json";
/// What OpenStack writes for those who know EC2's form; it alone has addresses.
const EC2_META_DATA: &str = "ec2/latest/meta-data.json";
/// NoCloud's meta-data.
const META_DATA_YAML: &str = "meta-data";
/// NoCloud's network configuration.
const NETWORK_CONFIG: &str = "network-config";
/// OpenStack's.
const NETWORK_DATA: &str = "openstack/latest/network_data.json";
/// VMware's OVF environment.
const OVF_ENV: &str = "ovf-env.xml";
/// The largest file but user-data.
const MAX_OTHER: u64 = 1 << 20;

/// A disc or directory with files.
pub(super) trait Files {
    /// The file at `path` of at most `limit` bytes, or none if there is no such file; an error
    /// says why it cannot be read.
    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, String>;
    /// What the operator should know of the files that were read.
    fn remarks(&self) -> Vec<String>;
}

/// What the files come to. `place` is where they are.
pub(super) fn read(place: &str, files: &mut dyn Files) -> Result<Found, String> {
    let mut found = Found { source: SourceName::Disc, place: place.to_owned(), ..Found::empty() };
    read_meta_data(files, &mut found)?;
    read_network(files, &mut found)?;
    let mut user_data = None;
    for path in USER_DATA_PATHS {
        if let Some(bytes) = present(files, path, MAX_USER_DATA as u64)? {
            user_data = Some(bytes);
            found.place = format!("{place}: {path}");
            break;
        }
    }
    let vendor_data = present(files, VENDOR_DATA, MAX_USER_DATA as u64)?;
    found.take_user_data(user_data, vendor_data);
    if found.user_data.is_empty() && found.is_bare() {
        read_ovf(place, files, &mut found)?;
    }
    found.notes.extend(files.remarks());
    Ok(found)
}

/// Reads meta-data of either kind. One that makes no sense is told and does without: the
/// user-data beside it may be sound.
fn read_meta_data(files: &mut dyn Files, found: &mut Found) -> Result<(), String> {
    let (path, read) = if let Some(json) = present(files, META_DATA_JSON, MAX_OTHER)? {
        (META_DATA_JSON, MetaData::from_json(&json, &mut found.notes))
    } else if let Some(yaml) = present(files, META_DATA_YAML, MAX_OTHER)? {
        (META_DATA_YAML, MetaData::from_yaml(&yaml, &mut found.notes))
    } else {
        return Ok(());
    };
    match read {
        Ok(meta_data) => found.meta_data = meta_data,
        Err(reason) => found.notes.push(format!("{path} is not used: {reason}")),
    }
    if let Some(json) = present(files, EC2_META_DATA, MAX_OTHER)?
        && let Ok(more) = MetaData::from_json(&json, &mut Vec::new())
    {
        let meta_data = &mut found.meta_data;
        meta_data.private_ipv4 = meta_data.private_ipv4.or(more.private_ipv4);
        meta_data.public_ipv4 = meta_data.public_ipv4.or(more.public_ipv4);
    }
    Ok(())
}

/// Reads the description of the network: NoCloud's, else OpenStack's, else the old one that its
/// meta-data names.
fn read_network(files: &mut dyn Files, found: &mut Found) -> Result<(), String> {
    let mut described = |path: &str, format, files: &mut dyn Files| {
        let text = present(files, path, MAX_OTHER)?;
        found.network = text.map(|text| NetworkDescription { format, text });
        Ok::<_, String>(found.network.is_some())
    };
    if described(NETWORK_CONFIG, Format::NetworkConfig, files)?
        || described(NETWORK_DATA, Format::OpenStack, files)?
    {
        return Ok(());
    }
    let meta_data = present(files, META_DATA_JSON, MAX_OTHER)?.unwrap_or_default();
    let meta_data: Value = serde_json::from_slice(&meta_data).unwrap_or_default();
    let path = meta_data.pointer("/network_config/content_path").and_then(Value::as_str);
    if let Some(path) = path {
        let path = format!("openstack/{}", path.trim_start_matches('/'));
        described(&path, Format::Debian, files)?;
    }
    Ok(())
}

/// Reads the OVF environment that VMware puts on a disc where the appliance asks for that.
fn read_ovf(place: &str, files: &mut dyn Files, found: &mut Found) -> Result<(), String> {
    let Some(xml) = present(files, OVF_ENV, MAX_OTHER)? else { return Ok(()) };
    match ovf::properties(&xml).and_then(guestinfo::of_properties) {
        Ok(of_ovf) => {
            let place = format!("{place}: {}", of_ovf.place);
            *found = Found { source: SourceName::Disc, place, ..of_ovf };
        }
        Err(reason) => found.notes.push(format!("{OVF_ENV} is not used: {reason}")),
    }
    Ok(())
}

/// A file that is there and not empty.
fn present(files: &mut dyn Files, path: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
    Ok(files.read(path, limit)?.filter(|bytes| !bytes.is_empty()))
}

impl Found {
    /// Nothing of no place.
    pub(super) fn empty() -> Found {
        Found {
            source: SourceName::Disc,
            place: String::new(),
            name: USER_DATA.to_owned(),
            user_data: Vec::new(),
            meta_data: MetaData::default(),
            network: None,
            notes: Vec::new(),
        }
    }

    /// Takes user-data, and where there is none what the vendor wrote instead.
    pub(super) fn take_user_data(
        &mut self,
        user_data: Option<Vec<u8>>,
        vendor_data: Option<Vec<u8>>,
    ) {
        match (user_data, vendor_data) {
            (Some(user_data), vendor_data) => {
                self.user_data = user_data;
                if vendor_data.is_some() {
                    let note = "vendor-data is not used, as there is user-data";
                    self.notes.push(note.to_owned());
                }
            }
            (None, Some(vendor_data)) => {
                self.place.push_str(": vendor-data");
                self.user_data = vendor_data;
            }
            (None, None) => {}
        }
    }
}
