//! What the installer has left for this machine: the directory `coreos` of the EFI partition that
//! the system started from.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use cloud_config::MAX_USER_DATA;
use cloud_config::network::Format;
use disk::disc::{self, Disc, DiscError};
use disk::layout::Role;
use host::error::chain;

use super::{Found, Glance, MetaData, NetworkDescription, Places, SourceName, Survey, USER_DATA};

/// The label of the partition's file system.
const LABEL: &str = "ESP";
/// The files, as `coreos-install` places them.
const FILES: [&str; 3] = ["coreos/user-data", "coreos/meta-data", "coreos/network-config"];
/// The largest file but user-data.
const MAX_OTHER: u64 = 1 << 20;

pub(super) fn look(places: &Places, survey: &mut Survey) {
    for disk in &places.exclude {
        let start = Instant::now();
        let node = places.dev.join(partition(disk, Role::Esp.number()));
        let place = format!("/dev/{}", partition(disk, Role::Esp.number()));
        survey.note(SourceName::Installed, place.clone(), start, glance(&node, &place));
    }
}

fn glance(node: &Path, place: &str) -> Glance {
    let Ok(file) = File::open(node) else { return Glance::Absent };
    let mut volume = match disc::open(file) {
        Ok(volume) if volume.has_label(LABEL) => volume,
        // The boot loader's business, not this program's: the machine did start.
        Ok(_) | Err(_) => return Glance::Absent,
    };
    match read(place, &mut volume) {
        Ok(Some(found)) => Glance::Holds(Box::new(found)),
        Ok(None) => Glance::Absent,
        Err(error) => Glance::Failed(chain(&error)),
    }
}

fn read(place: &str, volume: &mut Disc<File>) -> Result<Option<Found>, DiscError> {
    let [user_data, meta_data, network_config] = FILES;
    let Some(bytes) = volume.read(user_data, MAX_USER_DATA as u64)? else { return Ok(None) };
    let mut found = Found {
        source: SourceName::Installed,
        place: format!("{place}: {user_data}"),
        name: USER_DATA.to_owned(),
        user_data: bytes,
        meta_data: MetaData::default(),
        network: None,
        notes: Vec::new(),
    };
    if let Some(text) = volume.read(meta_data, MAX_OTHER)? {
        match MetaData::from_yaml(&text, &mut found.notes) {
            Ok(meta_data) => found.meta_data = meta_data,
            Err(reason) => found.notes.push(format!("{meta_data} is not used: {reason}")),
        }
    }
    found.network = volume
        .read(network_config, MAX_OTHER)?
        .map(|text| NetworkDescription { format: Format::NetworkConfig, text });
    Ok(Some(found))
}

/// The kernel's name of a disk's partition: `vda1`, `nvme0n1p1`.
fn partition(disk: &str, number: u32) -> String {
    let between = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{between}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_the_name_that_the_kernel_gives_it() {
        assert_eq!(partition("vda", 1), "vda1");
        assert_eq!(partition("nvme0n1", 1), "nvme0n1p1");
    }
}
