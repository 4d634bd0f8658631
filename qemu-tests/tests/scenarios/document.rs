//! One document on the host, for a machine to fetch.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use qemu_tests::wiring::HOST;
use qemu_tests::{Error, Result};

/// Answers every request with `body`, as long as the program runs; the address as machines on the
/// built-in network know it.
pub(crate) fn serve(body: impl Into<Vec<u8>>) -> Result<String> {
    let body = body.into();
    let failed = Error::file("listen at", "127.0.0.1");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(Error::file("listen at", "127.0.0.1"))?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            // Whoever went away has no use for an answer.
            let _ = stream.read(&mut request);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    Ok(format!("http://{HOST}:{}/document", address.port()))
}
