//! A discovery service on the host: etcd of the old protocol, as the old
//! options of a cluster want it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use qemu_tests::child::Child;
use qemu_tests::wiring::HOST;
use qemu_tests::{Deadline, Error, Result, ports};

/// A starting etcd on a busy host.
const LIMIT: Duration = Duration::from_secs(60);

/// Any token will do: each service has one cluster.
const CLUSTER: &str = "/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c8";

/// A service for one cluster of one member; ends when dropped.
pub(crate) struct Discovery {
    port: u16,
    _etcd: Child,
}

impl Discovery {
    /// Starts one that keeps its data in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let data = folder.join("discovery");
        let log = folder.join("discovery.log");
        let messages = File::create(&log).map_err(Error::file("write", &log))?;
        let (port, peer) = (ports::free()?, ports::free()?);
        let (client_url, peer_url) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new("etcd");
        command.args(["--enable-v2", "--name", "discovery", "--data-dir"]).arg(&data);
        command.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        command.args(["--initial-cluster", &format!("discovery={peer_url}")]);
        // etcd takes all its options from the environment too.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .stdin(Stdio::null())
            .stdout(messages.try_clone().map_err(Error::file("write", &log))?);
        command.stderr(messages);
        let service = Self { port, _etcd: Child::start(command)? };

        let deadline = Deadline::after(LIMIT);
        loop {
            match service.request("PUT", &format!("{CLUSTER}/_config/size"), "value=1") {
                Ok(answer) if answer.contains("\"action\":\"set\"") => return Ok(service),
                _ if deadline.pause(Duration::from_millis(100)) => {}
                _ => {
                    let console = std::fs::read_to_string(&log).unwrap_or_default();
                    let what = "an answer of the discovery service".to_owned();
                    return Err(Error::TimedOut { what, limit: LIMIT, console });
                }
            }
        }
    }

    /// The cluster's URL as a guest reaches it.
    pub(crate) fn url(&self) -> String {
        format!("http://{HOST}:{}{CLUSTER}", self.port)
    }

    /// What the cluster's members have registered.
    pub(crate) fn members(&self) -> io::Result<String> {
        self.request("GET", CLUSTER, "")
    }

    /// One HTTP request, whole answer.
    fn request(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
