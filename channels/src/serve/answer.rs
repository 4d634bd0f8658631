//! Answers: files and parts of them, and the page.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::page;
use super::request::Request;
use crate::publish::overview::Overview;
use crate::publish::{PublishError, Repository};
use crate::time::Time;

/// A repository to be served.
pub(super) struct Site {
    /// Its directory, without symbolic links.
    pub(super) repository: PathBuf,
    /// Tells the time.
    pub(super) now: fn() -> Time,
}

/// A file that may be served.
struct Served {
    file: File,
    size: u64,
    tag: String,
    kind: &'static str,
    cache: &'static str,
}

impl Site {
    pub(super) fn answer(&self, stream: &TcpStream, request: &Request) -> io::Result<()> {
        let parts: Vec<_> = request.path.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => self.made(stream, request, "text/html; charset=utf-8", |site| {
                page::render(&Repository::at(&site.repository), (site.now)())
            }),
            ["status.json"] => self.made(stream, request, "application/json", |site| {
                let state = Repository::at(&site.repository).load()?;
                let overview = Overview::of(&state, (site.now)());
                Ok(serde_json::to_string_pretty(&overview).unwrap_or_default())
            }),
            ["metadata" | "targets", ..] => match self.open(&parts)? {
                Some(served) => send(stream, request, served),
                None => status(stream, 404, "Not Found", request.keep_alive),
            },
            _ => status(stream, 404, "Not Found", request.keep_alive),
        }
    }

    /// Sends something that is made for this request.
    fn made(
        &self,
        mut stream: &TcpStream,
        request: &Request,
        kind: &str,
        make: impl FnOnce(&Site) -> Result<String, PublishError>,
    ) -> io::Result<()> {
        let body = match make(self) {
            Ok(body) => body,
            Err(error) => {
                log::warn!("cannot show the repository: {error}");
                return status(stream, 503, "Service Unavailable", request.keep_alive);
            }
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n{}\r\n",
            body.len(),
            connection(request.keep_alive),
        );
        stream.write_all(head.as_bytes())?;
        if request.head_only { Ok(()) } else { stream.write_all(body.as_bytes()) }
    }

    /// Opens a file of the repository; `None` for what is none, or leads out of it.
    fn open(&self, parts: &[&str]) -> io::Result<Option<Served>> {
        let path = parts.iter().fold(self.repository.clone(), |path, part| path.join(part));
        let path = match path.canonicalize() {
            Ok(path) if path.starts_with(&self.repository) => path,
            _ => return Ok(None),
        };
        let Ok(file) = File::open(path) else { return Ok(None) };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let tag = format!(
            "\"{:x}-{:x}-{:x}\"",
            metadata.ino(),
            metadata.size(),
            metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec())
        );
        let name = parts.last().copied().unwrap_or_default();
        let kind =
            if name.ends_with(".json") { "application/json" } else { "application/octet-stream" };
        // All other files have a version or a hash in their names.
        let cache = match name {
            "timestamp.json" | "root.json" => "no-cache",
            _ => "max-age=31536000, immutable",
        };
        Ok(Some(Served { file, size: metadata.len(), tag, kind, cache }))
    }
}

fn send(mut stream: &TcpStream, request: &Request, mut served: Served) -> io::Result<()> {
    let Served { size, tag, kind, cache, .. } = &served;
    let has = |tags: &str| tags == "*" || tags.split(',').any(|known| known.trim() == tag);
    let common =
        format!("ETag: {tag}\r\nCache-Control: {cache}\r\n{}", connection(request.keep_alive));
    if request.if_none_match.as_deref().is_some_and(has) {
        return stream.write_all(format!("HTTP/1.1 304 Not Modified\r\n{common}\r\n").as_bytes());
    }
    let range =
        request.range.filter(|_| request.if_range.as_ref().is_none_or(|wanted| wanted == tag));
    let (line, offset, length) = match range.map(|range| range.within(*size)) {
        None => ("200 OK".to_owned(), 0, *size),
        Some(Some((offset, length))) => {
            let last = offset + length - 1;
            let line =
                format!("206 Partial Content\r\nContent-Range: bytes {offset}-{last}/{size}");
            (line, offset, length)
        }
        Some(None) => {
            let head = format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\n\
                 Content-Length: 0\r\n{common}\r\n"
            );
            return stream.write_all(head.as_bytes());
        }
    };
    let head = format!(
        "HTTP/1.1 {line}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n{common}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    if request.head_only {
        return Ok(());
    }
    served.file.seek(SeekFrom::Start(offset))?;
    match io::copy(&mut served.file.take(length), &mut stream)? {
        sent if sent == length => Ok(()),
        _ => Err(io::Error::other("the file became shorter while it was sent")),
    }
}

/// A mere status, with its name for people.
pub(super) fn status(mut stream: &TcpStream, code: u16, text: &str, keep: bool) -> io::Result<()> {
    let body = format!("{code} {text}\n");
    let allow = if code == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {code} {text}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{allow}{}\r\n",
        body.len(),
        connection(keep)
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn connection(keep: bool) -> &'static str {
    if keep { "Connection: keep-alive\r\n" } else { "Connection: close\r\n" }
}
