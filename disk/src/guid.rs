//! GUIDs as people write them, and as GPT stores them.
//!
//! A [`Guid`] holds its bytes in the order of its text form. GPT stores the
//! first three groups little-endian, so [`Guid::to_disk`] swaps them. Verity
//! partitions are named after the text form: the hex digits of the root hash,
//! read from left to right, are the two partitions' GUIDs.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::verity::RootHash;

/// A 128-bit identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid([u8; 16]);

/// A text that is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a GUID: expected 8-4-4-4-12 hexadecimal digits")]
pub struct ParseGuidError {
    text: String,
}

impl Guid {
    /// The GUID that marks an unused entry.
    pub const NIL: Guid = Guid([0; 16]);

    /// The GUID whose text form reads as `value` in hexadecimal.
    pub const fn from_u128(value: u128) -> Guid {
        Guid(value.to_be_bytes())
    }

    /// The GUID whose text form reads as `bytes`.
    pub const fn from_bytes(bytes: [u8; 16]) -> Guid {
        Guid(bytes)
    }

    /// The bytes in the order of the text form.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A GUID that follows from `seed` and `role` alone, so that the same
    /// image gets the same identifiers wherever it is built: the SHA-256 of
    /// both, marked as version 8 of RFC 9562.
    pub fn derive(seed: &[u8], role: &str) -> Guid {
        let digest = Sha256::new().chain_update(seed).chain_update(role).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Guid(bytes)
    }

    /// Reads the mixed-endian form that GPT stores.
    pub fn from_disk(bytes: [u8; 16]) -> Guid {
        Guid(swapped(bytes))
    }

    /// The mixed-endian form that GPT stores.
    pub fn to_disk(self) -> [u8; 16] {
        swapped(self.0)
    }
}

fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Guid, ParseGuidError> {
        let error = || ParseGuidError { text: text.to_string() };
        let groups: Vec<&str> = text.split('-').collect();
        if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
            return Err(error());
        }
        from_hex(&groups.concat()).map(Guid).ok_or_else(error)
    }
}

/// Exactly `N` bytes from twice as many hexadecimal digits.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

impl RootHash {
    /// GUID of the root partition that this hash protects: the hash's first
    /// half, as the Discoverable Partitions Specification says.
    pub fn root_guid(&self) -> Guid {
        Guid(half(&self.0, 0))
    }

    /// GUID of the verity partition that holds this hash's tree: the hash's
    /// second half.
    pub fn verity_guid(&self) -> Guid {
        Guid(half(&self.0, 16))
    }

    /// The hash that a root and a verity partition with these GUIDs claim.
    pub fn from_guids(root: Guid, verity: Guid) -> RootHash {
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(&root.0);
        hash[16..].copy_from_slice(&verity.0);
        RootHash(hash)
    }
}

fn half(hash: &[u8; 32], from: usize) -> [u8; 16] {
    std::array::from_fn(|index| hash[from + index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_esp_type_is_stored_as_the_uefi_specification_shows() {
        let esp: Guid = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".parse().unwrap();
        assert_eq!(esp.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(
            esp.to_disk(),
            [
                0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e,
                0xc9, 0x3b
            ]
        );
    }

    #[test]
    fn anything_but_the_text_form_is_refused() {
        for text in [
            "",
            "c12a7328f81f11d2ba4b00a0c93ec93b",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
            "{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}",
            "+12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "c12a7328-f81f-11d2-ba4b00a0-c93ec93b",
            "c12a732é-f81f-11d2-ba4b-00a0c93ec93",
        ] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }

    #[test]
    fn derived_guids_are_stable_and_differ_by_role_and_seed() {
        let state = Guid::derive(b"seed", "state");
        assert_eq!(state.to_string(), "20135e57-d6ab-851c-9e6b-b84a2ffe3086");
        assert_ne!(state, Guid::derive(b"seed", "disk"));
        assert_ne!(state, Guid::derive(b"other", "state"));
    }

    #[test]
    fn a_root_hash_reads_as_its_two_partitions() {
        let hash: RootHash =
            "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210".parse().unwrap();
        assert_eq!(hash.root_guid().to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(hash.verity_guid().to_string(), "01234567-89ab-cdef-fedc-ba9876543210");
        assert_eq!(RootHash::from_guids(hash.root_guid(), hash.verity_guid()), hash);
    }

    proptest! {
        #[test]
        fn text_and_disk_forms_round_trip(bytes: [u8; 16]) {
            let guid = Guid::from_bytes(bytes);
            prop_assert_eq!(guid.to_string().parse(), Ok(guid));
            prop_assert_eq!(Guid::from_disk(guid.to_disk()), guid);
        }
    }
}
