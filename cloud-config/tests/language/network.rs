//! Network-configs and the files they become.

use cloud_config::network::{Format, Network, parse};

use crate::support::lines;

#[track_caller]
fn network(text: &str) -> Network {
    let (network, findings) = parse(Format::NetworkConfig, text);
    assert_eq!(findings, [], "{text}");
    network
}

/// Every file as `name` and content, after each other.
fn files(network: &Network) -> String {
    let file = |(name, content): &(String, String)| format!("--- {name}\n{content}");
    network.to_networkd().iter().map(file).collect()
}

fn findings(text: &str) -> Vec<String> {
    lines(&parse(Format::NetworkConfig, text).1)
}

#[test]
fn static_addresses_routes_and_servers() {
    let network = network(
        "network:
  version: 2
  renderer: networkd
  ethernets:
    eth0:
      dhcp4: false
      addresses:
        - 10.0.0.5/24
        - \"2001:db8::5/64\"
      gateway4: 10.0.0.1
      gateway6: fe80::1
      routes:
        - to: 10.8.0.0/16
          via: 10.0.0.254
          metric: 100
        - to: 192.0.2.0/24
          via: 192.0.2.1
          on-link: true
        - {to: default, via: 10.0.0.2}
      nameservers:
        addresses: [10.0.0.53, 2001:db8::53]
        search: [example.com, lan]
      mtu: 1400
      optional: true
",
    );
    insta::assert_snapshot!(files(&network), @r"
    --- 10-eth0.network
    [Match]
    Name=eth0

    [Link]
    MTUBytes=1400
    RequiredForOnline=no

    [Network]
    DHCP=no
    Address=10.0.0.5/24
    Address=2001:db8::5/64
    DNS=10.0.0.53
    DNS=2001:db8::53
    Domains=example.com lan

    [Route]
    Gateway=10.0.0.1

    [Route]
    Gateway=fe80::1

    [Route]
    Destination=10.8.0.0/16
    Gateway=10.0.0.254
    Metric=100

    [Route]
    Destination=192.0.2.0/24
    Gateway=192.0.2.1
    GatewayOnLink=yes

    [Route]
    Gateway=10.0.0.2
    ");
    let addresses: Vec<_> = network.static_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.5/24", "2001:db8::5/64"]);
    assert!(!network.wants_dhcp());
}

#[test]
fn dhcp_matches_and_new_names() {
    let network = network(
        "version: 2
ethernets:
  nic0:
    match:
      macaddress: 52:54:00:12:34:AB
    set-name: lan0
    dhcp4: true
  nic1:
    match: {name: 'en*', driver: virtio_net}
    dhcp6: yes
  nic2:
    match: {driver: e1000}
    set-name: wan0
    dhcp4: on
    dhcp6: on
  eth9:
",
    );
    insta::assert_snapshot!(files(&network), @r"
    --- 10-nic0.link
    [Match]
    PermanentMACAddress=52:54:00:12:34:ab

    [Link]
    Name=lan0
    --- 10-nic0.network
    [Match]
    MACAddress=52:54:00:12:34:ab

    [Network]
    DHCP=ipv4
    --- 10-nic1.network
    [Match]
    Name=en*
    Driver=virtio_net

    [Network]
    DHCP=ipv6
    --- 10-nic2.link
    [Match]
    Driver=e1000

    [Link]
    Name=wan0
    --- 10-nic2.network
    [Match]
    Name=wan0

    [Network]
    DHCP=yes
    --- 10-eth9.network
    [Match]
    Name=eth9

    [Network]
    DHCP=no
    ");
    assert!(network.wants_dhcp());
    assert_eq!(network.interfaces().len(), 4);
}

#[test]
fn a_gateway_outside_of_every_network_is_reached_directly() {
    let text = "version: 2
ethernets:
  eth0:
    addresses: [192.0.2.5/32]
    gateway4: 192.0.2.1
";
    let (network, findings) = parse(Format::NetworkConfig, text);
    assert_eq!(
        lines(&findings),
        [
            "5:15: warning: the gateway 192.0.2.1 is in no network of this interface; it is taken to \
          be reached directly: `on-link: true` says so"
        ]
    );
    insta::assert_snapshot!(files(&network), @r"
    --- 10-eth0.network
    [Match]
    Name=eth0

    [Network]
    DHCP=no
    Address=192.0.2.5/32

    [Route]
    Gateway=192.0.2.1
    GatewayOnLink=yes
    ");
    let leased = text.replace("    gateway4", "    dhcp4: true\n    gateway4");
    assert_eq!(self::findings(&leased), Vec::<String>::new());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, want) in [
        ("", &[][..]),
        ("ethernets: {}", &["1:1: error: no `version` is given; write `version: 2`"]),
        (
            "version: 3\nethernets: {}\n",
            &["1:10: error: version `3` of network-config is not supported; write `version: 2` \
               and `ethernets`"],
        ),
        (
            "version: 2\nwifis: {}\n",
            &["2:1: error: `wifis` is not supported; write `.netdev` and `.network` units under \
               `coreos.units` in the cloud-config"],
        ),
        (
            "version: 2\nethernets: [eth0]\n",
            &["2:12: error: `ethernets` must be a mapping, found a list; write `eth0:` and below \
               it, indented further, what it is to have"],
        ),
        (
            "version: 2\nethernets:\n  ../x:\n    dhcp4: true\n",
            &["3:3: error: `../x` cannot be the name of an interface"],
        ),
        (
            "version: 2
ethernets:
  eth0:
    dhcp: true
    critical: true
    addresses: [10.0.0.5, x/24]
    gateway4: fe80::1
    gateway6: x
    mtu: 10
    set-name: lan0
    nameservers: {addresses: [dns], search: ['a b']}
    match: {macaddress: 'x', name: 'a/b'}
    routes:
      - to: 10.0.0.0/8
        via: fe80::1
      - via: 10.0.0.1
      - to: default
      - to: x
",
            &[
                "3:3: error: `set-name` needs a `match`; say which interface is meant, by \
                 `macaddress`",
                "4:5: error: unknown key `dhcp` in `ethernets`; did you mean `dhcp4`?",
                "5:5: warning: `critical` is recognised but not applied by this release",
                "6:17: error: `10.0.0.5` is not an address with a prefix; such as `10.0.0.5/24`",
                "6:27: error: `x/24` is not an address with a prefix; such as `10.0.0.5/24`",
                "7:15: error: `gateway4` must be an IPv4 address",
                "8:15: error: `gateway6` must be an IP address, found `x`",
                "9:10: error: `mtu` must be a whole number from 68, found `10`",
                "11:31: error: a name server must be an IP address, found `dns`",
                "11:46: error: `a b` is not a domain: only letters, digits, `-` and `.` are allowed",
                "12:25: error: `x` is not a MAC address; such as `52:54:00:12:34:56`",
                "12:36: error: `name` cannot be `a/b`",
                "14:9: error: `to` and `via` of this route do not fit",
                "16:9: error: this route has no `to`; `to: default` is the route to everything",
                "17:9: error: a default route needs a `via`",
                "18:13: error: `x` is not a network; such as `10.0.0.0/8`, or `default`",
            ],
        ),
    ] {
        assert_eq!(findings(text), want, "{text}");
    }
}
