//! A config drive with a fixed address, as for platforms without DHCP, and with a
//! system extension; then a second boot without the drive.

use std::net::Ipv4Addr;

use qemu_tests::config_disc::Label;
use qemu_tests::provisioning;

use crate::article;
use crate::checks::{Checks, Outcome};
use crate::extension::Extension;
use crate::lab::{BOOT, Lab, SETTLE};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 50);

/// One more of the article's units.
const NETWORK: &str = "        - name: 00-static.network
          content: |
              [Match]
              Name=en*
              [Network]
              Address=10.0.2.50/24
              Gateway=10.0.2.2
              DNS=10.0.2.3
";

/// What is tried besides.
const TRIED: &str = "    write_files:
        - path: /etc/tried
          content: $private_ip
";

/// What must stay from one boot to the next. The host key is checked by every
/// login: another one than the first time is refused.
const SAME: [&str; 4] = [
    "cat /etc/machine-id",
    "cat /etc/ssh/ssh_host_ed25519_key.pub",
    "cat /var/lib/kept /home/core/kept",
    "etcdctl --endpoints http://10.0.2.50:4001 get kept --print-value-only",
];

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let mut served = None;
    let (hardware, discovery) =
        article::hardware_with(lab, "static", Label::ConfigDrive, NETWORK, |hardware| {
            let tools = Extension::serve(lab, hardware.folder())?;
            Ok(served.insert(tools).entry("        "))
        })?;
    let tools = served.ok_or("there is no extension")?;
    let machine = hardware.address(ADDRESS).boot(None)?;
    let report = provisioning::wait(&machine, BOOT)?.report;
    article::check_report(&report, &mut checks, "disc");
    article::check(&machine, &mut checks, ADDRESS)?;
    tools.check(&machine, &report, &mut checks);
    let leased = machine.read("ip -4 -brief address")?;
    checks.holds("no address is leased", !leased.contains("10.0.2.15"), &leased);
    let unit = machine.read("cat /etc/systemd/network/00-static.network");
    checks.contains("the network unit", unit, "Address=10.0.2.50/24");
    let registered = discovery.members()?;
    checks.holds("the member has registered", registered.contains("10.0.2.50:7001"), &registered);

    machine.read("echo state | sudo tee /var/lib/kept > /home/core/kept")?;
    machine.read("etcdctl --endpoints http://10.0.2.50:4001 put kept 'a value'")?;
    let before: Vec<String> = SAME.iter().map(|one| machine.read(one)).collect::<Result<_, _>>()?;

    // What is on trial when the power fails is as if it had never been.
    let text = article::config(machine.hardware(), &discovery, NETWORK) + TRIED;
    machine.read(&format!("cat >/tmp/tried.yaml <<'EOF'\n{text}EOF"))?;
    let tried = machine.read("sudo coreos-init try /tmp/tried.yaml --confirm-within 1h")?;
    checks.holds("a trial begins", tried.contains("unless you say"), &tried);
    checks.equal("what is tried", machine.read("cat /etc/tried"), "10.0.2.50");
    let gone = machine.read("command -v jq || echo gone");
    checks.equal("an extension that is tried without", gone, "gone");
    machine.read("sudo sync")?;

    // Neither the drive nor the discovery service is there the second time,
    // but a disk that is none of the system's.
    drop(discovery);
    let mut hardware = machine.power_cut().disc(None);
    hardware.add_disk(64)?;
    let machine = hardware.boot(None)?;
    let report = provisioning::wait(&machine, BOOT)?.report;
    article::check_report(&report, &mut checks, "last");
    checks.equal("what was tried", machine.read("ls /etc/tried 2>&1 | grep -c 'No such'"), "1");
    let told = machine.read("sudo coreos-init status");
    checks.contains("what is said of it", told, "a trial was not confirmed");
    article::check(&machine, &mut checks, ADDRESS)?;
    for (one, before) in SAME.iter().zip(before) {
        checks.equal(&format!("`{one}` after the second boot"), machine.read(one), before);
    }
    tools.check(&machine, &report, &mut checks);
    checks.contains("disks", machine.read("lsblk --nodeps --output SERIAL"), "disk1");
    tools.damage(&machine, &mut checks)?;
    machine.power_off(SETTLE)?;
    checks.finish()
}
