//! Signatures in EFI programs: the digest of a PE file, and the table that signatures stand in.
//!
//! program → [`digest`] → `SpcIndirectDataContent` → `SignedData` → [`sign`]ed program. [`signatures`]
//! finds them again. The digest leaves out what signing changes: the checksum, the entry of the
//! table of certificates, and that table.

use std::ops::Range;

use der::asn1::ObjectIdentifier;
use sha2::{Digest as _, Sha256};

use super::{Error, Signer, cms};

/// Why a file has no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an EFI program that can be signed: {what}")]
pub struct PeError {
    what: &'static str,
}

const SPC_INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
/// The content of `SpcIndirectDataContent` up to the digest: `SPC_PE_IMAGE_DATAOBJ` with no flags
/// and an empty file name, then a `DigestInfo` of SHA-256.
const BEFORE_DIGEST: [u8; 44] = [
    0x30, 0x17, // SpcAttributeTypeAndOptionalValue
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f, // its type
    0x30, 0x09, 0x03, 0x01, 0x00, 0xa0, 0x04, 0xa2, 0x02, 0x80, 0x00, // SpcPeImageData
    0x30, 0x31, // DigestInfo
    0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
    0x20,
];
const REVISION: u16 = 0x0200;
const TYPE_PKCS_SIGNED_DATA: u16 = 0x0002;
/// Bytes before a certificate in the table.
const HEADER: usize = 8;
/// What the table and each certificate in it begin at a multiple of.
const ALIGNMENT: usize = 8;

/// Offsets in the optional header of PE32+.
mod optional {
    pub(super) const SIZE_OF_HEADERS: usize = 60;
    pub(super) const CHECKSUM: usize = 64;
    pub(super) const DIRECTORIES: usize = 108;
    /// The entry of the table of certificates, the fifth.
    pub(super) const CERTIFICATES: usize = 112 + 4 * 8;
}

/// Where the parts of a program are, as far as digests need them.
struct Layout {
    checksum: usize,
    /// The entry of the table of certificates.
    entry: usize,
    headers: usize,
    /// Raw data of the sections, in the order of the file.
    sections: Vec<Range<usize>>,
    /// The table of certificates; empty, at the end of the file, if there is none.
    table: Range<usize>,
}

fn layout(bytes: &[u8]) -> Result<Layout, PeError> {
    let not = |what| PeError { what };
    let word = |at: usize| -> Result<usize, PeError> {
        let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
        Ok(u32::from_le_bytes(*field.ok_or(not("cut off in its headers"))?) as usize)
    };
    let half = |at: usize| word(at).map(|word| word & 0xffff);
    if !bytes.starts_with(b"MZ") {
        return Err(not("no DOS header"));
    }
    let pe = word(0x3c)?;
    if bytes.get(pe..).is_none_or(|rest| !rest.starts_with(b"PE\0\0")) {
        return Err(not("no PE header"));
    }
    let (count, optional) = (half(pe + 6)?, pe + 24);
    let size = half(pe + 20)?;
    if half(optional)? != 0x20b || size < optional::CERTIFICATES + 8 {
        return Err(not("no PE32+ header with a place for signatures"));
    }
    if word(optional + optional::DIRECTORIES)? < 5 {
        return Err(not("no place for signatures"));
    }
    let headers = word(optional + optional::SIZE_OF_HEADERS)?;
    let entry = optional + optional::CERTIFICATES;
    let table = match (word(entry)?, word(entry + 4)?) {
        (_, 0) => bytes.len()..bytes.len(),
        (start, length) => start..start.saturating_add(length),
    };
    let mut sections = Vec::new();
    for index in 0..count {
        let header = optional + size + index * 40;
        let (length, start) = (word(header + 16)?, word(header + 20)?);
        if length > 0 {
            sections.push(start..start.saturating_add(length));
        }
    }
    sections.sort_by_key(|section| section.start);
    let within = sections.iter().all(|section| section.end <= table.start);
    // A table that is not the end of the file would leave bytes behind it unsigned.
    if !within || headers > table.start || entry + 8 > headers || table.end != bytes.len() {
        return Err(not("its parts do not lie one behind the other"));
    }
    Ok(Layout { checksum: optional + optional::CHECKSUM, entry, headers, sections, table })
}

/// The SHA-256 that signatures of a program are about: headers, sections, and what lies behind
/// them before the table of certificates.
pub fn digest(bytes: &[u8]) -> Result<[u8; 32], PeError> {
    let layout = layout(bytes)?;
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..layout.checksum]);
    hasher.update(&bytes[layout.checksum + 4..layout.entry]);
    hasher.update(&bytes[layout.entry + 8..layout.headers]);
    let mut hashed = layout.headers;
    for section in layout.sections {
        hasher.update(&bytes[section.clone()]);
        hashed += section.len();
    }
    // As firmware counts: behind as many bytes as were digested, wherever gaps were.
    hasher.update(bytes.get(hashed..layout.table.start).unwrap_or_default());
    Ok(hasher.finalize().into())
}

/// The signatures in a program, each a `ContentInfo` in DER, in the order of the table.
pub fn signatures(bytes: &[u8]) -> Result<Vec<&[u8]>, PeError> {
    let mut table = &bytes[layout(bytes)?.table];
    let mut found = Vec::new();
    while let Some(length) = table.first_chunk().map(|field| u32::from_le_bytes(*field) as usize) {
        let not = PeError { what: "its signatures are cut off" };
        let signature = table.get(HEADER..length).ok_or(not)?;
        if table[6..8] == TYPE_PKCS_SIGNED_DATA.to_le_bytes() {
            found.push(signature);
        }
        table = table.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    Ok(found)
}

/// The program with one signature: one that it may have had is gone.
pub fn sign(program: &[u8], signer: &Signer) -> Result<Vec<u8>, Error> {
    let mut out = without_signatures(program).map_err(Error::NotPe)?;
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    let mut content = BEFORE_DIGEST.to_vec();
    content.extend_from_slice(&digest(&out).map_err(Error::NotPe)?);
    let signature = cms::enclosed(signer, SPC_INDIRECT_DATA, &content)?;

    let start = out.len();
    let length = HEADER + signature.len();
    let entry = layout(&out).map_err(Error::NotPe)?.entry;
    let number = |number: usize| match u32::try_from(number) {
        Ok(number) => Ok(number.to_le_bytes()),
        Err(_) => Err(Error::NotPe(PeError { what: "larger than 4 GiB" })),
    };
    out.extend_from_slice(&number(length)?);
    out.extend_from_slice(&REVISION.to_le_bytes());
    out.extend_from_slice(&TYPE_PKCS_SIGNED_DATA.to_le_bytes());
    out.extend_from_slice(&signature);
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    let size = number(out.len() - start)?;
    out[entry..entry + 4].copy_from_slice(&number(start)?);
    out[entry + 4..entry + 8].copy_from_slice(&size);
    Ok(out)
}

/// The program without its table of certificates. Its checksum, which only drivers of an
/// operating system need, is none.
fn without_signatures(program: &[u8]) -> Result<Vec<u8>, PeError> {
    let layout = layout(program)?;
    let mut out = program[..layout.table.start].to_vec();
    out[layout.entry..layout.entry + 8].fill(0);
    out[layout.checksum..layout.checksum + 4].fill(0);
    Ok(out)
}
