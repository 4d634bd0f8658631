//! Figures for Prometheus, as text on a socket: whoever connects gets them, with a head of HTTP.
//!
//! `curl --unix-socket /run/coreos/update/metrics.sock http://localhost/metrics`

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// The socket's name.
pub const SOCKET: &str = "metrics.sock";

/// Whoever asks has asked by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Figures of a machine, from the document that `status --json` prints.
pub fn text(status: &Value) -> String {
    let mut out = String::new();
    let mut figure = |name: &str, help: &str, labels: &str, value: f64| {
        let _ = writeln!(out, "# HELP coreos_update_{name} {help}");
        let _ = writeln!(out, "# TYPE coreos_update_{name} gauge");
        let _ = writeln!(out, "coreos_update_{name}{labels} {value}");
    };
    let word = |name: &str| status[name].as_str().unwrap_or_default();
    let flag = |set: bool| f64::from(u8::from(set));
    let labels = format!("{{version=\"{}\",channel=\"{}\"}}", word("version"), word("channel"));
    figure("info", "What runs and what is followed.", &labels, 1.0);
    figure(
        "staged",
        "Whether a release waits for a reboot.",
        "",
        flag(status["staged"].is_string()),
    );
    figure(
        "on_trial",
        "Whether the running release has yet to prove itself.",
        "",
        flag(status["trial"].is_object() && !status["staged"].is_string()),
    );
    figure(
        "failed_releases",
        "Releases that failed on this machine.",
        "",
        status["failed"].as_object().map_or(0.0, |failed| failed.len() as f64),
    );
    figure(
        "progress",
        "Progress of what is being done, 0 to 1.",
        "",
        status["progress"].as_f64().unwrap_or(0.0),
    );
    figure(
        "fetched_bytes",
        "Bytes fetched of the release at hand.",
        "",
        status["fetched"].as_f64().unwrap_or(0.0),
    );
    figure("error", "Whether the last attempt failed.", "", flag(status["error"].is_string()));
    let checked =
        status["checked"].as_str().and_then(|time| time.parse::<channels::time::Time>().ok());
    figure(
        "last_check_seconds",
        "When the repository was asked last, since 1970.",
        "",
        checked.map_or(0.0, |time| time.unix() as f64),
    );
    figure(
        "window_open",
        "Whether the machine may reboot now.",
        "",
        flag(status["reboot"]["window"]["open"].as_bool().unwrap_or(false)),
    );
    figure(
        "holds_lock",
        "Whether the group's leave is held.",
        "",
        flag(status["reboot"]["holds_lock"].as_bool().unwrap_or(false)),
    );
    figure(
        "channel_refused",
        "Whether a lower channel was asked for and refused.",
        "",
        flag(status["channel_refused"].is_string()),
    );
    figure(
        "record_lost",
        "Whether the record was unreadable.",
        "",
        flag(status["record_lost"].as_bool().unwrap_or(false)),
    );
    out
}

/// Answers on the socket in a directory, as long as the process lives.
pub fn serve(
    run: &Path,
    status: impl Fn() -> Option<Value> + Send + 'static,
) -> io::Result<PathBuf> {
    let path = run.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    // Nothing in it is a secret.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let body = status().map(|status| text(&status)).unwrap_or_default();
            // One who does not ask, or does not listen, keeps nobody else waiting for long.
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.set_write_timeout(Some(PATIENCE));
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ =
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::net::UnixStream;

    #[test]
    fn figures_are_told_to_whoever_asks() {
        let run = tempfile::tempdir().unwrap();
        let status = json!({
            "version": "1.2", "channel": "beta", "staged": "1.3", "failed": {"1.1": {}},
            "checked": "1970-01-01T00:01:00Z", "reboot": {"window": {"open": true}},
        });
        let path = serve(run.path(), move || Some(status.clone())).unwrap();
        for _ in 0..2 {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            for line in [
                "HTTP/1.1 200 OK\r\n",
                "\ncoreos_update_info{version=\"1.2\",channel=\"beta\"} 1\n",
                "\ncoreos_update_staged 1\n",
                "\ncoreos_update_failed_releases 1\n",
                "\ncoreos_update_last_check_seconds 60\n",
                "\ncoreos_update_window_open 1\n",
                "\ncoreos_update_holds_lock 0\n",
            ] {
                assert!(answer.contains(line), "{line} in {answer}");
            }
        }
    }
}
