//! A target: what is signed of a file, and the file checked against it.

use std::io::{self, Read};

use serde_json::{Map, Value};

use crate::fetch::encode;
use crate::metadata::{Hasher, TargetFile};

/// A file that a trusted role vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its path.
    pub path: String,
    /// Size and hashes, and what else is said of it.
    pub file: TargetFile,
    pub(super) consistent: bool,
}

impl Target {
    /// A target of a repository with consistent snapshots.
    pub fn consistent(path: &str, file: TargetFile) -> Target {
        Target { path: path.to_owned(), file, consistent: true }
    }

    /// What the role says of it beside size and hashes.
    pub fn custom(&self) -> &Map<String, Value> {
        &self.file.custom
    }

    /// Where it is in the repository's tree of targets, encoded as in an address. In a consistent
    /// snapshot that is `HASH.NAME`; `None` if none of its hashes is one that we know.
    pub fn address(&self) -> Option<String> {
        let mut parts: Vec<_> = self.path.split('/').map(encode).collect();
        if self.consistent {
            let prefix = self.file.hashes.prefix()?;
            let name = parts.last_mut()?;
            *name = format!("{prefix}.{name}");
        }
        Some(parts.join("/"))
    }

    /// Reads the target from `inner`, checked: the last read fails if size or hash is wrong.
    pub fn check<R: Read>(&self, inner: R) -> CheckedReader<'_, R> {
        CheckedReader { inner, file: &self.file, hasher: Some(self.file.hashes.hasher()), taken: 0 }
    }
}

/// Passes a target through. Nothing that came out may be used before the end was reached
/// without an error.
#[derive(Debug)]
pub struct CheckedReader<'a, R> {
    inner: R,
    file: &'a TargetFile,
    /// Until the end has been checked.
    hasher: Option<Hasher>,
    taken: u64,
}

impl<R: Read> Read for CheckedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.taken += count as u64;
        if self.taken > self.file.length || (count == 0 && self.taken < self.file.length) {
            let text = format!("not the {} bytes that are signed for it", self.file.length);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
        } else if let Some(hasher) = self.hasher.take()
            && !self.file.hashes.matches(hasher)
        {
            let text = "not the hash that is signed for it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Hashes;
    use sha2::{Digest, Sha256};

    fn target(path: &str, content: &[u8]) -> Target {
        let hashes = Hashes::sha256(&Sha256::digest(content).into());
        let file = TargetFile { length: content.len() as u64, hashes, custom: Map::new() };
        Target { path: path.to_owned(), file, consistent: true }
    }

    #[test]
    fn only_the_signed_bytes_pass() {
        let cases: [(&[u8], &str); 6] = [
            (b"content", ""),
            (b"contenT", "hash"),
            (b"conten", "7 bytes"),
            (b"content and more", "7 bytes"),
            (b"", "7 bytes"),
            (b"content\0", "7 bytes"),
        ];
        let target = target("x", b"content");
        for (bytes, message) in cases {
            let result = target.check(bytes).read_to_end(&mut Vec::new());
            match result {
                Ok(_) => assert_eq!(message, "", "{bytes:?}"),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    assert!(!message.is_empty() && error.to_string().contains(message), "{error}");
                }
            }
        }
    }

    #[test]
    fn endless_data_is_cut_off() {
        let target = target("x", b"content");
        let mut taken = Vec::new();
        assert!(target.check(io::repeat(0)).read_to_end(&mut taken).is_err());
        assert!(taken.len() <= 7);
    }

    #[test]
    fn the_address_has_the_hash_before_the_name() {
        let hash = hex::encode(Sha256::digest(b"c"));
        assert_eq!(target("a/b c", b"c").address(), Some(format!("a/{hash}.b%20c")));
        assert_eq!(target("b", b"c").address(), Some(format!("{hash}.b")));
        let plain = Target { consistent: false, ..target("a/?", b"c") };
        assert_eq!(plain.address(), Some("a/%3F".to_owned()));
    }
}
