//! Config drives and NoCloud discs: any disk or disc of the machine, but the system's own, whose
//! label says that it is for this.
//!
//! names from sysfs → [`candidates`] → label → files
//!
//! Nothing is mounted.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Instant;

use disk::disc::{Disc, DiscError};
use host::error::chain;
use nix::libc;

use super::config_files::{self, Files};
use super::{Found, Glance, Places, SourceName, Survey};

/// Labels of config drives and NoCloud, in any case: FAT has upper case only.
pub(super) const LABELS: [&str; 2] = ["config-2", "cidata"];
/// Labels that VMware gives to a disc with an OVF environment.
const OVF_LABELS: [&str; 2] = ["OVF ENV", "OVFENV"];

pub(super) fn look(places: &Places, survey: &mut Survey) {
    let all = Instant::now();
    let mut others = Vec::new();
    let mut any = false;
    for device in candidates(&block_devices(&places.sysfs), &places.exclude) {
        let start = Instant::now();
        let path = places.dev.join(&device);
        let (place, glance) = match open(&path) {
            Sight::Other => {
                others.push(device);
                continue;
            }
            Sight::Broken(reason) => (format!("/dev/{device}"), Glance::Failed(reason)),
            Sight::Config(mut disc) => {
                let place = format!("/dev/{device} ({})", disc.label());
                let glance = match config_files::read(&place, &mut disc) {
                    Ok(found) => Glance::Holds(Box::new(found)),
                    Err(reason) => Glance::Failed(reason),
                };
                (place, glance)
            }
        };
        any = true;
        survey.note(SourceName::Disc, place, start, glance);
        if survey.is_done() {
            return;
        }
    }
    if !any {
        let place = match others.as_slice() {
            [] => "no disc".to_owned(),
            some => format!("none of {} is labelled {}", some.join(", "), LABELS.join(" or ")),
        };
        survey.note(SourceName::Disc, place, all, Glance::Absent);
    }
}

/// The image of a config disc as the configuration.
///
/// # Errors
/// Why it is none, in one line.
pub fn from_disc(path: &Path) -> Result<Found, String> {
    let place = path.display();
    match open(path) {
        Sight::Config(mut disc) => config_files::read(&place.to_string(), &mut disc)
            .map_err(|reason| format!("{place}: {reason}")),
        Sight::Broken(reason) => Err(format!("{place}: {reason}")),
        Sight::Other => Err(format!("{place} is no disc labelled {}", LABELS.join(" or "))),
    }
}

/// What a device is.
enum Sight {
    /// Not a config disc.
    Other,
    /// It says that it is one, or should be one as it is removable, but it cannot be read; why.
    Broken(String),
    Config(Disc<File>),
}

fn open(path: &Path) -> Sight {
    let file = match File::open(path) {
        Ok(file) => file,
        // An empty drive.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEDIUM | libc::ENXIO)) => {
            return Sight::Other;
        }
        Err(error) => return Sight::Broken(format!("cannot open it: {error}")),
    };
    match disk::disc::open(file) {
        Ok(disc) if LABELS.iter().chain(&OVF_LABELS).any(|label| disc.has_label(label)) => {
            Sight::Config(disc)
        }
        Ok(_) | Err(DiscError::Unknown) => Sight::Other,
        Err(error) => Sight::Broken(chain(&error)),
    }
}

impl<R: Read + Seek> Files for Disc<R> {
    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
        Disc::read(self, path, limit).map_err(|error| chain(&error))
    }

    fn remarks(&self) -> Vec<String> {
        let truncated = self.truncated().iter();
        let remark = |name: &disk::disc::Shortened| {
            format!(
                "{} is called {} on the disc: make it with Rock Ridge or Joliet names",
                name.wanted, name.found
            )
        };
        truncated.map(remark).collect()
    }
}

/// The names of all block devices, in no order.
fn block_devices(sysfs: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(sysfs.join("class/block")) else { return Vec::new() };
    let is_empty = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("size")).is_ok_and(|size| size.trim() == "0")
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| !is_empty(entry))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// A block device that may be a config disc. The order of the fields is the order of looking.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'a> {
    kind: usize,
    /// `sdaa` comes after `sdz`.
    disk_length: usize,
    disk: &'a str,
    partition: u32,
    name: &'a str,
}

/// Optical drives first, then disks; a disk before its partitions.
fn candidates(names: &[String], exclude: &[String]) -> Vec<String> {
    let mut candidates: Vec<_> = names
        .iter()
        .filter_map(|name| candidate(name))
        .filter(|candidate| {
            !exclude.iter().any(|name| name == candidate.disk || name == candidate.name)
        })
        .collect();
    candidates.sort();
    candidates.into_iter().map(|candidate| candidate.name.to_owned()).collect()
}

fn candidate(name: &str) -> Option<Candidate<'_>> {
    let (kind, prefix) = ["sr", "vd", "sd", "xvd", "nvme"]
        .into_iter()
        .enumerate()
        .find(|(_, p)| name.starts_with(p))?;
    let rest = &name[prefix.len()..];
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (disk, partition) = match prefix {
        "sr" => (name, is_number(rest).then_some("")?),
        "nvme" => {
            let (controller, rest) = rest.split_once('n')?;
            let (namespace, partition) = rest.split_once('p').unwrap_or((rest, ""));
            let well_formed = is_number(controller)
                && is_number(namespace)
                && partition.is_empty() != rest.contains('p');
            let disk = &name[..name.len() - (rest.len() - namespace.len())];
            (disk, well_formed.then_some(partition)?)
        }
        _ => {
            let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
            let (disk, partition) = name.split_at(prefix.len() + letters);
            (disk, (letters > 0).then_some(partition)?)
        }
    };
    let partition = if partition.is_empty() { 0 } else { partition.parse().ok()? };
    Some(Candidate { kind, disk_length: disk.len(), disk, partition, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_come_first_then_disks_each_before_its_partitions() {
        let names: Vec<_> = [
            "vdb10",
            "nvme0n1p2",
            "loop0",
            "vdaa",
            "sr1",
            "vda",
            "vda1",
            "vdb",
            "dm-0",
            "vdb2",
            "sda",
            "nvme0n1",
            "sr0",
            "ram0",
            "zram0",
            "fd0",
            "xvda1",
            "nvme0c0n1",
            "vd",
            "sdb1x",
            "sr",
            "srx",
            "nvme0n1p",
            "nvme0",
        ]
        .map(str::to_owned)
        .into();
        let exclude = ["vda".to_owned(), "nvme0n1p2".to_owned()];
        assert_eq!(
            candidates(&names, &exclude),
            ["sr0", "sr1", "vdb", "vdb2", "vdb10", "vdaa", "sda", "xvda1", "nvme0n1"]
        );
        assert_eq!(
            candidates(&names, &["nvme0n1".to_owned(), "sr0".to_owned()])[..3],
            ["sr1", "vda", "vda1"]
        );
    }
}
