//! The evening of the article, replayed: three machines with the same cloud-config, a web server
//! in Docker on two of them and then on all, and everything that befalls machines, while somebody
//! asks the web server all the time.
//!
//! Real systemd, etcd, Docker and fleetd, all of the image: on nodes every day, on machines with
//! an update at the end (`in_turn.rs`) in `make soak`.

use std::process::{Command, Stdio};
use std::time::Duration;

use qemu_tests::child::{self, Child};
use qemu_tests::{Deadline, Error, Result, ssh};
use serde_json::json;

use crate::checks::{Checks, Outcome};
use crate::frontends::{self, Asking};
use crate::lab::Lab;
use crate::rack::{Rack, SETTLED, until};
use crate::registry::{self, Registry};
use crate::system::System;

/// For a command of this host over ssh.
const QUICK: Duration = Duration::from_secs(60);
/// Longer than a machine's lease: it counts as missing.
const CUT_OFF: Duration = Duration::from_secs(40);

/// The article's, with a place where Docker finds images without the Internet.
const CONFIG: &str = "#cloud-config
    ssh_authorized_keys:
        - VOTRE_CLE_PUBLIQUE
    write_files:
        - path: /etc/docker/daemon.json
          content: MIRROR
    coreos:
        etcd:
            discovery: VOTRE_URL
            addr: $private_ip:4001
            peer-addr: $private_ip:7001
            peer-election-timeout: 3000
            peer-heartbeat-interval: 600
    units:
        - name: etcd.service
            command: start
        - name: fleet.service
            command: start
";

/// The article's. It wrote `-rm`, which Docker does not take any more.
const NGINX: &str = "[Unit]
Description=Nginx-frontend
After=docker.service
Requires=docker.service

[Service]
TimeoutStartSec=0
ExecStartPre=-/usr/bin/docker kill nginx
ExecStartPre=-/usr/bin/docker rm nginx
ExecStartPre=/usr/bin/docker pull osones/nginx
ExecStart=/usr/bin/docker run --rm --name nginx -p 80:80 osones/nginx
ExecStop=/usr/bin/docker stop nginx

[X-Fleet]
Conflicts=nginx@*.service
";

/// Two units for the machine that runs this: one to be enabled, one that cannot run.
const PINNED: &str = "cd /tmp
printf '[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineID=%s\n[Install]\nWantedBy=multi-user.target\n' \
    $(cat /etc/machine-id) >pinned.service
printf '[Service]\nExecStart=/bin/false\n[X-Fleet]\nMachineID=%s\n' $(cat /etc/machine-id) >broken.service
fleetctl start pinned.service
fleetctl start --no-block broken.service
";

pub(crate) struct Evening<'a> {
    lab: &'a Lab,
    pub(crate) rack: Rack<'a>,
    /// What all machines are given, but for the URL of their cluster.
    pub(crate) config: String,
    pub(crate) checks: Checks,
    _registry: Registry,
    /// Holds the operator's key, as an agent does on a workstation.
    _agent: Child,
}

pub(crate) fn run(lab: &Lab) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("nodes need root: not run");
        return Ok(());
    }
    let mut evening = Evening::begin(lab, "evening")?;
    let mut nodes = evening.rack.three(&evening.config)?;
    let asking = evening.pass(&mut nodes)?;
    evening.asked(asking)?;
    evening.checks.finish()
}

impl<'a> Evening<'a> {
    /// The network, a registry, and an operator with a key.
    pub(crate) fn begin(lab: &'a Lab, name: &str) -> Result<Self> {
        let rack = Rack::new(lab, name)?;
        let registry = Registry::serve(&rack.network, &rack.folder.join("registry"))?;
        for old in ["key", "key.pub", "agent"] {
            let _ = std::fs::remove_file(rack.folder.join(old));
        }
        let key = rack.folder.join("key");
        let public = ssh::make_key(&key, "core@coreos")?;
        let mut agent = Command::new("ssh-agent");
        agent.args(["-D", "-a"]).arg(rack.folder.join("agent"));
        agent.stdin(Stdio::null()).stdout(Stdio::null());
        let agent = Child::start(agent)?;
        let deadline = Deadline::after(QUICK);
        while !rack.folder.join("agent").exists() && deadline.pause(Duration::from_millis(20)) {}
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", rack.folder.join("agent"));
        child::run(add, QUICK)?;
        let config = CONFIG
            .replace("VOTRE_CLE_PUBLIQUE", &public)
            .replace("MIRROR", &json!(registry::mirror(&rack.network)).to_string());
        let checks = Checks::default();
        Ok(Self { lab, rack, config, checks, _registry: registry, _agent: agent })
    }

