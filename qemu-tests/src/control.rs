//! QEMU's control channel, the QEMU Machine Protocol (QMP): JSON lines, one
//! command at a time, events in between.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::deadline::Deadline;
use crate::error::{Error, Result};

/// How long QEMU may take for a command. It answers between two of the guest's
/// instructions, so this is much.
const ANSWER: Duration = Duration::from_secs(30);

/// The control channel of a running machine.
#[derive(Debug)]
pub struct Control {
    commands: Mutex<Commands>,
    events: Arc<Events>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Commands {
    stream: UnixStream,
    answers: Receiver<Value>,
}

#[derive(Debug, Default)]
struct Events {
    names: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Control {
    /// Greets QEMU at the other end of `stream`.
    pub(crate) fn start(stream: UnixStream) -> Result<Self> {
        let broke = |source| Error::Channel { channel: "control channel", source };
        let incoming = BufReader::new(stream.try_clone().map_err(broke)?);
        let (sender, answers) = mpsc::channel();
        let events = Arc::new(Events::default());
        let theirs = Arc::clone(&events);
        let reader = std::thread::spawn(move || {
            for line in incoming.lines().map_while(std::result::Result::ok) {
                match sort(&line) {
                    Message::Event(name) => theirs.add(name),
                    // Nobody listens any more only when this is being dropped.
                    Message::Answer(answer) => drop(sender.send(answer)),
                    Message::Other => {}
                }
            }
            theirs.close();
        });
        let commands = Mutex::new(Commands { stream, answers });
        let control = Self { commands, events, reader: Some(reader) };
        control.command("qmp_capabilities", &json!({}))?;
        Ok(control)
    }

    /// Gives one command and returns its answer.
    pub fn command(&self, command: &str, arguments: &Value) -> Result<Value> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |message: String| Error::Control { command: command.to_owned(), message };
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        commands
            .stream
            .write_all(line.as_bytes())
            .map_err(|source| Error::Channel { channel: "control channel", source })?;
        let answer = commands.answers.recv_timeout(ANSWER).map_err(|error| {
            refused(match error {
                RecvTimeoutError::Timeout => "no answer".to_owned(),
                RecvTimeoutError::Disconnected => "QEMU has ended".to_owned(),
            })
        })?;
        match (answer.get("return"), answer.pointer("/error/desc")) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(reason)) => Err(refused(reason.as_str().unwrap_or_default().to_owned())),
            (None, None) => Err(refused(answer.to_string())),
        }
    }

    /// How often the event `name` (`RESET`, `SHUTDOWN`, …) has happened.
    pub fn count(&self, name: &str) -> usize {
        self.events.count(name)
    }

    /// Waits until the event `name` has happened more than `before` times.
    /// False if it did not by the deadline, or QEMU ended.
    pub fn wait_for(&self, name: &str, before: usize, deadline: Deadline) -> bool {
        let mut names = self.events.names.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (seen, closed) = &*names;
            if seen.iter().filter(|one| *one == name).count() > before {
                return true;
            }
            if *closed || deadline.passed() {
                return false;
            }
            let woken = self.events.changed.wait_timeout(names, deadline.left());
            names = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let commands = self.commands.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = commands.stream.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Events {
    fn add(&self, name: String) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).0.push(name);
        self.changed.notify_all();
    }

    fn close(&self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    fn count(&self, name: &str) -> usize {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.0.iter().filter(|one| *one == name).count()
    }
}

/// What a line from QEMU is.
#[derive(Debug, PartialEq)]
enum Message {
    Event(String),
    Answer(Value),
    /// The greeting.
    Other,
}

fn sort(line: &str) -> Message {
    let Ok(value) = serde_json::from_str::<Value>(line) else { return Message::Other };
    if let Some(name) = value.get("event").and_then(Value::as_str) {
        return Message::Event(name.to_owned());
    }
    if value.get("return").is_some() || value.get("error").is_some() {
        return Message::Answer(value);
    }
    Message::Other
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A QEMU that says `lines` after each command, the greeting first.
    fn qemu(answers: &'static [&'static str]) -> Result<Control> {
        let (theirs, ours) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut writer = theirs.try_clone().unwrap();
            writeln!(writer, r#"{{"QMP": {{"version": {{}}}}}}"#).unwrap();
            let commands = BufReader::new(theirs).lines();
            for (answer, _) in answers.iter().zip(commands) {
                writeln!(writer, "{answer}").unwrap();
            }
        });
        Control::start(ours)
    }

    #[test]
    fn events_between_commands_and_answers_are_counted() {
        let control = qemu(&[
            r#"{"return": {}}"#,
            "{\"event\": \"RESET\", \"data\": {}}\n{\"event\": \"STOP\"}\n{\"return\": {\"status\": \"running\"}}",
        ])
        .unwrap();
        let answer = control.command("query-status", &json!({})).unwrap();
        assert_eq!(answer["status"], "running");
        assert_eq!((control.count("RESET"), control.count("SHUTDOWN")), (1, 0));
        let deadline = Deadline::after(Duration::from_secs(60));
        assert!(control.wait_for("RESET", 0, deadline));
        // The stand-in ends after its last answer, so this does not wait.
        assert!(!control.wait_for("RESET", 1, deadline));
    }

    #[test]
    fn a_refusal_and_an_end_are_errors_with_their_reason() {
        let control = qemu(&[
            r#"{"return": {}}"#,
            r#"{"error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}"#,
        ])
        .unwrap();
        let error = control.command("x", &json!({})).unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused `x`: The command x has not been found");
        let error = control.command("y", &json!({})).unwrap_err();
        assert!(matches!(error, Error::Control { .. } | Error::Channel { .. }), "{error:?}");
    }
}
