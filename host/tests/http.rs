//! Fetching from servers on the loopback that behave well and badly.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use host::http::{Fetch, FetchError, Method, Proxy, Request, SourcePort, download, fetch, request};
use tempfile::TempDir;

/// What the server does with one connection.
#[derive(Clone)]
enum Reply {
    /// Sends this and closes.
    Bytes(String),
    /// Reads the request and says nothing until the client is gone.
    Silence,
    /// Closes at once.
    Hangup,
}

fn ok(body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn status(line: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

fn redirect(to: &str) -> Reply {
    status(&format!("302 Found\r\nLocation: {to}"))
}

/// Answers one connection after the other with `replies`, the last one over and over, and tells
/// the request lines. Ends with the test's process.
fn serve(replies: Vec<Reply>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        let mut replies = replies.into_iter().peekable();
        while let Ok((stream, _)) = listener.accept() {
            let reply = replies.peek().cloned().unwrap();
            if replies.len() > 1 {
                replies.next();
            }
            answer(stream, &reply, &sender);
        }
    });
    (format!("http://{address}"), requests)
}

fn answer(mut stream: TcpStream, reply: &Reply, requests: &Sender<String>) {
    if matches!(reply, Reply::Hangup) {
        let _ = requests.send("(hung up)".to_owned());
        return;
    }
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    // Told before the answer, so that a test which has the answer finds all requests told; a
    // test that does not want to know has dropped the other end.
    let _ = requests.send(line.trim_end().to_owned());
    line.clear();
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        line.clear();
    }
    match reply {
        // The client may have gone away in the middle, as it does when it has seen enough.
        Reply::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes())),
        Reply::Silence => while reader.read_line(&mut line).unwrap_or(0) > 0 {},
        Reply::Hangup => {}
    }
}

fn how() -> Fetch {
    Fetch { limit: 1000, proxy: Proxy::Never, ..Fetch::default() }
}

#[test]
fn a_document_is_returned_as_it_is() {
    let (url, requests) = serve(vec![ok("#cloud-config\n\0\u{ff}")]);
    let bytes = fetch(&format!("{url}/a/b?c=d"), &how()).unwrap();
    assert_eq!(bytes, "#cloud-config\n\0\u{ff}".as_bytes());
    assert_eq!(requests.recv().unwrap(), "GET /a/b?c=d HTTP/1.1");
}

#[test]
fn what_may_pass_is_tried_again() {
    for failure in [
        status("500 Internal Server Error"),
        status("503 Service Unavailable"),
        status("429 Too Many Requests\r\nRetry-After: 0"),
        Reply::Hangup,
        Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned()),
    ] {
        let (url, requests) = serve(vec![failure, ok("at last")]);
        assert_eq!(fetch(&url, &how()).unwrap(), b"at last");
        assert_eq!(requests.iter().take(2).count(), 2);
    }
}

#[test]
fn a_download_is_the_whole_document_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("document");
    let into = |url: &str, path: &std::path::Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        download(&Request::get(url), &how(), &file)
    };
    fs::write(&path, "what was there before").unwrap();
    let half = Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf of it".to_owned());
    let cut = Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nmuch longer".to_owned());
    let (url, _) = serve(vec![cut, half, ok("other")]);
    assert_eq!(into(&url, &path).unwrap(), 10);
    assert_eq!(fs::read(&path).unwrap(), b"half of it");

    let (url, _) = serve(vec![ok(&"x".repeat(1001))]);
    assert!(matches!(into(&url, &path), Err(FetchError::TooLarge { limit: 1000, .. })));
    let (url, requests) = serve(vec![status("404 Not Found")]);
    assert!(matches!(into(&url, &path), Err(FetchError::Status { status: 404, .. })));
    assert_eq!(requests.iter().take(1).count(), 1);
    let (url, requests) = serve(vec![ok("full")]);
    let full = into(&url, std::path::Path::new("/dev/full")).unwrap_err();
    assert!(matches!(full, FetchError::Write { .. }), "{full}");
    assert_eq!(requests.iter().take(1).count(), 1);
}

/// What the server at hand, one that knows ranges, holds.
const DOCUMENT: &[u8] = b"0123456789abcdefghij";

/// Serves [`DOCUMENT`], at most `most` bytes in one answer, and tells which ranges it was asked
/// for. `lie` is added to the place that it says a part is from.
fn serve_parts(most: usize, lie: usize) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, ranges) = mpsc::channel();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let reader = BufReader::new(stream.try_clone().unwrap());
            let head = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let range =
                head.filter_map(|line| Some(line.strip_prefix("range: ")?.to_owned())).last();
            let range = range.unwrap_or_default();
            let _ = sender.send(range.clone());
            let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
            let from: usize = from.map_or(0, |from| from.parse().unwrap());
            let all = DOCUMENT.len();
            let head = match (range.is_empty(), DOCUMENT.get(from..)) {
                (true, _) => "200 OK".to_owned(),
                (false, Some(rest)) if !rest.is_empty() => {
                    format!(
                        "206 Partial Content\r\nContent-Range: bytes {}-{}/{all}",
                        from + lie,
                        all - 1
                    )
                }
                _ => "416 Range Not Satisfiable".to_owned(),
            };
            let rest = DOCUMENT.get(from..).unwrap_or_default();
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", rest.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&rest[..most.min(rest.len())]);
        }
    });
    (url, ranges)
}

