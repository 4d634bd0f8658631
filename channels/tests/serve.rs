//! The web server: what it serves, what it refuses, and a client on the other side of it. Any
//! other static server must do as well: nginx is the one that is tried, where it is installed.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use channels::client::{self, Settings};
use channels::fetch::Http;
use channels::offer::Part;
use channels::policy::Channel;
use channels::store::Memory;
use support::{Workshop, now, told};

/// A server that ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; the test tells by other means.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(repository: &Path) -> Server {
    let mut child = Command::new(env!("CARGO_BIN_EXE_channels"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg(repository)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim().rsplit_once("http://").expect(&line).1.trim_end_matches('/').to_owned();
    Server { child, address }
}

/// An answer, taken apart.
#[derive(Debug)]
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| {
            line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name))
        })?;
        Some(line.split_once(':')?.1.trim())
    }
}

/// Sends a head on a connection of its own and reads until the server closes it.
fn ask(address: &str, head: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("a whole head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Answer { head, body: bytes[end..].to_vec() }
}

fn get(address: &str, path: &str, headers: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
}

fn workshop() -> Workshop {
    let workshop = Workshop::with_repository();
    workshop.release("1.0", &[1, 2, 3], &[("bash", "5.2"), ("curl", "8.1")]);
    workshop.release("1.1", &[1, 2, 4], &[("bash", "5.3"), ("curl", "8.1")]);
    workshop.good("publish release-1.0");
    workshop.good("publish release-1.1 --over 10h");
    workshop.good("promote 1.0 --to beta --soak 0s");
    workshop
}

/// Does over HTTP what a machine does.
fn update(address: &str, repository: &Path) -> Result<Vec<u8>, String> {
    let anchor = Some(fs::read(repository.join("metadata/1.root.json")).unwrap());
    let settings = Settings { anchor, ..Settings::default() };
    let fetch = Http::new(&format!("http://{address}/"), host::http::Fetch::default());
    let store = Memory::default();
    let view = client::update(&fetch, &store, &settings, now()).map_err(|error| told(&error))?;
    let offers = view.offers(Channel::Alpha).map_err(|error| told(&error))?;
    let newest = offers.last().ok_or("no release")?;
    view.fetch(&newest.target(&view, Part::Root)).map_err(|error| told(&error))
}

#[test]
fn a_client_updates_over_http_and_refuses_what_was_changed_on_the_way() {
    let workshop = workshop();
    let server = serve(&workshop.repository());
    let root: Vec<u8> = [1, 2, 4].iter().flat_map(|byte| [*byte; 4096]).collect();
    assert_eq!(update(&server.address, &workshop.repository()), Ok(root));

    let targets = workshop.repository().join("targets/alpha");
    for entry in fs::read_dir(&targets).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with("coreos_1.1.root") {
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let error = update(&server.address, &workshop.repository()).unwrap_err();
    assert_eq!(error, "alpha/coreos_1.1.root does not have the hash that is signed for it");
}

#[test]
fn files_are_served_whole_and_in_parts() {
    let workshop = workshop();
    let server = serve(&workshop.repository());
    let path = "/metadata/timestamp.json";
    let content = fs::read(workshop.repository().join("metadata/timestamp.json")).unwrap();
    let size = content.len();
    let whole = get(&server.address, path, "");
    assert_eq!((whole.status(), &whole.body), (200, &content));
    assert_eq!(whole.header("content-type"), Some("application/json"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("cache-control"), Some("no-cache"));
    let tag = whole.header("etag").unwrap().to_owned();

    let cases = [
        ("bytes=0-9".to_owned(), 206, &content[..10]),
        ("bytes=10-".to_owned(), 206, &content[10..]),
        ("bytes=-10".to_owned(), 206, &content[size - 10..]),
        (format!("bytes={}-999999", size - 1), 206, &content[size - 1..]),
        (format!("bytes={size}-"), 416, &[]),
        ("bytes=5-1".to_owned(), 200, &content[..]),
        ("bytes=0-1,4-5".to_owned(), 200, &content[..]),
    ];
    for (range, status, body) in cases {
        let answer = get(&server.address, path, &format!("Range: {range}\r\n"));
        assert_eq!((answer.status(), answer.body.as_slice()), (status, body), "{range}");
        let end = format!("/{size}");
        assert_eq!(
            answer.header("content-range").is_some_and(|range| range.ends_with(&end)),
            status != 200
        );
    }
    // A part of a file that has changed since is not glued to the old one.
    let stale = get(&server.address, path, "Range: bytes=0-9\r\nIf-Range: \"other\"\r\n");
    assert_eq!((stale.status(), stale.body.len()), (200, size));
    let same = get(&server.address, path, &format!("Range: bytes=0-9\r\nIf-Range: {tag}\r\n"));
    assert_eq!((same.status(), same.body.len()), (206, 10));
    let known = get(&server.address, path, &format!("If-None-Match: \"x\", {tag}\r\n"));
    assert_eq!((known.status(), known.body.len()), (304, 0));

    let head = ask(&server.address, &format!("HEAD {path} HTTP/1.0\r\n\r\n"));
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
    // Several requests on one connection, one of them sent ahead.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let one = format!("HEAD {path} HTTP/1.1\r\n\r\n");
    let last = "GET /metadata/none HTTP/1.1\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{one}{one}{last}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert_eq!(text.matches("HTTP/1.1 404 Not Found").count(), 1, "{text}");
}

#[test]
fn nothing_but_the_two_trees_is_served() {
    let workshop = workshop();
    let repository = workshop.repository();
    fs::write(workshop.path("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(workshop.path("secret"), repository.join("metadata/link")).unwrap();
    std::os::unix::fs::symlink("timestamp.json", repository.join("metadata/inner")).unwrap();
    fs::write(repository.join("private"), "x").unwrap();
    let server = serve(&repository);
    let cases = [
        ("/metadata/1.root.json", 200),
        ("/metadata/inner", 200),
        ("/metadata/link", 404),
        ("/metadata/none", 404),
        ("/metadata", 404),
        ("/metadata/", 404),
        ("/targets/alpha", 404),
        ("/private", 404),
        ("/.lock", 404),
        ("/metadata/../../secret", 404),
        ("/metadata/..%2f..%2fsecret", 404),
        ("/metadata/%2e%2e/%2e%2e/secret", 404),
        ("/metadata//etc/passwd", 404),
        ("/metadata/1.root.json/x", 404),
        ("/metadata/%00", 404),
    ];
    for (path, status) in cases {
        let answer = get(&server.address, path, "");
        assert_eq!(answer.status(), status, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{path}");
    }
    let heads = [
        ("POST /metadata/timestamp.json HTTP/1.1\r\n\r\n", 405),
        ("PUT /metadata/new HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 405),
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /", 400),
        ("nonsense\r\n\r\n", 400),
        (&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)), 400),
    ];
    for (head, status) in heads {
        assert_eq!(ask(&server.address, head).status(), status, "{}", &head[..20]);
    }
    assert!(!repository.join("metadata/new").exists());
}

#[test]
fn the_page_shows_the_channels_and_what_changed() {
    let workshop = workshop();
    let server = serve(&workshop.repository());
    let page = get(&server.address, "/", "");
    assert_eq!(page.status(), 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let text = String::from_utf8(page.body).unwrap();
    for part in [
        "<h2>alpha <small>where releases begin</small></h2>",
        "<h3>1.1 <small>",
        "<tr><td>bash<td>5.2<td>5.3",
        "beta 1.0 to alpha 1.1",
        "Signed, good until",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    for foreign in ["<script", "http://", "https://", "src="] {
        assert!(!text.contains(foreign), "{foreign} in {text}");
    }
    let status = get(&server.address, "/status.json", "");
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(status["channels"][1]["releases"][0]["version"], "1.0");

    fs::remove_file(workshop.repository().join("metadata/timestamp.json")).unwrap();
    assert_eq!(get(&server.address, "/", "").status(), 503);
    assert_eq!(get(&server.address, "/metadata/1.root.json", "").status(), 200);
}

#[test]
fn the_number_of_connections_is_bounded() {
    let workshop = workshop();
    let server = serve(&workshop.repository());
    let idle: Vec<_> = (0..64).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    let refused = ask(&server.address, "");
    assert_eq!(refused.status(), 503);
    drop(idle);
    // The server notices one by one that they are gone.
    let served = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        get(&server.address, "/metadata/1.root.json", "").status() == 200
    });
    assert!(served);
}

fn nginx(workshop: &Workshop) -> Option<Server> {
    let program =
        ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists())?;
    // Free a moment ago; nothing else here asks for a port of its own choice.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let home = workshop.path("nginx");
    fs::create_dir(&home).unwrap();
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};", home.display()))
        .concat();
    let configuration = format!(
        "{user} daemon off; master_process off; pid {0}/pid; error_log {0}/errors; events {{}}
         http {{ access_log off; {temporary}
           server {{ listen 127.0.0.1:{port}; root {1}; location / {{}} }} }}",
        home.display(),
        workshop.repository().display(),
    );
    fs::write(home.join("nginx.conf"), configuration).unwrap();
    let child = Command::new(program)
        .args(["-c", home.join("nginx.conf").to_str().unwrap(), "-p", home.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server { child, address: format!("127.0.0.1:{port}") };
    let up = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        TcpStream::connect(&server.address).is_ok()
    });
    assert!(up, "nginx: {}", fs::read_to_string(home.join("errors")).unwrap_or_default());
    Some(server)
}

#[test]
fn any_static_server_does_as_well() {
    let workshop = workshop();
    let Some(server) = nginx(&workshop) else {
        println!("not tried: nginx is not installed");
        return;
    };
    assert_eq!(update(&server.address, &workshop.repository()).unwrap().len(), 3 * 4096);
    workshop.publish("1.2");
    assert_eq!(
        update(&server.address, &workshop.repository()).unwrap(),
        [b'1'; 4096].into_iter().chain([b'.'; 4096]).chain([b'2'; 4096]).collect::<Vec<_>>()
    );
    let part = get(&server.address, "/metadata/timestamp.json", "Range: bytes=0-9\r\n");
    assert_eq!((part.status(), part.body.len()), (206, 10));
}
