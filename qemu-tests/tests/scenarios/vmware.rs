//! A machine with VMware's cards and the disk of the appliance, configured by credentials in its
//! firmware's tables, whose network is a bond with a VLAN on it, a bridge and a dummy: all that networkd is
//! told, and that the modules for it are in the image. The switch that it is at takes only frames of
//! that VLAN. One of its files is on the host, and the way there is the VLAN: the initrd makes it
//! and the bond, too, and nothing of that is left.
//!
//! Such a card takes only what is for the address that it was made with, as a port group of VMware
//! does unless it is told otherwise: a bond with an address of its own would hear nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qemu_tests::provisioning;
use qemu_tests::wiring::{LEASE, MAC};

use crate::checks::{Checks, Outcome};
use crate::document;
use crate::lab::{BOOT, Lab, SETTLE};
use crate::outputs::disk_of_appliance;

/// What the host has, and its SHA-256.
const DOCUMENT: (&str, &str) =
    ("over the VLAN\n", "146b4b27de1e80f48e39acb2bb471563f3bc4ec3ad2fdce5945bf5d8ebd73ec4");

/// The only one that the switch takes.
const VLAN: u16 = 5;

/// Each device with the address that it must have.
const ADDRESSES: [(&str, &str); 4] = [
    ("bond0", "10.5.0.5/24"),
    ("bond0", "fd00:2::15/64"),
    ("vlan5", "10.0.2.15/24"),
    ("br0", "10.6.0.5/24"),
];

fn network_config() -> String {
    format!(
        "version: 2
ethernets:
  nic0: {{match: {{macaddress: '{MAC}'}}, set-name: lan0}}
bonds:
  bond0:
    interfaces: [nic0]
    parameters: {{mode: active-backup, mii-monitor-interval: 100}}
    addresses: [10.5.0.5/24, 'fd00:2::15/64']
vlans:
  vlan5:
    id: {VLAN}
    link: bond0
    addresses: [{LEASE}/24]
    gateway4: 10.0.2.2
    nameservers: {{addresses: [10.0.2.3], search: [example.com]}}
dummy-devices:
  dummy7: {{}}
bridges:
  br0: {{interfaces: [dummy7], addresses: [10.6.0.5/24], parameters: {{stp: false}}}}
"
    )
}

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let disk = disk_of_appliance(lab)?;
    let hardware = lab.hardware_of("vmware", &disk)?.of_vmware(lab.workspace.boot_entry()?);
    let hardware = hardware.tagged(VLAN)?;
    let (document, sha256) = DOCUMENT;
    let url = document::serve(document)?.address;
    let user_data = format!(
        "#cloud-config
hostname: vmware
ssh_authorized_keys:
  - {}
write_files:
  - path: /etc/own-address
    content: $private_ipv4
  - path: /etc/fetched
    source: {{uri: '{url}', sha256: {sha256}}}
",
        hardware.public_key()
    );
    let credential = |name: &str, value: &str| {
        format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(value))
    };
    let hardware = hardware
        .firmware_string(credential("coreos.config", &user_data))
        .firmware_string(credential("coreos.network-config", &network_config()));
    let machine = hardware.boot(None)?;
    let report = provisioning::wait(&machine, BOOT + SETTLE)?.report;
    let troubles = report.trouble();
    checks.holds("it is provisioned", report.is_provisioned(), format_args!("{troubles:?}"));
    checks.holds("the source", report.source() == "credentials", report.source());

    let state = machine.run("systemctl is-system-running --wait", SETTLE)?;
    let state = String::from_utf8_lossy(&state.stdout).into_owned();
    checks.holds("the system runs", state == "running\n", state);
    let read = |script: &str| machine.read(script);
    checks.equal("failed units", read("systemctl list-units --failed --plain --no-legend"), "");
    checks.equal("the file", read("cat /etc/fetched"), document.trim_end());
    checks.equal("the bond's address", read("cat /sys/class/net/bond0/address"), MAC);
    checks.equal("the variable", read("cat /etc/own-address"), "10.5.0.5");
    for driver in ["vmw_pvscsi", "vmxnet3"] {
        let devices = read(&format!("ls /sys/bus/pci/drivers/{driver}"));
        checks.contains(driver, devices, "0000:");
    }
    checks.equal("the disk", read("lsblk --nodeps --noheadings --output SERIAL /dev/sda"), "disk0");
    let addresses = read("ip -brief address")?;
    for (device, address) in ADDRESSES {
        let line = addresses.lines().find(|line| line.starts_with(device)).unwrap_or_default();
        checks.holds(&format!("{device} has {address}"), line.contains(address), &addresses);
    }
    checks.contains("the bond", read("cat /sys/class/net/bond0/bonding/slaves"), "lan0");
    checks.contains("its mode", read("cat /sys/class/net/bond0/bonding/mode"), "active-backup");
    checks.contains("the bridge", read("ls /sys/class/net/br0/brif"), "dummy7");
    checks.contains("the VLAN", read("ip -details link show vlan5"), "vlan protocol 802.1Q id 5");
    checks.contains("the route", read("ip route show default"), "via 10.0.2.2 dev vlan5");
    checks.contains("the server", read("networkctl status vlan5"), "10.0.2.3");
    let complaints = read(
        "journalctl --boot --unit systemd-networkd --grep 'Unknown|Failed|ignoring' --quiet || true",
    );
    checks.equal("complaints of networkd", complaints, "");
    machine.power_off(SETTLE)?;
    checks.finish()
}
