//! The program itself on every platform: a network namespace in which the platform's addresses
//! are a server that answers as the platform does.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cables::{Cables, enter, ip};
use crate::server::{Fixture, serve};

const MAC: &str = "52:54:00:00:00:01";

/// Serves on `addresses` there, as the fixture that is put into what it returns.
fn services(cables: &Cables, addresses: &[&str]) -> Arc<Mutex<Fixture>> {
    let current = Arc::new(Mutex::new(Fixture::read("ec2")));
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|address| address.parse().unwrap()).collect();
    let namespace = cables.there.clone();
    let shared = Arc::clone(&current);
    std::thread::spawn(move || {
        enter(&namespace);
        for address in addresses {
            serve(address, Arc::clone(&shared));
        }
    })
    .join()
    .unwrap();
    current
}

/// Runs `coreos-init sources` here, on a machine of which nothing is known but this line.
fn sources(cables: &Cables, command_line: &str) -> Value {
    let root = cables.directory.path().join("machine");
    fs::create_dir_all(root.join("sys")).unwrap();
    let output = cables.here(|| {
        Command::new(env!("CARGO_BIN_EXE_coreos-init"))
            .args(["sources", "--network", "--json", "--command-line", command_line, "--root"])
            .arg(&root)
            .output()
            .unwrap()
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "", "{command_line}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{command_line}: {e}"))
}

/// What the program should show of a fixture.
fn expected(fixture: &Fixture) -> Value {
    let user_data = fixture.expected["user_data"].as_str().unwrap();
    let digest = Sha256::digest(user_data.as_bytes());
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "bytes": user_data.len(), "sha256": sha256 })
}

fn assert_found(name: &str, fixture: &Fixture, shown: &Value) {
    let found = &shown["found"];
    assert_eq!(found["source"], "cloud", "{name}: {shown:#}");
    assert_eq!(found["user_data"], expected(fixture), "{name}: {shown:#}");
    for (key, value) in fixture.expected["meta_data"].as_object().unwrap() {
        assert_eq!(&found["meta_data"][key], value, "{name}: {key}");
    }
}

#[test]
fn every_platform_configures_a_machine_that_has_a_lease() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", MAC, "10.99.0.1/24").dhcp("eth0", "10.99.0.50", "10.99.0.1");
    for address in ["169.254.169.254/32", "169.254.42.42/32"] {
        ip(&["-n", &cables.there, "address", "add", address, "dev", "lo"]);
    }
    let current = services(&cables, &["169.254.169.254:80", "169.254.42.42:80"]);
    for name in Fixture::names() {
        let fixture = Fixture::read(&name);
        let platform = fixture.platform(&name);
        // It is a name of the open net, with a certificate.
        if platform == "packet" {
            continue;
        }
        *current.lock().unwrap() = fixture.clone();
        let shown = sources(&cables, &format!("quiet platform={platform}"));
        assert_found(&name, &fixture, &shown);
        let looked: Vec<_> =
            shown["sources"].as_array().unwrap().iter().map(|s| s["source"].clone()).collect();
        assert_eq!(looked.last(), Some(&json!("cloud")), "{name}: {shown:#}");
        cables.assert_untouched();
    }
}

#[test]
fn a_platform_without_dhcp_is_asked_from_an_address_of_the_machines_own() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", MAC, "169.254.169.254/16");
    let current = services(&cables, &["169.254.169.254:80"]);
    let fixture = Fixture::read("digitalocean");
    *current.lock().unwrap() = fixture.clone();
    let shown = sources(&cables, "platform=digitalocean");
    assert_found("digitalocean", &fixture, &shown);
    assert_eq!(shown["found"]["network"], "digitalocean");
    cables.assert_untouched();
}

#[test]
fn a_machine_with_ipv6_alone_asks_the_address_of_ipv6() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", MAC, "192.0.2.1/32");
    ip(&["-n", &cables.there, "address", "add", "fd00:ec2::254/64", "dev", "eth0", "nodad"]);
    let current = services(&cables, &["[fd00:ec2::254]:80"]);
    let fixture = Fixture::read("ec2");
    *current.lock().unwrap() = fixture.clone();
    let shown = sources(&cables, "platform=ec2 ip=[fd00:ec2::5]:::64::eth0:none");
    assert_found("ec2", &fixture, &shown);
    assert_eq!(shown["found"]["place"], "http://[fd00:ec2::254]");
    cables.assert_untouched();
}

#[test]
fn a_machine_to_which_routers_give_its_only_address_is_configured() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", MAC, "192.0.2.1/32");
    for address in ["2001:db8:6::1/64", "fe80::1/64"] {
        ip(&["-n", &cables.there, "address", "add", address, "dev", "eth0", "nodad"]);
    }
    // Each platform's address of IPv6, behind the router.
    let services_of = [
        ("ec2", "fd00:ec2::254"),
        ("gce", "fd20:ce::254"),
        ("oracle", "fd00:c1::a9fe:a9fe"),
        ("scaleway", "fd00:42::42"),
        ("akamai", "fd00:a9fe:a9fe::1"),
    ];
    for (_, address) in services_of {
        ip(&["-n", &cables.there, "address", "add", &format!("{address}/128"), "dev", "lo"]);
    }
    let cables = cables.router("eth0", "2001:db8:6::,ra-only");
    let sockets: Vec<_> =
        services_of.iter().map(|(_, address)| format!("[{address}]:80")).collect();
    let sockets: Vec<_> = sockets.iter().map(String::as_str).collect();
    let current = services(&cables, &sockets);
    for (name, address) in services_of {
        let fixture = Fixture::read(name);
        *current.lock().unwrap() = fixture.clone();
        let shown = sources(&cables, &format!("platform={name}"));
        assert_found(name, &fixture, &shown);
        assert_eq!(shown["found"]["place"], format!("http://[{address}]"));
        cables.assert_untouched();
    }
}

#[test]
fn openstack_is_asked_on_the_link_where_there_is_no_ipv4() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", MAC, "192.0.2.1/32");
    ip(&["-n", &cables.there, "address", "add", "fe80::a9fe:a9fe/64", "dev", "eth0", "nodad"]);
    let namespace = cables.there.clone();
    let fixture = Fixture::read("openstack");
    let served = fixture.clone();
    std::thread::spawn(move || {
        enter(&namespace);
        served.serve("[::]:80".parse().unwrap());
    })
    .join()
    .unwrap();
    let shown = sources(&cables, "platform=openstack ip=[2001:db8::5]:::64::eth0:none");
    assert_found("openstack", &fixture, &shown);
    assert_eq!(shown["found"]["place"], "http://[fe80::a9fe:a9fe]");
    cables.assert_untouched();
}

#[test]
fn a_machine_that_is_no_cloud_asks_nobody_and_leaves_its_interfaces_alone() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", MAC, "10.99.0.1/24");
    for line in ["quiet", "platform=metal", "platform=ec3"] {
        let shown = sources(&cables, line);
        assert_eq!(shown["found"], Value::Null, "{line}: {shown:#}");
        cables.assert_untouched();
    }
}
