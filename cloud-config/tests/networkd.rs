//! What descriptions become, before systemd-networkd itself: it must read every file without a
//! complaint, and do what they say. In a network namespace; needs root and networkd, and says so
//! without them.

use std::fs;
use std::path::Path;
use std::process::Command;

use cloud_config::network::{Format, parse};

const NETWORKD: &str = "/usr/lib/systemd/systemd-networkd";

/// Runs networkd for a moment on these files, in a namespace with what `setup` makes of it, and
/// returns what it said, and what `ip` shows afterwards.
fn networkd(files: &[(String, String)], setup: &str) -> Option<(String, String)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|entry| {
        use std::os::unix::fs::MetadataExt;
        entry.uid() == 0
    });
    if !is_root || !Path::new(NETWORKD).exists() {
        eprintln!("skipped: needs root and {NETWORKD}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    // Without a system bus, and with a read-only sysfs, by which it knows that there is no udev.
    let script = format!(
        "set -e
        mount -t tmpfs -o mode=0755 none /run
        mkdir -p /run/systemd/network
        cp \"$1\"/* /run/systemd/network/
        mount -t sysfs -o ro none /sys
        ip link set lo up
        {setup}
        SYSTEMD_LOG_LEVEL=info SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=0 \\
            timeout 4 {NETWORKD} 2>/run/log || true
        cat /run/log
        echo ==
        ip -o address
        ip -o route
        ip -o -6 route"
    );
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", &script, "sh"])
        .arg(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{text}");
    let (log, shown) = text.split_once("==\n").unwrap();
    Some((log.to_owned(), shown.to_owned()))
}

#[test]
fn networkd_reads_every_file_without_a_complaint() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks");
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((_, format)) = name.split_once('.').filter(|_| !name.ends_with(".expected"))
        else {
            continue;
        };
        let format = Format::from_name(format.trim_end_matches(".yaml")).expect(&name);
        let (network, _) = parse(format, &fs::read_to_string(&path).unwrap());
        // All at once: a name of its own for each, before the suffix that says what it is.
        files.extend(network.to_networkd().into_iter().map(|(file, content)| {
            let (stem, kind) = file.rsplit_once('.').unwrap();
            let rank = &stem[..2];
            (format!("{rank}-{name}-{stem}.{kind}"), content)
        }));
    }
    assert!(files.len() > 20);
    let Some((log, _)) = networkd(&files, "") else { return };
    let complaints: Vec<_> = log
        .lines()
        .filter(|line| line.contains("/run/systemd/network/"))
        // The fixtures describe several machines that have a bond0 each.
        .filter(|line| {
            !line.contains("already configured by") && !line.contains("Configuring with")
        })
        .collect();
    assert_eq!(complaints, Vec::<&str>::new());
    // It does complain, where there is something to complain about.
    let bad = [("10-a.network".to_owned(), "[Match]\nName=a\n[Network]\nDHPC=yes\n".to_owned())];
    let (log, _) = networkd(&bad, "").unwrap();
    assert!(log.contains("DHPC"), "{log}");
}

#[test]
fn networkd_does_what_a_description_says() {
    // Only what kernels have without modules: the others are asked of a machine of our own.
    let text = "version: 2
ethernets:
  nic0:
    match: {macaddress: '52:54:00:00:00:0a'}
    addresses: [10.0.0.5/24, 10.0.1.5/24, '2001:db8::5/64']
    gateway4: 10.0.0.1
    routes:
      - {to: 192.0.2.0/24, via: 198.51.100.1, on-link: true}
      - {to: '2001:db8:1::/48', via: 'fe80::1', metric: 77}
    mtu: 1400
  nic1:
    match: {name: 'veth1*'}
bridges:
  br0: {interfaces: [nic1], addresses: [10.6.0.5/24]}
";
    let (network, findings) = parse(Format::NetworkConfig, text);
    assert_eq!(findings, []);
    let setup = "
        ip link add veth0 address 52:54:00:00:00:0a type veth peer veth0p
        ip link add veth1 type veth peer veth1p
        ip link set veth0p up
        ip link set veth1p up";
    let Some((log, shown)) = networkd(&network.to_networkd(), setup) else { return };
    for want in [
        "veth0    inet 10.0.0.5/24",
        "veth0    inet 10.0.1.5/24",
        "veth0    inet6 2001:db8::5/64",
        "default via 10.0.0.1 dev veth0",
        "192.0.2.0/24 via 198.51.100.1 dev veth0",
        "2001:db8:1::/48 via fe80::1 dev veth0 proto static metric 77",
        "br0    inet 10.6.0.5/24",
    ] {
        assert!(shown.contains(want), "{want} is not in\n{shown}\n{log}");
    }
}
