//! What the firmware keeps its trust in: signature lists, and the signed messages that set them.
//!
//! certificates → `EFI_SIGNATURE_LIST`s → `EFI_VARIABLE_AUTHENTICATION_2` (UEFI 2.10, 8.2.2 and
//! 32.4.1)

use std::time::Duration;

use der::DateTime;
use disk::guid::Guid;

use super::{Error, Signer, cms};

/// A variable of the firmware that holds certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The platform key: who may change [`Variable::KeyExchange`].
    Platform,
    /// The key exchange keys: who may change [`Variable::Signatures`].
    KeyExchange,
    /// The keys whose programs may run.
    Signatures,
}

impl Variable {
    /// The name that the firmware knows, and that of its files.
    pub fn name(self) -> &'static str {
        match self {
            Variable::Platform => "PK",
            Variable::KeyExchange => "KEK",
            Variable::Signatures => "db",
        }
    }

    /// The vendor's GUID, in the byte order of the disk.
    fn vendor(self) -> [u8; 16] {
        match self {
            // EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c
            Variable::Platform | Variable::KeyExchange => [
                0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03,
                0x2b, 0x8c,
            ],
            // EFI_IMAGE_SECURITY_DATABASE_GUID, d719b2cb-3d3a-4596-a3bc-dad00e67656f
            Variable::Signatures => [
                0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67,
                0x65, 0x6f,
            ],
        }
    }
}

/// EFI_CERT_X509_GUID, a5c059a1-94e4-4aa7-87b5-ab155c2bf072.
const CERT_X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// EFI_CERT_TYPE_PKCS7_GUID, 4aafd29d-68df-49ee-8aa9-347d375665a7.
const CERT_PKCS7: [u8; 16] = [
    0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7,
];
/// Kept over power-off, seen by boot services and by the system, set by signed messages only.
const ATTRIBUTES: u32 = 0x01 | 0x02 | 0x04 | 0x20;
const REVISION: u16 = 0x0200;
const TYPE_EFI_GUID: u16 = 0x0ef1;
/// Bytes of a signature list before its signatures.
const LIST_HEADER: usize = 28;

/// A signature list for each of the certificates (DER): firmware wants signatures of one list to be
/// of one size.
pub fn signature_lists(owner: Guid, certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for certificate in certificates {
        let signature = 16 + certificate.len();
        out.extend_from_slice(&CERT_X509);
        for number in [LIST_HEADER + signature, 0, signature] {
            out.extend_from_slice(
                &u32::try_from(number).expect("certificates are small").to_le_bytes(),
            );
        }
        out.extend_from_slice(&owner.to_disk());
        out.extend_from_slice(certificate);
    }
    out
}

/// The message that sets `variable` to `lists`, signed by `signer`, of the time `now` since 1970. A
/// later message must have a later time.
pub fn authenticated(
    variable: Variable,
    lists: &[u8],
    signer: &Signer,
    now: Duration,
) -> Result<Vec<u8>, Error> {
    let time = efi_time(now)?;
    let mut signed: Vec<u8> = variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    signed.extend_from_slice(&variable.vendor());
    signed.extend_from_slice(&ATTRIBUTES.to_le_bytes());
    signed.extend_from_slice(&time);
    signed.extend_from_slice(lists);
    let signature = cms::detached(signer, &signed)?;

    let mut out = time.to_vec();
    let length = u32::try_from(24 + signature.len()).expect("a signature is small");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&REVISION.to_le_bytes());
    out.extend_from_slice(&TYPE_EFI_GUID.to_le_bytes());
    out.extend_from_slice(&CERT_PKCS7);
    out.extend_from_slice(&signature);
    out.extend_from_slice(lists);
    Ok(out)
}

/// `EFI_TIME`; what is smaller than a second must be zero.
fn efi_time(now: Duration) -> Result<[u8; 16], Error> {
    let now = DateTime::from_unix_duration(Duration::from_secs(now.as_secs()));
    let now = now.map_err(|_| Error::Time)?;
    let mut out = [0; 16];
    out[..2].copy_from_slice(&now.year().to_le_bytes());
    let rest = [now.month(), now.day(), now.hour(), now.minutes(), now.seconds()];
    out[2..7].copy_from_slice(&rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_list_is_laid_out_as_the_specification_draws_it() {
        let owner = Guid::derive(b"", "owner");
        let lists = signature_lists(owner, &[vec![7; 10], vec![8; 5]]);
        assert_eq!(lists.len(), 2 * 44 + 15);
        assert_eq!(lists[16..20], 54_u32.to_le_bytes(), "the list");
        assert_eq!(lists[20..24], [0; 4], "no header of its own");
        assert_eq!(lists[24..28], 26_u32.to_le_bytes(), "one signature");
        assert_eq!(lists[28..44], owner.to_disk());
        assert_eq!(lists[44..54], [7; 10]);
        assert_eq!(lists[54..70], CERT_X509);
    }

    #[test]
    fn a_time_has_no_parts_of_a_second() {
        let time = efi_time(Duration::from_millis(1_764_153_599_999)).expect("in range");
        assert_eq!(time, [0xe9, 0x07, 11, 26, 10, 39, 59, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
