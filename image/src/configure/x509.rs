//! The name that OpenSSL looks a certificate up by in a directory: a hash over its subject.
//!
//! The subject is hashed in a canonical form: every text as UTF-8 in lower case, without blanks
//! at its ends and with one blank for several inside (`X509_NAME_hash` of OpenSSL 1.0 and later).

use sha1::{Digest, Sha1};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const UTF8: u8 = 0x0c;
/// Kinds of texts that are compared without regard to case: UTF8, Printable, T61, IA5, Visible,
/// Universal and BMP strings.
const TEXTS: [u8; 7] = [UTF8, 0x13, 0x14, 0x16, 0x1a, 0x1c, 0x1e];

/// The hash of the subject of a certificate in DER; none if it cannot be understood.
pub(super) fn subject_hash(certificate: &[u8]) -> Option<u32> {
    let (_, certificate, _) = read(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = read(certificate)?;
    // Version, serial number, algorithm, issuer and validity come before the subject.
    if read(rest)?.0 == VERSION {
        rest = read(rest)?.2;
    }
    for _ in 0..4 {
        rest = read(rest)?.2;
    }
    let (_, mut subject, _) = read(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let mut canonical = Vec::new();
    while !subject.is_empty() {
        let (_, mut set, after) = read(subject).filter(|(tag, ..)| *tag == SET)?;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (_, attribute, next) = read(set)?;
            let (tag, kind, value) = read(attribute)?;
            let (value_tag, value, _) = read(value)?;
            let mut whole = write(tag, kind);
            whole.extend(match TEXTS.contains(&value_tag) {
                true => write(UTF8, &normal(&text(value_tag, value)?)),
                false => write(value_tag, value),
            });
            attributes.push(write(SEQUENCE, &whole));
            set = next;
        }
        attributes.sort();
        canonical.extend(write(SET, &attributes.concat()));
        subject = after;
    }
    let hash = Sha1::digest(&canonical);
    Some(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]))
}

/// The tag and contents of the first element, and what follows it.
fn read(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

fn write(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend(contents);
    out
}

/// A text of any kind as UTF-8.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        0x14 => Some(value.iter().map(|byte| char::from(*byte)).collect()),
        0x1c => value
            .chunks(4)
            .map(|chunk| char::from_u32(u32::from_be_bytes(chunk.try_into().ok()?)))
            .collect(),
        0x1e => {
            let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => String::from_utf8(value.to_vec()).ok(),
    }
}

/// Lower case for ASCII only, one blank for several, none at the ends.
fn normal(text: &str) -> Vec<u8> {
    let blank = |letter: char| matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let words: Vec<&str> = text.split(blank).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase().into_bytes()
}
