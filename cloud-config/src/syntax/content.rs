//! How the content of a file may be encoded.

use std::io::Read as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;

/// What `encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) base64: bool,
    pub(crate) gzip: bool,
}

const NAMES: &[(&str, Encoding)] = &[
    ("", Encoding::PLAIN),
    ("text/plain", Encoding::PLAIN),
    ("base64", Encoding { base64: true, gzip: false }),
    ("b64", Encoding { base64: true, gzip: false }),
    ("gzip", Encoding { base64: false, gzip: true }),
    ("gz", Encoding { base64: false, gzip: true }),
    ("gzip+base64", Encoding { base64: true, gzip: true }),
    ("gzip+b64", Encoding { base64: true, gzip: true }),
    ("gz+base64", Encoding { base64: true, gzip: true }),
    ("gz+b64", Encoding { base64: true, gzip: true }),
];

impl Encoding {
    pub(crate) const PLAIN: Self = Self { base64: false, gzip: false };

    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, encoding)| *encoding)
    }

    /// The names of all encodings but the plain one.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty())
    }

    /// The bytes that a text in this encoding stands for, at most `limit`.
    pub(crate) fn decode(self, bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, &'static str> {
        let bytes = if self.base64 { base64(&bytes)? } else { bytes };
        if self.gzip { gunzip(&bytes, limit) } else { Ok(bytes) }
    }
}

/// Decodes base64, in lines or not, padded or not.
pub(crate) fn base64(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let dense: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    ENGINE.decode(dense).map_err(|error| match error {
        base64::DecodeError::InvalidLength(_) => "it is cut off",
        _ => "it has characters that base64 does not have, or is cut off",
    })
}

/// Whether bytes begin as gzip data does.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Undoes gzip, up to `limit` bytes.
pub(crate) fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
    if !is_gzip(bytes) {
        return Err("it is not gzip data");
    }
    let mut out = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(bytes)
        .take(most)
        .read_to_end(&mut out)
        .map_err(|_| "its gzip data is damaged or cut off")?;
    if out.len() > limit {
        return Err("it is too large when unpacked");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn base64_may_be_in_lines_and_unpadded() {
        for text in ["aGVsbG8=", "aGVs\nbG8=\n", " aGVs\r\n\tbG8", "aGVsbG8"] {
            assert_eq!(base64(text.as_bytes()).unwrap(), b"hello", "{text:?}");
        }
        for text in ["aGVsbG8*", "a", "aGVsbG8==="] {
            assert!(base64(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_name_decodes_its_encoding() {
        let text = b"Hello, World!\n";
        let plain = text.to_vec();
        let zipped = gzip(text);
        let as_base64 =
            |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes).into_bytes();
        for (names, bytes) in [
            (&[""][..], plain.clone()),
            (&["b64", "base64"], as_base64(&plain)),
            (&["gz", "gzip"], zipped.clone()),
            (&["gz+b64", "gz+base64", "gzip+b64", "gzip+base64"], as_base64(&zipped)),
        ] {
            for name in names {
                let decoded = Encoding::named(name).unwrap().decode(bytes.clone(), 100);
                assert_eq!(decoded, Ok(plain.clone()), "{name}");
            }
        }
        assert_eq!(Encoding::named("zip"), None);
    }

    #[test]
    fn gzip_is_bounded_and_checked() {
        let zeros = gzip(&[0; 100_000]);
        assert_eq!(gunzip(&zeros, 99_999), Err("it is too large when unpacked"));
        assert_eq!(gunzip(&zeros, 100_000).map(|out| out.len()), Ok(100_000));
        let cut = &zeros[..zeros.len() - 9];
        assert_eq!(gunzip(cut, 100_000), Err("its gzip data is damaged or cut off"));
        assert_eq!(gunzip(b"text", 100), Err("it is not gzip data"));
        assert_eq!(gunzip(b"", 100), Err("it is not gzip data"));
    }
}
