//! `/etc/machine-id`: made before the service manager starts, so that no boot is a "first boot"
//! to it (which would reset every unit's enablement), and kept on the state for ever.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::console::Console;

/// Writes a machine id if the machine has none.
pub(super) fn ensure(root: &Path, console: &mut Console) {
    let path = root.join("etc/machine-id");
    if fs::read_to_string(&path).is_ok_and(|text| is_machine_id(text.trim_end())) {
        return;
    }
    let written = random().and_then(|bytes| {
        let text = format!("{}\n", format_id(bytes));
        host::durable::write(&path, text.as_bytes(), 0o444).map_err(io::Error::other)
    });
    if let Err(error) = written {
        console.warn(format_args!("cannot write /etc/machine-id: {error}"));
    }
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// machine-id(5): a random (version 4) UUID in lower-case hexadecimal, without dashes.
fn format_id(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn is_machine_id(text: &str) -> bool {
    text.len() == 32
        && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        && text.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_id_is_a_version_4_uuid_and_is_kept() {
        for bytes in [[0; 16], [0xff; 16], [7; 16]] {
            let id = format_id(bytes);
            assert!(is_machine_id(&id), "{id}");
            assert_eq!(&id[12..13], "4", "{id}");
            assert!("89ab".contains(&id[16..17]), "{id}");
        }
        for bad in ["", "uninitialized", &"0".repeat(32), &"A".repeat(32), &"1".repeat(31)] {
            assert!(!is_machine_id(bad), "{bad}");
        }
    }
}
