//! The program as a service and as a command, and a plain HTTP client.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cluster::testing::Guarded;

/// Longer than anything takes on a busy host.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_cluster"))
}

pub(crate) fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("the program runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running service.
pub(crate) struct Service {
    running: Guarded,
    /// `HOST:PORT`.
    pub(crate) address: String,
}

impl Service {
    /// Starts it with its log in `folder`, on `address` or a free port.
    pub(crate) fn start(arguments: &[&str], folder: &Path, address: Option<&str>) -> Self {
        let log = folder.join("service.log");
        let before = fs::read_to_string(&log).unwrap_or_default().len();
        let mut command = program();
        command.args(arguments).args(["--listen", address.unwrap_or("127.0.0.1:0")]);
        let running = Guarded::start(&command, &log, folder).expect("the service starts");
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let told =
                text[before..].lines().find_map(|line| line.strip_prefix("listening on http://"));
            if let Some(address) = told {
                return Self { running, address: address.to_owned() };
            }
            assert!(running.is_running() && start.elapsed() < LIMIT, "{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_running()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One request. `extra` are more header lines.
pub(crate) fn ask(address: &str, method: &str, path: &str, extra: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{extra}\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

pub(crate) fn get(address: &str, path: &str) -> Answer {
    ask(address, "GET", path, "", "")
}

/// As etcd's client of the second protocol sends a value.
pub(crate) fn put(address: &str, path: &str, body: &str) -> Answer {
    ask(address, "PUT", path, "content-type: application/x-www-form-urlencoded\r\n", body)
}
