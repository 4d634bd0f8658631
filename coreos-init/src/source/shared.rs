//! Directories that the hypervisor shares under the name of a config drive: virtiofs and 9p, with
//! the tag `config-2` or `cidata`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::config_files::{self, Files};
use super::disc::LABELS;
use super::file::read_limited;
use super::{Glance, Places, SourceName, Survey};

/// A way to share: the file system, where the kernel shows its tags below sysfs, the file there,
/// and how it is mounted.
type Way = (&'static str, &'static str, &'static str, Option<&'static str>);

const WAYS: [Way; 2] = [
    ("virtiofs", "fs/virtiofs", "tag", None),
    ("9p", "bus/virtio/drivers/9pnet_virtio", "mount_tag", Some("trans=virtio,version=9p2000.L")),
];
/// Where such a directory is mounted for a moment.
const MOUNT_POINT: &str = "/run/coreos/config-drive";

pub(super) fn look(places: &Places, survey: &mut Survey) {
    for (way, tag) in shares(&places.sysfs) {
        let start = Instant::now();
        let place = format!("{} share {tag}", way.0);
        let glance = match read(&place, way, &tag) {
            Ok(found) => Glance::Holds(Box::new(found)),
            Err(reason) => Glance::Failed(reason),
        };
        survey.note(SourceName::Disc, place, start, glance);
        if survey.is_done() {
            return;
        }
    }
}

/// The shares whose tag says that they are for this.
fn shares(sysfs: &Path) -> Vec<(Way, String)> {
    let mut shares = Vec::new();
    for way in WAYS {
        let (_, directory, file, _) = way;
        let Ok(devices) = fs::read_dir(sysfs.join(directory)) else { continue };
        let mut tags: Vec<_> = devices
            .filter_map(Result::ok)
            .filter_map(|device| fs::read_to_string(device.path().join(file)).ok())
            // The kernel ends some as a C string.
            .map(|tag| tag.trim_matches(['\0', '\n', ' ']).to_owned())
            .filter(|tag| LABELS.iter().any(|label| label.eq_ignore_ascii_case(tag)))
            .collect();
        tags.sort();
        shares.extend(tags.into_iter().map(|tag| (way, tag)));
    }
    shares
}

fn read(place: &str, way: Way, tag: &str) -> Result<super::Found, String> {
    let mounted = Mounted::new(way, tag).map_err(|error| format!("cannot mount it: {error}"))?;
    config_files::read(place, &mut Directory(mounted.point.clone()))
}

/// A share that is mounted as long as this lives.
struct Mounted {
    point: PathBuf,
}

impl Mounted {
    fn new((kind, _, _, options): Way, tag: &str) -> io::Result<Mounted> {
        let point = PathBuf::from(MOUNT_POINT);
        fs::create_dir_all(&point)?;
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some(tag), &point, Some(kind), flags, options)?;
        Ok(Mounted { point })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.point);
    }
}

/// A directory with the files of a config drive.
pub(super) struct Directory(pub(super) PathBuf);

impl Files for Directory {
    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match read_limited(&self.0.join(path), limit) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(format!("`{path}` is larger than {limit} bytes")),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(format!("cannot read `{path}`: {error}")),
            },
        }
    }

    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shares_of_that_name_are_looked_at() {
        let sysfs = tempfile::tempdir().unwrap();
        assert!(shares(sysfs.path()).is_empty());
        for (file, tag) in [
            ("bus/virtio/drivers/9pnet_virtio/virtio1/mount_tag", "home\0"),
            ("bus/virtio/drivers/9pnet_virtio/virtio2/mount_tag", "config-2\0"),
            ("bus/virtio/drivers/9pnet_virtio/virtio3/mount_tag", "CIDATA"),
            ("fs/virtiofs/4/tag", "config-2\n"),
            ("fs/virtiofs/5/tag", "docker\n"),
        ] {
            let path = sysfs.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, tag).unwrap();
        }
        let found: Vec<_> =
            shares(sysfs.path()).into_iter().map(|(way, tag)| (way.0, tag)).collect();
        let expected = [("virtiofs", "config-2"), ("9p", "CIDATA"), ("9p", "config-2")]
            .map(|(way, tag)| (way, tag.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_directory_is_read_as_a_disc_is() {
        let root = tempfile::tempdir().unwrap();
        let latest = root.path().join("openstack/latest");
        fs::create_dir_all(&latest).unwrap();
        fs::write(latest.join("user_data"), "#cloud-config\n").unwrap();
        fs::write(latest.join("meta_data.json"), r#"{"hostname": "a"}"#).unwrap();
        let found = config_files::read("here", &mut Directory(root.path().to_owned())).unwrap();
        assert_eq!(found.place, "here: openstack/latest/user_data");
        assert_eq!(found.meta_data.hostname.as_deref(), Some("a"));
        let large = vec![b' '; cloud_config::MAX_USER_DATA + 1];
        fs::write(latest.join("user_data"), large).unwrap();
        assert!(config_files::read("here", &mut Directory(root.path().to_owned())).is_err());
    }
}
