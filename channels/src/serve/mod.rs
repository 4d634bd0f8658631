//! A small web server for one repository: for demonstrations, and for sites without a net.
//!
//! connection → bounded head → request → file, part of one, or the page
//!
//! HTTP/1.1 with GET and HEAD, single ranges and tags; nothing is ever written. Only the trees
//! `metadata` and `targets` are served, and no hidden file. Any other static server does as well.

mod answer;
mod page;
mod request;

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::time::Time;
use answer::Site;
use request::{MAX_HEAD, Refusal};

/// Connections that are served at a time.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request, the wait for it included.
const HEAD_TIME: Duration = Duration::from_secs(20);
/// How long a client may take nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long a client that was refused may take to stop sending.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// Requests on one connection.
const MAX_REQUESTS: usize = 10_000;

/// Serves a repository for as long as the process lives. `now` tells the time, for the page.
pub fn serve(
    listener: &TcpListener,
    repository: &Path,
    now: fn() -> Time,
) -> io::Result<std::convert::Infallible> {
    let site = Arc::new(Site { repository: repository.canonicalize()?, now });
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a client that is gone: neither ends the server.
                log::warn!("cannot accept a connection: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let Some(place) = Place::take(&open) else {
            // Fits into the socket's buffer, so nobody can hold us up; who is gone is not told.
            let _ = answer::status(&stream, 503, "Service Unavailable", false);
            continue;
        };
        let site = Arc::clone(&site);
        let spawned = thread::Builder::new().stack_size(1 << 20).spawn(move || {
            if let Err(error) = connection(&stream, &site) {
                log::debug!("a connection ended: {error}");
            }
            drop(place);
        });
        if let Err(error) = spawned {
            log::warn!("cannot serve a connection: {error}");
        }
    }
}

/// One of the connections that are served at a time.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(open));
        // Dropping the place gives it back.
        (open.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn connection(stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIME))?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    for _ in 0..MAX_REQUESTS {
        match read_head(stream, &mut buffer)? {
            None => return Ok(()),
            Some(Ok(request)) => {
                site.answer(stream, &request)?;
                if !request.keep_alive {
                    break;
                }
            }
            Some(Err(refusal)) => {
                let (code, text) = match refusal {
                    Refusal::Malformed => (400, "Bad Request"),
                    Refusal::Method => (405, "Method Not Allowed"),
                    Refusal::Path => (404, "Not Found"),
                };
                answer::status(stream, code, text, false)?;
                return linger(stream);
            }
        }
    }
    Ok(())
}

/// Takes what the client is still sending: a connection that is closed with unread bytes is
/// reset, and the answer may be lost with it.
fn linger(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(LINGER_TIME))?;
    let mut chunk = [0; 4096];
    for _ in 0..64 {
        if stream.read(&mut chunk)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Reads the head of a request; `None` if the client has no more. What follows it stays in the
/// buffer.
fn read_head(
    mut stream: &TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Result<request::Request, Refusal>>> {
    let start = Instant::now();
    loop {
        match request::parse(buffer) {
            Ok(Some((request, length))) => {
                buffer.drain(..length);
                return Ok(Some(Ok(request)));
            }
            Err(refusal) => return Ok(Some(Err(refusal))),
            Ok(None) if buffer.len() >= MAX_HEAD => return Ok(Some(Err(Refusal::Malformed))),
            Ok(None) => {}
        }
        // However slowly it drips, the whole head has a deadline.
        let left = HEAD_TIME.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}
