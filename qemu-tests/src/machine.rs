//! A machine that runs.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::child::{self, Child};
use crate::console::{Console, Display};
use crate::control::Control;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::hardware::Hardware;
use crate::ssh::{Session, Target};
use crate::wiring::QEMU;

/// How long a quick command may take in a machine that is emulated on a busy
/// host.
pub const COMMAND: Duration = Duration::from_secs(90);

/// A running machine. Whatever it is asked has a time limit, and the error
/// carries the console's last lines. Dropped, it is gone at once.
#[derive(Debug)]
pub struct Machine {
    // In the order of their end: the process first, so that nothing waits.
    process: Mutex<Child>,
    session: Mutex<Option<Arc<Session>>>,
    console: Console,
    control: Control,
    power_on: Instant,
    hardware: Hardware,
}

impl Machine {
    pub(crate) fn power_on(hardware: Hardware, display: Option<Display>) -> Result<Self> {
        let folder = hardware.folder();
        let pair =
            |channel| UnixStream::pair().map_err(|source| Error::Channel { channel, source });
        let (console, console_end) = pair("console")?;
        let (control, control_end) = pair("control channel")?;
        let log = folder.join("qemu.log");
        let messages = File::create(&log).map_err(Error::file("write", &log))?;

        let mut command = hardware.target.command(QEMU);
        command.args(hardware.wiring.arguments());
        command.stdin(OwnedFd::from(console_end)).stdout(OwnedFd::from(control_end));
        command.stderr(messages);
        let power_on = Instant::now();
        let mut process = Child::start(command)?;
        let console = Console::start(console, folder, power_on, display)?;
        let control = match Control::start(control) {
            Ok(control) => control,
            // QEMU ends before its greeting if it dislikes its arguments; its
            // own words are the better error.
            Err(error) => match process.wait(Deadline::after(Duration::from_secs(5))) {
                Some(status) => return Err(refused(&log, status)),
                None => return Err(error),
            },
        };
        Ok(Self {
            process: Mutex::new(process),
            session: Mutex::new(None),
            console,
            control,
            power_on,
            hardware,
        })
    }

    /// Its serial console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// QEMU's control channel.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The hardware it runs on.
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// What ssh needs to know of it.
    pub fn target(&self) -> &Target {
        &self.hardware.target
    }

    /// How long it has been switched on.
    pub fn uptime(&self) -> Duration {
        self.power_on.elapsed()
    }

    /// Whether QEMU still runs.
    pub fn is_on(&self) -> bool {
        self.process().ended().is_none()
    }

    /// Waits until somebody can log in, and returns how long after power-on
    /// that was.
    pub fn log_in(&self, limit: Duration) -> Result<Duration> {
        let deadline = Deadline::after(limit);
        *self.session() = None;
        let session = self.target().connect(deadline, || self.is_on())?;
        let Some(session) = session else {
            return Err(self.given_up("a login over ssh", limit));
        };
        *self.session() = Some(Arc::new(session));
        Ok(self.uptime())
    }

    /// Runs `script` in the machine as the user of the keys, and returns what
    /// it printed, whatever its status. Logs in if nobody is logged in.
    pub fn run(&self, script: &str, limit: Duration) -> Result<Output> {
        let session = self.logged_in(limit)?;
        self.explain(&format!("the end of `{script}`"), session.run(script, limit))
    }

