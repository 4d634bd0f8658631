//! Three machines with the same config found a cluster, a fourth is its client,
//! and it stays one whatever happens to them.
//!
//! On nodes: the systems are the image's, with its systemd and its etcd.

use qemu_tests::Result;
use qemu_tests::node::Node;

use crate::checks::{Checks, Outcome};
use crate::lab::Lab;
use crate::rack::Rack;

/// What every machine is given, word for word the same.
const CONFIG: &str = "#cloud-config
coreos:
  etcd:
    discovery: VOTRE_URL
    addr: $private_ip:4001
    peer-addr: $private_ip:7001
  units:
    - name: etcd.service
      command: start
";

/// The cluster, as the scenario goes through it.
struct Cluster<'a> {
    rack: Rack<'a>,
    checks: Checks,
}

pub(crate) fn run(lab: &Lab) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("nodes need root: not run");
        return Ok(());
    }
    let mut cluster = Cluster { rack: Rack::new(lab, "cluster")?, checks: Checks::default() };
    let mut nodes = cluster.rack.three(CONFIG)?;
    cluster.founded(&nodes)?;
    cluster.cut_off(&nodes)?;
    cluster.lost_disk(&mut nodes)?;
    let fourth = cluster.fourth()?;
    cluster.killed(&mut nodes, &fourth)?;
    cluster.checks.finish()
}

impl Cluster<'_> {
    fn founded(&mut self, nodes: &[Node]) -> Result<()> {
        for node in nodes {
            until(node, "etcd is active", "systemctl is-active etcd", |state| state == "active")?;
        }
        for node in nodes {
            let members = node.read(&etcdctl(node, "member list"))?;
            let all =
                nodes.iter().all(|n| members.contains(&format!("http://{}:7001", n.address())));
            self.checks.holds("every member knows all three", all, members);
        }
        let status = node_status(&nodes[0], nodes)?;
        let leaders = status.lines().filter(|line| line.contains(", true, false,")).count();
        self.checks.holds("one of them leads", leaders == 1, status);
        for node in nodes {
            let failed = node.read("systemctl list-units --failed --plain --no-legend");
            self.checks.equal("failed units", failed, "");
            let settings = node.read("systemctl show -p Environment etcd");
            self.checks.contains("history is compacted", settings, "AUTO_COMPACTION_RETENTION=1h");
        }
        nodes[0].read(&etcdctl(&nodes[0], "put /evening begun")).map(drop)
    }

    /// One is cut off: it decides nothing any more, the others go on, and it
    /// comes back by itself.
    fn cut_off(&mut self, nodes: &[Node]) -> Result<()> {
        nodes[0].unplug()?;
        until(&nodes[1], "the others go on", &etcdctl(&nodes[1], "put /evening alone"), |_| true)?;
        // It may be done later, once the others hear of it: that is another key for that reason.
        let alone = nodes[0].run("timeout 5 etcdctl put /alone perhaps")?;
        self.checks.holds("the one alone decides nothing", !alone.status.success(), "it did");
        let state = nodes[0].read("systemctl is-active etcd");
        self.checks.equal("its etcd while it is cut off", state, "active");
        nodes[0].plug()?;
        let value = etcdctl(&nodes[0], "get --print-value-only /evening");
        until(&nodes[0], "it catches up", &value, |value| value == "alone")
    }

    /// One loses everything that it has: it comes back by itself, as another
    /// machine at the same address.
    fn lost_disk(&mut self, nodes: &mut [Node]) -> Result<()> {
        let before = nodes[0].read(&etcdctl(&nodes[0], "member list"))?;
        let id = nodes[1].read("cat /etc/machine-id")?;
        nodes[1].lose_disk()?;
        nodes[1].power_on()?;
        nodes[1].booted()?;
        let node = &nodes[1];
        until(node, "etcd is active again", "systemctl is-active etcd", |state| state == "active")?;
        let value = node.read("etcdctl get --print-value-only /evening");
        self.checks.equal("what the others have kept for it", value, "alone");
        let after = nodes[0].read(&etcdctl(&nodes[0], "member list"))?;
        let voters = after.lines().filter(|line| line.ends_with(", false")).count();
        self.checks.holds("three members with a vote", voters == 3, &after);
        self.checks.holds("one is another", before != after, &after);
        let new = node.read("cat /etc/machine-id")?;
        self.checks.holds("its machine id is new", id != new, new);
        Ok(())
    }

    /// One machine too many is a client, and nothing of it has failed.
    fn fourth(&mut self) -> Result<Node> {
        let mut node = self.rack.node(4, CONFIG)?;
        node.booted()?;
        let record = "cat /run/coreos/cluster.json";
        until(&node, "it knows what it is", record, |record| record.contains("\"client\""))?;
        // A unit that nobody refers to is forgotten, with why it was skipped; the journal is not.
        let skipped = "systemctl show -p ActiveState --value etcd; \
                       journalctl --boot --unit etcd --output cat | \
                       grep -o 'this machine is a client'";
        until(&node, "etcd is skipped", skipped, |told| {
            told.split_once('\n') == Some(("inactive", "this machine is a client"))
        })?;
        let failed = node.read("systemctl list-units --failed --plain --no-legend");
        self.checks.equal("failed units of the fourth", failed, "");
        let slots = node.read("cluster lock status");
        self.checks.equal("the reboot lock, seen by the fourth", slots, "Available: 1\nMax: 1");
        Ok(node)
    }

    /// One is killed: the others and the client go on without it.
    fn killed(&mut self, nodes: &mut [Node], fourth: &Node) -> Result<()> {
        nodes[2].power_cut();
        until(&nodes[0], "two go on", &etcdctl(&nodes[0], "put /evening over"), |_| true)?;
        let slots = fourth.read("cluster lock set-max 2");
        self.checks.equal("the client writes through those left", slots, "Old-Max: 1\nMax: 2");
        nodes[2].power_on()?;
        nodes[2].booted()?;
        let value = "etcdctl get --print-value-only /evening";
        until(&nodes[2], "the killed one is back", value, |value| value == "over")
    }
}

fn etcdctl(node: &Node, command: &str) -> String {
    format!("etcdctl --endpoints http://{}:4001 {command}", node.address())
}

/// Everybody's status, as the table's plain lines.
fn node_status(node: &Node, all: &[Node]) -> Result<String> {
    let endpoints: Vec<String> =
        all.iter().map(|n| format!("http://{}:4001", n.address())).collect();
    node.read(&format!("etcdctl --endpoints {} endpoint status", endpoints.join(",")))
}

fn until(node: &Node, what: &str, script: &str, wished: impl Fn(&str) -> bool) -> Result<()> {
    crate::rack::until(node, "etcd", what, script, wished).map(drop)
}
