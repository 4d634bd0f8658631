//! The outermost layer of a package: an ar archive of three members.

use super::DebError;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

const MAGIC: &[u8] = b"!<arch>\n";
/// Length of a member's header.
const HEADER: u64 = 60;
/// How much of a decoder's memory a package may ask for.
const MAX_DECODER: u64 = 256 << 20;

/// A member: its name, and where its bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, such as `data.tar.xz`.
    pub name: String,
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub size: u64,
}

/// The members of an archive.
pub fn members(file: &File) -> Result<Vec<Member>, DebError> {
    let length = file.metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    let begins = file.read_exact_at(&mut magic, 0).is_ok() && magic == MAGIC;
    if !begins {
        return Err(DebError::Format("it does not begin as an archive"));
    }
    let mut members = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < length {
        let cut = || DebError::Format("it is cut short");
        let mut header = [0; HEADER as usize];
        file.read_exact_at(&mut header, at).map_err(|_| cut())?;
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).ok();
        let name = text(0..16).map(|name| name.trim_end().trim_end_matches('/'));
        let size = text(48..58).and_then(|size| size.trim_end().parse::<u64>().ok());
        let (Some(name), Some(size), b"`\n") = (name, size, &header[58..60]) else {
            return Err(DebError::Format("the header of a member is malformed"));
        };
        let offset = at + HEADER;
        at = offset.checked_add(size).filter(|end| *end <= length).ok_or_else(cut)?;
        members.push(Member { name: name.to_owned(), offset, size });
        at += at % 2;
    }
    Ok(members)
}

/// The unpacked bytes of the member whose name begins with `name`, such as `data.tar`.
pub fn open<'a>(
    file: &'a File,
    members: &[Member],
    name: &str,
) -> Result<Box<dyn Read + 'a>, DebError> {
    let member = members
        .iter()
        .find(|member| {
            member
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .ok_or(DebError::Format("a member is missing"))?;
    let bytes = Slice { file, position: member.offset, end: member.offset + member.size };
    match &member.name[name.len()..] {
        "" => Ok(Box::new(bytes)),
        ".xz" => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MAX_DECODER, 0)
                .map_err(io::Error::other)?;
            let buffered = io::BufReader::with_capacity(1 << 18, bytes);
            Ok(Box::new(liblzma::bufread::XzDecoder::new_stream(buffered, stream)))
        }
        ".zst" => {
            let mut decoder = zstd::stream::read::Decoder::new(bytes)?;
            decoder.window_log_max(28)?;
            Ok(Box::new(decoder))
        }
        ".gz" => Ok(Box::new(GzDecoder::new(io::BufReader::new(bytes)))),
        _ => Err(DebError::Format("a member is compressed in an unknown way")),
    }
}

/// A part of a file, read at its own offset.
#[derive(Debug)]
struct Slice<'a> {
    file: &'a File,
    position: u64,
    end: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// Passes on at most so many bytes; one more is an error.
#[derive(Debug)]
pub struct Limit<Inner> {
    inner: Inner,
    left: u64,
}

impl<Inner> Limit<Inner> {
    /// Lets `limit` bytes pass.
    pub fn new(inner: Inner, limit: u64) -> Limit<Inner> {
        Limit { inner, left: limit }
    }
}

impl<Inner: Read> Read for Limit<Inner> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (name, content) in members {
            out.extend(
                format!(
                    "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                    0,
                    0,
                    0,
                    100_644,
                    content.len()
                )
                .bytes(),
            );
            out.extend(*content);
            out.resize(out.len().next_multiple_of(2), b'\n');
        }
        out
    }

    #[test]
    fn members_are_found_and_unpacked() {
        let mut packed = Vec::new();
        liblzma::read::XzEncoder::new(&b"inside"[..], 0).read_to_end(&mut packed).unwrap();
        let zst = zstd::encode_all(&b"zstd"[..], 1).unwrap();
        let bytes = archive(&[
            ("debian-binary/", b"2.0\n"),
            ("data.tar.xz", &packed),
            ("control.tar.zst", &zst),
            ("plain", b"x"),
        ]);
        let file = file(&bytes);
        let members = members(&file).unwrap();
        for (name, content) in [
            ("data.tar", "inside"),
            ("control.tar", "zstd"),
            ("plain", "x"),
            ("debian-binary", "2.0\n"),
        ] {
            let mut text = String::new();
            open(&file, &members, name).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, content);
        }
        assert!(open(&file, &members, "missing").is_err());
    }

    #[test]
    fn damaged_archives_are_errors() {
        let whole = archive(&[("debian-binary", b"2.0\n"), ("data.tar", &[7; 100])]);
        for length in 0..whole.len() {
            let complete = [8, 72].contains(&length);
            assert_eq!(members(&file(&whole[..length])).is_ok(), complete, "{length}");
        }
        let mut wild = whole.clone();
        wild[8 + 48..8 + 58].copy_from_slice(b"9999999999");
        assert!(members(&file(&wild)).is_err());
    }

    #[test]
    fn the_limit_is_exact() {
        let mut out = Vec::new();
        assert!(Limit::new(&[0; 5][..], 5).read_to_end(&mut out).is_ok());
        let error = Limit::new(&[0; 6][..], 5).read_to_end(&mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
