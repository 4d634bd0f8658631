//! Networks that are not there, and one that is.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::source::{Need, Up, Uplink};

/// The network of a machine that must not need it.
pub(super) struct Unwanted;

impl Uplink for Unwanted {
    fn up(&mut self, need: Need) -> Result<Up, Box<dyn Error + Send + Sync>> {
        panic!("the network was brought up for {need:?}")
    }
}

/// The network of a machine that is on it already.
pub(super) struct Wired;

impl Uplink for Wired {
    fn up(&mut self, _: Need) -> Result<Up, Box<dyn Error + Send + Sync>> {
        Ok(Up::default())
    }
}

/// The network of a machine without a cable.
pub(super) struct Unplugged;

impl Uplink for Unplugged {
    fn up(&mut self, _: Need) -> Result<Up, Box<dyn Error + Send + Sync>> {
        Err("no carrier".into())
    }
}

/// Gives every request on the loopback the same answer. Ends with the test's process.
pub(super) struct Server {
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) fn start(status: &str, body: &str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut line = String::new();
                let mut request = BufReader::new(stream.try_clone().unwrap());
                while request.read_line(&mut line).unwrap_or(0) > 2 {
                    line.clear();
                }
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Server { address }
    }
}
