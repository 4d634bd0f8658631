//! A web server that behaves well, or badly in one chosen way.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it does wrong, with files whose path contains a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Gives another range than the one asked for, and says so.
    OtherRange,
    /// Gives other bytes than the range asked for, and says that they are those.
    LyingRange,
    /// Changes one bit of every answer.
    WrongBits,
    /// Gives the whole file.
    NoRanges,
    /// Never stops sending.
    Endless,
    /// Sends a byte now and then.
    SlowLoris,
    /// Closes in the middle of every second answer.
    Half,
    /// Sends the client to a file of its own.
    ToFile,
    /// Answers that there is no such file.
    Gone,
}

/// A server of one directory; ends when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
    thread: Option<thread::JoinHandle<()>>,
}

struct State {
    root: PathBuf,
    fault: Mutex<(Fault, &'static str)>,
    sent: AtomicU64,
    requests: AtomicU64,
    stop: AtomicBool,
}

impl Server {
    pub(crate) fn start(root: &Path) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            root: root.to_owned(),
            fault: Mutex::new((Fault::None, "")),
            sent: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&shared);
                thread::spawn(move || drop(serve(&state, stream)));
            }
        });
        Server { url: format!("http://{address}"), state, thread: Some(thread) }
    }

    /// Misbehaves with files whose path contains `part`.
    pub(crate) fn fault(&self, fault: Fault, part: &'static str) {
        *self.state.fault.lock().unwrap() = (fault, part);
    }

    /// Bytes of bodies sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Answers so far.
    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(state: &State, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
        let mut range = None;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(bytes) = lower.strip_prefix("range: bytes=") {
                let (start, end) = bytes.trim_end().split_once('-').unwrap();
                range = Some((start.parse::<usize>().unwrap(), end.parse::<usize>().unwrap()));
            }
        }
        if !answer(state, &mut out, &path, range)? {
            return Ok(());
        }
    }
}

/// Answers one request; tells whether another may follow on the connection.
fn answer(
    state: &State,
    out: &mut TcpStream,
    path: &str,
    range: Option<(usize, usize)>,
) -> std::io::Result<bool> {
    let number = state.requests.fetch_add(1, Ordering::Relaxed);
    let (fault, part) = *state.fault.lock().unwrap();
    let fault = if path.contains(part) { fault } else { Fault::None };
    let file = fs::read(state.root.join(path.trim_start_matches('/')));
    let mut body = match file {
        Ok(file) if fault != Fault::Gone => file,
        _ => {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(true);
        }
    };
    let total = body.len();
    let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
    if let Some((start, end)) = range
        && fault != Fault::NoRanges
    {
        let end = end.min(total - 1);
        let shift = if fault == Fault::OtherRange { 1 } else { 0 };
        head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{end}/{total}\r\n",
            start + shift
        );
        body = match fault {
            Fault::LyingRange => {
                let length = end + 1 - start;
                let from = (start + 4096) % (total - length + 1);
                body[from..from + length].to_vec()
            }
            _ => body[start..=end].to_vec(),
        };
    }
    match fault {
        Fault::WrongBits => body[0] ^= 1,
        Fault::ToFile => {
            out.write_all(
                b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
            )?;
            return Ok(true);
        }
        Fault::Endless => {
            write!(out, "{head}Transfer-Encoding: chunked\r\n\r\n")?;
            while !state.stop.load(Ordering::Relaxed) {
                out.write_all(b"1000\r\n")?;
                out.write_all(&[0; 4096])?;
                out.write_all(b"\r\n")?;
                state.sent.fetch_add(4096, Ordering::Relaxed);
            }
            return Ok(false);
        }
        Fault::SlowLoris => {
            write!(out, "{head}Content-Length: {}\r\n\r\n", body.len())?;
            for byte in body {
                if state.stop.load(Ordering::Relaxed) {
                    break;
                }
                out.write_all(&[byte])?;
                thread::sleep(Duration::from_millis(100));
            }
            return Ok(false);
        }
        Fault::Half if number % 2 == 1 => {
            write!(out, "{head}Content-Length: {}\r\n\r\n", body.len())?;
            out.write_all(&body[..body.len() / 2])?;
            return Ok(false);
        }
        _ => {}
    }
    write!(out, "{head}Content-Length: {}\r\n\r\n", body.len())?;
    out.write_all(&body)?;
    state.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
    Ok(true)
}