    /// All that befalls three machines; somebody asks their web servers from here on.
    pub(crate) fn pass<S: System>(&mut self, nodes: &mut [S]) -> Result<Asking> {
        self.together(nodes)?;
        self.two_web_servers(nodes)?;
        let asking = frontends::ask(&self.rack.network, nodes)?;
        self.conflict(nodes)?;
        self.told_elsewhere(nodes)?;
        self.beside_systemd(&nodes[0])?;
        self.cut_off(nodes)?;
        self.lost_disk(nodes)?;
        self.killed(nodes)?;
        Ok(asking)
    }

    /// fleetctl on the operator's workstation, through the first machine.
    fn fleetctl<S: System>(&self, through: &S, words: &[&str]) -> Result<String> {
        let program = self.lab.workspace.program("fleetctl")?;
        let mut command = self.rack.network.command(&program.to_string_lossy());
        command.arg(format!("--tunnel={}", through.address())).args(words);
        command.env("SSH_AUTH_SOCK", self.rack.folder.join("agent"));
        command.env("FLEETCTL_STRICT_HOST_KEY_CHECKING", "false");
        command.env("FLEETCTL_REQUEST_TIMEOUT", (3 * S::PATIENCE).to_string());
        command.env("FLEETCTL_SSH_TIMEOUT", (10 * S::PATIENCE).to_string());
        command.current_dir(&self.rack.folder);
        child::run(command, SETTLED * S::PATIENCE)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// All machines are one cluster, and each one shows them.
    fn together(&mut self, nodes: &[impl System]) -> Result<()> {
        let list = "fleetctl list-machines --no-legend";
        let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
        for node in nodes {
            until(node, "fleet", "three machines with their addresses", list, |machines| {
                machines.lines().count() == nodes.len()
                    && addresses.iter().all(|address| machines.contains(address))
            })?;
        }
        for node in nodes {
            let failed = node.read("systemctl list-units --failed --plain --no-legend");
            self.checks.equal("failed units", failed, "");
        }
        Ok(())
    }

    fn two_web_servers(&mut self, nodes: &[impl System]) -> Result<()> {
        let path = self.rack.folder.join("nginx@.service");
        std::fs::write(&path, NGINX).map_err(Error::file("write", &path))?;
        let submitted = self.fleetctl(&nodes[0], &["submit", "nginx@.service"]);
        self.checks.equal("submitted", submitted, "Unit nginx@.service inactive\n");
        let started = self.fleetctl(&nodes[0], &["start", "nginx@1", "nginx@2"])?;
        self.checks.contains("started", Ok(started), "Unit nginx@2.service launched on ");
        let running = running(&nodes[0], 2)?;
        let machines: Vec<&str> =
            running.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        let apart = machines.len() == 2 && machines[0] != machines[1];
        self.checks.holds("two machines run one each", apart, &running);
        self.answering(nodes, 2)
    }

    /// So many machines answer HTTP. A container is there a moment after its unit.
    fn answering<S: System>(&mut self, nodes: &[S], number: usize) -> Result<()> {
        let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
        let count = || {
            let page = |address: &String| self.rack.network.get(address, 80, "/");
            addresses
                .iter()
                .filter(|address| page(address).is_ok_and(|p| p == "frontend\n"))
                .count()
        };
        let deadline = Deadline::after(QUICK * S::PATIENCE);
        while count() != number && deadline.pause(Duration::from_millis(300)) {}
        let seen = count();
        self.checks.holds(&format!("{number} machines answer"), seen == number, seen);
        Ok(())
    }

    /// A third finds the last machine, a fourth none.
    fn conflict(&mut self, nodes: &[impl System]) -> Result<()> {
        self.fleetctl(&nodes[1], &["start", "nginx@3"])?;
        running(&nodes[0], 3)?;
        self.answering(nodes, 3)?;
        let waits = nodes[2].run("fleetctl start --timeout 2 nginx@4")?;
        self.checks.equal("a fourth that waits", Ok(waits.status.code()), Some(1));
        let said = String::from_utf8_lossy(&waits.stderr).into_owned();
        self.checks.contains("what it waits for", Ok(said), "none can run it");
        let why = nodes[2].read("fleetctl why nginx@4");
        self.checks.contains("why it waits", why, "Conflicts: 0 of 3 machines pass");
        let files =
            nodes[1].read("fleetctl list-unit-files --no-legend --fields unit,dstate,state");
        self.checks.contains("it is still wanted", files, "nginx@4.service\tlaunched\tinactive");
        Ok(())
    }

    /// What runs on one machine is told on every other, and to the operator.
    fn told_elsewhere(&mut self, nodes: &[impl System]) -> Result<()> {
        for node in nodes {
            for unit in ["nginx@1", "nginx@2", "nginx@3"] {
                let status = node.read(&format!("fleetctl status {unit}"));
                self.checks.contains("status", status, "Active: active (running)");
                let journal = node.read(&format!("fleetctl journal --lines 50 {unit}"));
                self.checks.contains("journal", journal, "Started nginx@");
            }
        }
        let status = self.fleetctl(&nodes[2], &["status", "nginx@1.service"]);
        self.checks.contains("status through a tunnel", status, "Active: active (running)");
        let cat = self.fleetctl(&nodes[2], &["cat", "nginx@2"]);
        self.checks.equal("the file, byte for byte", cat, NGINX);
        let host = self.fleetctl(&nodes[2], &["ssh", "nginx@1", "cat /etc/hostname"])?;
        let there = nodes.iter().any(|node| node.name() == host.trim());
        self.checks.holds("ssh to the machine of a unit", there, &host);
        let id = nodes[1].read("cat /etc/machine-id")?;
        let words = ["ssh", "--machine", &id[..8], "cat /etc/hostname"];
        let host = self.fleetctl(&nodes[0], &words);
        self.checks.equal("ssh to a machine", host, format!("{}\n", nodes[1].name()));
        let follow = "timeout -k 5 10 fleetctl journal -f --lines 50 nginx@1; test $? = 124";
        self.checks.contains("a journal that goes on", nodes[0].read(follow), "Started nginx@");
        let top = self.fleetctl(&nodes[0], &["top", "--once"]);
        self.checks.contains("the cluster at a glance", top, "nginx@4.service");
        let screen =
            "timeout -k 5 10 script -qec 'fleetctl top --interval 2' /dev/null; test $? = 124";
        let screen = nodes[0].read(screen)?;
        let looks = screen.matches("nginx@4.service").count();
        self.checks.holds("it is shown again and again", looks > 1, screen);
        Ok(())
    }

    /// What fleetd and systemd do to each other on one machine.
    fn beside_systemd(&mut self, node: &impl System) -> Result<()> {
        node.read(PINNED)?;
        let pid = "systemctl show --property MainPID --value pinned.service";
        let before = node.read(pid)?;
        let enabled = node.read("ls /run/systemd/system/multi-user.target.wants");
        self.checks.contains("[Install] is followed", enabled, "pinned.service");
        let shown = "fleetctl list-units --no-legend --fields unit,active,sub";
        let has = |line: &'static str| {
            move |units: &str| units.lines().any(|unit| unit.split_whitespace().eq(line.split(' ')))
        };
        // Killed, it is started again; stopped, its socket starts it for who asks. What it runs
        // runs on.
        for end in ["systemctl kill --signal KILL fleet.service", "systemctl stop fleet.service"] {
            node.read(end)?;
            until(node, "fleet", end, shown, has("pinned.service active running"))?;
            self.checks.equal(end, node.read(pid), before.clone());
        }
        // Another systemd, and somebody who does not ask fleet: its signals still come.
        node.read("systemctl daemon-reexec; systemctl stop pinned.service")?;
        until(node, "fleet", "stopped by hand", shown, has("pinned.service inactive dead"))?;
        until(node, "fleet", "it has failed", shown, has("broken.service failed failed"))?;
        let why = node.read("fleetctl why broken");
        self.checks.contains("why it does not run", why, "in a row");
        node.read("fleetctl destroy pinned broken")?;
        let left = "ls /run/fleet/units /run/systemd/system/multi-user.target.wants | grep -E 'pinned|broken' || echo none";
        until(node, "fleet", "nothing of them is left", left, |left| left == "none")?;
        let known = node.run("systemctl cat pinned.service")?;
        self.checks.holds("systemd has forgotten it", !known.status.success(), "it has not");
        Ok(())
    }

