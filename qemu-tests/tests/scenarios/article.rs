//! The config that all began with, word for word but for the key and the URL,
//! and what a node made of it shows.

use std::net::Ipv4Addr;

use qemu_tests::config_disc::Label;
use qemu_tests::report::Report;
use qemu_tests::{Hardware, Machine, Result};

use crate::checks::Checks;
use crate::discovery::Discovery;
use crate::lab::{Lab, SETTLE};

const CONFIG: &str = include_str!("article.yaml");

/// A machine with the article's config in its drive, and `more` at its end.
pub(crate) fn hardware(
    lab: &Lab,
    name: &str,
    label: Label,
    more: &str,
) -> Result<(Hardware, Discovery)> {
    hardware_with(lab, name, label, more, |_| Ok(String::new()))
}

/// The same with `inside` at the end of what it has below `coreos`.
pub(crate) fn hardware_with(
    lab: &Lab,
    name: &str,
    label: Label,
    more: &str,
    inside: impl FnOnce(&Hardware) -> Result<String>,
) -> Result<(Hardware, Discovery)> {
    let hardware = lab.hardware(name)?;
    let discovery = Discovery::start(hardware.folder())?;
    let inside = inside(&hardware)?;
    let config = with_inside(&config(&hardware, &discovery, more), &inside);
    Ok((lab.insert(hardware, &config, name, label)?, discovery))
}

/// A config with more below `coreos`.
pub(crate) fn with_inside(config: &str, inside: &str) -> String {
    config.replacen("    coreos:\n", &format!("    coreos:\n{inside}"), 1)
}

/// The article's config for a machine, and `more` at its end.
pub(crate) fn config(hardware: &Hardware, discovery: &Discovery, more: &str) -> String {
    let config = CONFIG
        .replace("ssh-rsa VOTRE_CLE_PUBLIQUE core@coreos", hardware.public_key())
        .replace("VOTRE_URL", &discovery.url());
    config + more
}

/// What must be so on a node that has `address`, after every boot.
pub(crate) fn check(machine: &Machine, checks: &mut Checks, address: Ipv4Addr) -> Result<()> {
    let name = machine.hardware().folder().file_name().unwrap_or_default().to_string_lossy();
    // The last units may still be starting when the first login works.
    let state = machine.run("systemctl is-system-running --wait", SETTLE)?;
    checks.holds("the system runs", state.stdout == b"running\n", printed(&state.stdout));
    let read = |script: &str| machine.read(script);
    checks.equal("failed units", read("systemctl list-units --failed --plain --no-legend"), "");
    checks.equal("host name", read("hostname"), &*name);
    checks.equal("who the key belongs to", read("whoami"), "core");
    checks.equal("/etc/hostname", read("cat /etc/hostname"), &*name);
    let addresses = read("ip -4 -brief address show scope global primary | grep -v docker");
    checks.contains("addresses", addresses, &format!(" {address}/24"));

    checks.equal("etcd", read("systemctl is-active etcd"), "active");
    let health = format!("etcdctl --endpoints http://{address}:4001 endpoint health 2>&1");
    checks.contains("etcd's health", read(&health), "is healthy");
    let members = format!("etcdctl --endpoints http://{address}:4001 member list");
    checks.contains("etcd's members", read(&members), &format!("http://{address}:7001"));
    let settings = read("systemctl show --property=Environment etcd");
    checks.contains("etcd's settings", settings, &format!("http://{address}:4001"));
    // It is started by the first question.
    let driver = machine.run("docker info --format '{{.Driver}} {{.CgroupVersion}}'", SETTLE)?;
    let driver = String::from_utf8_lossy(&driver.stdout).into_owned();
    checks.holds("Docker", driver.contains("overlay"), driver);

    let identity = read("cat /etc/machine-id")?;
    let whole = identity.len() == 32 && identity.chars().all(|c| c.is_ascii_hexdigit());
    checks.holds("the machine id is 32 hexadecimal digits", whole, identity);
    let touch = read("sudo touch /usr/here 2>&1; sudo touch /here 2>&1; true")?;
    let refused = touch.matches("Read-only file system").count();
    checks.holds("the root is read-only", refused == 2, touch);
    let size: u64 = read("df --output=size -B1M /var | tail -n 1")?.trim().parse().unwrap_or(0);
    checks.holds("the state has grown to the disk's end", size > 5 * 1024, size);
    let passwords = read("sudo cut -d: -f2 /etc/shadow | grep -v '^[!*]' | wc -l");
    checks.equal("accounts with a password", passwords, "0");
    Ok(())
}

/// What the machine must say of itself: all is done, and what is out of date
/// in the article.
pub(crate) fn check_report(report: &Report, checks: &mut Checks, source: &str) {
    let troubles = report.trouble();
    checks.holds(
        "the machine is provisioned",
        report.is_provisioned(),
        format_args!("{troubles:?}"),
    );
    checks.holds("the config's source", report.source() == source, report.source());
    let warnings = report.warnings();
    for old in ["`units`", "`addr`", "`peer-addr`"] {
        let warned = warnings.iter().any(|line| line.contains(old));
        checks.holds(&format!("it warns of {old}"), warned, format_args!("{warnings:?}"));
    }
}

fn printed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
