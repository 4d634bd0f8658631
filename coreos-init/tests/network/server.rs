//! A metadata service that answers as a platform documents it, from a table of requests and
//! answers (`tests/fixtures/platforms/README.md`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// What one platform answers, and what is to be made of it.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    documents: Vec<Document>,
    /// The value after `=== EXPECT`.
    pub(crate) expected: Value,
    /// What was sent to it by POST and taken, in order; all copies share it.
    pub(crate) posted: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, Clone, Default)]
struct Document {
    method: String,
    path: String,
    status: u16,
    /// The port must be one that only root has.
    root: bool,
    /// Header fields, in lower case, and their values.
    headers: Vec<(String, String)>,
    body: String,
}

impl Fixture {
    /// Reads `tests/fixtures/platforms/NAME.http`.
    pub(crate) fn read(name: &str) -> Fixture {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/platforms");
        let path = directory.join(format!("{name}.http"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let mut fixture =
            Fixture { documents: Vec::new(), expected: Value::Null, posted: Arc::default() };
        for part in text.split("=== ").skip(1) {
            let (head, rest) = part.split_once('\n').unwrap();
            if head == "EXPECT" {
                fixture.expected = serde_json::from_str(rest).unwrap();
                continue;
            }
            fixture.documents.push(document(head, rest));
        }
        fixture
    }

    /// The names of all fixtures.
    pub(crate) fn names() -> Vec<String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/platforms");
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".http").map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// The name of the platform that answers so: `ec2-v1` is one of the ways of `ec2`.
    pub(crate) fn platform(&self, name: &str) -> String {
        self.expected["platform"].as_str().unwrap_or(name).to_owned()
    }

    /// Answers on this address until the test's process ends.
    pub(crate) fn serve(self, address: SocketAddr) -> SocketAddr {
        serve(address, Arc::new(Mutex::new(self)))
    }

    fn answer(&self, mut stream: TcpStream, peer: SocketAddr) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            let length = lines.iter().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let mut sent = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut sent).is_err() {
                return;
            }
            let (status, body) = self.choose(&lines, peer);
            if lines[0].starts_with("POST ") && status < 300 {
                self.posted.lock().unwrap().push(String::from_utf8(sent).unwrap());
            }
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
            if stream.write_all((head + body).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn choose(&self, lines: &[String], peer: SocketAddr) -> (u16, &str) {
        let mut request = lines[0].split(' ');
        let (method, path) = (request.next().unwrap(), request.next().unwrap());
        let Some(document) = self
            .documents
            .iter()
            .find(|document| document.method == method && document.path == path)
        else {
            return (404, "not found");
        };
        let sent: Vec<_> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        if !document.headers.iter().all(|header| sent.contains(header)) {
            return (401, "a header is missing");
        }
        if document.root && peer.port() >= 1024 {
            return (403, "not from a port of root");
        }
        (document.status, &document.body)
    }
}

/// Answers on this address, until the test's process ends, as what is `current` at that moment.
pub(crate) fn serve(address: SocketAddr, current: Arc<Mutex<Fixture>>) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            let fixture = current.lock().unwrap().clone();
            thread::spawn(move || fixture.answer(stream, peer));
        }
    });
    address
}

fn document(head: &str, rest: &str) -> Document {
    let mut words = head.split(' ');
    let mut document = Document {
        method: words.next().unwrap().to_owned(),
        path: words.next().unwrap().to_owned(),
        status: words.next().map_or(200, |status| status.parse().unwrap()),
        ..Document::default()
    };
    let (headers, body) = rest.split_once("---\n").unwrap_or_else(|| panic!("{head}: no ---"));
    for line in headers.lines() {
        match line.split_once(':') {
            Some((name, value)) => {
                document.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => document.root = line == "<root>",
        }
    }
    document.body = body.to_owned();
    document
}
