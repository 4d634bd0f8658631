//! The evening of the article on machines, from power-on: discs made from one template for all
//! three, everything that befalls them, and then a release that each of them takes in its turn.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use qemu_tests::{Deadline, Error, Result};

use crate::checks::Outcome;
use crate::evening::Evening;
use crate::lab::Lab;
use crate::rack::until;
use crate::releases::{Publisher, Variant};
use crate::system::{System, Wired};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Each machine writes a release, waits for its turn, boots, proves itself; all emulated at once.
const ROLL_OUT: Duration = Duration::from_secs(3000);

const UPDATE: &str = "    coreos:
        update:
            group: stable
            server: SERVER
            reboot-strategy: etcd-lock
";

pub(crate) fn run(lab: &Lab) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("a network for machines needs root: not run");
        return Ok(());
    }
    let mut evening = Evening::begin(lab, "evening-on-machines")?;
    let publisher = Publisher::start_in(&lab.workspace, &evening.rack.network)?;
    let first = publisher.build("1.0.0", Variant::default(), true)?;
    publisher.build("1.1.0", Variant::default(), false)?;
    publisher.publish("1.0.0", false, &["beta", "stable"])?;

    let update = UPDATE.replace("SERVER", publisher.url());
    let config = evening.config.replacen("    coreos:\n", &update, 1);
    let mut machines = machines(lab, &evening, &config, &first.join("coreos.raw"))?;
    machines.iter_mut().try_for_each(System::power_on)?;
    machines.iter_mut().try_for_each(System::booted)?;
    let asking = evening.pass(&mut machines)?;
    publisher.publish("1.1.0", false, &["beta", "stable"])?;
    evening.rolled_out(&machines)?;
    evening.asked(asking)?;
    evening.checks.finish()
}

/// Three machines that are off, with a disc each from one template.
fn machines(lab: &Lab, evening: &Evening<'_>, config: &str, image: &Path) -> Result<Vec<Wired>> {
    let rack = &evening.rack;
    let write = |name: &str, text: String| {
        let path = rack.folder.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path)).map(|()| path)
    };
    write("node.yaml", config.replace("VOTRE_URL", &rack.url))?;
    let mut nodes = format!("template = \"node.yaml\"\ngateway = \"{}\"\n", rack.network.host());
    for (name, number) in NAMES.iter().zip(1..) {
        let address = rack.network.address(number);
        nodes += &format!("[[node]]\nhostname = \"{name}\"\naddress = \"{address}/24\"\n");
    }
    let nodes = write("nodes.toml", nodes)?;
    let discs = rack.folder.join("discs");
    let words = ["config-iso", "--nodes", &nodes.to_string_lossy()].map(str::to_owned);
    let output = ["--output".to_owned(), discs.to_string_lossy().into_owned()];
    lab.image(&words.iter().chain(&output).map(String::as_str).collect::<Vec<_>>())?;
    NAMES
        .iter()
        .zip(1..)
        .map(|(name, number)| {
            let hardware = lab.hardware_of(&format!("evening-{name}"), image)?;
            let hardware = hardware
                .identity(rack.folder.join("key"))
                .disc(Some(discs.join(format!("{name}.iso"))));
            Wired::new(&rack.network, name, number, image.to_owned(), hardware)
        })
        .collect()
}

impl Evening<'_> {
    /// All take the release that is in their channel, and no two are away at a time.
    fn rolled_out(&mut self, machines: &[Wired]) -> Result<()> {
        let boots = "cat /proc/sys/kernel/random/boot_id";
        let before = machines.iter().map(|one| one.read(boots)).collect::<Result<Vec<_>>>()?;
        let away = self.watch(machines)?;
        for machine in machines {
            // They would look by themselves within the hour.
            machine.read("systemctl kill --signal HUP update-agent.service")?;
        }
        let deadline = Deadline::after(ROLL_OUT);
        let kept = "test \"$(cat /usr/lib/coreos/release)\" = 1.1.0 && \
                    systemctl is-active update-health.service";
        let mut open: BTreeSet<usize> = (0..machines.len()).collect();
        while !open.is_empty() {
            open.retain(|&one| !machines[one].run(kept).is_ok_and(|said| said.status.success()));
            if !deadline.pause(Duration::from_secs(10)) {
                break;
            }
        }
        let most = away.stop();
        for (machine, before) in machines.iter().zip(before) {
            let name = machine.name();
            let release = machine.read("cat /usr/lib/coreos/release");
            self.checks.equal(&format!("the release of {name}"), release, "1.1.0");
            let now = machine.read(boots)?;
            self.checks.holds(&format!("{name} has booted"), now != before, &now);
            let history = machine.read("update-agent history");
            self.checks.contains(&format!("{name} has kept it"), history, "kept");
        }
        self.checks.holds("one at a time", most == 1, most);
        let lock = |status: &str| status.contains("Available: 1");
        until(&machines[0], "update-agent", "the lock is free", "locksmithctl status", lock)
            .map(drop)
    }

    /// Looks all the time how many machines are away.
    fn watch(&self, machines: &[Wired]) -> Result<Away> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let addresses: Vec<SocketAddr> =
            machines.iter().map(|machine| (machine.address(), 22).into()).collect();
        let thread = self.rack.network.spawn(move || {
            let mut most = 0;
            while !told.load(Ordering::Relaxed) {
                let there = |address| TcpStream::connect_timeout(address, Duration::from_secs(4));
                let away = addresses.iter().filter(|address| there(address).is_err()).count();
                most = most.max(away);
                std::thread::sleep(Duration::from_secs(1));
            }
            most
        })?;
        Ok(Away { stop, thread })
    }
}

/// Somebody who counts machines that are away.
struct Away {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<usize>>,
}

impl Away {
    /// How many were away at once, at most.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().and_then(std::result::Result::ok).unwrap_or(usize::MAX)
    }
}
