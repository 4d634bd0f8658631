//! A node's own control group: two systemds in one would end each other's services.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Error, Result};

/// For the last processes of a killed system to be gone.
const GONE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Where version 2 is: beside version 1, or alone.
const HIERARCHIES: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// A group that lasts as long as this value.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A new one for the node `name` of this process.
    pub(super) fn new(name: &str) -> Result<Self> {
        let found = HIERARCHIES.iter().find(|path| Path::new(path).join("cgroup.procs").exists());
        let hierarchy = Path::new(found.unwrap_or(&HIERARCHIES[1]));
        let path = hierarchy.join(format!("coreos-nodes-{}", std::process::id())).join(name);
        fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        Ok(Self { path })
    }

    /// Its folder. Who writes its number into `cgroup.procs` there is in it, and so are its
    /// children.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let deadline = Deadline::after(GONE);
        // Busy while a process of it is not reaped.
        while remove(&self.path).is_err() && deadline.pause(POLL) {}
        // Goes with the last node.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

/// Removes a group with those below. Their files go by themselves, and could not be removed.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
