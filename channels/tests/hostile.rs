//! Servers that mean no good: a machine's client neither follows them out of the net nor waits
//! for them for ever.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use channels::client::{self, Settings};
use channels::fetch::Http;
use channels::store::Memory;
use support::{Workshop, now, told};

/// Answers every request in the same way for as long as the test process lives; the address.
fn hostile(answer: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                // Whatever was asked for.
                let _ = stream.read(&mut [0; 4096]);
                answer(stream);
            });
        }
    });
    format!("http://{address}")
}

/// What an update from such a server ends with.
fn update(address: &str) -> String {
    let workshop = Workshop::with_repository();
    workshop.publish("1.0");
    let anchor = Some(fs::read(workshop.repository().join("metadata/1.root.json")).unwrap());
    let settings = Settings { anchor, ..Settings::default() };
    let how = host::http::Fetch {
        deadline: Duration::from_secs(3),
        attempts: 2,
        ..host::http::Fetch::default()
    };
    let (fetch, store) = (Http::new(address, how), Memory::default());
    let update = client::update(&fetch, &store, &settings, now());
    told(&update.expect_err("nothing good can come of it"))
}

#[test]
fn a_redirect_leads_to_no_file_of_the_machine() {
    for to in ["file:///etc/passwd", "file://localhost/etc/passwd", "ftp://127.0.0.1/x", "data:,x"]
    {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let address = hostile(move |mut stream| _ = stream.write_all(head.as_bytes()));
        let error = update(&address);
        assert!(error.contains("cannot get ") && !error.contains("root:"), "{to}: {error}");
    }
}

#[test]
fn a_server_that_drips_is_left_at_the_deadline() {
    // Each byte comes before any limit on silence; only the whole has an end.
    let address = hostile(|mut stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n";
        let mut alive = stream.write_all(head.as_bytes()).is_ok();
        while alive {
            thread::sleep(Duration::from_millis(200));
            alive = stream.write_all(b" ").is_ok();
        }
    });
    let error = update(&address);
    assert!(error.contains("cannot get "), "{error}");
}

#[test]
fn an_answer_without_an_end_is_cut_off() {
    let address = hostile(|mut stream| {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        let mut alive = stream.write_all(head.as_bytes()).is_ok();
        while alive {
            alive = stream.write_all(&[b' '; 4096]).is_ok();
        }
    });
    let error = update(&address);
    assert!(error.contains("larger than"), "{error}");
}
