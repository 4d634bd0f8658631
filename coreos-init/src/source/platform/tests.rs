//! Every platform against a server that answers as it does, on the loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[path = "../../../tests/network/server.rs"]
mod server;
use server::Fixture;

const ANY: &str = "127.0.0.1:0";
/// Long enough for any machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a platform tells, as the fixtures write it.
fn shown(told: &Told) -> Value {
    let meta_data = serde_json::to_value(&told.meta_data).unwrap();
    let Value::Object(meta_data) = meta_data else { panic!("{meta_data}") };
    let said: serde_json::Map<_, _> = meta_data
        .into_iter()
        .filter(|(_, value)| !value.is_null() && *value != json!([]))
        .collect();
    let mut shown = json!({
        "user_data": String::from_utf8_lossy(&told.user_data),
        "meta_data": said,
    });
    if let Some(network) = &told.network {
        shown["network"] = json!(network.format.name());
    }
    if !told.notes.is_empty() {
        shown["notes"] = json!(told.notes);
    }
    shown
}

fn service(platform: Platform, to: SocketAddr, deadline: Duration) -> (Row, Service) {
    let row = platform.row().unwrap();
    let scheme = |url: &str| url.replace("https://", "http://");
    let bases = row.bases.iter().map(|url| Base { url: scheme(url), to: Some(to) });
    let service = Service::new(bases.collect(), PathBuf::new(), deadline);
    (row, service)
}

#[test]
fn every_platform_is_understood() {
    let root = nix::unistd::geteuid().is_root();
    for name in Fixture::names() {
        let fixture = Fixture::read(&name);
        let platform = Platform::from_name(&fixture.platform(&name)).expect(&name);
        if platform == Platform::Scaleway && !root {
            eprintln!("skipped: {name} needs a port below 1024");
            continue;
        }
        let mut expected = fixture.expected.clone();
        expected.as_object_mut().unwrap().remove("platform");
        let to = fixture.serve(ANY.parse().unwrap());
        let (row, mut service) = service(platform, to, PATIENCE);
        let told = (row.ask)(&mut service).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(shown(&told), expected, "{name}");
    }
}

#[test]
fn every_platform_has_a_fixture_and_a_name_of_its_own() {
    let fixtures = Fixture::names();
    for (name, platform) in Platform::NAMES {
        if platform.row().is_some() {
            assert!(fixtures.contains(&platform.to_string()), "{name}");
        }
        assert_eq!(Platform::from_name(name), Some(*platform));
    }
}

/// A server that says this to everything.
fn always(status: u16, body: &str) -> SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nLocation: http://127.0.0.1:1/\r\n\
         Connection: close\r\n\r\n{body}"
    );
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_service_that_is_not_the_platforms_is_refused_and_named() {
    let platforms = Platform::NAMES.iter().map(|(_, platform)| *platform);
    for platform in platforms.filter(|platform| platform.row().is_some()) {
        for (status, body) in
            [(404, ""), (200, ""), (200, "<html>captive portal</html>"), (302, ""), (401, "no")]
        {
            let (row, mut service) = service(platform, always(status, body), PATIENCE);
            let told = (row.ask)(&mut service);
            // EC2's documents are plain text: anything is an instance id.
            if platform == Platform::Ec2 && body.starts_with("<html>") {
                continue;
            }
            let refusal = told.expect_err(&format!("{platform} {status} {body}")).to_string();
            assert!(refusal.contains("http://"), "{platform}: {refusal}");
        }
    }
}

#[test]
fn a_document_larger_than_any_configuration_is_refused() {
    let large = "x".repeat(cloud_config::MAX_USER_DATA + 1);
    let (row, mut service) = service(Platform::OpenStack, always(200, &large), PATIENCE);
    let refusal = (row.ask)(&mut service).unwrap_err().to_string();
    assert!(refusal.contains("larger than"), "{refusal}");
}

#[test]
fn a_service_that_fails_is_asked_again_but_not_for_ever() {
    let (row, mut service) = service(Platform::Hetzner, always(503, ""), Duration::from_secs(1));
    let refusal = (row.ask)(&mut service).unwrap_err();
    assert_eq!(refusal, Refusal::Deadline(1));
    let closed = {
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        listener.local_addr().unwrap()
    };
    let (row, mut service) = self::service(Platform::Gce, closed, Duration::from_secs(1));
    let refusal = (row.ask)(&mut service).unwrap_err().to_string();
    assert!(refusal.contains("refused"), "{refusal}");
}

#[test]
fn the_address_that_answers_is_kept() {
    let closed = {
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        listener.local_addr().unwrap()
    };
    let open = Fixture::read("ec2").serve(ANY.parse().unwrap());
    let base = |url: &str, to| Base { url: url.to_owned(), to: Some(to) };
    let bases = vec![base("http://169.254.169.254", closed), base("http://[fd00:ec2::254]", open)];
    let mut service = Service::new(bases, PathBuf::new(), PATIENCE);
    let told = ec2::ask(&mut service).unwrap();
    assert_eq!(told.meta_data.instance_id.as_deref(), Some("i-1234567890abcdef0"));
    assert_eq!(service.place(), "http://[fd00:ec2::254]");
}
