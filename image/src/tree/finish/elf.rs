//! What a 64-bit little-endian ELF file needs to run: its loader and its libraries.
//!
//! Anything else about the file is left out, and a file that is cut short or odd needs nothing
//! as far as this can tell: it is for the loader to refuse it.

use crate::tree::Content;
use std::io;

/// How an ELF file begins.
pub(super) const MAGIC: &[u8] = b"\x7fELF";

const CLASS_64_LITTLE_ENDIAN: [u8; 2] = [2, 1];
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const NEEDED: u64 = 1;
const STRING_TABLE: u64 = 5;
/// More of a table than this is not read.
const MAX_TABLE: u64 = 1 << 16;
/// Longest name that is read.
const MAX_NAME: usize = 4096;

/// What a file needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) interpreter: Option<String>,
    pub(super) libraries: Vec<String>,
}

/// A program header.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Reads what a file needs.
pub(super) fn needs(content: &Content) -> io::Result<Needs> {
    let header = read(content, 0, HEADER)?;
    if header.len() < HEADER || header[4..6] != CLASS_64_LITTLE_ENDIAN {
        return Ok(Needs::default());
    }
    let count = usize::from(u16::from_le_bytes([header[56], header[57]]));
    let table = read(content, word(&header[32..]), count * PROGRAM_HEADER)?;
    let segments: Vec<Segment> = table
        .chunks_exact(PROGRAM_HEADER)
        .map(|raw| Segment {
            kind: u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]),
            offset: word(&raw[8..]),
            address: word(&raw[16..]),
            size: word(&raw[32..]),
        })
        .collect();
    let segment = |kind| segments.iter().find(|segment| segment.kind == kind);
    let mut needs = Needs::default();
    if let Some(segment) = segment(INTERPRETER) {
        needs.interpreter = Some(name(content, segment.offset)?);
    }
    let Some(dynamic) = segment(DYNAMIC) else { return Ok(needs) };
    let table = read(content, dynamic.offset, dynamic.size.min(MAX_TABLE) as usize)?;
    let entries: Vec<(u64, u64)> = table
        .chunks_exact(16)
        .map(|raw| (word(raw), word(&raw[8..])))
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let strings = entries.iter().find(|(tag, _)| *tag == STRING_TABLE).and_then(|(_, address)| {
        let holds = |segment: &&Segment| {
            segment.kind == LOAD
                && (segment.address..segment.address.saturating_add(segment.size)).contains(address)
        };
        let segment = segments.iter().find(holds)?;
        segment.offset.checked_add(address - segment.address)
    });
    if let Some(strings) = strings {
        for (_, offset) in entries.iter().filter(|(tag, _)| *tag == NEEDED) {
            needs.libraries.push(name(content, strings.saturating_add(*offset))?);
        }
    }
    Ok(needs)
}

/// Up to `length` bytes from `offset`, fewer at the end of the file.
fn read(content: &Content, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match content.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The name that ends with a zero byte.
fn name(content: &Content, offset: u64) -> io::Result<String> {
    let mut bytes = read(content, offset, MAX_NAME)?;
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(0));
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The 64-bit number at the beginning of a slice that is long enough.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_need_nothing_and_break_nothing() {
        let program = std::fs::read("/bin/sh").unwrap();
        assert!(!needs(&program.clone().into()).unwrap().libraries.is_empty());
        for length in [0, 4, 63, 64, 200, 1000] {
            needs(&program[..length].into()).unwrap();
        }
        let mut wild = program;
        wild[32..40].fill(0xff);
        assert_eq!(needs(&wild.into()).unwrap(), Needs::default());
    }
}
