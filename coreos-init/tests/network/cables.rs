//! Two network namespaces with virtual cables between them. Needs root, and says so without it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use tempfile::TempDir;

/// Two network namespaces, `here` for what is tested and `there` for its peers.
pub(crate) struct Cables {
    pub(crate) here: String,
    pub(crate) there: String,
    pub(crate) directory: TempDir,
    servers: Vec<Child>,
}

impl Cables {
    /// `None` if this process may not do that.
    pub(crate) fn new() -> Option<Cables> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("coreos-init-{}-{number}-{side}", std::process::id());
        let cables = Cables {
            here: name("here"),
            there: name("there"),
            directory: tempfile::tempdir().unwrap(),
            servers: Vec::new(),
        };
        for namespace in [&cables.here, &cables.there] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        Some(cables)
    }

    /// A cable from `name` here, which is down and has this MAC address, to an interface of the
    /// same name there, which is up with `address`.
    pub(crate) fn cable(self, name: &str, mac: &str, address: &str) -> Cables {
        let (here, there) = (&self.here, &self.there);
        let peer = ["type", "veth", "peer", name, "netns", there];
        ip(&[&["-n", here, "link", "add", name, "address", mac], &peer[..]].concat());
        ip(&["-n", there, "address", "add", address, "dev", name]);
        ip(&["-n", there, "link", "set", name, "up"]);
        self
    }

    /// A DHCP server there on `interface`, which lends `address` and announces `router`.
    pub(crate) fn dhcp(mut self, interface: &str, address: &str, router: &str) -> Cables {
        let leases = self.directory.path().join("leases");
        let server = Command::new("ip")
            .args(["netns", "exec", &self.there, "dnsmasq", "--keep-in-foreground"])
            .args(["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-ping"])
            .args(["--user=root", "--port=0", "--pid-file=", "--bind-interfaces"])
            .arg("--dhcp-authoritative")
            .arg(format!("--interface={interface}"))
            .arg(format!("--dhcp-range={address},{address},255.255.255.0,1h"))
            .arg(format!("--dhcp-option=option:router,{router}"))
            .arg(format!("--dhcp-option=option:dns-server,{router},192.0.2.53"))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ip must be installed");
        self.servers.push(server);
        self
    }

    /// A router of IPv6 there on `interface`, which hands out addresses as dnsmasq's `range` says
    /// and names the server fd00::53.
    pub(crate) fn router(mut self, interface: &str, range: &str) -> Cables {
        let server = Command::new("ip")
            .args(["netns", "exec", &self.there, "dnsmasq", "--keep-in-foreground"])
            .args(["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-ping"])
            .args(["--user=root", "--port=0", "--pid-file=", "--bind-interfaces"])
            .args([
                "--enable-ra",
                "--ra-param=*,5,60",
                "--dhcp-option=option6:dns-server,[fd00::53]",
            ])
            .arg(format!("--interface={interface}"))
            .arg(format!("--dhcp-range={range}"))
            .arg("--leasefile-ro")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ip must be installed");
        self.servers.push(server);
        self
    }

    /// The server's own record of its leases.
    pub(crate) fn leases(&self) -> String {
        fs::read_to_string(self.directory.path().join("leases")).expect("dnsmasq must be installed")
    }

    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.directory.path().join("resolv.conf")
    }

    /// Answers one request there on `address` with `body`.
    pub(crate) fn serve(&self, address: &str, body: &'static str) {
        let address: SocketAddr = address.parse().unwrap();
        let namespace = self.there.clone();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            enter(&namespace);
            let listener = TcpListener::bind(address).unwrap();
            ready.send(()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).unwrap();
        });
        is_ready.recv().unwrap();
    }

    /// Runs `job` here.
    pub(crate) fn here<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.here);
                job()
            });
            inside.join().unwrap()
        })
    }

    /// What `ip -j` prints of here.
    pub(crate) fn show(&self, arguments: &[&str]) -> Vec<Value> {
        let output = Command::new("ip").args(["-n", &self.here, "-j"]).args(arguments).output();
        let output = output.unwrap().stdout;
        if output.is_empty() { Vec::new() } else { serde_json::from_slice(&output).unwrap() }
    }

    /// Fails unless every interface here is as it was before: down, without addresses or routes.
    pub(crate) fn assert_untouched(&self) {
        for link in self.show(&["address"]) {
            if link["ifname"] != "lo" {
                assert_eq!(link["operstate"], "DOWN", "{link}");
                assert_eq!(link["addr_info"], Value::Array(Vec::new()), "{link}");
            }
        }
        assert_eq!(self.show(&["route"]), Vec::<Value>::new());
        assert_eq!(self.show(&["-6", "route"]), Vec::<Value>::new());
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        for namespace in [&self.here, &self.there] {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

/// Moves this thread, and with it what it starts, into a network namespace.
pub(crate) fn enter(namespace: &str) {
    let file = File::open(Path::new("/run/netns").join(namespace)).unwrap();
    setns(file, CloneFlags::CLONE_NEWNET).unwrap();
}

pub(crate) fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("ip must be installed");
    assert!(status.success(), "ip {}", arguments.join(" "));
}
