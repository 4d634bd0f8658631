//! A machine takes a release over HTTP, keeps it once it has proven itself, and comes back by
//! itself from releases that are bad in every way that matters.

use std::time::{Duration, Instant};

use qemu_tests::config_disc::Label;
use qemu_tests::{Deadline, Machine, Result};

use crate::checks::{Checks, Outcome};
use crate::lab::{BOOT, Lab};
use crate::releases::{Publisher, Variant};

const CONFIG: &str = "\
#cloud-config
hostname: updated
ssh_authorized_keys:
  - KEY
write_files:
  - path: /etc/coreos/health.d/10-marker
    permissions: '0755'
    content: |
      #!/bin/sh
      test ! -e /usr/lib/coreos/broken || exit 100
coreos:
  update:
    group: stable
    server: SERVER
    reboot_strategy: off
";

/// Writing a release, emulated on a busy host.
const APPLY: Duration = Duration::from_secs(600);

/// From the command to a machine that is up again, with some tries of something else between.
const BACK: Duration = Duration::from_secs(1200);

fn update(lab: &Lab, name: &str, bad: &[(&str, Variant, &str)]) -> Outcome {
    let mut checks = Checks::default();
    let publisher = Publisher::start(&lab.workspace)?;
    let first = publisher.build("1.0.0", Variant::default(), true)?;
    publisher.build("1.1.0", Variant::default(), false)?;
    for (version, variant, _) in bad {
        publisher.build(version, *variant, false)?;
    }
    publisher.publish("1.0.0", false, &["beta", "stable"])?;
    publisher.publish("1.1.0", true, &["beta"])?;

    let hardware = lab.hardware_of(name, &first.join("coreos.raw"))?;
    let config = CONFIG.replace("KEY", hardware.public_key()).replace("SERVER", publisher.url());
    let hardware = lab.insert(hardware, &config, "updated", Label::NoCloud)?;
    let machine = hardware.boot(None)?;
    machine.log_in(BOOT)?;
    let read = |script: &str| machine.read(script);
    let figures = "until curl --silent --fail --unix-socket /run/coreos/update/metrics.sock \
                   http://localhost/metrics; do sleep 1; done";
    checks.contains(
        "figures for Prometheus",
        read(figures),
        "coreos_update_info{version=\"1.0.0\"",
    );
    let status = "busctl call com.coreos.update1 /com/coreos/update1 \
                  com.coreos.update1.Manager GetStatus";
    checks.contains("the status on D-Bus", read(status), "UPDATE_STATUS_");
    wait_for_health(&machine)?;
    step("the first boot");
    checks.equal("the first boot is kept", entries(&machine), "coreos_1.0.0.efi");
    checks.contains("it is not on trial", read("sudo update-agent status"), "version    1.0.0");
    // What the machine has of its own must outlive all that follows.
    read("sudo sh -c 'echo mine > /var/lib/mine; echo mine > /etc/mine'; sync")?;

    // Up in the channels, where something newer is.
    let nothing = machine.run("sudo update-agent check", APPLY)?;
    checks.holds("stable has nothing new", nothing.status.code() == Some(3), told(&nothing));
    checks.contains("beta is allowed", read("sudo update-agent channel set beta"), "beta");
    checks.contains("beta has a release", read("sudo update-agent check"), "1.1.0");
    let applied = machine.run("sudo update-agent apply", APPLY)?;
    checks.holds("it is written", applied.status.success(), told(&applied));
    step("the release is written");
    checks.equal("both boot", entries(&machine), "coreos_1.0.0.efi coreos_1.1.0+3.efi");
    checks.contains("the status", read("update_engine_client -status"), "UPDATED_NEED_REBOOT");
    // Somebody who can write to the boot partition puts another kernel there.
    on_boot_partition(&machine, "cp coreos_1.0.0.efi coreos_1.1.0+3.efi")?;
    let swapped = machine.run("sudo update-agent reboot", APPLY)?;
    checks.holds("it does not reboot into that", !swapped.status.success(), told(&swapped));
    checks.equal("it is removed", entries(&machine), "coreos_1.0.0.efi");
    checks.contains("and why", read("sudo update-agent history"), "its boot entry was changed");
    let again = machine.run("sudo update-agent apply", APPLY)?;
    checks.holds("it is written again", again.status.success(), told(&again));
    step("the boot entry is written again");
    reboot(&machine)?;
    step("the machine is up again");
    checks.equal("it runs", release(&machine), "1.1.0");
    wait_for_health(&machine)?;
    checks.equal("it is kept", entries(&machine), "coreos_1.0.0.efi coreos_1.1.0.efi");
    checks.equal("its own state", machine.read("cat /var/lib/mine /etc/mine"), "mine\nmine");
    let history = machine.read("sudo update-agent history")?;
    checks.contains("it was kept", Ok(history.clone()), "kept");
    checks.contains("it came as a patch", Ok(history), " 0 blocks copied");
    let down = machine.run("sudo update-agent channel set stable", APPLY)?;
    checks.contains("down is refused", Ok(told(&down)), "cannot go back to stable");
    checks.contains("it follows beta", machine.read("sudo update-agent channel"), "beta");
    let alpha = machine.read("sudo update-agent channel set alpha");
    checks.contains("alpha is allowed", alpha, "alpha");

    // What is bad goes away by itself, whatever is bad about it.
    for (version, _, reason) in bad {
        publisher.publish(version, false, &[])?;
        let applied = machine.run("sudo update-agent apply", APPLY)?;
        checks.holds("a bad release is written", applied.status.success(), told(&applied));
        let resets = machine.resets();
        // The connection may end before the answer comes.
        let _ = machine.run("sudo update-agent reboot", APPLY);
        machine.wait_for_reset(resets, BACK)?;
        come_back(&machine, "1.1.0")?;
        step(&format!("the machine came back from {version}"));
        wait_for_health(&machine)?;
        let tries = machine.resets() - resets;
        checks.holds("within its tries", tries <= 4, tries);
        // The service has looked by then, or this looks.
        let again = machine.run("sudo update-agent apply", APPLY)?;
        checks.holds("it is not tried again", again.status.code() == Some(3), told(&again));
        let status = machine.read("sudo update-agent status");
        checks.contains("it is reported", status, &format!("failed     {version}"));
        checks.contains("and why", machine.read("sudo update-agent history"), reason);
        let own = machine.read("cat /var/lib/mine /etc/mine");
        checks.equal("nothing was lost", own, "mine\nmine");
    }
    checks.finish()
}

