//! `ds=nocloud;s=ADDRESS/;h=HOSTNAME;i=ID`, in the serial number that the firmware has for the
//! machine or on the kernel command line: where the files of a NoCloud disc are on the net, or the
//! little of them that fits in there.

use std::error::Error;
use std::time::Instant;

use cloud_config::MAX_USER_DATA;
use cloud_config::network::Format;
use host::error::chain;
use host::http::{Fetch, FetchError};

use super::smbios::Smbios;
use super::{
    ConfigUrl, Found, Glance, MetaData, Need, NetworkDescription, Places, SourceName, Survey,
    Uplink, parameters,
};

/// What such a line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seed {
    /// `s`, `seedfrom`: an address, to which the names of the files are added.
    address: Option<String>,
    /// `h`, `local-hostname`.
    hostname: Option<String>,
    /// `i`, `instance-id`.
    instance_id: Option<String>,
}

pub(super) fn look(places: &Places, uplink: &mut dyn Uplink, survey: &mut Survey) {
    let start = Instant::now();
    let of_line = parameters(&places.command_line, "ds").last();
    let of_line = of_line.and_then(|value| Some(("kernel command line", seed(&value)?)));
    let serial = Smbios::read(&places.sysfs).serial.unwrap_or_default();
    let of_serial = serial.trim().strip_prefix("ds=").and_then(seed);
    let (place, glance) = match of_line.or(of_serial.map(|seed| ("serial number", seed))) {
        None => ("no ds=nocloud".to_owned(), Glance::Absent),
        Some((place, seed)) => {
            let shown = seed.address.as_deref().map(host::http::redacted).unwrap_or_default();
            let glance = match read(&seed, place, places, uplink) {
                Ok(found) => Glance::Holds(Box::new(found)),
                Err(error) => Glance::Failed(chain(&*error)),
            };
            (format!("ds=nocloud {shown} ({place})").replace("  ", " "), glance)
        }
    };
    survey.note(SourceName::NoCloud, place, start, glance);
}

/// `value` is what follows `ds=`.
fn seed(value: &str) -> Option<Seed> {
    let mut words = value.trim().split(';');
    if !matches!(words.next()?, "nocloud" | "nocloud-net") {
        return None;
    }
    let mut seed = Seed::default();
    for word in words {
        let Some((key, value)) = word.split_once('=') else { continue };
        let slot = match key {
            "s" | "seedfrom" => &mut seed.address,
            "h" | "local-hostname" => &mut seed.hostname,
            "i" | "instance-id" => &mut seed.instance_id,
            _ => continue,
        };
        *slot = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
    Some(seed)
}

fn read(
    seed: &Seed,
    place: &str,
    places: &Places,
    uplink: &mut dyn Uplink,
) -> Result<Found, Box<dyn Error + Send + Sync>> {
    let mut found =
        Found { source: SourceName::NoCloud, place: place.to_owned(), ..Found::empty() };
    if let Some(address) = &seed.address {
        uplink.up(Need::Net)?;
        let get = |name: &str| -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
            let url = ConfigUrl::new(&format!("{address}{name}"))?;
            let limit = MAX_USER_DATA as u64;
            let how = Fetch { limit, roots: places.roots.clone(), ..Fetch::default() };
            match host::http::fetch(url.as_str(), &how) {
                Ok(bytes) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
                Err(FetchError::Status { status: 404 | 410, .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        found.place = host::http::redacted(address);
        let meta_data = get("meta-data")?;
        let user_data = get("user-data")?;
        if meta_data.is_none() && user_data.is_none() {
            return Err("there is neither user-data nor meta-data".into());
        }
        if let Some(bytes) = meta_data {
            match MetaData::from_yaml(&bytes, &mut found.notes) {
                Ok(meta_data) => found.meta_data = meta_data,
                Err(reason) => found.notes.push(format!("meta-data is not used: {reason}")),
            }
        }
        found.network = get("network-config")?
            .map(|text| NetworkDescription { format: Format::NetworkConfig, text });
        let vendor_data = get("vendor-data")?;
        found.take_user_data(user_data, vendor_data);
    }
    // What stands in the line itself is nearer to the machine.
    if seed.hostname.is_some() {
        found.meta_data.hostname.clone_from(&seed.hostname);
    }
    if seed.instance_id.is_some() {
        found.meta_data.instance_id.clone_from(&seed.instance_id);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_address_host_and_id() {
        let full = Seed {
            address: Some("http://192.0.2.80/seed/".to_owned()),
            hostname: Some("node".to_owned()),
            instance_id: Some("i-1".to_owned()),
        };
        let cases = [
            ("nocloud;s=http://192.0.2.80/seed/;h=node;i=i-1", Some(full.clone())),
            (
                "nocloud-net;seedfrom=http://192.0.2.80/seed/;local-hostname=node;instance-id=i-1;x",
                Some(full),
            ),
            ("nocloud", Some(Seed::default())),
            ("nocloud;h=", Some(Seed::default())),
            ("ec2", None),
            ("", None),
            ("nocloudy;s=http://a/", None),
        ];
        for (line, expected) in cases {
            assert_eq!(seed(line), expected, "{line}");
        }
    }
}
