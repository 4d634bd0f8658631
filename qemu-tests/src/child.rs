//! Processes of the host that never outlive this one.
//!
//! The kernel is told to kill them when their parent dies, so an aborted test
//! leaves no QEMU behind. "Parent" means the *thread* that started them: all
//! are therefore started by one thread that lives as long as the process.
#![allow(unsafe_code)]

use std::io::{self, Read};
use std::mem;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};

use crate::deadline::Deadline;
use crate::error::{Error, Result};

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// How much of a failed program's messages goes into the error.
const MESSAGE_LIMIT: usize = 2000;

/// How many characters of a command line go into an error.
const WORDS_LIMIT: usize = 200;

/// The Debian packages of the programs that are called here.
const PACKAGES: [(&str, &str); 12] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("ssh", "openssh-client"),
    ("scp", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("etcd", "etcd-server"),
    ("systemd-nspawn", "systemd-container"),
    ("xorriso", "xorriso"),
    ("dump.erofs", "erofs-utils"),
    ("mcopy", "mtools"),
    ("objcopy", "binutils"),
];

/// A running process, killed and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
}

impl Child {
    /// Starts `command` in a process group of its own, so that a ctrl-C in the
    /// terminal reaches only us.
    pub fn start(command: Command) -> Result<Self> {
        let program = program_of(&command);
        match start_in_keeper(command) {
            Ok(process) => Ok(Self { process }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(missing(program, source))
            }
            Err(source) => Err(Error::Start { program, source }),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Waits for its end. `None` if it still runs at the deadline.
    pub fn wait(&mut self, deadline: Deadline) -> Option<ExitStatus> {
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if !deadline.pause(POLL) {
                return self.ended();
            }
        }
    }

    /// Kills it at once, as a power cut would, and reaps it.
    pub fn kill(&mut self) {
        // Both fail only if it has already been reaped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end and returns what it printed, whatever its status.
pub fn output(mut command: Command, limit: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let deadline = Deadline::after(limit);
    let words = words_of(&command);
    let mut child = Child::start(command)?;
    let stdout = collect(child.process.stdout.take());
    let stderr = collect(child.process.stderr.take());
    let Some(status) = child.wait(deadline) else {
        let message = tail_of(&[stdout.so_far(), stderr.so_far()].concat());
        return Err(Error::Slow { command: words, limit, message });
    };
    Ok(Output { status, stdout: stdout.join(), stderr: stderr.join() })
}

/// Runs `command` to its end; another status than 0 is an error that carries
/// what it wrote to standard error.
pub fn run(command: Command, limit: Duration) -> Result<Vec<u8>> {
    let program = program_of(&command);
    let output = output(command, limit)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::Failed { program, status: output.status, message: tail_of(&output.stderr) })
}

/// The end of what a program printed, as one string.
pub(crate) fn tail_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(MESSAGE_LIMIT)..]);
    text.trim().to_owned()
}

fn program_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The command line; of a long one the end, which tells it from others of the same program.
fn words_of(command: &Command) -> String {
    let mut words = vec![program_of(command)];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = words.join(" ");
    let surplus = line.chars().count().saturating_sub(WORDS_LIMIT);
    if surplus == 0 {
        return line;
    }
    let end: String = line.chars().skip(surplus).collect();
    format!("{} …{end}", words[0])
}

fn missing(program: String, source: io::Error) -> Error {
    match PACKAGES.iter().find(|(name, _)| *name == program) {
        Some((_, package)) => Error::Missing { program, package },
        None => Error::Start { program, source },
    }
}

/// A thread that reads a pipe to its end.
struct Collector {
    read: Arc<Mutex<Vec<u8>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Collector {
    /// What has come, without waiting for the end.
    fn so_far(&self) -> Vec<u8> {
        mem::take(&mut self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn join(mut self) -> Vec<u8> {
        // The thread does not panic.
        let _ = self.thread.take().map(thread::JoinHandle::join);
        self.so_far()
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Collector {
    let read = Arc::<Mutex<Vec<u8>>>::default();
    let thread = pipe.map(|mut pipe| {
        let read = Arc::clone(&read);
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            // A broken pipe ends the text like its end does.
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                read.extend_from_slice(&chunk[..length]);
            }
        })
    });
    Collector { read, thread }
}

type Answer = io::Result<std::process::Child>;

fn start_in_keeper(command: Command) -> Answer {
    static KEEPER: OnceLock<Sender<(Command, Sender<Answer>)>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<(Command, Sender<Answer>)>();
        thread::spawn(move || {
            for (command, answer) in jobs {
                // Nobody waits only if the caller's thread has died.
                let _ = answer.send(start_tied(command));
            }
        });
        sender
    });
    let (sender, answer) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that starts processes has ended");
    keeper.send((command, sender)).map_err(|_| gone(mpsc::RecvError))?;
    answer.recv().map_err(gone)?
}

fn start_tied(mut command: Command) -> Answer {
    let parent = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed;
    // `die_with` makes the system calls prctl and getppid and allocates nothing.
    unsafe { command.pre_exec(move || die_with(parent)) };
    command.spawn()
}

/// Asks for SIGKILL at the parent's death. A parent that died before the
/// request was made is noticed by the changed parent id.
fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// What a script printed on a system, without blanks around it; another status than 0 is an error
/// with all of it.
pub fn printed(script: &str, output: &Output) -> Result<String> {
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let message = printed + String::from_utf8_lossy(&output.stderr).trim();
    Err(Error::Command { command: script.to_owned(), status: output.status, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn output_is_collected_whatever_the_status() {
        let output = output(shell("echo out; echo err >&2; exit 3"), LIMIT).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn a_failing_program_is_an_error_with_its_message() {
        let error = run(shell("echo no space >&2; exit 1"), LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed (exit status: 1): no space");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        // A child of its own keeps the pipe open and is not waited for.
        let script = "echo begun; sleep 5 & exec sleep 1000";
        let error = output(shell(script), Duration::from_secs(1)).unwrap_err();
        let told = format!("`sh -c {script}` did not end within 1 s: begun");
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn of_a_long_command_line_the_end_is_told() {
        let long = shell(&format!("{}; the end", "x".repeat(300)));
        let told = words_of(&long);
        assert!(told.starts_with("sh …xxx") && told.ends_with("xxx; the end"), "{told}");
        assert_eq!(words_of(&shell("true")), "sh -c true");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let known = missing("qemu-img".into(), io::ErrorKind::NotFound.into());
        assert!(known.to_string().ends_with("apt-get install qemu-utils"), "{known}");
        assert!(known.is_usage());
        let unknown = Child::start(Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(unknown.to_string(), "cannot start `/nonexistent/program`");
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Child::start(shell("exec sleep 1000")).unwrap();
        let folder = format!("/proc/{}", child.id());
        assert!(std::fs::exists(&folder).unwrap());
        drop(child);
        assert!(!std::fs::exists(&folder).unwrap());
    }

    #[test]
    fn children_outlive_the_thread_that_asked_for_them() {
        let mut child =
            thread::spawn(|| Child::start(shell("sleep 0.2; exit 7")).unwrap()).join().unwrap();
        assert_eq!(child.wait(Deadline::after(LIMIT)).and_then(|s| s.code()), Some(7));
    }
}
