//! Leases and static addresses: dnsmasq at the other end of a virtual cable.

use std::fs;
use std::net::Ipv6Addr;
use std::time::Duration;

use coreos_init::net::{
    IpArgument, Lease, NetError, Network, Route, Settings, Static, ip_arguments,
};
use host::http::{Fetch, Proxy, fetch};

use crate::cables::{Cables, ip};

/// Long enough for any machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for a carrier, short enough to be waited for.
const IMPATIENCE: Duration = Duration::from_secs(2);

fn get(url: &str) -> String {
    let how = Fetch { proxy: Proxy::Never, deadline: PATIENCE, ..Fetch::default() };
    String::from_utf8(fetch(url, &how).unwrap()).unwrap()
}

#[test]
fn a_lease_is_taken_with_the_client_id_of_networkd_and_leaves_no_trace() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", "52:54:00:00:00:01", "10.99.0.1/24").dhcp(
        "eth0",
        "10.99.0.50",
        "10.99.0.1",
    );
    // Behind the router of the lease.
    ip(&["-n", &cables.there, "address", "add", "192.0.2.80/32", "dev", "lo"]);
    cables.serve("192.0.2.80:80", "#cloud-config\n");
    let resolv_conf = cables.resolv_conf();

    let (lease, document) = cables.here(|| {
        let mut network = Network::open().unwrap();
        let lease = network.lease(PATIENCE, false).unwrap();
        network.configure(&lease.interface, &Settings::from(&lease), &resolv_conf).unwrap();
        let document = get("http://192.0.2.80/config");
        network.teardown().unwrap();
        (lease, document)
    });

    let expected = Lease {
        interface: "eth0".to_owned(),
        address: Some([10, 99, 0, 50].into()),
        ipv6: Vec::new(),
        prefix: 24,
        router: Some([10, 99, 0, 1].into()),
        routes: Vec::new(),
        dns: vec![[10, 99, 0, 1].into(), [192, 0, 2, 53].into()],
        server: [10, 99, 0, 1].into(),
        lease_seconds: 3600,
        client_id: vec![1, 0x52, 0x54, 0, 0, 0, 1],
    };
    assert_eq!(lease, expected);
    assert_eq!(document, "#cloud-config\n");
    let leases = cables.leases();
    assert!(leases.contains("10.99.0.50"), "{leases}");
    assert!(leases.trim_end().ends_with("01:52:54:00:00:00:01"), "{leases}");
    let servers = fs::read_to_string(&resolv_conf).unwrap();
    assert_eq!(servers, "nameserver 10.99.0.1\nnameserver 192.0.2.53\n");
    cables.assert_untouched();

    // The next one to ask with the same client id gets the same address.
    let again = cables.here(|| {
        let mut network = Network::open().unwrap();
        let lease = network.lease(PATIENCE, false).unwrap();
        network.teardown().unwrap();
        lease
    });
    assert_eq!(again, expected);
}

#[test]
fn the_first_interface_that_is_answered_wins() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables
        .cable("eth0", "52:54:00:00:00:01", "10.98.0.1/24")
        .cable("eth1", "52:54:00:00:00:02", "10.99.0.1/24")
        .dhcp("eth1", "10.99.0.50", "10.99.0.1");
    let lease = cables.here(|| {
        let mut network = Network::open().unwrap();
        let lease = network.lease(PATIENCE, false).unwrap();
        network.teardown().unwrap();
        lease
    });
    assert_eq!((lease.interface.as_str(), lease.address), ("eth1", Some([10, 99, 0, 50].into())));
    cables.assert_untouched();
}

#[test]
fn a_router_outside_of_the_network_is_reached_on_the_link() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", "52:54:00:00:00:01", "10.99.0.1/24");
    ip(&["-n", &cables.there, "address", "add", "192.0.2.80/32", "dev", "lo"]);
    ip(&["-n", &cables.there, "route", "add", "10.128.0.5/32", "dev", "eth0"]);
    cables.serve("192.0.2.80:80", "reached");
    let resolv_conf = cables.resolv_conf();
    let document = cables.here(|| {
        let mut network = Network::open().unwrap();
        let settings = Settings {
            addresses: vec!["10.128.0.5/32".parse().unwrap()],
            routes: vec![Route::default_via([10, 99, 0, 1].into())],
            ..Settings::default()
        };
        let fixed = Static { settings, ..Static::default() };
        network.configure_static(&[fixed], &resolv_conf, PATIENCE).unwrap();
        let document = get("http://192.0.2.80/");
        network.teardown().unwrap();
        document
    });
    assert_eq!(document, "reached");
    assert!(!resolv_conf.exists());
    cables.assert_untouched();
}

