//! A process that does not outlive its test, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The shell ends with its standard input, and takes the program with it: a pipe is closed by the
/// kernel, whatever becomes of the process that holds it. Without a word on it, nobody is left to
/// remove the folder either.
const GUARD: &str = r#"
folder=$1; shift
exec 3<&0
"$@" </dev/null >&2 3<&- &
echo $!
exec >&-
read -r word <&3
kill -9 $! 2>/dev/null
wait
[ -n "$word" ] || rm -rf "$folder"
"#;

/// A running program, killed and reaped when dropped.
#[derive(Debug)]
pub struct Guarded {
    guard: Child,
    pipe: Option<ChildStdin>,
    pid: Pid,
}

impl Guarded {
    /// Starts `command` with its output in the file `log`. `folder` is removed if the test dies.
    pub fn start(command: &Command, log: &Path, folder: &Path) -> io::Result<Self> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(folder);
        guard.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            guard.current_dir(folder);
        }
        let mut guard = guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line.trim().parse().map_err(|_| io::Error::other("the guard told no pid"))?;
        let pipe = guard.stdin.take();
        Ok(Self { guard, pipe, pid: Pid::from_raw(pid) })
    }

    /// The id of the program's process.
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        !matches!(state, Some('Z' | 'X') | None)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // It fails only if it has ended, which then was the wish.
        let _ = kill(self.pid, signal);
    }

    /// Waits for its end; `false` if it still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> bool {
        let start = Instant::now();
        while self.is_running() {
            if start.elapsed() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.guard.wait();
    }
}
