//! ssh into the machine, with the host's own client.
//!
//! One connection is opened and kept (a key exchange is seconds of an emulated
//! processor); commands and copies share it. The host key is taken on trust
//! the first time and kept in the machine's folder, so a machine that changed
//! its key between two boots cannot be logged in to.

use std::ffi::OsString;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::child::{self, Child};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::node;

/// The user that a config's keys belong to.
pub const USER: &str = "core";

/// Between two looks whether sshd answers.
const POLL: Duration = Duration::from_millis(100);

/// Between two logins: sshd penalises those that fail.
const RETRY: Duration = Duration::from_secs(1);

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where its ssh server is.
    pub address: SocketAddr,
    /// The network that this address is of; without one it is the host's.
    pub network: Option<Arc<node::Network>>,
    /// The private key.
    pub identity: PathBuf,
    /// The machine's folder: host keys and the client's messages are kept there.
    pub folder: PathBuf,
}

impl Target {
    /// A machine whose ssh server answers at `port` of the host's loopback address.
    pub fn forwarded(port: u16, identity: PathBuf, folder: PathBuf) -> Self {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Self { address, network: None, identity, folder }
    }

    /// `program`, to be run where the machine can be reached.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.network
            .as_ref()
            .map_or_else(|| Command::new(program), |network| network.command(program))
    }

    /// Forgets the machine's host key.
    pub(crate) fn forget(&self) -> Result<()> {
        let known = self.folder.join("known_hosts");
        match std::fs::remove_file(&known) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", known)(error))
            }
            _ => Ok(()),
        }
    }

    /// Who to log in as, as the client takes it.
    fn login(&self) -> String {
        format!("{USER}@{}", self.address.ip())
    }

    /// Options that `ssh` and `scp` share. No configuration of the host's user
    /// plays a part.
    pub fn options(&self) -> Vec<OsString> {
        let mut known = OsString::from("UserKnownHostsFile=");
        known.push(self.folder.join("known_hosts"));
        let mut options: Vec<OsString> = ["-F", "none", "-i"].map(OsString::from).to_vec();
        options.push(self.identity.clone().into());
        for option in [
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            "ConnectTimeout=30",
            "ServerAliveInterval=15",
            "LogLevel=ERROR",
        ] {
            options.extend(["-o".into(), option.into()]);
        }
        options.extend(["-o".into(), known]);
        options
    }

    /// The command that logs in, for a person to type.
    pub fn command_line(&self) -> String {
        let known = self.folder.join("known_hosts");
        format!(
            "ssh -i {} -p {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=accept-new {}",
            quoted(&self.identity),
            self.address.port(),
            quoted(&known),
            self.login()
        )
    }

    /// Whether an ssh server answers. QEMU itself accepts every connection,
    /// so only the server's first words tell.
    fn answers(&self) -> bool {
        let address = self.address;
        let Some(network) = &self.network else { return greets(address) };
        let asked = network.spawn(move || greets(address)).map(JoinHandle::join);
        matches!(asked, Ok(Ok(Ok(true))))
    }

    /// What the machine's server says to somebody without a key.
    pub fn refusal(&self, limit: Duration) -> Result<String> {
        let mut command = self.command("ssh");
        command.args(self.options()).args(["-o", "PreferredAuthentications=none", "-p"]);
        command.arg(self.address.port().to_string()).arg(self.login()).arg("true");
        let output = child::output(command, limit)?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One try to log in. `None` if the machine refused or the deadline passed.
    fn log_in(&self, deadline: Deadline) -> Result<Option<Session>> {
        let sockets = tempfile::tempdir().map_err(Error::file("make a folder for", "ssh"))?;
        let socket = sockets.path().join("s");
        let log = self.folder.join("ssh.log");
        let messages = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(Error::file("open", log))?;
        let mut command = self.command("ssh");
        command.args(self.options()).args(["-N", "-M", "-o", "ControlPersist=no", "-S"]);
        command.arg(&socket).arg("-p").arg(self.address.port().to_string()).arg(self.login());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
        let mut master = Child::start(command)?;
        // The client makes the socket when it is logged in.
        while master.ended().is_none() {
            if socket.exists() {
                let target = self.clone();
                return Ok(Some(Session { _master: master, socket, _sockets: sockets, target }));
            }
            if !deadline.pause(Duration::from_millis(20)) {
                break;
            }
        }
        Ok(None)
    }

    /// Waits until the machine lets us in. `alive` is asked in between whether
    /// waiting makes sense. `None` if it does not, or the deadline has passed.
    pub(crate) fn connect(
        &self,
        deadline: Deadline,
        alive: impl Fn() -> bool,
    ) -> Result<Option<Session>> {
        while alive() && !deadline.passed() {
            if !self.answers() {
                deadline.pause(POLL);
            } else if let Some(session) = self.log_in(deadline)? {
                return Ok(Some(session));
            } else {
                deadline.pause(RETRY);
            }
        }
        Ok(None)
    }
}

