//! Machines that join, come back, and lose their disks, with etcd of both versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cluster::machine::{MachineCluster, Role};
use cluster::testing::{Certificates, Guarded, Program, debian12, debian13, free_ports};
use cluster::{Client, Member, Settings};

use crate::support::{LIMIT, Service, get, program};

/// A machine: what its etcd is told, its disk, and what runs on it.
struct Machine {
    name: String,
    folder: PathBuf,
    etcd: Program,
    client_url: String,
    peer_url: String,
    way: (&'static str, String),
    /// More of what its etcd is told.
    more: Vec<(String, String)>,
    running: Option<Guarded>,
}

impl Machine {
    fn new(folder: &Path, etcd: &Program, name: &str, way: (&'static str, String)) -> Self {
        let [client, peer] = free_ports();
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        Self {
            name: name.to_owned(),
            folder,
            etcd: etcd.clone(),
            client_url: format!("http://127.0.0.1:{client}"),
            peer_url: format!("http://127.0.0.1:{peer}"),
            way,
            more: Vec::new(),
            running: None,
        }
    }

    /// Speaks TLS to everybody, and to nobody without a certificate.
    fn secure(mut self, certificates: &Certificates) -> Self {
        for url in [&mut self.client_url, &mut self.peer_url] {
            *url = url.replace("http:", "https:");
        }
        for side in ["ETCD_", "ETCD_PEER_"] {
            for (name, file) in [
                ("CERT_FILE", "server.pem"),
                ("KEY_FILE", "server.key"),
                ("TRUSTED_CA_FILE", "ca.pem"),
            ] {
                let path = certificates.path(file).display().to_string();
                self.more.push((format!("{side}{name}"), path));
            }
            self.more.push((format!("{side}CLIENT_CERT_AUTH"), "true".to_owned()));
        }
        self
    }

    fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn command(&self) -> Command {
        let mut command = program();
        let data = self.folder.join("data");
        command
            .args(["join", "--run", self.run().to_str().unwrap()])
            .env("ETCD_NAME", &self.name)
            .env("ETCD_DATA_DIR", &data)
            .env("ETCD_LISTEN_CLIENT_URLS", &self.client_url)
            .env("ETCD_ADVERTISE_CLIENT_URLS", &self.client_url)
            .env("ETCD_LISTEN_PEER_URLS", &self.peer_url)
            .env("ETCD_INITIAL_ADVERTISE_PEER_URLS", &self.peer_url)
            .env("ETCD_LOG_LEVEL", "warn")
            .env("ETCD_LOGGER", "zap")
            .env(self.way.0, &self.way.1)
            .envs(self.more.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `ExecCondition=`, running.
    fn joining(&self) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        self.command().stderr(log).stdin(Stdio::null()).spawn().unwrap()
    }

    /// `ExecCondition=`, `ExecStart=` and `ExecStartPost=`, as systemd runs them.
    fn start(&mut self) {
        let mut joining = self.joining();
        assert_eq!(self.status(&mut joining), 0, "{}", self.told());
        self.start_etcd();
        self.finish();
    }

    fn start_etcd(&mut self) {
        let mut command = self.command();
        command.args(["--exec", self.etcd.path.to_str().unwrap()]);
        self.running = Some(Guarded::start(&command, &self.log(), &self.folder).unwrap());
    }

    fn finish(&self) {
        let log = fs::OpenOptions::new().append(true).open(self.log()).unwrap();
        let finished = self.command().arg("--finish").stderr(log).status().unwrap();
        assert!(finished.success(), "{}", self.told());
    }

    fn status(&self, joining: &mut Child) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = joining.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            if start.elapsed() > LIMIT {
                let _ = joining.kill();
                let _ = joining.wait();
                panic!("{} does not join: {}", self.name, self.told());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has said something.
    fn says(&self, text: &str) {
        let start = Instant::now();
        while !self.told().contains(text) {
            assert!(start.elapsed() < LIMIT, "no {text:?} in: {}", self.told());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn told(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn stop(&mut self) {
        self.running = None;
    }

    fn lose_disk(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(self.folder.join("data"));
        let _ = fs::remove_dir_all(self.run());
    }

    fn record(&self) -> MachineCluster {
        MachineCluster::read(&self.run()).expect("it has joined")
    }
}

/// Starts all of them at once, as they are switched on.
fn start_all(machines: &mut [Machine]) {
    let joining: Vec<Child> = machines.iter().map(Machine::joining).collect();
    for (machine, mut joining) in machines.iter_mut().zip(joining) {
        assert_eq!(machine.status(&mut joining), 0, "{}", machine.told());
        machine.start_etcd();
    }
    machines.iter().for_each(Machine::finish);
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn client(machine: &Machine) -> Client {
    Client::new(Settings::listed(&machine.client_url)).unwrap()
}

fn members(machine: &Machine) -> Vec<Member> {
    on_runtime(client(machine).members()).unwrap()
}

/// Takes a member out, however long the others take to find a leader without it.
fn remove(by: &Machine, id: u64) {
    until(|| {
        let removed = on_runtime(client(by).remove_member(id));
        removed.is_ok() || members(by).iter().all(|member| member.id != id)
    });
}

/// The same for adding one without a vote.
fn add(by: &Machine, peer_urls: &[String]) {
    until(|| {
        let added = on_runtime(client(by).add_learner(peer_urls));
        added.is_ok() || members(by).iter().any(|member| member.peer_urls == peer_urls)
    });
}

fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(100));
    }
}

fn discovery(folder: &Path, size: u32) -> (Service, String) {
    let store = folder.join("discovery");
    let arguments = ["discovery", "serve", "--directory", store.to_str().unwrap()];
    let service = Service::start(&arguments, folder, None);
    let url = get(&service.address, &format!("/new?size={size}")).body;
    (service, url)
}

fn three(folder: &Path, etcd: &Program, way: &(&'static str, String)) -> Vec<Machine> {
    ["n1", "n2", "n3"].map(|name| Machine::new(folder, etcd, name, way.clone())).into()
}

#[test]
fn a_cluster_forms_and_its_machines_come_back_with_their_disks_and_without() {
    for etcd in [debian12(), debian13()] {
        let folder = tempfile::tempdir().unwrap();
        let (service, url) = discovery(folder.path(), 3);
        let way = ("ETCD_DISCOVERY", url.clone());
        let mut machines = three(folder.path(), &etcd, &way);
        start_all(&mut machines);
        let founded = members(&machines[0]);
        assert_eq!(founded.len(), 3);
        on_runtime(client(&machines[0]).put("/kept", "yes")).unwrap();
        for machine in &machines {
            let record = machine.record();
            assert_eq!((record.role, record.endpoints.len()), (Role::Member, 3));
        }

        // A reboot.
        machines[0].stop();
        machines[0].start();
        assert_eq!(members(&machines[1]), founded);

        // A lost disk, of the leader too.
        for lost in 0..2 {
            let id = on_runtime(client(&machines[2]).health()).unwrap().leader;
            let before = members(&machines[2]);
            let leader = before.iter().find(|member| member.id == id).unwrap();
            let lost =
                machines.iter().position(|m| lost == 0 && m.name == leader.name).unwrap_or(0);
            machines[lost].lose_disk();
            machines[lost].start();
            let after = members(&machines[lost]);
            assert_eq!(after.len(), 3);
            assert!(after.iter().all(|member| !member.learner && !member.name.is_empty()));
            let id = |members: &[Member]| {
                members.iter().find(|m| m.name == machines[lost].name).unwrap().id
            };
            assert_ne!(id(&before), id(&after), "{}", machines[lost].told());
            let kept = on_runtime(client(&machines[lost]).get("/kept")).unwrap().unwrap();
            assert_eq!(kept.value, b"yes");
        }

        // A fourth is a client, and its unit is skipped and not failed.
        let fourth = Machine::new(folder.path(), &etcd, "n4", way.clone());
        let mut joining = fourth.joining();
        assert_eq!(fourth.status(&mut joining), 1, "{}", fourth.told());
        assert!(fourth.told().contains("is a client of"), "{}", fourth.told());
        let record = fourth.record();
        assert_eq!((record.role, record.endpoints.len()), (Role::Client, 3));
        let kept = on_runtime(async {
            Client::new(record.settings()).unwrap().get("/kept").await.unwrap().unwrap()
        });
        assert_eq!(kept.value, b"yes");

        // Everybody is down and one has lost its disk: it waits for the others and founds nothing.
        machines.iter_mut().for_each(Machine::stop);
        machines[2].lose_disk();
        let mut joining = machines[2].joining();
        machines[2].says("no member of the cluster answers");
        // Those with data need nobody's word, not even the discovery service's.
        drop(service);
        for machine in &mut machines[..2] {
            let mut joining = machine.joining();
            assert_eq!(machine.status(&mut joining), 0, "{}", machine.told());
            machine.start_etcd();
        }
        let _service = Service::start(
            &[
                "discovery",
                "serve",
                "--directory",
                folder.path().join("discovery").to_str().unwrap(),
            ],
            folder.path(),
            Some(url.split('/').nth(2).unwrap()),
        );
        assert_eq!(machines[2].status(&mut joining), 0, "{}", machines[2].told());
        machines[2].start_etcd();
        machines[2].finish();
        let kept = on_runtime(client(&machines[2]).get("/kept")).unwrap().unwrap();
        assert_eq!(kept.value, b"yes");
    }
}

#[test]
fn the_same_over_tls() {
    for etcd in [debian12(), debian13()] {
        let certificates = Certificates::new();
        let folder = tempfile::tempdir().unwrap();
        let (_service, url) = discovery(folder.path(), 3);
        let way = ("ETCD_DISCOVERY", url);
        let machine =
            |name| Machine::new(folder.path(), &etcd, name, way.clone()).secure(&certificates);
        let mut machines: Vec<Machine> = ["n1", "n2", "n3"].map(machine).into();
        start_all(&mut machines);
        let of = |machine: &Machine| Client::new(machine.record().settings()).unwrap();
        on_runtime(of(&machines[0]).put("/kept", "yes")).unwrap();
        let before = on_runtime(of(&machines[0]).members()).unwrap();
        assert!(before.iter().all(|m| m.peer_urls[0].starts_with("https:")), "{before:?}");

        machines[1].lose_disk();
        machines[1].start();
        let kept = on_runtime(of(&machines[1]).get("/kept")).unwrap().unwrap();
        assert_eq!(kept.value, b"yes");
        let after = on_runtime(of(&machines[1]).members()).unwrap();
        assert!(after.len() == 3 && after.iter().all(|member| !member.learner), "{after:?}");
        assert_ne!(before, after);

        // A client has what it needs to connect, and nobody else can.
        let fourth = machine("n4");
        let mut joining = fourth.joining();
        assert_eq!(fourth.status(&mut joining), 1, "{}", fourth.told());
        let kept = on_runtime(of(&fourth).get("/kept")).unwrap().unwrap();
        assert_eq!(kept.value, b"yes");
        let mut bare = fourth.record().settings();
        bare.tls = certificates.tls().into();
        bare.tls.as_mut().unwrap().identity = None;
        let refused = on_runtime(Client::new(bare).unwrap().get("/kept")).unwrap_err();
        assert!(matches!(refused, cluster::Error::Insecure { .. }), "{refused}");
    }
}

#[test]
fn what_a_power_cut_leaves_half_done_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let (_service, url) = discovery(folder.path(), 3);
    let mut machines = three(folder.path(), &debian13(), &("ETCD_DISCOVERY", url));
    start_all(&mut machines);
    let of = |machines: &[Machine], name: &str| {
        members(&machines[1]).into_iter().find(|member| member.name == name).unwrap().id
    };

    // Removed, and not added.
    let id = of(&machines, "n1");
    machines[0].lose_disk();
    remove(&machines[1], id);
    machines[0].start();
    // Added, and not started.
    let id = of(&machines, "n1");
    machines[0].lose_disk();
    remove(&machines[1], id);
    add(&machines[1], &[machines[0].peer_url.clone()]);
    machines[0].start();
    assert!(members(&machines[1]).iter().all(|member| !member.learner));
    // Started without a vote, and cut before it had one.
    machines[0].lose_disk();
    let mut joining = machines[0].joining();
    assert_eq!(machines[0].status(&mut joining), 0);
    machines[0].start_etcd();
    thread::sleep(Duration::from_secs(1));
    machines[0].stop();
    machines[0].start();
    let after = members(&machines[1]);
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|member| !member.learner), "{after:?}");
}

#[test]
fn by_a_list_a_lost_disk_comes_back_and_a_removed_member_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = debian13();
    let mut machines = three(folder.path(), &etcd, &("ETCD_INITIAL_CLUSTER", String::new()));
    let list: Vec<String> = machines.iter().map(|m| format!("{}={}", m.name, m.peer_url)).collect();
    for machine in &mut machines {
        machine.way.1 = list.join(",");
    }
    start_all(&mut machines);
    machines[0].lose_disk();
    machines[0].start();
    assert_eq!(members(&machines[0]).len(), 3);

    let removed = members(&machines[0]).into_iter().find(|m| m.name == "n2").unwrap();
    machines[1].stop();
    remove(&machines[0], removed.id);
    machines[1].start();
    assert!(machines[1].told().contains("putting its data aside"), "{}", machines[1].told());
    let aside = fs::read_dir(&machines[1].folder).unwrap().flatten();
    let aside = aside.filter(|e| e.file_name().to_string_lossy().starts_with("data.removed-"));
    assert_eq!(aside.count(), 1, "nothing is deleted");
    assert_eq!(members(&machines[0]).len(), 3);

    // A machine that is not in the list is a client.
    let worker = Machine::new(folder.path(), &etcd, "w", machines[0].way.clone());
    let mut joining = worker.joining();
    assert_eq!(worker.status(&mut joining), 1, "{}", worker.told());
}

#[test]
fn a_machine_with_the_name_of_a_member_that_answers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = debian13();
    let (_service, url) = discovery(folder.path(), 1);
    let way = ("ETCD_DISCOVERY", url);
    let mut machine = Machine::new(folder.path(), &etcd, "n1", way.clone());
    machine.start();
    let before = members(&machine);
    let elsewhere = folder.path().join("elsewhere");
    let twin = Machine::new(&elsewhere, &etcd, "n1", way);
    let mut joining = twin.joining();
    assert_eq!(twin.status(&mut joining), 255);
    assert!(twin.told().contains("is not this machine"), "{}", twin.told());
    assert_eq!(members(&machine), before, "the cluster is untouched");
}

#[test]
fn settings_that_cannot_be_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = debian13();
    for (way, expected) in [
        (("ETCD_INITIAL_CLUSTER", "nonsense".to_owned()), "is not NAME=URL,NAME=URL: `nonsense`"),
        (("ETCD_INITIAL_CLUSTER", "a=b".to_owned()), "is not NAME=URL,NAME=URL"),
    ] {
        let machine = Machine::new(folder.path(), &etcd, "n1", way);
        let mut joining = machine.joining();
        assert_eq!(machine.status(&mut joining), 255);
        assert!(machine.told().contains(expected), "{}", machine.told());
        assert_eq!(machine.told().lines().count(), 1);
        fs::remove_file(machine.log()).unwrap();
    }
    // A token that does not exist may be a typing error: it says so and waits.
    let (_service, url) = discovery(folder.path(), 3);
    let wrong = url[..url.len() - 1].to_owned() + if url.ends_with('0') { "1" } else { "0" };
    let machine = Machine::new(folder.path(), &etcd, "n2", ("ETCD_DISCOVERY", wrong));
    let mut joining = machine.joining();
    machine.says("knows no cluster");
    joining.kill().unwrap();
    joining.wait().unwrap();
}

