//! `fleetd`: the agent and the engine of a machine.
// The one place that reads the process's surroundings: arguments, environment, clock.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use fleet::daemon::{Identity, Listeners, Settings, run};
use host::log::Target;
use log::LevelFilter;
use tokio::signal::unix::{SignalKind, signal};

/// Runs units on this machine, and decides for the cluster when it is its turn.
#[derive(Debug, Parser)]
#[command(name = "fleetd", version, max_term_width = 80)]
struct Arguments {
    /// The settings; variables FLEET_… count before them
    #[arg(long, value_name = "FILE", default_value = "/etc/fleet/fleet.conf")]
    config: PathBuf,
    /// Where to answer, unless systemd hands a socket over
    #[arg(long, value_name = "PATH", default_value = "/run/fleet.sock")]
    socket: PathBuf,
    /// The directory that /etc/machine-id and /proc are read below
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
    /// Check the settings and do nothing
    #[arg(long)]
    check: bool,
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let journal = variables.get("JOURNAL_STREAM").map(String::as_str);
    let text = match std::fs::read_to_string(&arguments.config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return fail(&format!("{}: {error}", arguments.config.display())),
    };
    let name = arguments.config.display().to_string();
    let pairs = variables.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let settings = match Settings::read(Some((&name, &text)), pairs) {
        Ok(settings) => settings,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let level = match settings.verbosity {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    host::log::init("fleetd", Target::stderr(journal), level);
    if !settings.unused.is_empty() {
        log::warn!("settings without effect: {}", settings.unused.join(", "));
    }
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    let identity = match Identity::read(&arguments.root) {
        Ok(identity) => identity,
        Err(error) => return fail(&error.to_string()),
    };
    let listeners = match listeners(&variables, &arguments.socket) {
        Ok(listeners) => listeners,
        Err(error) => return fail(&format!("{}: {error}", arguments.socket.display())),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let notify = variables.get("NOTIFY_SOCKET").cloned();
    let result = runtime.block_on(async {
        let stop = stop();
        ready(notify.as_deref());
        run(settings, identity, listeners, now, stop).await
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&host::error::chain(&error)),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Until somebody asks to stop.
async fn stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    // A reload changes nothing here, and must not end anything either.
    let mut hangup = signal(SignalKind::hangup()).ok();
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            () = async { match &mut hangup { Some(hangup) => drop(hangup.recv().await), None => std::future::pending().await } } => {}
        }
    }
}

/// The sockets that systemd hands over, or one of our own.
fn listeners(variables: &BTreeMap<String, String>, path: &Path) -> std::io::Result<Listeners> {
    let mut listeners = Listeners::default();
    let number = |name: &str| variables.get(name).and_then(|value| value.parse::<u32>().ok());
    if number("LISTEN_PID") == Some(std::process::id()) {
        let count = number("LISTEN_FDS").unwrap_or(0);
        for fd in (3..).take(count as usize) {
            adopt(fd, &mut listeners)?;
        }
    }
    if listeners.unix.is_empty() && listeners.tcp.is_empty() {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // Whoever may talk to it is root on every machine.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listeners.unix.push(listener);
    }
    Ok(listeners)
}

#[allow(unsafe_code)]
fn adopt(fd: RawFd, listeners: &mut Listeners) -> std::io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
    let address: SockaddrStorage = getsockname(fd).map_err(std::io::Error::from)?;
    // SAFETY: systemd says that this descriptor is ours (LISTEN_PID), and it is taken once.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match address.family() {
        Some(AddressFamily::Unix) => listeners.unix.push(owned.into()),
        _ => listeners.tcp.push(owned.into()),
    }
    Ok(())
}

/// Tells systemd that the daemon is up: the socket answers.
fn ready(socket: Option<&str>) {
    let Some(path) = socket else { return };
    let Ok(datagram) = std::os::unix::net::UnixDatagram::unbound() else { return };
    let sent = match path.strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            std::os::unix::net::SocketAddr::from_abstract_name(name)
                .and_then(|address| datagram.send_to_addr(b"READY=1", &address))
        }
        None => datagram.send_to(b"READY=1", path),
    };
    if let Err(error) = sent {
        log::warn!("systemd cannot be told that the daemon is ready: {error}");
    }
}
