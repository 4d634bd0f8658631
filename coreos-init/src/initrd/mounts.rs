//! The mounts of a booting machine, each with the flags it needs and no more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// A mount that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {what} on {target}")]
pub(super) struct MountError {
    /// The device or the kind of file system.
    pub(super) what: String,
    /// The mount point.
    pub(super) target: PathBuf,
    /// The kernel's reason.
    pub(super) source: io::Error,
}

/// Mounts the kernel's own file systems, without which nothing can be seen.
///
/// # Errors
///
/// The first mount that failed.
pub(super) fn kernel_interfaces() -> Result<(), MountError> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for (kind, target, flags, data) in [
        ("proc", "/proc", quiet, ""),
        ("sysfs", "/sys", quiet, ""),
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
        ("tmpfs", "/run", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755,size=20%"),
    ] {
        file_system(kind, kind, Path::new(target), flags, data)?;
    }
    Ok(())
}

/// Mounts `device`, which holds a file system of type `kind`, on `target`, creating the mount
/// point if it is missing.
///
/// # Errors
///
/// The mount that failed.
pub(super) fn file_system(
    device: &str,
    kind: &str,
    target: &Path,
    flags: MsFlags,
    data: &str,
) -> Result<(), MountError> {
    let error = |source| MountError { what: device.to_owned(), target: target.to_owned(), source };
    // On a read-only root the mount point exists already, or nothing can be done about it.
    if !target.exists() {
        fs::create_dir_all(target).map_err(error)?;
    }
    mount(Some(device), target, Some(kind), flags, Some(data)).map_err(|e| error(e.into()))
}

/// Shows `source` at `target` as well.
///
/// # Errors
///
/// The mount that failed.
pub(super) fn bind(source: &Path, target: &Path) -> Result<(), MountError> {
    attach(source, target, MsFlags::MS_BIND)
}

/// Takes the mount at `source` away and puts it at `target`.
///
/// # Errors
///
/// The mount that failed.
pub(super) fn relocate(source: &Path, target: &Path) -> Result<(), MountError> {
    attach(source, target, MsFlags::MS_MOVE)
}

fn attach(source: &Path, target: &Path, how: MsFlags) -> Result<(), MountError> {
    mount(Some(source), target, None::<&str>, how, None::<&str>).map_err(|e| MountError {
        what: source.display().to_string(),
        target: target.to_owned(),
        source: e.into(),
    })
}