#[test]
fn the_dns_names_the_peers() {
    let folder = tempfile::tempdir().unwrap();
    let [port] = free_ports();
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
        .args(["--listen-address=127.0.0.1", "--bind-interfaces", &format!("--port={port}")])
        .args(["--pid-file=", "--user=root", "--local=/example.org/"])
        .arg("--srv-host=_etcd-server._tcp.example.org,n2.example.org,2380,2")
        .arg("--srv-host=_etcd-server._tcp.example.org,n1.example.org,2380,1")
        .arg("--srv-host=_etcd-server-ssl-west._tcp.example.org,n3.example.org,2380");
    let log = folder.path().join("dnsmasq.log");
    let _running = Guarded::start(&command, &log, folder.path()).unwrap();
    let server = [([127, 0, 0, 1], port).into()];
    on_runtime(async {
        let start = Instant::now();
        let found = loop {
            match cluster::join::dns::lookup(&server, "example.org", "").await {
                Ok(found) => break found,
                Err(why) => assert!(start.elapsed() < LIMIT, "{why}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(found, ["http://n1.example.org:2380", "http://n2.example.org:2380"]);
        let west = cluster::join::dns::lookup(&server, "example.org", "west").await;
        assert_eq!(west.unwrap(), ["https://n3.example.org:2380"]);
    });
}
