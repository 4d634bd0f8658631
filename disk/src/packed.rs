//! A whole disk as one stream without its holes, as installers carry it.
//!
//! ```text
//! coreos packed disk 1
//! version 0.1.0
//! size 7551844352
//! sha256 9f86d081…
//! run 0 1048576
//! run 1074790400 524288000
//!
//! <one zstd frame: the bytes of all runs, in their order>
//! ```
//!
//! [`Header::to_text`] and [`Header::read`] are all of it: compressing is the business of whoever
//! writes and reads. The digest is over the bytes of all runs before compression. What no run names
//! is zero on the disk that was packed; whoever installs it need not write it, but must see to it
//! that nothing old is taken for something there.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read};

use thiserror::Error;

use crate::layout::SECTOR;

/// The first line.
const MAGIC: &str = "coreos packed disk 1";
/// The longest header that is read: far more than an image needs.
const LONGEST: u64 = 1 << 20;

/// What a packed disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Version of the system on it.
    pub version: String,
    /// Size of the disk in bytes.
    pub size: u64,
    /// SHA-256 of all that is in the runs, in lower-case hexadecimal.
    pub sha256: String,
    /// Where data is: offset and length in bytes, ascending, not touching.
    pub runs: Vec<(u64, u64)>,
}

/// Why a stream is no packed disk.
#[derive(Debug, Error)]
pub enum PackedError {
    /// The stream failed.
    #[error("cannot read the packed disk")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("it does not begin as a packed disk does")]
    Unknown,
    /// A line makes no sense.
    #[error("line {line} of its header makes no sense: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// Runs that no disk can have.
    #[error("its runs overlap, or lie outside of its disk")]
    Runs,
}

impl Header {
    /// Bytes in all runs.
    pub fn data(&self) -> u64 {
        self.runs.iter().map(|(_, length)| length).sum()
    }

    /// The header as it stands before the data.
    pub fn to_text(&self) -> String {
        let Header { version, size, sha256, runs } = self;
        let mut text = format!("{MAGIC}\nversion {version}\nsize {size}\nsha256 {sha256}\n");
        for (offset, length) in runs {
            let _ = writeln!(text, "run {offset} {length}");
        }
        text.push('\n');
        text
    }

    /// Reads a header; the stream is left where the data begin.
    pub fn read(stream: &mut impl BufRead) -> Result<Header, PackedError> {
        let mut stream = stream.take(LONGEST);
        let mut header =
            Header { version: String::new(), size: 0, sha256: String::new(), runs: Vec::new() };
        for number in 1.. {
            let mut bytes = Vec::new();
            stream.read_until(b'\n', &mut bytes).map_err(|source| PackedError::Read { source })?;
            let line = bytes.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
            if number == 1 {
                if line != Some(MAGIC) {
                    return Err(PackedError::Unknown);
                }
                continue;
            }
            let wrong = || PackedError::Line {
                line: number,
                text: String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned(),
            };
            let line = line.ok_or_else(wrong)?;
            if line.is_empty() {
                break;
            }
            let known = match line.split_once(' ') {
                Some(("version", version)) => {
                    header.version = version.to_owned();
                    !version.is_empty()
                }
                Some(("size", size)) => size.parse().map(|size| header.size = size).is_ok(),
                Some(("sha256", digest)) => {
                    header.sha256 = digest.to_owned();
                    digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
                }
                Some(("run", run)) => {
                    let run = run.split_once(' ').and_then(|(offset, length)| {
                        Some((offset.parse().ok()?, length.parse().ok()?))
                    });
                    run.map(|run| header.runs.push(run)).is_some()
                }
                _ => false,
            };
            if !known {
                return Err(wrong());
            }
        }
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), PackedError> {
        let mut end = 0;
        for &(offset, length) in &self.runs {
            let next = offset.checked_add(length).ok_or(PackedError::Runs)?;
            let whole = offset.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR);
            if offset < end || length == 0 || next > self.size || !whole {
                return Err(PackedError::Runs);
            }
            end = next;
        }
        if self.runs.is_empty() || self.sha256.is_empty() || self.version.is_empty() {
            return Err(PackedError::Runs);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            version: "1.2.3".to_owned(),
            size: 8 << 30,
            sha256: "ab".repeat(32),
            runs: vec![(0, 65_536), (1 << 20, 1 << 30)],
        }
    }

    #[test]
    fn a_header_reads_back_and_leaves_the_stream_at_the_data() {
        let text = header().to_text() + "data";
        let mut stream = text.as_bytes();
        assert_eq!(Header::read(&mut stream).expect("a header"), header());
        assert_eq!(stream, b"data");
        assert_eq!(header().data(), 65_536 + (1 << 30));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let text = header().to_text();
        for (from, to, complaint) in [
            ("coreos packed disk 1", "coreos packed disk 2", "does not begin"),
            ("size 8", "size -8", "line 3 of its header makes no sense"),
            ("sha256 ab", "sha256 xb", "line 4"),
            ("run 0 65536", "run 0", "line 5"),
            ("run 0 65536", "walk 0 65536", "line 5"),
            ("run 0 65536", "run 0 2000000", "overlap"),
            ("run 0 65536", "run 0 0", "overlap"),
            ("run 0 65536", "run 7 512", "overlap"),
            ("size 8589934592", "size 1048576", "outside"),
            ("run 1048576 1073741824", "run 18446744073709551104 1024", "outside"),
            ("version 1.2.3\n", "", "outside"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Header::read(&mut text.replacen(from, to, 1).as_bytes()).expect_err(to);
            assert!(error.to_string().contains(complaint), "{to}: {error}");
        }
        for length in 0..text.len() {
            assert!(Header::read(&mut &text.as_bytes()[..length]).is_err(), "{length}");
        }
    }
}
