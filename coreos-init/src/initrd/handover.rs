//! The end of the initrd: the root becomes `/`, the service manager becomes the process.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot, execv};

use super::mounts::{self, MountError};

/// The service manager inside the root.
const SERVICE_MANAGER: &str = "/usr/lib/systemd/systemd";

/// What stops a handover.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    /// A mount could not be taken along.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The root could not be made `/`.
    #[error("cannot switch to the new root")]
    Switch(#[source] io::Error),
    /// The service manager could not be started.
    #[error("cannot run {SERVICE_MANAGER}")]
    Execute(#[source] io::Error),
}

/// Takes the kernel's file systems along, empties the initrd, makes `root` the new `/` and
/// runs the service manager in this process.
///
/// # Errors
///
/// Only ever returns with one: the step that failed.
pub(super) fn hand_over(root: &Path) -> Result<Infallible, HandoverError> {
    let switch = |e: nix::Error| HandoverError::Switch(e.into());
    for point in ["dev", "proc", "sys", "run"] {
        mounts::relocate(&Path::new("/").join(point), &root.join(point))?;
    }
    let initrd = fs::metadata("/").map_err(HandoverError::Switch)?.dev();
    chdir(root).map_err(switch)?;
    empty(Path::new("/"), initrd);
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).map_err(switch)?;
    chroot(".").map_err(switch)?;
    chdir("/").map_err(switch)?;

    let program = CString::new(SERVICE_MANAGER).expect("a constant without NUL");
    execv(&program, &[&program]).map_err(|e| HandoverError::Execute(e.into()))
}

/// Frees the memory of the initrd: removes everything of the file system `device` below
/// `directory`. What cannot be removed only costs memory.
fn empty(directory: &Path, device: u64) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(meta) if meta.dev() != device => {}
            Ok(meta) if meta.is_dir() => {
                empty(&path, device);
                let _ = fs::remove_dir(&path);
            }
            _ => {
                let _ = fs::remove_file(&path);
            }
        }
    }
}