/// How often the power is cut while a release is written.
const CUTS: u64 = 20;

/// QEMU is killed at twenty moments of updates. The machine boots what it ran, or the release if
/// that was already written, and an update that is begun again arrives.
pub(crate) fn killed(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let publisher = Publisher::start(&lab.workspace)?;
    let offer = |number: u64| -> Result<String> {
        let version = format!("1.{number}.0");
        publisher.build(&version, Variant::default(), false)?;
        publisher.publish(&version, false, &["beta", "stable"])?;
        Ok(version)
    };
    let mut runs = "1.0.0".to_owned();
    let first = publisher.build(&runs, Variant::default(), true)?;
    let mut number = 1;
    let mut offered = offer(number)?;
    let hardware = lab.hardware_of("update-killed", &first.join("coreos.raw"))?;
    let config = CONFIG.replace("KEY", hardware.public_key()).replace("SERVER", publisher.url());
    let hardware = lab.insert(hardware, &config, "updated", Label::NoCloud)?;
    let mut machine = hardware.boot(None)?;
    machine.log_in(BOOT)?;
    wait_for_health(&machine)?;
    machine.read("sudo systemctl mask update-agent.service")?;
    for cut in 0..CUTS {
        machine.read("sudo systemd-run --quiet --unit=apply update-agent apply")?;
        // All over the time that writing takes, in no order.
        std::thread::sleep(Duration::from_secs(cut * 17 % 41));
        machine = machine.power_cut().boot(None)?;
        machine.log_in(BOOT)?;
        let found = release(&machine)?;
        step(&format!("cut {} of {CUTS}: {found} came up", cut + 1));
        if found == offered {
            wait_for_health(&machine)?;
            let kept = format!("coreos_{runs}.efi coreos_{found}.efi");
            checks.equal("it is kept", entries(&machine), kept);
            runs = found;
            number += 1;
            offered = offer(number)?;
        } else {
            checks.equal("the old release came up", Ok(found), runs.clone());
        }
    }
    let applied = machine.run("sudo update-agent apply", APPLY)?;
    checks.holds("the release is written", applied.status.success(), told(&applied));
    reboot(&machine)?;
    wait_for_health(&machine)?;
    checks.equal("the release arrived", release(&machine), offered.clone());
    let kept = format!("coreos_{runs}.efi coreos_{offered}.efi");
    checks.equal("it is kept", entries(&machine), kept);
    checks.finish()
}

