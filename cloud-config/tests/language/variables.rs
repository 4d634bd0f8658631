//! Variables in values: what takes their place, and where findings say they are.

use std::collections::BTreeMap;

use cloud_config::{Config, Document, Finding, Values, Variable};

use crate::support::{addresses, lines};

fn known(text: &str) -> (Config, Vec<Finding>) {
    Document::parse(text).decode(&Values::Known(&addresses()))
}

/// The places of all variables, as line and column.
fn places(text: &str) -> Vec<(usize, usize)> {
    let uses = Document::parse(text).variables();
    uses.iter().map(|used| (used.span.start.line, used.span.start.column)).collect()
}

#[test]
fn values_take_the_place_of_variables() {
    let (config, findings) = known(
        r#"hostname: node-${public_ipv4}
write_files:
  - path: /etc/$private_ipv4
    content: |
      $private_ip $public_ip $private_ipv6 $public_ipv6
      $private_ipv4$private_ipv4 ${private_ipv4}x \$private_ipv4
      $HOME ${X} $1
coreos:
  units:
    - name: a.service
      content: |
        [Service]
        Environment=A=$private_ipv4 B=$$ C=%i
      drop_ins:
        - name: b.conf
          content: "[Service]\nEnvironment=A=$private_ipv4"
  fleet:
    public_ip: $public_ipv4
"#,
    );
    assert_eq!(findings, []);
    assert_eq!(config.hostname.unwrap().value, "node-203.0.113.5");
    assert_eq!(config.write_files[0].path.value, "/etc/10.0.0.5");
    assert_eq!(
        String::from_utf8_lossy(&config.write_files[0].content),
        "10.0.0.5 203.0.113.5 fd00::5 2001:db8::5\n\
         10.0.0.510.0.0.5 10.0.0.5x $private_ipv4\n\
         $HOME ${X} $1\n"
    );
    let unit = &config.units[0];
    assert_eq!(unit.content.as_deref(), Some("[Service]\nEnvironment=A=10.0.0.5 B=$$ C=%i\n"));
    assert_eq!(unit.drop_ins[0].content, "[Service]\nEnvironment=A=10.0.0.5");
    assert_eq!(config.services[0].environment[0].1, "203.0.113.5");
}

#[test]
fn encoded_contents_hashes_and_comments_hold_no_variables() {
    let text = "# $private_ipv4
hostname: a # $public_ipv4
write_files:
  - path: /etc/a
    encoding: b64
    content: aGVsbG8=
  - path: /etc/b
    content: !!binary JHByaXZhdGVfaXB2NA==
users:
  - name: a
    passwd: $1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.
zebra: $private_ipv4
";
    assert_eq!(places(text), []);
    let (config, _) = known(text);
    assert_eq!(config.write_files[1].content, b"$private_ipv4");
}

#[test]
fn places_are_exact_in_every_way_to_write_text() {
    for (text, want) in [
        ("hostname: $private_ip", &[(1, 11)][..]),
        ("hostname: 'it''s $private_ip'", &[(1, 18)]),
        ("hostname: \"a\\tb $private_ip\"", &[(1, 17)]),
        ("hostname: \"\\x24private_ip \\\\$public_ip $public_ip\"", &[(1, 12), (1, 40)]),
        ("hostname: \"a\n  b $private_ip\"", &[(2, 5)]),
        ("hostname: a\n  b $private_ip\n  $public_ip", &[(2, 5), (3, 3)]),
        ("hostname: &x$y $private_ip", &[(1, 16)]),
        ("hostname: !!str $private_ip", &[(1, 17)]),
        ("hostname: é$private_ip$public_ip", &[(1, 12), (1, 23)]),
        ("hostname: | # $5\n  a\n\n  $private_ip\n", &[(4, 3)]),
        ("hostname: |2\n    $private_ip\n", &[(2, 5)]),
        ("hostname: >\n  a\n  $private_ip b\n\n  $public_ip\n", &[(3, 3), (5, 3)]),
        ("hostname: >-\r\n  a\r\n  $private_ip\r\n", &[(3, 3)]),
        ("x: &a $private_ip\nhostname: *a", &[(1, 7)]),
        ("{hostname: $private_ip, manage_etc_hosts: [$public_ip]}", &[(1, 12)]),
    ] {
        assert_eq!(places(text), want, "{text}");
    }
}

#[test]
fn a_variable_without_a_value_is_an_error_where_it_is_used() {
    let some = BTreeMap::from([
        (Variable::PrivateIpv4, String::new()),
        (Variable::PublicIpv6, "10.0.0.1".to_owned()),
    ]);
    let text = "hostname: node-$private_ip
write_files:
  - path: /etc/a
    content: |
      one $public_ipv4
      two ${public_ipv6}
";
    let (config, findings) = Document::parse(text).decode(&Values::Known(&some));
    assert_eq!(
        lines(&findings),
        [
            "1:16: error: no source of this machine gave a value for `$private_ipv4`; write the \
             value itself, or `${private_ipv4:-VALUE}` for when there is none",
            "5:11: error: no source of this machine gave a value for `$public_ipv4`; write the \
             value itself, or `${public_ipv4:-VALUE}` for when there is none",
            "6:11: error: what this machine has for `$public_ipv6` cannot be its value",
        ]
    );
    assert_eq!((config.hostname, config.write_files.len()), (None, 0));
}

#[test]
fn unknown_addresses_stay_as_written_and_do_not_hinder_checks() {
    let text = "hostname: node-$private_ip
coreos:
  etcd:
    addr: $private_ip:4001
  fleet:
    public_ip: $public_ipv6
    etcd_servers: http://${private_ipv4}:2379,http://[$private_ipv6]:2379
  update:
    server: http://$public_ipv4/update
";
    let (config, findings) = Document::parse(text).decode(&Values::Unknown);
    assert!(findings.iter().all(|f| f.message.contains("old option")), "{findings:#?}");
    assert_eq!(config.hostname.unwrap().value, "node-$private_ip");
    assert_eq!(config.services[0].environment[0].1, "http://$private_ip:4001");
    assert_eq!(config.services[1].environment[1].1, "$public_ipv6");
    let bad = "coreos: {etcd: {addr: '$private_ipv6:4001'}}";
    let (_, findings) = Document::parse(bad).decode(&Values::Unknown);
    assert!(findings[0].message.contains("IPv6 address without brackets"), "{findings:?}");
}

#[test]
fn a_value_cannot_become_syntax() {
    let text = "write_files:\n  - path: /etc/a\n    content: $private_ip\n";
    for value in ["10.0.0.5\nusers: []", "10.0.0.5 # x", "!!binary x", "${public_ipv4}", "-h"] {
        let values = BTreeMap::from([(Variable::PrivateIpv4, value.to_owned())]);
        let (config, findings) = Document::parse(text).decode(&Values::Known(&values));
        assert_eq!(findings.len(), 1, "{value}");
        assert_eq!((config.write_files.len(), config.users.len()), (0, 0), "{value}");
    }
}
