//! What a configuration names by its address, from a server on this machine.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use coreos_init::ledger::sha256;

use crate::root::Root;
use crate::{coreos_init, run};

const PART: &str = "#cloud-config\nhostname: included\n";
const TOOL: &str = "#!/bin/sh\necho tool\n";

/// A server of a few documents.
struct Server {
    address: String,
    /// The requests so far: first line and headers.
    asked: Arc<Mutex<Vec<String>>>,
    /// Whether it answers.
    up: Arc<Mutex<bool>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, up) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(true)));
        let (noted, is_up) = (Arc::clone(&asked), Arc::clone(&up));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, more, body) = match path.split('?').next().unwrap_or_default() {
                    _ if !*is_up.lock().unwrap() => ("404 gone", "", ""),
                    "/part" => ("200 OK", "", PART),
                    "/tool" => ("200 OK", "", TOOL),
                    "/moved" => ("302 Found", "Location: /tool\r\n", ""),
                    _ => ("404 Not Found", "", "no"),
                };
                noted.lock().unwrap().push(request);
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n");
                let _ = stream.write_all((head + body).as_bytes());
            }
        });
        Server { address, asked, up }
    }

    fn stop(&self) {
        *self.up.lock().unwrap() = false;
    }

    /// How often a path was asked for.
    fn count(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| request.starts_with(&format!("GET {path}"))).count()
    }
}

fn with(root: &Root, verb: &str, text: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.yaml");
    fs::write(&file, text).unwrap();
    let mut command = coreos_init();
    command.env_remove("http_proxy").env_remove("HTTP_PROXY").env_remove("ALL_PROXY");
    let (code, out, err) =
        run(command.arg(verb).arg("--root").arg(root.path()).arg("--from-file").arg(&file));
    let here = format!("{}/", directory.path().display());
    (code, out.replace(&here, ""), err.replace(&here, ""))
}

/// A configuration of one file that is at `path`, with this hash.
fn source(server: &Server, path: &str, hash: &str) -> String {
    format!(
        "#cloud-config\nwrite_files:\n- path: /opt/bin/tool\n  permissions: '0755'\n  \
         source: {{uri: '{}{path}', sha256: {hash}, headers: {{X-Token: t0k3n}}}}\n",
        server.address
    )
}

#[test]
fn a_file_comes_from_its_address_once() {
    let (server, root) = (Server::start(), Root::new());
    let config = source(&server, "/moved?secret=s3cret", &sha256(TOOL.as_bytes()));
    let (code, out, err) = with(&root, "plan", &config);
    assert_eq!(code, 2, "{err}");
    assert!(out.contains("+echo tool\n"), "{out}");
    assert!(!root.path().join("opt").exists(), "a plan writes nothing");

    let (code, out, err) = with(&root, "apply", &config);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("wrote /opt/bin/tool\n"), "{out}");
    assert_eq!(root.read("opt/bin/tool"), TOOL);
    {
        let asked = server.asked.lock().unwrap();
        let first = asked[0].to_ascii_lowercase();
        assert!(first.contains("x-token: t0k3n\r\n"), "{first}");
        assert!(!(out + &err).contains("s3cret"));
    }
    // What has the hash is not asked for again, and needs no server.
    let before = server.asked.lock().unwrap().len();
    server.stop();
    let (code, out, err) = with(&root, "apply", &config);
    assert_eq!(
        (code, out.lines().last(), err.contains("error")),
        (0, Some("nothing to do: all is as configured"), false),
        "{err}"
    );
    assert_eq!(server.asked.lock().unwrap().len(), before);
    // One that somebody changed is, and the machine stays as it is without an answer.
    fs::write(root.path().join("opt/bin/tool"), "mine").unwrap();
    let listing = root.listing();
    let (code, _, err) = with(&root, "apply", &config);
    assert_eq!(code, 1);
    assert!(err.contains("node.yaml:5:"), "{err}");
    assert!(err.contains("the server answered 404"), "{err}");
    assert!(!err.contains("s3cret"), "{err}");
    assert_eq!(root.listing(), listing);
}

#[test]
fn bytes_with_another_hash_are_refused_at_their_line() {
    let (server, root) = (Server::start(), Root::new());
    let listing = root.listing();
    let (code, out, err) = with(&root, "apply", &source(&server, "/tool", &sha256(b"other")));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("node.yaml:5:"), "{err}");
    assert!(err.contains(&format!("its SHA-256 is {}", sha256(TOOL.as_bytes()))), "{err}");
    assert_eq!(root.listing(), listing);
}

#[test]
fn what_is_included_is_part_of_the_configuration() {
    let (server, root) = (Server::start(), Root::new());
    let include = |hash: &str| format!("#include\n{}/part sha256={hash}\n", server.address);
    let config = include(&sha256(PART.as_bytes()));
    let (code, _, err) = with(&root, "apply", &config);
    assert_eq!(code, 0, "{err}");
    assert_eq!(root.read("etc/hostname"), "included\n");
    assert_eq!(server.count("/part"), 1);

    // The last answer is kept: its hash is known, so nobody is asked.
    server.stop();
    let (code, out, err) = with(&root, "apply", &config);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("nothing to do"), "{out}");
    assert_eq!(server.count("/part"), 1);

    // Another hash is not what was kept, and there is no other answer.
    let listing = root.listing();
    let (code, _, err) = with(&root, "apply", &include(&sha256(b"other")));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("node.yaml:2:"), "{err}");
    assert_eq!(root.listing(), listing);
}
