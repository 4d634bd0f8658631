//! Machines as processes: a real fleetd each, with a systemd of its own and a common etcd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::testing::{Cluster, Program};
use fleet::api::types::Unit;
use fleet::api::{Client, Endpoint};

use crate::systemd::Systemd;

/// Longest wait for what has to happen. Not a measure of anything.
const LIMIT: Duration = Duration::from_secs(60);

/// One machine.
pub(crate) struct Node {
    pub(crate) id: String,
    folder: PathBuf,
    pub(crate) systemd: Systemd,
    daemon: Option<Child>,
    endpoints: String,
    settings: String,
}

impl Node {
    /// A machine whose id starts with its number, in a folder of its own.
    pub(crate) fn new(parent: &Path, number: u32, endpoints: &str, settings: &str) -> Node {
        let id = format!("{number:08x}{:024x}", 0xfee7_u32);
        let folder = parent.join(number.to_string());
        for below in ["etc", "proc/sys/kernel/random", "units", "state"] {
            std::fs::create_dir_all(folder.join(below)).expect("a folder");
        }
        std::fs::write(folder.join("etc/machine-id"), format!("{id}\n")).expect("written");
        let meminfo = "MemTotal:        4194304 kB\n";
        std::fs::write(folder.join("proc/meminfo"), meminfo).expect("written");
        let systemd = Systemd::start(&folder.join("systemd"));
        let mut node = Node {
            id,
            folder,
            systemd,
            daemon: None,
            endpoints: endpoints.to_string(),
            settings: settings.to_string(),
        };
        node.boot(1);
        node.start();
        node
    }

    fn boot(&self, number: u32) {
        let path = self.folder.join("proc/sys/kernel/random/boot_id");
        std::fs::write(path, format!("boot-{}-{number}", self.folder.display())).expect("written");
    }

    /// Another process with the same machine id, in another boot.
    pub(crate) fn give_id(&self, id: &str) {
        std::fs::write(self.folder.join("etc/machine-id"), id).expect("written");
    }

    /// Its disk becomes a copy of another's.
    pub(crate) fn copy_disk(&self, of: &Node) {
        self.give_id(&of.id);
        let copy = std::fs::copy(of.folder.join("state/lease"), self.folder.join("state/lease"));
        copy.expect("copied");
    }

    pub(crate) fn start(&mut self) {
        let config = self.folder.join("fleet.conf");
        let text = format!(
            "etcd_servers={}\nagent_ttl=5s\nengine_grace=6s\nunits_directory={}\nstate_directory={}\n\
             systemd_bus={}\nrelay_listen=127.0.0.1:0\npublic_ip=10.0.0.{}\n{}\n",
            self.endpoints,
            self.folder.join("units").display(),
            self.folder.join("state").display(),
            self.systemd.socket.display(),
            u32::from_str_radix(&self.id[..8], 16).unwrap_or_default(),
            self.settings,
        );
        std::fs::write(&config, text).expect("written");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("a log");
        let daemon = Command::new(env!("CARGO_BIN_EXE_fleetd"))
            .arg("--config")
            .arg(&config)
            .arg("--socket")
            .arg(self.folder.join("sock"))
            .arg("--root")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("fleetd starts");
        self.daemon = Some(daemon);
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Some(daemon) = &self.daemon {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).expect("a pid"));
            nix::sys::signal::kill(pid, signal).expect("it runs");
        }
    }

    /// Asks the daemon to stop, and waits until it has.
    pub(crate) fn terminate(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let mut daemon = self.daemon.take().expect("it runs");
        assert!(daemon.wait().expect("it ends").success(), "{}", self.log());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// The machine goes down with all that runs there.
    pub(crate) fn power_off(&mut self) {
        self.kill();
        self.systemd.reboot();
        for entry in std::fs::read_dir(self.folder.join("units")).expect("a folder").flatten() {
            std::fs::remove_file(entry.path()).expect("removed");
        }
        self.boot(2);
    }

    /// Nothing of it is heard any more, and it hears nothing; what runs there runs on.
    pub(crate) fn cut_off(&self) {
        self.signal(nix::sys::signal::Signal::SIGSTOP);
    }

    pub(crate) fn link(&self) {
        self.signal(nix::sys::signal::Signal::SIGCONT);
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Endpoint::Unix(self.folder.join("sock")), Duration::from_secs(20))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.link();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.id, self.log());
        }
        self.kill();
    }
}

