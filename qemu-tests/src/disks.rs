//! The machine's disks: always qcow2, never the base image itself.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child;
use crate::error::{Error, Result};

/// Creating an overlay or writing one byte is a matter of milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes `overlay`, a disk of `size` MiB (the base's own size if that is
/// larger) that reads as `base` until it is written.
pub(crate) fn overlay(base: &Path, overlay: &Path, size: u64) -> Result<()> {
    let base = base.canonicalize().map_err(Error::file("read", base))?;
    let format = format_of(&base)?;
    let larger = size.max(size_of(&base)?.div_ceil(1 << 20));
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]).arg(base);
    command.arg(overlay).arg(format!("{larger}M"));
    child::run(command, LIMIT).map(drop)
}

/// Makes an empty disk of `size` MiB.
pub(crate) fn empty(disk: &Path, size: u64) -> Result<()> {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]).arg(disk).arg(format!("{size}M"));
    child::run(command, LIMIT).map(drop)
}

/// Inverts the byte of `disk` at `offset`. Returns the byte as it was.
pub(crate) fn flip(disk: &Path, offset: u64) -> Result<u8> {
    let dump = input_output(disk, &["-r", "-c", &format!("read -v {offset} 1")])?;
    let old = dumped_byte(&dump).ok_or_else(|| Error::Control {
        command: "read -v".to_owned(),
        message: format!("no byte in `{}`", dump.trim()),
    })?;
    input_output(disk, &["-c", &format!("write -P {:#x} {offset} 1", !old)])?;
    Ok(old)
}

fn input_output(disk: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("qemu-io");
    command.args(["-f", "qcow2"]).args(arguments).arg(disk);
    Ok(String::from_utf8_lossy(&child::run(command, LIMIT)?).into_owned())
}

/// The byte in a hex dump of one byte: `00000400:  e2  .`.
fn dumped_byte(dump: &str) -> Option<u8> {
    let (_, bytes) = dump.lines().next()?.split_once(':')?;
    u8::from_str_radix(bytes.split_whitespace().next()?, 16).ok()
}

/// The virtual size of an image in bytes.
fn size_of(image: &Path) -> Result<u64> {
    let mut command = Command::new("qemu-img");
    command.args(["info", "--output=json"]).arg(image);
    let answer = child::run(command, LIMIT)?;
    let info: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
    info["virtual-size"].as_u64().ok_or_else(|| Error::Control {
        command: "qemu-img info".to_owned(),
        message: "no virtual size in its answer".to_owned(),
    })
}

/// `raw`, `qcow2` or `vmdk`, by the first bytes: guessing from the content is what
/// qemu-img warns of, but a base image is ours, not the guest's.
fn format_of(image: &Path) -> Result<&'static str> {
    let mut magic = [0; 4];
    let mut file = File::open(image).map_err(Error::file("open", image))?;
    let whole = file.read_exact(&mut magic).is_ok();
    Ok(match &magic {
        b"QFI\xfb" if whole => "qcow2",
        b"KDMV" if whole => "vmdk",
        _ => "raw",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_flipped_byte_is_in_the_overlay_and_the_base_stays() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.raw");
        let content: Vec<u8> = (0..1 << 20).map(|index| (index % 251) as u8).collect();
        fs::write(&base, &content).unwrap();
        let disk = folder.path().join("disk.qcow2");
        overlay(&base, &disk, 4).unwrap();
        assert_eq!(size_of(&disk).unwrap(), 4 << 20);

        assert_eq!(flip(&disk, 70_001).unwrap(), content[70_001]);
        assert_eq!(flip(&disk, 70_001).unwrap(), !content[70_001]);
        assert_eq!(flip(&disk, 70_001).unwrap(), content[70_001]);
        assert_eq!(fs::read(&base).unwrap(), content);

        // An overlay of an overlay: the base may be qcow2 too.
        let second = folder.path().join("second.qcow2");
        overlay(&disk, &second, 0).unwrap();
        assert_eq!(size_of(&second).unwrap(), 4 << 20);
        assert_eq!(flip(&second, 70_001).unwrap(), !content[70_001]);
    }

    #[test]
    fn a_missing_base_is_named() {
        let error = overlay(Path::new("/nonexistent.raw"), Path::new("/tmp/x"), 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent.raw");
    }

    #[test]
    fn a_dump_of_one_byte_is_read() {
        let dump = "00000400:  e2  .\nread 1/1 bytes at offset 1024\n";
        assert_eq!(dumped_byte(dump), Some(0xe2));
        assert_eq!(dumped_byte("read failed: Input/output error"), None);
    }
}
