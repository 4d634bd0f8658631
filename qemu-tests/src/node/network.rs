//! A bridge in a network namespace of its own.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::child::{self, Child};
use crate::error::{Error, Result};

/// A quick command on a busy host.
const QUICK: Duration = Duration::from_secs(30);
/// For an answer over HTTP: one that is off does not even refuse.
const ANSWER: Duration = Duration::from_secs(5);
const BRIDGE: &str = "br0";
/// The host's address in it; nodes have others of the same /24.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);

/// A network that only its nodes and the test are in. It lasts as long as the
/// process that holds its namespace.
#[derive(Debug)]
pub struct Network {
    holder: Child,
}

impl Network {
    /// A new one.
    pub fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let network = Self { holder: Child::start(command)? };
        // The namespace is there once `sleep` is.
        let name = format!("/proc/{}/comm", network.holder.id());
        while std::fs::read_to_string(&name).is_ok_and(|name| name.trim() != "sleep") {
            thread::sleep(Duration::from_millis(5));
        }
        let address = format!("{HOST}/24");
        for arguments in [
            &["link", "set", "lo", "up"][..],
            // An address of its own: else it takes that of a port, and another when that port goes.
            &["link", "add", BRIDGE, "address", "02:00:00:00:42:01", "type", "bridge"],
            &["address", "add", &address, "dev", BRIDGE],
            &["link", "set", BRIDGE, "up"],
        ] {
            network.ip(arguments)?;
        }
        Ok(network)
    }

    /// The test's own address.
    pub fn host(&self) -> Ipv4Addr {
        HOST
    }

    /// The address of node `number`, from 1 on.
    pub fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = HOST.octets();
        Ipv4Addr::new(a, b, c, 10 + number)
    }

    /// Its bridge.
    pub(super) fn bridge(&self) -> &'static str {
        BRIDGE
    }

    /// `program`, to be run in the network.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--").arg(program);
        command
    }

    /// Runs `work` on a thread that is in the network.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        let namespace = File::open(&path).map_err(Error::file("open", &path))?;
        Ok(thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::file("enter", path)(errno.into()))?;
            Ok(work())
        }))
    }

    /// What an HTTP server in the network answers to GET.
    pub fn get(&self, host: &str, port: u16, path: &str) -> Result<String> {
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port}; \
             printf 'GET {path} HTTP/1.0\\r\\nHost: {host}:{port}\\r\\n\\r\\n' >&3; cat <&3"
        );
        let mut command = self.command("bash");
        command.args(["-c", &script]);
        let answer = child::run(command, ANSWER)?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
    }

    /// An interface for a machine to be wired to, and its name.
    pub(crate) fn tap(&self, node: &str) -> Result<String> {
        let name = interface(node);
        self.ip(&["tuntap", "add", "dev", &name, "mode", "tap"])?;
        self.ip(&["link", "set", &name, "master", BRIDGE, "up"])?;
        Ok(name)
    }

    /// Pulls the plug of a node, or puts it back.
    pub fn plug(&self, node: &str, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.ip(&["link", "set", &interface(node), state])
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("ip");
        command.args(arguments);
        child::run(command, QUICK).map(drop)
    }
}

/// The host's end of a node's cable, named as systemd-nspawn does it.
fn interface(node: &str) -> String {
    format!("vb-{node}")
}