#[test]
fn addresses_of_the_command_line_work_without_any_server() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", "52:54:00:00:00:01", "10.98.0.1/24").cable(
        "eth1",
        "52:54:00:00:00:02",
        "10.99.0.1/24",
    );
    ip(&["-n", &cables.there, "address", "add", "2001:db8::1/64", "dev", "eth1", "nodad"]);
    cables.serve("10.99.0.1:80", "by IPv4");
    cables.serve("[2001:db8::1]:80", "by IPv6");
    let line = "ip=10.99.0.7:::255.255.255.0::eth1:none ip=[2001:db8::7]:::64::eth1:none \
                nameserver=10.99.0.1";
    let statics: Vec<_> = ip_arguments(line)
        .unwrap()
        .into_iter()
        .map(|argument| match argument {
            IpArgument::Static(fixed) => fixed,
            IpArgument::Dhcp(choice) => panic!("{choice}"),
        })
        .collect();
    let resolv_conf = cables.resolv_conf();
    let documents = cables.here(|| {
        let mut network = Network::open().unwrap();
        network.configure_static(&statics, &resolv_conf, PATIENCE).unwrap();
        let documents = [get("http://10.99.0.1/"), get("http://[2001:db8::1]/")];
        network.teardown().unwrap();
        documents
    });
    assert_eq!(documents, ["by IPv4", "by IPv6"]);
    assert_eq!(fs::read_to_string(&resolv_conf).unwrap(), "nameserver 10.99.0.1\n");
    cables.assert_untouched();

    let missing = ip_arguments("ip=10.99.0.7:::24::eth7:none").unwrap();
    let IpArgument::Static(missing) = &missing[0] else { panic!("{missing:?}") };
    let error = cables.here(|| {
        let mut network = Network::open().unwrap();
        let missing = std::slice::from_ref(missing);
        let error = network.configure_static(missing, &resolv_conf, IMPATIENCE).unwrap_err();
        network.teardown().unwrap();
        error.to_string()
    });
    assert_eq!(
        error,
        "there is no interface eth7, only eth0 (52:54:00:00:00:01), eth1 (52:54:00:00:00:02)"
    );
    cables.assert_untouched();
}

#[test]
fn what_is_missing_for_a_lease_is_named() {
    let fails = |cables: &Cables| {
        let error = cables.here(|| {
            let mut network = Network::open().unwrap();
            let error = network.lease(IMPATIENCE, false).unwrap_err();
            network.teardown().unwrap();
            error
        });
        cables.assert_untouched();
        error
    };
    let Some(cables) = Cables::new() else { return };
    let error = fails(&cables);
    assert!(matches!(error, NetError::NoInterface), "{error}");

    // A bridge is no interface to ask on.
    ip(&["-n", &cables.here, "link", "add", "br0", "type", "bridge"]);
    let cables = cables.cable("eth0", "52:54:00:00:00:01", "10.99.0.1/24");
    let error = fails(&cables);
    let shown = error.to_string();
    assert!(matches!(error, NetError::NoLease { .. }), "{shown}");
    assert_eq!(
        shown,
        "neither a DHCP server nor a router of IPv6 answered on eth0 (52:54:00:00:00:01) within 2 s"
    );

    ip(&["-n", &cables.there, "link", "set", "eth0", "down"]);
    let error = fails(&cables);
    assert_eq!(error.to_string(), "no carrier on eth0 (52:54:00:00:00:01) within 2 s");
}

/// A cable on which there is no IPv4.
fn without_ipv4(cables: Cables, range: &str) -> Cables {
    let cables = cables.cable("eth0", "52:54:00:00:00:01", "192.0.2.1/32");
    for address in ["2001:db8:6::1/64", "fe80::1/64"] {
        ip(&["-n", &cables.there, "address", "add", address, "dev", "eth0", "nodad"]);
    }
    cables.router("eth0", range)
}

#[test]
fn a_network_without_ipv4_gives_addresses_by_advertisement() {
    let Some(cables) = Cables::new() else { return };
    let cables = without_ipv4(cables, "2001:db8:6::,ra-only");
    // Behind the router.
    ip(&["-n", &cables.there, "address", "add", "2001:db8:80::80/128", "dev", "lo"]);
    cables.serve("[2001:db8:80::80]:80", "#cloud-config\n");
    let resolv_conf = cables.resolv_conf();
    let (lease, document) = cables.here(|| {
        let mut network = Network::open().unwrap();
        let lease = network.lease(PATIENCE, false).unwrap();
        network.configure(&lease.interface, &Settings::from(&lease), &resolv_conf).unwrap();
        let document = get("http://[2001:db8:80::80]/config");
        network.teardown().unwrap();
        (lease, document)
    });
    assert_eq!(lease.address, None);
    assert_eq!(lease.ipv6, ["2001:db8:6:0:5054:ff:fe00:1".parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(document, "#cloud-config\n");
    assert_eq!(fs::read_to_string(&resolv_conf).unwrap(), "nameserver fd00::53\n");
    cables.assert_untouched();
}

#[test]
fn a_network_without_ipv4_gives_addresses_by_dhcp() {
    let Some(cables) = Cables::new() else { return };
    let cables = without_ipv4(cables, "2001:db8:6::100,2001:db8:6::100,64");
    cables.serve("[2001:db8:6::1]:80", "leased");
    let resolv_conf = cables.resolv_conf();
    let (lease, document) = cables.here(|| {
        let mut network = Network::open().unwrap();
        let lease = network.lease(PATIENCE, false).unwrap();
        network.configure(&lease.interface, &Settings::from(&lease), &resolv_conf).unwrap();
        let document = get("http://[2001:db8:6::1]/");
        network.teardown().unwrap();
        (lease, document)
    });
    assert_eq!(lease.ipv6, ["2001:db8:6::100".parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(document, "leased");
    cables.assert_untouched();
}

#[test]
fn both_families_are_there_where_both_are_asked_for() {
    let Some(cables) = Cables::new() else { return };
    let cables = cables.cable("eth0", "52:54:00:00:00:01", "10.99.0.1/24");
    for address in ["2001:db8:6::1/64", "fe80::1/64"] {
        ip(&["-n", &cables.there, "address", "add", address, "dev", "eth0", "nodad"]);
    }
    let cables =
        cables.dhcp("eth0", "10.99.0.50", "10.99.0.1").router("eth0", "2001:db8:6::,ra-only");
    let lease = cables.here(|| {
        let mut network = Network::open().unwrap();
        let lease = network.lease(PATIENCE, true).unwrap();
        network.teardown().unwrap();
        lease
    });
    assert_eq!(lease.address, Some([10, 99, 0, 50].into()));
    assert_eq!(lease.ipv6.len(), 1, "{lease:?}");
    cables.assert_untouched();
}
