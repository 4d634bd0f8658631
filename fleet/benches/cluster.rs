//! How much a large cluster costs, and how fast it is: `make bench`.
//!
//! A real etcd and a real fleetd that leads; a thousand machines that are only their leases and
//! answer orders as agents do. Nothing here passes or fails.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::testing::{Cluster, debian12};
use cluster::{Client, Event, Lease, Txn, Update};
use fleet::engine::{Effect, Engine, Moment, Op, Times};
use fleet::model::{
    Cordon, CordonPhase, Desired, Key, Keys, MachineInfo, Order, UnitRecord, UnitState, World,
};

const MACHINES: usize = 1000;
const UNITS: usize = 10_000;

fn main() {
    println!("{:<58} {:>14}  fleet (measured on its own engine)", "", "here");
    placement();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(large());
}

fn row(what: &str, here: &str, fleet: &str) {
    println!("{what:<58} {here:>14}  {fleet}");
}

fn record(n: usize) -> UnitRecord {
    UnitRecord {
        body: format!("{n:064x}"),
        desired: Desired::Launched,
        version: 1,
        x_fleet: Vec::new(),
        previous: None,
    }
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

/// Processor time of this process, in seconds.
fn used(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// 5000 units on 1000 machines, in memory.
fn placement() {
    let mut world = World::default();
    for n in 0..MACHINES {
        world
            .set(&Key::Info(format!("{n:032x}")), Some(&json(&MachineInfo::default())))
            .expect("JSON");
    }
    for n in 0..5000 {
        world.set(&Key::Unit(format!("u{n}.service")), Some(&json(&record(n)))).expect("JSON");
    }
    let mut engine = Engine::new(Times::default());
    let before = used(std::process::id());
    engine.lead(Moment::default(), 1, world);
    let effects = engine.react(Moment::default());
    let orders: usize = effects
        .iter()
        .map(|e| match e {
            Effect::Write(ops) => ops.iter().filter(|op| matches!(op, Op::Put(..))).count(),
            Effect::Event { .. } => 0,
        })
        .sum();
    let time = used(std::process::id()) - before;
    assert_eq!(orders, 5000);
    row("5000 units on 1000 machines placed, CPU s", &format!("{time:.2}"), "15 each round");
}

struct Daemon {
    child: Child,
    /// Kept until the daemon has ended.
    _folder: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn daemon(endpoints: &str, id: &str) -> Daemon {
    let folder = tempfile::tempdir().expect("a folder");
    for below in ["etc", "proc/sys/kernel/random"] {
        std::fs::create_dir_all(folder.path().join(below)).expect("a folder");
    }
    std::fs::write(folder.path().join("etc/machine-id"), id).expect("written");
    std::fs::write(folder.path().join("proc/sys/kernel/random/boot_id"), "1").expect("written");
    let config = folder.path().join("conf");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "etcd_servers={endpoints}\nunits_directory={}\nstate_directory={}\nsystemd_bus={}\n",
        at("units"),
        at("state"),
        at("none")
    );
    std::fs::write(&config, text).expect("written");
    let child = Command::new(env!("CARGO_BIN_EXE_fleetd"))
        .args(["--config", &at("conf"), "--socket", &at("sock"), "--root", &at("")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("fleetd starts");
    Daemon { child, _folder: folder }
}

async fn batch(client: &Client, puts: Vec<(String, Vec<u8>, Option<i64>)>) {
    for puts in puts.chunks(100) {
        let mut txn = Txn::new();
        for (path, value, lease) in puts {
            txn = match lease {
                Some(lease) => txn.put_leased(path, value.clone(), *lease),
                None => txn.put(path, value.clone()),
            };
        }
        client.commit(txn).await.expect("written");
    }
}

/// Answers every order as its machine would.
async fn answer(
    client: Client,
    leases: BTreeMap<String, i64>,
    keys: Keys,
    told: tokio::sync::mpsc::UnboundedSender<(String, Instant)>,
) {
    let mut watch = client.watch(&keys.below("sched/"));
    loop {
        let entries = match watch.next().await {
            Update::Snapshot { entries, .. } => entries,
            Update::Changed(change) => change
                .events
                .into_iter()
                .filter_map(|event| match event {
                    Event::Put { entry, .. } => Some(entry),
                    Event::Delete { .. } => None,
                })
                .collect(),
            _ => continue,
        };
        let now = Instant::now();
        let mut puts = Vec::new();
        for entry in entries {
            let Some(Key::Order(machine, unit)) = keys.parse(&entry.key) else { continue };
            let (Ok(order), Some(lease)) =
                (serde_json::from_slice::<Order>(&entry.value), leases.get(&machine))
            else {
                continue;
            };
            let state = UnitState {
                ticket: order.ticket,
                body: order.body,
                load: "loaded".into(),
                active: "active".into(),
                sub: "running".into(),
                released: false,
                healthy: None,
                error: None,
            };
            let _ = told.send((unit.clone(), now));
            puts.push((keys.path(&Key::State(machine, unit)), json(&state), Some(*lease)));
        }
        batch(&client, puts).await;
    }
}

async fn large() {
    let etcd = Cluster::single(&debian12());
    let client = Client::new(etcd.settings()).expect("a client");
    let keys = Keys::new("/fleet/v1");
    let mut kept: Vec<Lease> = Vec::new();
    let mut leases = BTreeMap::new();
    let mut puts = Vec::new();
    for n in 0..MACHINES {
        let lease = client.lease(Duration::from_secs(30)).await.expect("a lease");
        let id = format!("{n:032x}");
        puts.push((
            keys.path(&Key::Info(id.clone())),
            json(&MachineInfo::default()),
            Some(lease.id()),
        ));
        leases.insert(id, lease.id());
        kept.push(lease);
    }
    for n in 0..UNITS {
        puts.push((keys.path(&Key::Unit(format!("u{n}.service"))), json(&record(n)), None));
    }
    // The machine of the engine itself runs nothing: it has no systemd here.
    let own = "f".repeat(32);
    let cordon =
        Cordon { by: "bench".into(), reason: "bench".into(), since: 0, phase: CordonPhase::Closed };
    puts.push((keys.path(&Key::Cordon(own.clone())), json(&cordon), None));
    batch(&client, puts).await;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(answer(client.clone(), leases, keys.clone(), told));

    let begin = Instant::now();
    let daemon = daemon(&etcd.endpoints(), &own);
    let pid = daemon.child.id();
    for _ in 0..UNITS {
        heard.recv().await.expect("an order");
    }
    let all = begin.elapsed();
    row(
        "10 000 units: from the start of fleetd to the last order, s",
        &format!("{:.1}", all.as_secs_f64()),
        "",
    );
    tokio::time::sleep(Duration::from_secs(15)).await;

    let span = 20.0;
    let revision = client.list("/none/").await.expect("listed").revision;
    let (ours, theirs) = (used(pid), used(std::process::id()));
    tokio::time::sleep(Duration::from_secs_f64(span)).await;
    let writes = client.list("/none/").await.expect("listed").revision - revision;
    row(
        "idle, 1000 machines, 10 000 units: raft writes/s",
        &format!("{:.2}", writes as f64 / span),
        "1317",
    );
    row(
        "idle: the engine's part of a core, %",
        &format!("{:.2}", (used(pid) - ours) / span * 100.0),
        "15 CPU s each round",
    );
    row(
        "idle: keeping 1000 leases, part of a core, %",
        &format!("{:.2}", (used(std::process::id()) - theirs) / span * 100.0),
        "",
    );

    let mut times = Vec::new();
    for n in 0..100 {
        let name = format!("u{}.service", n * 97);
        let changed = UnitRecord { version: 2, ..record(n * 97) };
        let begin = Instant::now();
        client.put(&keys.path(&Key::Unit(name.clone())), json(&changed)).await.expect("written");
        while let Some((unit, at)) = heard.recv().await {
            if unit == name {
                times.push(at.duration_since(begin).as_secs_f64() * 1000.0);
                break;
            }
        }
    }
    times.sort_by(f64::total_cmp);
    row("a changed unit reaches its machine, ms p50", &format!("{:.1}", times[50]), "not measured");
    row("a changed unit reaches its machine, ms p99", &format!("{:.1}", times[98]), "");
    drop(kept);
}