    /// One is cut off for longer than its lease: everything runs on where it is, there too.
    fn cut_off<S: System>(&mut self, nodes: &[S]) -> Result<()> {
        let begun = "docker inspect --format '{{.State.StartedAt}}' nginx";
        let before = nodes.iter().map(|node| node.read(begun)).collect::<Result<Vec<_>>>()?;
        nodes[0].unplug()?;
        std::thread::sleep(CUT_OFF);
        let there = "fleetctl list-machines --no-legend | wc -l";
        until(&nodes[1], "fleet", "one is missing", there, |number| number == "2")?;
        if S::BACK_DOOR {
            self.checks.equal("its container, cut off", nodes[0].read(begun), before[0].clone());
        }
        nodes[0].plug()?;
        until(&nodes[1], "fleet", "it is back", there, |number| number == "3")?;
        running(&nodes[0], 3)?;
        for (node, before) in nodes.iter().zip(before) {
            self.checks.equal("a container that runs on", node.read(begun), before);
        }
        Ok(())
    }

    /// One loses all that it has, its machine id too: the machine in its place gets the web server
    /// that has waited for one, and the one that was there waits.
    fn lost_disk(&mut self, nodes: &mut [impl System]) -> Result<()> {
        nodes[1].lose_disk()?;
        nodes[1].power_on()?;
        nodes[1].booted()?;
        until(&nodes[1], "etcd", "its etcd is back", "systemctl is-active etcd", |state| {
            state == "active"
        })?;
        running(&nodes[0], 3)?;
        self.answering(nodes, 3)
    }

