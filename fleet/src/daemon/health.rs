//! Running `HealthCmd`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long the command may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether the command succeeds in time. It is a line for `/bin/sh`.
pub(super) async fn check(command: &str) -> bool {
    let child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut child) = child else { return false };
    match tokio::time::timeout(LIMIT, child.wait()).await {
        Ok(Ok(status)) => status.success(),
        _ => false,
    }
}
