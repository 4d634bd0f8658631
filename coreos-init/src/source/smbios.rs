//! What the firmware's tables say: the machine's serial number, and strings that whoever made the
//! machine left for it (SMBIOS, DSP0134: structures of the types 1 and 11).

use std::fs;
use std::path::Path;

/// The table as the kernel shows it, below sysfs.
const TABLE: &str = "firmware/dmi/tables/DMI";
const SYSTEM: u8 = 1;
const OEM_STRINGS: u8 = 11;
const END: u8 = 127;
/// Of a structure's header: type, length, handle.
const HEADER: usize = 4;

/// What is wanted of the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Smbios {
    /// The serial number.
    pub serial: Option<String>,
    /// The strings, in order.
    pub strings: Vec<String>,
}

impl Smbios {
    /// Reads the tables below `sysfs`; without tables there is nothing.
    pub(super) fn read(sysfs: &Path) -> Smbios {
        fs::read(sysfs.join(TABLE)).map(|table| Smbios::parse(&table)).unwrap_or_default()
    }

    /// Reads structures one after the other, as far as they make sense.
    pub fn parse(mut table: &[u8]) -> Smbios {
        let mut smbios = Smbios::default();
        while let [kind, length, ..] = *table {
            let length = usize::from(length);
            if length < HEADER || kind == END {
                break;
            }
            let Some((formatted, rest)) = table.split_at_checked(length) else { break };
            let (strings, rest) = strings(rest);
            match kind {
                SYSTEM => {
                    let number = formatted.get(7).copied().unwrap_or_default();
                    let serial = usize::from(number).checked_sub(1).and_then(|n| strings.get(n));
                    smbios.serial = serial.map(|serial| text(serial));
                }
                OEM_STRINGS => smbios.strings.extend(strings.iter().map(|string| text(string))),
                _ => {}
            }
            table = rest;
        }
        smbios
    }
}

/// The strings after a structure, and what follows the empty one that ends them.
fn strings(mut rest: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut strings = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let (string, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if string.is_empty() {
            // A structure without strings has the end twice.
            if strings.is_empty() && rest.first() == Some(&0) {
                rest = &rest[1..];
            }
            return (strings, rest);
        }
        strings.push(string);
    }
    (strings, &[])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A table of structures, for tests: type, formatted part after the header, strings.
#[cfg(test)]
pub(super) fn table(structures: &[(u8, &[u8], &[&str])]) -> Vec<u8> {
    let mut table = Vec::new();
    for (handle, (kind, formatted, strings)) in structures.iter().enumerate() {
        let length = u8::try_from(HEADER + formatted.len()).unwrap();
        table.extend([*kind, length, u8::try_from(handle).unwrap(), 0]);
        table.extend(*formatted);
        for string in *strings {
            table.extend(string.as_bytes());
            table.push(0);
        }
        table.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
    }
    table.extend([END, 4, 0xff, 0xff, 0, 0]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_and_strings_are_found_among_other_structures() {
        let system = [1, 2, 0, 3, 0, 0];
        let bytes = table(&[
            (0, &[0; 20], &["SeaBIOS", "1.16"]),
            (16, &[0; 11], &[]),
            (SYSTEM, &system, &["QEMU", "Standard PC", "ds=nocloud;s=http://a/"]),
            (OEM_STRINGS, &[2], &["io.systemd.credential:a=b", "x"]),
            (OEM_STRINGS, &[1], &["y"]),
        ]);
        let expected = Smbios {
            serial: Some("ds=nocloud;s=http://a/".to_owned()),
            strings: vec!["io.systemd.credential:a=b".to_owned(), "x".to_owned(), "y".to_owned()],
        };
        assert_eq!(Smbios::parse(&bytes), expected);
    }

    #[test]
    fn a_table_that_stops_short_gives_what_was_before() {
        let bytes = table(&[(OEM_STRINGS, &[1], &["a"]), (SYSTEM, &[1, 2, 0, 9], &["b"])]);
        assert_eq!(Smbios::parse(&bytes).strings, ["a"]);
        assert_eq!(Smbios::parse(&bytes).serial, None);
        for end in 0..bytes.len() {
            let _ = Smbios::parse(&bytes[..end]);
        }
        assert_eq!(Smbios::parse(&[11, 0, 0, 0]), Smbios::default());
    }

    proptest::proptest! {
        #[test]
        fn any_table_is_survived(bytes: Vec<u8>) {
            let _ = Smbios::parse(&bytes);
        }
    }
}