    /// Runs a quick `script` that must succeed, and returns its output without
    /// the last line end.
    pub fn read(&self, script: &str) -> Result<String> {
        let output = self.run(script, COMMAND)?;
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            return Ok(text.trim_end_matches('\n').to_owned());
        }
        let message = [&*output.stdout, b"\n", &*output.stderr].concat();
        Err(Error::Command {
            command: script.to_owned(),
            status: output.status,
            message: child::tail_of(&message),
        })
    }

    /// Copies the host's file `from` to `to` in the machine.
    pub fn copy_to(&self, from: &Path, to: &str, limit: Duration) -> Result<()> {
        let session = self.logged_in(limit)?;
        self.explain("the end of a copy", session.copy_to(from, to, limit))
    }

    /// Copies `from` in the machine to the host's file `to`.
    pub fn copy_from(&self, from: &str, to: &Path, limit: Duration) -> Result<()> {
        let session = self.logged_in(limit)?;
        self.explain("the end of a copy", session.copy_from(from, to, limit))
    }

    /// Presses the power button once; the system should then shut down.
    pub fn press_power_button(&self) -> Result<()> {
        self.control.command("system_powerdown", &json!({})).map(drop)
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<()> {
        *self.session() = None;
        self.control.command("system_reset", &json!({})).map(drop)
    }

    /// Waits until the machine has started anew by itself more often than
    /// `before`, as counted by [`Machine::resets`].
    pub fn wait_for_reset(&self, before: usize, limit: Duration) -> Result<()> {
        if self.control.wait_for("RESET", before, Deadline::after(limit)) {
            return Ok(());
        }
        Err(self.given_up("a restart", limit))
    }

    /// How often it has been reset since power-on, by itself or by the button.
    pub fn resets(&self) -> usize {
        self.control.count("RESET")
    }

    /// Takes a picture of the screen, in the format PPM. Needs
    /// [`Hardware::screen`].
    pub fn picture(&self, file: &Path) -> Result<()> {
        let file = std::path::absolute(file).map_err(Error::file("write", file))?;
        self.control.command("screendump", &json!({ "filename": file })).map(drop)
    }

    /// Waits until the machine has switched itself off.
    pub fn wait_off(&self, limit: Duration) -> Result<()> {
        let ended = {
            // Not `process.wait`: others may ask meanwhile whether it is on.
            let deadline = Deadline::after(limit);
            while self.is_on() && deadline.pause(Duration::from_millis(20)) {}
            !self.is_on()
        };
        if ended { Ok(()) } else { Err(self.given_up("switching itself off", limit)) }
    }

    /// Shuts the system down by the power button and gives back the hardware.
    pub fn power_off(self, limit: Duration) -> Result<Hardware> {
        self.press_power_button()?;
        self.wait_off(limit)?;
        Ok(self.power_cut())
    }

    /// Cuts the power: QEMU is killed, nothing more is written.
    pub fn power_cut(self) -> Hardware {
        self.kill();
        self.hardware
    }

    /// As [`Machine::power_cut`], for one that others still look at.
    pub fn kill(&self) {
        self.process().kill();
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logged_in(&self, limit: Duration) -> Result<Arc<Session>> {
        if let Some(session) = &*self.session() {
            return Ok(Arc::clone(session));
        }
        self.log_in(limit)?;
        self.session().clone().ok_or_else(|| self.given_up("a login over ssh", limit))
    }

    /// The error for `what` that did not come: too late, or the machine is off.
    fn given_up(&self, what: &str, limit: Duration) -> Error {
        let (what, console) = (what.to_owned(), self.last_words());
        if self.is_on() {
            Error::TimedOut { what, limit, console }
        } else {
            Error::Stopped { what, console }
        }
    }

    /// Gives an operation's time-out the console's last lines.
    fn explain<T>(&self, what: &str, result: Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            Error::Slow { limit, .. } => self.given_up(what, limit),
            other => other,
        })
    }

    /// The console's last lines, and QEMU's own words if it had any.
    fn last_words(&self) -> String {
        let mut words = self.console.tail();
        let log = self.hardware.folder().join("qemu.log");
        let said = std::fs::read(log).map(|bytes| child::tail_of(&bytes)).unwrap_or_default();
        if !said.is_empty() {
            words.push_str("\nQEMU said:\n  ");
            words.push_str(&said.replace('\n', "\n  "));
        }
        words
    }
}

fn refused(log: &Path, status: std::process::ExitStatus) -> Error {
    let message = std::fs::read(log).map(|bytes| child::tail_of(&bytes)).unwrap_or_default();
    Error::Failed { program: QEMU.to_owned(), status, message }
}
