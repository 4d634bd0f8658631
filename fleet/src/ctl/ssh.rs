//! ssh: to a machine, through a machine, and this end of such a tunnel.
//!
//! OpenSSH's client does it, with the user's own keys, agent and configuration.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::{Global, Ssh};
use super::cluster::{Cluster, seconds};
use super::error::{CtlError, other};
use crate::api::Endpoint;

/// How often it is looked whether a tunnel stands.
const INTERVAL: Duration = Duration::from_millis(50);

/// Logs in to a machine, or runs a command there and returns its exit code.
pub(super) fn run(cluster: &Cluster, global: &Global, ssh: Ssh) -> Result<u8, CtlError> {
    let Ssh { machine, unit, forward_agent, ssh_port, mut words } = ssh;
    let id = match (machine, unit) {
        (Some(machine), _) => cluster.machine_by_prefix(&machine)?.id,
        (None, Some(unit)) => of_unit(cluster, &unit)?,
        (None, None) if words.is_empty() => {
            return Err(other("one machine or unit must be provided"));
        }
        (None, None) => either(cluster, &words.remove(0))?,
    };
    let ip = cluster.machine_by_prefix(&id)?.primary_ip;
    if ip.is_empty() {
        return Err(other(format!("machine {id} has told no address: set public_ip there")));
    }
    if words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    let mut command = client(global, ssh_port);
    if forward_agent {
        command.arg("-A");
    }
    if let Some(tunnel) = &global.tunnel {
        let (host, port) = host_and_port(tunnel)?;
        command.arg("-o").arg(format!("ProxyCommand={}", jump(global, host, port)));
    }
    command.arg(&ip).arg("--").args(&words);
    let status = command.status().map_err(|source| CtlError::Run { program: "ssh", source })?;
    // As a shell has it: killed by a signal is 128 and its number.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A machine or a unit, whichever there is.
fn either(cluster: &Cluster, name: &str) -> Result<String, CtlError> {
    let machine = cluster.machine_by_prefix(name);
    match (machine, of_unit(cluster, name)) {
        (Ok(_), Ok(_)) => Err(other(format!(
            "ambiguous argument, both machine and unit found for `{name}`: use --machine or --unit"
        ))),
        (Ok(machine), Err(_)) => Ok(machine.id),
        (Err(_), Ok(id)) => Ok(id),
        (Err(CtlError::Client(error)), _) => Err(error.into()),
        (Err(_), Err(_)) => Err(other(format!("no machine or running unit is called {name}"))),
    }
}

fn of_unit(cluster: &Cluster, typed: &str) -> Result<String, CtlError> {
    let unit = super::unit::known(cluster, typed)?;
    if unit.machine_id.is_empty() {
        return Err(other(format!("unit {} is on no machine, or on all of them", unit.name)));
    }
    Ok(unit.machine_id)
}

fn client(global: &Global, port: u16) -> Command {
    let mut command = Command::new("ssh");
    command.args(options(global, port));
    command
}

fn options(global: &Global, port: u16) -> Vec<String> {
    let mut options = vec!["-p".to_string(), port.to_string()];
    options.extend(["-l".to_string(), global.ssh_username.clone()]);
    let mut set = |option: String| options.extend(["-o".to_string(), option]);
    set(format!("ConnectTimeout={}", global.ssh_timeout.ceil()));
    if let Some(file) = &global.known_hosts_file {
        set(format!("UserKnownHostsFile={file}"));
    }
    if !global.strict_host_key_checking {
        // Else it would say of every host that it is now known.
        for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        {
            set(option.to_string());
        }
    }
    options
}

/// A command for the shell that reaches a machine through `host`, with the same options: those of
/// `ssh -J` would be others.
fn jump(global: &Global, host: &str, port: u16) -> String {
    let mut words = vec!["ssh".to_string()];
    words.extend(options(global, port));
    words.extend(["--".to_string(), host.to_string()]);
    // What ssh would put something in place of is doubled, what the shell would is quoted.
    let quoted =
        words.iter().map(|word| format!("'{}'", word.replace('%', "%%").replace('\'', r"'\''")));
    let mut command = quoted.collect::<Vec<_>>();
    command.insert(1, "-W '[%h]:%p'".to_string());
    command.join(" ")
}

fn host_and_port(text: &str) -> Result<(&str, u16), CtlError> {
    let bad = || other(format!("--tunnel: {text} is not HOST or HOST:PORT"));
    match text.rsplit_once(':') {
        // The colons of an IPv6 address without a port.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => Ok((text, 22)),
        Some((host, port)) if !host.is_empty() => Ok((host, port.parse().map_err(|_| bad())?)),
        Some(_) => Err(bad()),
        None if text.is_empty() => Err(bad()),
        None => Ok((text, 22)),
    }
}

/// An ssh that carries connections to the daemon while it lives.
#[derive(Debug)]
pub(super) struct Tunnel {
    ssh: Child,
    /// Holds the socket at this end.
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

impl Tunnel {
    /// Opens a tunnel to `endpoint` as it is called at the other end, and returns what it is
    /// called at this one.
    pub(super) fn open(
        global: &Global,
        endpoint: &Endpoint,
    ) -> Result<(Endpoint, Tunnel), CtlError> {
        let (host, port) = host_and_port(global.tunnel.as_deref().unwrap_or_default())?;
        let timeout = seconds("--ssh-timeout", global.ssh_timeout)?;
        let failed = |source| CtlError::Run { program: "ssh", source };
        let (local, forward, folder) = match endpoint {
            Endpoint::Unix(path) => {
                let folder = tempfile::tempdir().map_err(failed)?;
                let socket = folder.path().join("fleet.sock");
                let forward = format!("{}:{}", socket.display(), path.display());
                (Endpoint::Unix(socket), forward, Some(folder))
            }
            Endpoint::Tcp(address) => {
                // Free for as long as it takes ssh to bind it.
                let port = TcpListener::bind("127.0.0.1:0")
                    .and_then(|listener| listener.local_addr())
                    .map_err(failed)?
                    .port();
                let local = format!("127.0.0.1:{port}");
                (Endpoint::Tcp(local.clone()), format!("{local}:{address}"), None)
            }
        };
        let mut command = client(global, port);
        command.args(["-nNT", "-o", "ExitOnForwardFailure=yes", "-L"]).arg(forward).arg(host);
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        let ssh = command.spawn().map_err(failed)?;
        let mut tunnel = Tunnel { ssh, _folder: folder };
        let started = Instant::now();
        while !stands(&local) {
            if tunnel.ssh.try_wait().map_err(failed)?.is_some() {
                return Err(other(format!("there is no tunnel through {host}: ssh has ended")));
            }
            if started.elapsed() > timeout {
                return Err(other(format!("there is no tunnel through {host} after {timeout:?}")));
            }
            thread::sleep(INTERVAL);
        }
        Ok((local, tunnel))
    }
}

fn stands(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(path) => path.exists(),
        Endpoint::Tcp(address) => std::net::TcpStream::connect(address).is_ok(),
    }
}

/// Joins standard input and output to a socket, until the socket's other end closes.
pub(super) fn forward(socket: &Path) -> Result<(), CtlError> {
    let failed = |source| CtlError::Read { path: socket.to_path_buf(), source };
    let mut incoming = UnixStream::connect(socket).map_err(failed)?;
    let mut outgoing = incoming.try_clone().map_err(failed)?;
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut outgoing);
        let _ = outgoing.shutdown(Shutdown::Write);
    });
    let mut stdout = io::stdout().lock();
    io::copy(&mut incoming, &mut stdout).and_then(|_| stdout.flush()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::ctl::Arguments;

    #[test]
    fn the_way_through_a_host_has_the_same_options() {
        let words = ["fleetctl", "--known-hosts-file=/a'b%", "--ssh-username=x", "list-machines"];
        let global = Arguments::parse_from(words).global;
        assert_eq!(
            jump(&global, "gate", 2222),
            r"'ssh' -W '[%h]:%p' '-p' '2222' '-l' 'x' '-o' 'ConnectTimeout=10' '-o' 'UserKnownHostsFile=/a'\''b%%' '--' 'gate'"
        );
    }

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("a", Some(("a", 22))),
            ("a:2222", Some(("a", 2222))),
            ("[::1]:2222", Some(("[::1]", 2222))),
            ("fd00::1", Some(("fd00::1", 22))),
            ("a:x", None),
            (":22", None),
            ("", None),
        ] {
            assert_eq!(host_and_port(text).ok(), expected, "{text}");
        }
    }
}
