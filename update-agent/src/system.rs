//! What the agent asks of the running system: reboots, fleet units, sessions. Effects only.

use std::process::Command;

use host::command::{CommandError, run};

/// How long fleet units may take to move away, in seconds.
const DRAIN_LIMIT: u32 = 600;

/// Asks the service manager to reboot.
pub fn reboot() -> Result<(), CommandError> {
    run(Command::new("systemctl").args(["--no-block", "reboot"])).map(drop)
}

/// Says something to everybody who is logged in at a terminal.
pub fn tell_users(text: &str) {
    if let Err(error) = run(Command::new("wall").arg(text)) {
        log::debug!("{}", host::error::chain(&error));
    }
}

/// Whether people are logged in.
pub fn has_users() -> bool {
    let mut command = Command::new("loginctl");
    command.args(["list-sessions", "--no-legend"]);
    run(&mut command).is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().any(|line| line.contains(" tty") || line.contains("pts/"))
    })
}

/// Whether this machine runs units of a cluster.
pub fn fleet_runs() -> bool {
    let mut command = Command::new("systemctl");
    command.args(["is-active", "--quiet", "fleet.service"]);
    run(&mut command).is_ok()
}

/// Moves the machine's fleet units away.
pub fn drain(machine_id: &str) -> Result<(), CommandError> {
    let mut command = Command::new("fleetctl");
    command.args(["drain", "--wait", "--timeout", &DRAIN_LIMIT.to_string(), machine_id]);
    run(&mut command).map(drop)
}

/// Lets fleet units come back.
pub fn uncordon(machine_id: &str) -> Result<(), CommandError> {
    run(Command::new("fleetctl").args(["uncordon", machine_id])).map(drop)
}

/// Keeps a boot entry for good with systemd's own program, where the image has it.
pub fn bless(esp: &std::path::Path) -> Result<(), CommandError> {
    let mut command = Command::new("/usr/lib/systemd/systemd-bless-boot");
    command.arg("--path").arg(esp).arg("good");
    run(&mut command).map(drop)
}
