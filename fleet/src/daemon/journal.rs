//! What `systemctl status` and `journalctl` say on this machine.

use std::collections::BTreeMap;
use std::process::Stdio;

use hyper::body::Bytes;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::http::{Answer, Refusal, stream, text};

/// The outputs of journalctl that may be asked for.
const OUTPUTS: [&str; 12] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-unix",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "cat",
];

/// `systemctl status` of a unit; it fails for a unit that does not run, and says so itself.
pub(super) async fn status(unit: &str) -> Result<Answer, Refusal> {
    let output = Command::new("systemctl")
        .args(["status", "--full", "--no-pager", "--", unit])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Refusal::missing(format!("systemctl cannot be run: {error}")))?;
    let bytes = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(text(bytes))
}

/// The journal of a unit: its last `lines`, and what follows if `follow` is true.
pub(super) fn follow(unit: &str, asked: &BTreeMap<String, String>) -> Result<Answer, Refusal> {
    let lines = asked.get("lines").map_or("10", String::as_str);
    if lines != "all" && lines.parse::<u32>().is_err() {
        return Err(Refusal::bad(format!("lines: `{lines}` is not a number")));
    }
    let output = asked.get("output").map_or("short", String::as_str);
    if !OUTPUTS.contains(&output) {
        return Err(Refusal::bad(format!("output: journalctl has no `{output}`")));
    }
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "-u", unit, "-n", lines, "-o", output]);
    if asked.get("follow").is_some_and(|follow| follow == "true" || follow == "1") {
        command.arg("-f");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Refusal::missing(format!("journalctl cannot be run: {error}")))?;
    let (sender, pieces) = mpsc::channel(16);
    let Some(mut from) = child.stdout.take() else { return Ok(text("")) };
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 << 10];
        loop {
            // Nobody listens any more: the child goes with us.
            let read = tokio::select! {
                read = from.read(&mut buffer) => read,
                () = sender.closed() => break,
            };
            match read {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if sender.send(Bytes::copy_from_slice(&buffer[..read])).await.is_err() {
                        break;
                    }
                }
            }
        }
        let _ = child.kill().await;
    });
    Ok(stream(pieces))
}
