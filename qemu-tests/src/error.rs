//! What can go wrong with a machine.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a machine could not be made, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of the host is not installed.
    #[error("`{program}` is not installed; on Debian or Ubuntu: apt-get install {package}")]
    Missing {
        /// The program that was called.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program of this project is not built.
    #[error("{path} is not there; build it with `make {target}`")]
    NotBuilt {
        /// Where it was expected.
        path: PathBuf,
        /// What makes it.
        target: &'static str,
    },
    /// The project's own program refuses a config.
    #[error("no config disc can be made of {path}\n{message}")]
    Refused {
        /// The config.
        path: PathBuf,
        /// Each mistake with its place.
        message: String,
    },
    /// The config cannot be read.
    #[error("cannot read the config {path}")]
    Config {
        /// The config.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No UEFI firmware for QEMU was found.
    #[error(
        "no UEFI firmware (OVMF_CODE_4M.fd or OVMF_CODE.fd) in {folder}; \
         on Debian or Ubuntu: apt-get install ovmf"
    )]
    NoFirmware {
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// The wish for an accelerator is none that exists.
    #[error("MACHINE_ACCEL is `{value}`, expected `kvm` or `tcg`")]
    UnknownAccelerator {
        /// The value as given.
        value: String,
    },
    /// A name that cannot be a folder's.
    #[error("`{name}` cannot be the name of a machine: letters, digits, `-`, `_` and `.` only")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// Another process runs a machine of this name.
    #[error("the machine in {folder} is already running; stop it or choose another name")]
    InUse {
        /// The machine's folder.
        folder: PathBuf,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program of the host failed.
    #[error("`{program}` failed ({status}): {message}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error, the end of it.
        message: String,
    },
    /// A program of the host did not end in time and was ended.
    #[error("`{command}` did not end within {} s: {message}", limit.as_secs())]
    Slow {
        /// The command line, or the end of a long one.
        command: String,
        /// How long was waited.
        limit: Duration,
        /// What it had printed by then, the end of it.
        message: String,
    },
    /// A file of the machine could not be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// `read`, `write`, ….
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The port that was asked for is in use.
    #[error("port {port} of 127.0.0.1 is in use; choose another one")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// No port of the loopback address is free.
    #[error("no free TCP port on 127.0.0.1")]
    NoPort {
        /// Why.
        source: io::Error,
    },
    /// What was waited for did not happen in time.
    #[error("{what} did not happen within {} s\n{console}", limit.as_secs())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long was waited.
        limit: Duration,
        /// The console's last lines.
        console: String,
    },
    /// The machine stopped before what was waited for happened.
    #[error("the machine stopped before {what}\n{console}")]
    Stopped {
        /// What was waited for.
        what: String,
        /// The console's last lines.
        console: String,
    },
    /// QEMU refused a control command, or its answer was no answer.
    #[error("QEMU refused `{command}`: {message}")]
    Control {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
    /// The console or the control channel broke.
    #[error("the connection to QEMU's {channel} broke")]
    Channel {
        /// `console` or `control channel`.
        channel: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The machine has no report of its provisioning.
    #[error("the machine has no readable {path}: {message}")]
    NoReport {
        /// Where it should be.
        path: &'static str,
        /// What was there instead.
        message: String,
    },
    /// A command in the machine ended with another status than 0.
    #[error("in the machine, `{command}` ended with {status}: {message}")]
    Command {
        /// The command as given to the machine's shell.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Both its outputs, the end of them.
        message: String,
    },
}

/// The usual result here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether it is the host or the caller that must change something, and
    /// not the machine that behaved badly.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::NotBuilt { .. }
                | Self::Refused { .. }
                | Self::Config { .. }
                | Self::NoFirmware { .. }
                | Self::UnknownAccelerator { .. }
                | Self::BadName { .. }
                | Self::InUse { .. }
                | Self::PortTaken { .. }
        )
    }

    /// An [`Error::File`] made from `source`, to be used with `map_err`.
    pub fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
