//! One document on the host, for a machine to fetch.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use qemu_tests::wiring::HOST;
use qemu_tests::{Error, Result};

/// A document that is served as long as the program runs.
pub(crate) struct Document {
    /// The address as machines on the built-in network know it.
    pub(crate) address: String,
    /// How often a part of it was asked for.
    pub(crate) parts: Arc<AtomicUsize>,
}

/// Answers every request with `body`.
pub(crate) fn serve(body: impl Into<Vec<u8>>) -> Result<Document> {
    serve_broken(body, 0)
}

/// The same, but of the first answer the last `lacks` bytes are missing.
pub(crate) fn serve_broken(body: impl Into<Vec<u8>>, mut lacks: usize) -> Result<Document> {
    let body = body.into();
    let failed = Error::file("listen at", "127.0.0.1");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(Error::file("listen at", "127.0.0.1"))?;
    let parts = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&parts);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            // Whoever went away has no use for an answer.
            let _ = answer(stream, &body, std::mem::take(&mut lacks), &asked);
        }
    });
    let address = format!("http://{HOST}:{}/document", address.port());
    Ok(Document { address, parts })
}

fn answer(mut stream: TcpStream, body: &[u8], lacks: usize, parts: &AtomicUsize) -> io::Result<()> {
    let mut request = [0; 4096];
    let length = stream.read(&mut request)?;
    let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
    let from = request.split_once("range: bytes=").and_then(|(_, rest)| rest.split('-').next());
    let from: Option<usize> = from.and_then(|from| from.parse().ok());
    let rest = body.get(from.unwrap_or(0)..).unwrap_or_default();
    let status = match from {
        Some(from) => {
            parts.fetch_add(1, Ordering::Relaxed);
            let (last, all) = (body.len().saturating_sub(1), body.len());
            format!("206 Partial Content\r\nContent-Range: bytes {from}-{last}/{all}")
        }
        None => "200 OK".to_owned(),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", rest.len())?;
    stream.write_all(&rest[..rest.len().saturating_sub(lacks)])
}
