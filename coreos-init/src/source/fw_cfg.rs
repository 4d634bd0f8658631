//! QEMU's firmware configuration device: `-fw_cfg name=NAME,file=FILE`, as the kernel's
//! `qemu_fw_cfg` module shows it in sysfs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use cloud_config::MAX_USER_DATA;

use super::{Found, Glance, Places, SourceName, Survey};

/// Where the module shows what it has, below sysfs.
const BY_NAME: &str = "firmware/qemu_fw_cfg/by_name";
/// The name of our own.
const OWN: &str = "opt/coreos-init/user-data";
/// Names at which other systems expect their configuration, which may be of another language.
const SHARED: [&str; 2] = ["opt/com.coreos/config", "opt/org.flatcar-linux/config"];
/// How a configuration under a shared name must begin.
const HEADER: &[u8] = b"#cloud-config";

pub(super) fn look(places: &Places, survey: &mut Survey) {
    let by_name = places.sysfs.join(BY_NAME);
    let mut any = false;
    for name in [OWN].into_iter().chain(SHARED) {
        let start = Instant::now();
        let glance = match value(&places.sysfs, name) {
            Ok(None) => continue,
            Err(error) => Glance::Failed(format!("cannot read it: {error}")),
            Ok(Some(user_data)) => judge(name, user_data),
        };
        any = true;
        survey.note(SourceName::FwCfg, name.to_owned(), start, glance);
        if survey.is_done() {
            return;
        }
    }
    if !any {
        let place = if by_name.is_dir() { OWN } else { "no such device" };
        survey.note(SourceName::FwCfg, place.to_owned(), Instant::now(), Glance::Absent);
    }
}

fn judge(name: &str, user_data: Vec<u8>) -> Glance {
    if user_data.len() > MAX_USER_DATA {
        return Glance::Failed(format!("it is larger than {MAX_USER_DATA} bytes"));
    }
    if user_data.is_empty() {
        return Glance::Empty;
    }
    if name != OWN && !user_data.starts_with(HEADER) {
        return Glance::Failed("it is not a cloud-config".to_owned());
    }
    Glance::Holds(Box::new(Found {
        source: SourceName::FwCfg,
        place: name.to_owned(),
        user_data,
        ..Found::empty()
    }))
}

/// What the device has under this name, at most one byte more than any configuration has.
pub(super) fn value(sysfs: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match read(&sysfs.join(BY_NAME).join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What the device holds at `entry`, at most one byte more than any configuration has.
///
/// The kernel skips to the place of every read byte by byte, each an exit from the virtual
/// machine: the fewer reads, the better. So the buffer has the whole size from the start.
fn read(entry: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(entry.join("raw"))?;
    let size = fs::read_to_string(entry.join("size"))?;
    let size = size.trim().parse::<usize>().map_err(io::Error::other)?.min(MAX_USER_DATA + 1);
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match file.read(&mut bytes[filled..])? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
