//! The project's other images: the one without Docker, and the one with tools for developers. Each
//! is built from its own manifest and lock, boots, and has what its name promises.

use std::fs;

use qemu_tests::config_disc::Label;
use qemu_tests::{Error, Result, provisioning};

use crate::checks::{Checks, Outcome};
use crate::lab::{BOOT, Lab, SETTLE};

const CONFIG: &str = "#cloud-config\nhostname: NAME\nssh_authorized_keys:\n  - KEY\n";

/// What `coreos-minimal` may take on a disk, in bytes.
const MINIMAL: u64 = 300_000_000;

/// A service instead of a container, and no trace of Docker.
pub(crate) fn minimal(lab: &Lab) -> Outcome {
    let look = "command -v docker containerd runc; \
                sudo systemd-run --quiet --wait --pipe echo a service";
    boot(lab, "coreos-minimal", look, "a service", MINIMAL)
}

/// Tools for looking into a running machine.
pub(crate) fn developer(lab: &Lab) -> Outcome {
    let look = "strace -qqq -e trace=none true && lsof -v 2>/dev/null; \
                sudo tcpdump --list-interfaces | grep -c any";
    boot(lab, "coreos-dev", look, "1", u64::MAX)
}

/// Boots the image of a manifest and has it run `look`, which must print `expected`.
fn boot(lab: &Lab, name: &str, look: &str, expected: &str, most: u64) -> Outcome {
    let mut checks = Checks::default();
    let output = lab.workspace.machines().join(format!("{name}-image"));
    let manifest = lab.workspace.root().join("image").join(format!("{name}.toml"));
    let words = [manifest.to_string_lossy(), output.to_string_lossy()];
    lab.image(&["build", "--no-qcow2", "--manifest", &words[0], "--output", &words[1]])?;
    let size = root_size(&output)?;
    checks.holds("the size of its root", size <= most, size);

    let hardware = lab.hardware_of(name, &output.join("coreos.raw"))?;
    let config = CONFIG.replace("NAME", name).replace("KEY", hardware.public_key());
    let machine = lab.insert(hardware, &config, "other", Label::NoCloud)?.boot(None)?;
    let report = provisioning::wait(&machine, BOOT)?.report;
    checks.holds("it is provisioned", report.is_provisioned(), report.status());
    let state = machine.run("systemctl is-system-running --wait", SETTLE)?;
    let state = String::from_utf8_lossy(&state.stdout).into_owned();
    checks.holds("the system runs", state == "running\n", state);
    let failed = machine.read("systemctl list-units --failed --plain --no-legend");
    checks.equal("failed units", failed, "");
    checks.equal("what it has", machine.read(look), expected);
    machine.power_off(SETTLE)?.scrap()?;
    fs::remove_dir_all(&output).map_err(Error::file("remove", &output))?;
    checks.finish()
}

/// Bytes of the root that was built.
fn root_size(output: &std::path::Path) -> Result<u64> {
    let entries = fs::read_dir(output).map_err(Error::file("list", output))?.flatten();
    let root =
        entries.map(|entry| entry.path()).find(|p| p.extension().is_some_and(|e| e == "root"));
    let root = root.unwrap_or_else(|| output.join("coreos.root"));
    Ok(fs::metadata(&root).map_err(Error::file("read", &root))?.len())
}
