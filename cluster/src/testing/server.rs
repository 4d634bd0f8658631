//! A member of etcd, and a cluster of them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::signal::Signal;

use super::{Certificates, Guarded, Program};
use crate::settings::Settings;

/// For an etcd that starts on a busy host.
const START: Duration = Duration::from_secs(60);
/// Somebody else may take a port between our finding it free and etcd's taking it.
const ATTEMPTS: u32 = 3;

/// Ports that the kernel gives to no connection on its way out, so that one found free
/// stays free: members connect to each other all the time, and their restarts need theirs back.
const PORTS: std::ops::Range<u16> = 10_000..32_768;

/// Ports of the loopback address that are free now, none of them given before by this process.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Two test programs that run at the same time begin at different places.
    let first = process::id() as usize * 61;
    [(); N].map(|()| {
        let mut candidates = PORTS.map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            PORTS.start + ((first + step) % PORTS.len()) as u16
        });
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        candidates.find(free).expect("a free port")
    })
}

/// How members are started.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// More arguments.
    pub arguments: Vec<String>,
    /// The client side speaks TLS and asks for certificates.
    pub certificates: Option<&'a Certificates>,
}

/// A member with everything that it needs to start again.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub client_url: String,
    pub peer_url: String,
    health: u16,
    program: Program,
    arguments: Vec<String>,
    folder: PathBuf,
    running: Option<Guarded>,
}

/// Members of one cluster, and the folder that they are in.
#[derive(Debug)]
pub struct Cluster {
    pub members: Vec<Member>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// One member.
    pub fn single(program: &Program) -> Self {
        Self::start(program, 1, &Options::default())
    }

    /// `size` members, with a leader.
    pub fn start(program: &Program, size: usize, options: &Options<'_>) -> Self {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let mut cluster = Self::unstarted(program, size, options);
            match cluster.launch() {
                Ok(()) => return cluster,
                Err(error) => last = error.to_string(),
            }
        }
        panic!("{} does not start: {last}", program.path.display());
    }

    /// `size` members that nobody has started, each with the words to found a cluster together.
    pub fn unstarted(program: &Program, size: usize, options: &Options<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scheme = if options.certificates.is_some() { "https" } else { "http" };
        let mut members: Vec<Member> = (0..size)
            .map(|n| {
                let [client, peer, health] = free_ports();
                let name = format!("n{n}");
                Member {
                    client_url: format!("{scheme}://127.0.0.1:{client}"),
                    peer_url: format!("http://127.0.0.1:{peer}"),
                    health,
                    program: program.clone(),
                    arguments: Vec::new(),
                    folder: folder.path().join(&name),
                    running: None,
                    name,
                }
            })
            .collect();
        let list: Vec<String> =
            members.iter().map(|m| format!("{}={}", m.name, m.peer_url)).collect();
        for member in &mut members {
            member.arguments = vec![
                format!("--initial-cluster={}", list.join(",")),
                "--initial-cluster-state=new".to_owned(),
            ];
            member.arguments.extend(options.arguments.iter().cloned());
            member.arguments.extend(options.certificates.iter().flat_map(|c| c.arguments()));
        }
        Self { members, folder }
    }

    fn launch(&mut self) -> io::Result<()> {
        self.members.iter_mut().try_for_each(Member::spawn)?;
        self.members.iter().try_for_each(Member::healthy)
    }

    /// Client URLs of all members, with commas.
    pub fn endpoints(&self) -> String {
        let urls: Vec<&str> = self.members.iter().map(|m| &*m.client_url).collect();
        urls.join(",")
    }

    /// A client's settings for all members.
    pub fn settings(&self) -> Settings {
        Settings::listed(&self.endpoints())
    }

    /// Where it keeps everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Member {
    /// Starts it, or starts it again with what it had.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn().and_then(|()| self.healthy()).expect("etcd starts again");
    }

    /// Starts it with other words than at first about the cluster it is in.
    pub fn spawn_with(&mut self, arguments: &[String]) -> io::Result<()> {
        self.arguments = arguments.to_vec();
        self.spawn()
    }

    pub fn spawn(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut command = Command::new(&self.program.path);
        command
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.data().display()))
            .arg(format!("--listen-client-urls={}", self.client_url))
            .arg(format!("--advertise-client-urls={}", self.client_url))
            .arg(format!("--listen-peer-urls={}", self.peer_url))
            .arg(format!("--initial-advertise-peer-urls={}", self.peer_url))
            .arg(format!("--listen-metrics-urls=http://127.0.0.1:{}", self.health))
            // Tests do not depend on what survives a power cut.
            .args(["--logger=zap", "--log-level=warn"])
            .args(&self.arguments);
        self.running = Some(Guarded::start(
            &command,
            &self.log(),
            self.folder.parent().unwrap_or(&self.folder),
        )?);
        Ok(())
    }

    /// Waits until it serves.
    pub fn healthy(&self) -> io::Result<()> {
        let start = Instant::now();
        while !self.is_healthy() {
            let running = self.running.as_ref().is_some_and(Guarded::is_running);
            if !running || start.elapsed() > START {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(4).collect();
                return Err(io::Error::other(format!("{} is not healthy: {tail:#?}", self.name)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn is_healthy(&self) -> bool {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.health))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Stops its time, as a hypervisor or a hanging disk does.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets its time go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Takes its data.
    pub fn lose_disk(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(self.data());
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it printed.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.signal(signal);
        }
    }
}