/// A whole cluster.
pub(crate) struct Machines {
    pub(crate) etcd: Cluster,
    pub(crate) nodes: Vec<Node>,
    folder: tempfile::TempDir,
}

impl Machines {
    /// So many machines with the host's etcd.
    pub(crate) fn start(number: u32) -> Machines {
        Machines::with(number, &cluster::testing::debian12(), "")
    }

    pub(crate) fn with(number: u32, program: &Program, settings: &str) -> Machines {
        Machines::of(Cluster::single(program), number, settings)
    }

    /// So many machines with this etcd.
    pub(crate) fn of(etcd: Cluster, number: u32, settings: &str) -> Machines {
        let folder = tempfile::tempdir().expect("a folder");
        let endpoints = etcd.endpoints();
        let nodes =
            (1..=number).map(|n| Node::new(folder.path(), n, &endpoints, settings)).collect();
        let machines = Machines { etcd, nodes, folder };
        machines.wait("all machines are there", || {
            machines.nodes[0].client().machines().is_ok_and(|all| all.len() == number as usize)
        });
        machines
    }

    pub(crate) fn add(&mut self, number: u32) {
        let node = Node::new(self.folder.path(), number, &self.etcd.endpoints(), "");
        self.nodes.push(node);
    }

    pub(crate) fn client(&self) -> Client {
        self.nodes[0].client()
    }

    /// Waits until something is so.
    pub(crate) fn wait(&self, what: &str, so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !so() {
            if begin.elapsed() > LIMIT {
                let logs: Vec<String> = self
                    .nodes
                    .iter()
                    .map(|node| format!("--- {}\n{}", node.id, node.log()))
                    .collect();
                panic!("not so: {what}\nunits: {:?}\n{}", self.running(), logs.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Looks for a while whether something stays so.
    pub(crate) fn stays(&self, what: &str, time: Duration, so: impl Fn() -> bool) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            assert!(so(), "no longer so: {what}: {:?}", self.running());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until who decides knows all machines: one that it hears of later gets no unit of
    /// those that are there.
    pub(crate) fn known(&self) {
        let probe = |node: &Node| format!("probe-{}.service", node.id);
        for node in &self.nodes {
            self.launch(&probe(node), &format!("MachineID={}", node.id));
        }
        let all =
            || self.running().iter().zip(&self.nodes).all(|(runs, n)| runs.contains(&probe(n)));
        self.wait("each machine is known", all);
        for node in &self.nodes {
            self.client().destroy(&probe(node)).expect("destroyed");
        }
        // What is ordered counts as a machine's load until the order is taken back.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let orders = || {
            let client = cluster::Client::new(self.etcd.settings()).expect("a client");
            runtime.block_on(client.list("/fleet/v1/sched/"))
        };
        self.wait("the probes are gone", || orders().is_ok_and(|all| all.entries.is_empty()));
    }

    /// What runs on each machine.
    pub(crate) fn running(&self) -> Vec<Vec<String>> {
        self.nodes.iter().map(|node| node.systemd.running()).collect()
    }

    /// The machines on which a unit runs.
    pub(crate) fn on(&self, unit: &str) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&n| self.nodes[n].systemd.running().iter().any(|u| u == unit))
            .collect()
    }

    /// Submits a unit and has it started.
    pub(crate) fn launch(&self, name: &str, section: &str) {
        self.put(name, section, "/bin/true");
    }

    pub(crate) fn put(&self, name: &str, section: &str, command: &str) {
        let body = format!("[Service]\nExecStart={command}\n[X-Fleet]\n{section}\n");
        let unit = Unit {
            name: name.to_string(),
            body: Some(body),
            desired_state: Some("launched".to_string()),
            ..Unit::default()
        };
        self.client().put_unit(&unit).expect("submitted");
    }
}