/// Waits until the machine runs a release again; a bad one may let people in for a while, too.
fn come_back(machine: &Machine, version: &str) -> Result<()> {
    let deadline = Deadline::after(BACK);
    loop {
        let login = machine.log_in(deadline.left());
        if login.is_ok() && release(machine).is_ok_and(|found| found == version) {
            return Ok(());
        }
        if !deadline.pause(Duration::from_secs(2)) {
            return login.map(drop);
        }
    }
}

/// Releases that are bad: a kernel that panics, and one whose health gate fails.
const BAD: [(&str, Variant, &str); 2] = [
    (
        "1.2.0",
        Variant { command_line: "rdinit=/nowhere root=/dev/nowhere", files: &[] },
        "did not come up well in 3 tries",
    ),
    (
        "1.3.0",
        Variant { command_line: "", files: &[("usr/lib/coreos/broken", "yes\n")] },
        "10-marker",
    ),
];

/// One that hangs: its service manager does nothing. The watchdog of the trial bites.
const HANGING: [(&str, Variant, &str); 1] = [(
    "1.2.0",
    Variant {
        command_line: "coreos.watchdog=60",
        files: &[("usr/lib/systemd/systemd", "#!/bin/sh\nwhile :; do sleep 60; done\n")],
    },
    "did not come up well in 3 tries",
)];

/// A good release and then bad ones.
pub(crate) fn run(lab: &Lab) -> Outcome {
    update(lab, "update", &BAD)
}

/// A good release and then one that hangs.
pub(crate) fn hanging(lab: &Lab) -> Outcome {
    update(lab, "update-hanging", &HANGING)
}

/// Waits until the health gate of this boot has spoken.
fn wait_for_health(machine: &Machine) -> Result<()> {
    let script = "until systemctl show --property=ActiveState --value update-health.service | \
                  grep -qE '^(active|failed)$'; do sleep 0.5; done";
    machine.run(script, BOOT)?;
    // From here on only what the scenario asks for is done.
    machine.read("sudo systemctl stop update-agent.service").map(drop)
}

/// The boot entries on the machine's boot partition.
fn entries(machine: &Machine) -> Result<String> {
    on_boot_partition(machine, "ls | tr \"\\n\" \" \" | sed \"s/ $//\"")
}

/// What a script prints that runs among the boot entries.
fn on_boot_partition(machine: &Machine, script: &str) -> Result<String> {
    machine.read(&format!(
        "sudo unshare --mount sh -ec 'mkdir -p /run/look; mount -t vfat /dev/vda1 /run/look; \
         cd /run/look/EFI/Linux; {script}'"
    ))
}

fn release(machine: &Machine) -> Result<String> {
    machine.read("cat /usr/lib/coreos/release")
}

/// Reboots into what waits, and waits until somebody can log in again.
fn reboot(machine: &Machine) -> Result<()> {
    let before = machine.resets();
    // The connection may end before the answer comes.
    let _ = machine.run("sudo update-agent reboot", APPLY);
    machine.wait_for_reset(before, BACK)?;
    machine.log_in(BACK).map(drop)
}

fn told(output: &std::process::Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// For whoever waits.
fn step(what: &str) {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let begin = BEGIN.get_or_init(Instant::now);
    println!("  {:>5.0} s  {what}", begin.elapsed().as_secs_f64());
}
