//! A config with mistakes: the machine boots, can be logged in to, and says
//! what is wrong and where.

use std::fs;
use std::process::Command;
use std::time::Duration;

use qemu_tests::{Hardware, Result, child, provisioning};

use crate::checks::{Checks, Outcome};
use crate::lab::{self, BOOT, Lab, SETTLE};

/// Two wrong values.
const MISTAKES: [&str; 2] = ["rw-r--r--", "example.unknown"];

const CONFIG: &str = "\
#cloud-config
hostname: broken
ssh_authorized_keys:
  - KEY
write_files:
  - path: /etc/example.conf
    permissions: rw-r--r--
    content: example
coreos:
  units:
    - name: example.unknown
      command: start
";

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let hardware = insert(lab.hardware("broken")?)?;
    let machine = hardware.boot(None)?;
    let report = provisioning::wait(&machine, BOOT)?.report;
    checks.holds("the report says so", report.status() == "degraded", report.status());
    let state = machine.run("systemctl is-system-running --wait", SETTLE)?;
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    checks.holds("the system is degraded", state == "degraded", state);
    // Who may log in and what the machine is called does not depend on the rest.
    checks.equal("host name", machine.read("hostname"), "broken");
    checks.equal("the file with the mistake", machine.read("ls /etc | grep -c example; true"), "0");
    for mistake in MISTAKES {
        let (line, column) = place_of(mistake).ok_or("a mistake that is not in the config")?;
        let place = format!("user-data:{line}:{column}: ");
        let told = machine.console().lines().iter().any(|line| line.text.contains(&place));
        checks.holds(&format!("the console names {place}"), told, machine.console().tail());
    }
    checks.finish()
}

/// Line and column of `text` in the config.
fn place_of(text: &str) -> Option<(usize, usize)> {
    let columns = CONFIG.lines().map(|line| line.find(text));
    columns.enumerate().find_map(|(line, column)| Some((line + 1, column? + 1)))
}

/// Puts the config on a disc with another program than the project's, which
/// would refuse it.
fn insert(hardware: Hardware) -> Result<Hardware> {
    let config = CONFIG.replace("KEY", hardware.public_key());
    let user_data = lab::user_data(&hardware, &config)?;
    let tree = hardware.folder().join("disc/openstack/latest");
    let file = qemu_tests::Error::file;
    fs::create_dir_all(&tree).map_err(file("make", &tree))?;
    fs::copy(&user_data, tree.join("user_data")).map_err(file("write", &tree))?;
    let disc = hardware.folder().join("config.iso");
    let mut command = Command::new("xorriso");
    command.args(["-as", "genisoimage", "-quiet", "-V", "config-2", "-J", "-R", "-o"]);
    command.arg(&disc).arg(hardware.folder().join("disc"));
    child::run(command, Duration::from_secs(60))?;
    Ok(hardware.disc(Some(disc)))
}