    /// One is killed: the others go on, and it does when it is back.
    fn killed(&mut self, nodes: &mut [impl System]) -> Result<()> {
        nodes[2].power_cut();
        self.answering(nodes, 2)?;
        nodes[2].power_on()?;
        nodes[2].booted()?;
        running(&nodes[0], 3)?;
        self.answering(nodes, 3)?;
        let places = nodes[0].read("fleetctl list-unit-files --no-legend --fields unit,target")?;
        // A machine that is gone has no address.
        let on = |unit: &str| places.lines().any(|l| l.starts_with(unit) && l.contains('/'));
        let all = on("nginx@1") && on("nginx@3") && on("nginx@2") != on("nginx@4");
        self.checks.holds("three run and one waits", all, &places);
        Ok(())
    }

    pub(crate) fn asked(&mut self, asking: Asking) -> Result<()> {
        let tally = asking.stop()?;
        eprintln!(
            "{} requests, {} failed, {} times another machine was asked",
            tally.asked, tally.failed, tally.passed_over
        );
        self.checks.equal("requests that nobody answered", Ok(tally.failed), 0_usize);
        self.checks.holds("somebody asked", tally.asked > 100, tally.asked);
        Ok(())
    }
}

/// Waits until so many web servers are shown as running, and returns the list.
fn running(node: &impl System, number: usize) -> Result<String> {
    let what = format!("{number} web servers run");
    let list = "fleetctl list-units --no-legend --full";
    until(node, "fleet", &what, list, |units| {
        units.lines().count() == number
            && units.lines().all(|unit| unit.ends_with("active\trunning"))
    })
}