#[test]
fn a_download_goes_on_where_the_file_ends() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("document");
    let get = |url: &str| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        download(&Request::get(url), &how(), &file)
    };
    // (what is there, the most that is given at once, what is asked for)
    let cases: [(&[u8], usize, &[&str]); 5] = [
        (b"", 99, &[""]),
        (b"", 8, &["", "bytes=8-", "bytes=16-"]),
        (b"0123", 99, &["bytes=4-"]),
        (DOCUMENT, 99, &["bytes=20-", ""]),
        (b"longer than the document is", 99, &["bytes=27-", ""]),
    ];
    for (there, most, asked) in cases {
        fs::write(&path, there).unwrap();
        let (url, ranges) = serve_parts(most, 0);
        assert_eq!(get(&url).unwrap(), 20);
        assert_eq!(fs::read(&path).unwrap(), DOCUMENT);
        assert_eq!(ranges.try_iter().collect::<Vec<_>>(), asked);
    }

    // One that gives another part is asked for the whole.
    fs::write(&path, b"0123").unwrap();
    let (url, ranges) = serve_parts(99, 1);
    assert_eq!(get(&url).unwrap(), 20);
    assert_eq!(fs::read(&path).unwrap(), DOCUMENT);
    assert_eq!(ranges.try_iter().collect::<Vec<_>>(), ["bytes=4-", ""]);

    // What has come stays when nobody answers any more.
    fs::write(&path, b"0123").unwrap();
    let (url, _) = serve(vec![status("403 Forbidden")]);
    assert!(matches!(get(&url), Err(FetchError::Status { status: 403, .. })));
    assert_eq!(fs::read(&path).unwrap(), b"0123");
}

#[test]
fn what_is_refused_is_not_tried_again() {
    for (line, code) in [("404 Not Found", 404), ("403 Forbidden", 403), ("304 Not Modified", 304)]
    {
        let (url, requests) = serve(vec![status(line)]);
        let error = fetch(&format!("{url}/x?secret"), &how()).unwrap_err();
        let shown = error.to_string();
        assert!(matches!(error, FetchError::Status { status, .. } if status == code), "{shown}");
        assert_eq!(shown, format!("cannot fetch {url}/x?...: the server answered {code}"));
        assert_eq!(requests.try_iter().count(), 1);
    }
}

#[test]
fn it_gives_up_after_the_given_number_of_attempts() {
    let (url, requests) = serve(vec![status("500 Internal Server Error")]);
    let how = Fetch { attempts: 3, ..how() };
    assert!(matches!(fetch(&url, &how), Err(FetchError::Status { status: 500, .. })));
    assert_eq!(requests.try_iter().count(), 3);
}

#[test]
fn a_server_that_asks_for_more_patience_than_there_is_ends_it() {
    let busy = status("503 Service Unavailable\r\nRetry-After: 3600");
    let (url, requests) = serve(vec![busy]);
    assert!(matches!(fetch(&url, &how()), Err(FetchError::Status { status: 503, .. })));
    assert_eq!(requests.try_iter().count(), 1);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (url, requests) = serve(vec![redirect("/b"), redirect("/c"), ok("found")]);
    assert_eq!(fetch(&format!("{url}/a"), &how()).unwrap(), b"found");
    let paths: Vec<_> = requests.iter().take(3).collect();
    assert_eq!(paths, ["GET /a HTTP/1.1", "GET /b HTTP/1.1", "GET /c HTTP/1.1"]);

    let (url, requests) = serve(vec![redirect("/again")]);
    let error = fetch(&url, &how()).unwrap_err();
    assert!(matches!(error, FetchError::Redirects { .. }), "{error}");
    assert_eq!(requests.try_iter().count(), 6);

    let (url, _requests) = serve(vec![redirect("file:///etc/passwd")]);
    let error = fetch(&url, &how()).unwrap_err();
    assert!(!error.to_string().contains("passwd"), "{error}");
}

#[test]
fn the_limit_holds_to_the_byte_and_for_any_way_of_sending() {
    let limit = 1000;
    let chunked = |n: usize| {
        let body = "x".repeat(n);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        Reply::Bytes(format!("{head}{n:x}\r\n{body}\r\n0\r\n\r\n"))
    };
    let closing = |n: usize| {
        Reply::Bytes(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(n)))
    };
    for make in [&|n: usize| ok(&"x".repeat(n)), &chunked, &closing] as [&dyn Fn(usize) -> Reply; 3]
    {
        let (url, _requests) = serve(vec![make(limit)]);
        assert_eq!(fetch(&url, &how()).unwrap().len(), limit);
        let (url, _requests) = serve(vec![make(limit + 1)]);
        let error = fetch(&url, &how()).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { limit: 1000, .. }), "{error}");
    }
}