/// An open connection; closed when dropped.
#[derive(Debug)]
pub struct Session {
    _master: Child,
    socket: PathBuf,
    _sockets: tempfile::TempDir,
    target: Target,
}

impl Session {
    /// Runs `script` in the login shell and returns what it printed.
    pub(crate) fn run(&self, script: &str, limit: Duration) -> Result<Output> {
        let mut command = self.client("ssh");
        command.arg("-p").arg(self.target.address.port().to_string());
        command.arg(self.target.login()).arg("--").arg(script);
        child::output(command, limit)
    }

    /// Copies `from` on the host to `to` in the machine.
    pub(crate) fn copy_to(&self, from: &Path, to: &str, limit: Duration) -> Result<()> {
        let mut command = self.client("scp");
        command.arg("-q").arg("-P").arg(self.target.address.port().to_string()).arg("--").arg(from);
        command.arg(format!("{}:{to}", self.target.login()));
        child::run(command, limit).map(drop)
    }

    /// Copies `from` in the machine to `to` on the host.
    pub(crate) fn copy_from(&self, from: &str, to: &Path, limit: Duration) -> Result<()> {
        let mut command = self.client("scp");
        command.arg("-q").arg("-P").arg(self.target.address.port().to_string()).arg("--");
        command.arg(format!("{}:{from}", self.target.login())).arg(to);
        child::run(command, limit).map(drop)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = self.target.command(program);
        let mut socket = OsString::from("ControlPath=");
        socket.push(&self.socket);
        command.args(self.target.options()).args(["-o", "ControlMaster=no", "-o"]).arg(socket);
        command
    }
}

/// Whether an ssh server answers there.
fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    let mut banner = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.read_exact(&mut banner).is_ok()
        && &banner == b"SSH-"
}

/// Makes a key pair at `path` and returns the public half.
pub fn make_key(path: &Path, comment: &str) -> Result<String> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
    child::run(command, Duration::from_secs(60))?;
    let public = path.with_extension("pub");
    let text = std::fs::read_to_string(&public).map_err(Error::file("read", public))?;
    Ok(text.trim().to_owned())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=".contains(c);
    if text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn target(port: u16) -> Target {
        Target::forwarded(port, "/m/id_ed25519".into(), "/m".into())
    }

    #[test]
    fn a_server_is_known_by_its_first_words() {
        for (words, want) in
            [("SSH-2.0-OpenSSH_10.0\r\n", true), ("HTTP/1.1 400\r\n", false), ("", false)]
        {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                listener.accept().unwrap().0.write_all(words.as_bytes()).unwrap();
            });
            assert_eq!(target(port).answers(), want, "{words:?}");
            server.join().unwrap();
        }
    }

    #[test]
    fn waiting_for_a_login_ends_with_the_machine() {
        // Port 1 of the loopback address: nothing listens there.
        let deadline = Deadline::after(Duration::from_secs(3600));
        assert!(target(1).connect(deadline, || false).unwrap().is_none());
        let spent = Deadline::after(Duration::ZERO);
        assert!(target(1).connect(spent, || true).unwrap().is_none());
    }

    #[test]
    fn the_command_for_people_survives_a_shell() {
        let plain = target(2222).command_line();
        assert!(plain.starts_with("ssh -i /m/id_ed25519 -p 2222 "), "{plain}");
        assert!(plain.ends_with(" core@127.0.0.1"), "{plain}");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn a_key_pair_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let public = make_key(&folder.path().join("id_ed25519"), "machine").unwrap();
        assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" machine"), "{public}");
    }
}
