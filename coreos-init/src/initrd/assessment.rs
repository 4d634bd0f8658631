//! Whether this boot is one that the boot loader counted.
//!
//! A release on trial is bootable only so often: systemd-boot takes one from its counter, which is
//! in its file name, before it starts it. It does not stop if that fails, on a boot partition that
//! is full or cannot be written; then a bad release would be booted for ever. So whoever is booted
//! looks whether it was counted, and has the boot loader take the other release if not.
//!
//! Speaks the Boot Loader Interface: `LoaderBootCountPath` names the entry as it was renamed, and
//! `LoaderEntryOneShot` the entry to boot next time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use disk::entry::{Assessment, DIRECTORY, Entry};
use disk::version::Version;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::console::Console;
use super::mounts;

/// Where the firmware's variables are.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Who the boot loader's variables belong to.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Where the boot partition is looked at.
const ESP: &str = "/run/coreos/esp";
/// A variable that outlives the reboot and that the boot loader can read.
const ATTRIBUTES: u32 = 7;

/// What a boot is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Worth {
    /// The release has proven itself.
    Proven,
    /// It is on trial, and this try was counted.
    Counted,
    /// It is on trial and this try was not counted; the other entry is known to be good.
    Uncounted(String),
    /// It is on trial, not counted, and there is nothing else to boot.
    Alone,
}

/// Judges a boot of `version` by the entry that the boot loader says it counted, and by the names
/// on the boot partition.
pub(super) fn judge(version: &Version, counted: Option<&str>, names: &[String]) -> Worth {
    let parsed = || names.iter().filter_map(|name| Some((Entry::parse(name)?, name)));
    let of_counted = counted
        .and_then(|path| path.rsplit(['\\', '/']).next())
        .and_then(Entry::parse)
        .is_some_and(|entry| entry.version == *version && entry.tries.is_some());
    if of_counted {
        return Worth::Counted;
    }
    let own = parsed().filter(|(entry, _)| entry.version == *version);
    if own.clone().count() == 0 || own.into_iter().any(|(entry, _)| entry.tries.is_none()) {
        // Kept, or booted by another way than an entry: nothing is counted then.
        return Worth::Proven;
    }
    let good = parsed()
        .find(|(entry, _)| entry.version != *version && entry.assessment() == Assessment::Good);
    good.map_or(Worth::Alone, |(_, name)| Worth::Uncounted(name.clone()))
}

/// Whether the boot loader says that it counted this boot. Mounts the firmware's variables.
pub(super) fn counted() -> Option<String> {
    let target = Path::new(VARIABLES);
    if !target.is_dir() {
        return None; // not booted by UEFI
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mounts::file_system("efivarfs", "efivarfs", target, flags, "").ok()?;
    let bytes = fs::read(target.join(format!("LoaderBootCountPath-{LOADER}"))).ok()?;
    Some(text(bytes.get(4..)?))
}

/// Judges this boot of the root at `sysroot`.
pub(super) fn assess(
    esp: &Path,
    sysroot: &Path,
    counted: Option<&str>,
    console: &mut Console,
) -> Worth {
    let release = fs::read_to_string(sysroot.join("usr/lib/os-release")).unwrap_or_default();
    let version = release
        .lines()
        .find_map(|line| line.strip_prefix("IMAGE_VERSION=")?.trim_matches('"').parse().ok());
    let Some(version) = version else { return Worth::Proven };
    let names = match list(esp) {
        Ok(names) => names,
        Err(error) => {
            console.warn(format_args!("cannot read the boot partition: {error}"));
            Vec::new()
        }
    };
    judge(&version, counted, &names)
}

/// The names of the boot entries.
fn list(esp: &Path) -> io::Result<Vec<String>> {
    let point = Path::new(ESP);
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mounts::file_system(&esp.to_string_lossy(), "vfat", point, flags, "umask=0077")
        .map_err(|error| error.source)?;
    let names = fs::read_dir(point.join(DIRECTORY)).map(|entries| {
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    });
    umount2(point, MntFlags::MNT_DETACH)?;
    names
}

/// Has the boot loader take `entry` at the next boot, once.
pub(super) fn boot_next(entry: &str) -> io::Result<()> {
    let path = Path::new(VARIABLES).join(format!("LoaderEntryOneShot-{LOADER}"));
    let mut bytes = ATTRIBUTES.to_le_bytes().to_vec();
    bytes.extend(entry.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    // A variable is written by one call or not at all.
    File::create(path)?.write_all(&bytes)
}

/// A variable's text: UTF-16, ended by a zero.
fn text(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_judged_by_what_was_counted_and_by_the_names() {
        let uncounted = |name: &str| Worth::Uncounted(name.to_owned());
        for (counted, names, expected) in [
            (None, "coreos_2.efi", Worth::Proven),
            (
                Some("\\EFI\\Linux\\coreos_2+2-1.efi"),
                "coreos_1.efi coreos_2+2-1.efi",
                Worth::Counted,
            ),
            // The boot loader could not rename it.
            (None, "coreos_1.efi coreos_2+3.efi", uncounted("coreos_1.efi")),
            (None, "coreos_1+2-1.efi coreos_2+3.efi", Worth::Alone),
            (None, "coreos_2+3.efi", Worth::Alone),
            // A variable that is left from something else says nothing.
            (
                Some("\\EFI\\Linux\\coreos_1+2-1.efi"),
                "coreos_1.efi coreos_2+3.efi",
                uncounted("coreos_1.efi"),
            ),
            (Some("\\EFI\\Linux\\debian+2-1.efi"), "coreos_2.efi", Worth::Proven),
            // The twin is what counts for the boot loader.
            (None, "coreos_2.efi coreos_2+3.efi", Worth::Proven),
            // Booted by another way.
            (None, "", Worth::Proven),
            (None, "coreos_1.efi", Worth::Proven),
        ] {
            let names: Vec<_> = names.split_whitespace().map(str::to_owned).collect();
            let version = "2".parse().unwrap();
            assert_eq!(judge(&version, counted, &names), expected, "{counted:?} {names:?}");
        }
    }

    #[test]
    fn variables_are_utf_16_with_a_zero_at_the_end() {
        let bytes: Vec<u8> = "ab\\c\0rest".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text(&bytes), "ab\\c");
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[b'a', 0, b'b']), "a");
    }
}