#[test]
fn a_silent_server_costs_no_more_than_the_deadline() {
    let (url, _requests) = serve(vec![Reply::Silence]);
    let how = Fetch { deadline: Duration::from_millis(300), ..how() };
    let error = fetch(&url, &how).unwrap_err();
    assert!(matches!(error, FetchError::Network { attempts: 1, .. }), "{error}");
}

#[test]
fn a_closed_port_is_told_with_the_number_of_attempts() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let how = Fetch { attempts: 2, ..how() };
    let error = fetch(&format!("http://user:pass@{free}/"), &how).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot fetch http://{free}/: ")), "{error}");
    assert!(error.ends_with("(attempts: 2)"), "{error}");
}

/// `openssl s_server` as an https server of the documents in its directory.
struct Tls {
    server: Child,
    port: u16,
    directory: TempDir,
}

impl Tls {
    fn start() -> Tls {
        let directory = tempfile::tempdir().unwrap();
        for name in ["own", "other"] {
            let made = Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
                .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
                .args(["-addext", "subjectAltName=IP:127.0.0.1"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
                .current_dir(directory.path())
                .stderr(Stdio::null())
                .status()
                .expect("openssl must be installed");
            assert!(made.success());
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-HTTP"])
            .args(["-cert", "own.pem", "-key", "own.key"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Tls { server, port, directory }
    }

    /// Makes `reply`, head and body, what the server sends for `name`.
    fn publish(&self, name: &str, reply: &Reply) {
        let Reply::Bytes(reply) = reply else { panic!("not a document") };
        fs::write(self.directory.path().join(name), reply).unwrap();
    }

    fn fetch(&self, name: &str, roots: &str) -> Result<Vec<u8>, FetchError> {
        let how = Fetch { roots: self.directory.path().join(roots), ..how() };
        fetch(&format!("https://127.0.0.1:{}/{name}", self.port), &how)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn https_trusts_the_given_roots_and_no_other() {
    let tls = Tls::start();
    tls.publish("config", &ok("over tls"));
    // The server needs a moment to listen; a refused connection is tried again.
    assert_eq!(tls.fetch("config", "own.pem").unwrap(), b"over tls");

    let error = tls.fetch("config", "other.pem").unwrap_err();
    assert!(matches!(error, FetchError::Network { attempts: 1, .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");

    for unusable in ["missing.pem", "own.key"] {
        let error = tls.fetch("config", unusable).unwrap_err();
        assert!(matches!(error, FetchError::Roots { .. }), "{error}");
    }
}

#[test]
fn https_is_never_left_for_plain_http() {
    let tls = Tls::start();
    let (plain, requests) = serve(vec![ok("from anybody")]);
    tls.publish("downgrade", &redirect(&format!("{plain}/config")));
    let error = tls.fetch("downgrade", "own.pem").unwrap_err();
    assert!(error.to_string().ends_with("redirected from https to plain http"), "{error}");
    assert_eq!(requests.try_iter().count(), 0);
}

#[test]
fn a_request_has_its_method_its_headers_and_its_destination() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken");
        (head, peer)
    });
    let asked = Request {
        url: "http://169.254.169.254/latest/api/token",
        method: Method::Put,
        headers: &[("X-Ttl", "300"), ("Authorization", "Bearer Oracle")],
        from: SourcePort::Any,
        to: Some(to),
    };
    assert_eq!(request(&asked, &how()).unwrap(), b"token");
    let (head, _) = server.join().unwrap();
    assert!(head.starts_with("PUT /latest/api/token HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    for line in
        ["host: 169.254.169.254", "x-ttl: 300", "authorization: bearer oracle", "content-length: 0"]
    {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
}

#[test]
fn root_can_ask_from_a_port_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/user_data", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        peer.port()
    });
    let asked = Request { from: SourcePort::Privileged, ..Request::get(&url) };
    match request(&asked, &how()) {
        Ok(body) => {
            assert_eq!(body, b"ok");
            assert!(server.join().unwrap() < 1024);
        }
        Err(error) => {
            assert!(error.to_string().contains("ermission denied"), "{error}");
            eprintln!("skipped: ports below 1024 need root");
        }
    }
}

#[test]
fn redirects_are_not_followed_where_none_are_expected() {
    let (url, requests) = serve(vec![redirect("/elsewhere"), ok("never")]);
    let how = Fetch { redirects: 0, ..how() };
    assert!(fetch(&url, &how).is_err());
    assert_eq!(requests.try_iter().count(), 1);
}
