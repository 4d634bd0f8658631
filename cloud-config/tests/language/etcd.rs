//! Sections of etcd and the environment that etcd 3.5 gets for them.

use cloud_config::{Document, Values, has_errors};

use crate::support::addresses;

/// What every etcd is told that was not told otherwise.
const UPKEEP: &[&str] = &[
    "ETCD_AUTO_COMPACTION_MODE=periodic",
    "ETCD_AUTO_COMPACTION_RETENTION=1h",
    "ETCD_QUOTA_BACKEND_BYTES=2147483648",
];

/// The environment that a section becomes, and how many warnings.
#[track_caller]
fn environment(section: &str) -> (Vec<String>, usize) {
    let text = format!("hostname: core-1\ncoreos:\n  etcd:\n{section}");
    let (config, findings) = Document::parse(&text).decode(&Values::Known(&addresses()));
    assert!(!has_errors(&findings), "{text}{findings:#?}");
    let [service] = &config.services[..] else { panic!("{:?}", config.services) };
    assert_eq!(service.unit, "etcd.service");
    let line = |(name, value): &(String, String)| format!("{name}={value}");
    (service.environment.iter().map(line).collect(), findings.len())
}

#[track_caller]
fn check(section: &str, want: &[&str], warnings: usize) {
    let want: Vec<_> = want.iter().chain(UPKEEP).map(|line| (*line).to_owned()).collect();
    assert_eq!(environment(section), (want, warnings), "{section}");
}

#[test]
fn a_member_alone() {
    check("    {}\n", &["ETCD_NAME=core-1"], 0);
    check("    name: a%b\n", &["ETCD_NAME=a%%b"], 0);
}

#[test]
fn addresses_of_etcd_0_4_become_urls() {
    check(
        "    addr: $public_ipv4:4001\n    peer-addr: $private_ipv4:7001\n",
        &[
            "ETCD_ADVERTISE_CLIENT_URLS=http://203.0.113.5:4001",
            "ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:4001,http://127.0.0.1:2379",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.5:7001",
            "ETCD_LISTEN_PEER_URLS=http://0.0.0.0:7001",
            "ETCD_NAME=core-1",
            "ETCD_INITIAL_CLUSTER=core-1=http://10.0.0.5:7001",
        ],
        2,
    );
    check(
        "    addr: 10.0.0.5:2379\n",
        &[
            "ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.5:2379",
            "ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379",
            "ETCD_NAME=core-1",
        ],
        1,
    );
    check(
        "    addr: '[$private_ipv6]:2379'\n    peer-addr: '[fd00::5]:2380'\n",
        &[
            "ETCD_ADVERTISE_CLIENT_URLS=http://[fd00::5]:2379",
            "ETCD_LISTEN_CLIENT_URLS=http://[::]:2379",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://[fd00::5]:2380",
            "ETCD_LISTEN_PEER_URLS=http://[::]:2380",
            "ETCD_NAME=core-1",
            "ETCD_INITIAL_CLUSTER=core-1=http://[fd00::5]:2380",
        ],
        2,
    );
}

#[test]
fn an_address_to_bind_is_the_one_to_listen_on() {
    check(
        "    addr: 10.0.0.5:4001\n    bind-addr: 10.0.0.5\n",
        &[
            "ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.5:4001",
            "ETCD_LISTEN_CLIENT_URLS=http://10.0.0.5:4001,http://127.0.0.1:2379",
            "ETCD_NAME=core-1",
        ],
        2,
    );
    check(
        "    peer-bind-addr: 10.0.0.5:7001\n",
        &[
            "ETCD_LISTEN_PEER_URLS=http://10.0.0.5:7001",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.5:7001",
            "ETCD_NAME=core-1",
            "ETCD_INITIAL_CLUSTER=core-1=http://10.0.0.5:7001",
        ],
        1,
    );
}

#[test]
fn a_certificate_makes_it_tls() {
    check(
        "    addr: 10.0.0.5:4001
    ca_file: /etc/ca.pem
    cert_file: /etc/cert.pem
    key_file: /etc/key.pem
",
        &[
            "ETCD_TRUSTED_CA_FILE=/etc/ca.pem",
            "ETCD_CLIENT_CERT_AUTH=true",
            "ETCD_CERT_FILE=/etc/cert.pem",
            "ETCD_KEY_FILE=/etc/key.pem",
            "ETCD_ADVERTISE_CLIENT_URLS=https://10.0.0.5:4001",
            "ETCD_LISTEN_CLIENT_URLS=https://0.0.0.0:4001,https://127.0.0.1:2379",
            "ETCD_NAME=core-1",
        ],
        2,
    );
}

#[test]
fn options_of_today_are_taken_as_they_are() {
    check(
        "    discovery: https://discovery.example.com/a%20b
    initial_advertise_peer_urls: http://10.0.0.5:2380
    strict_reconfig_check: no
    enable-pprof: on
    snapshot_count: 5000
    discovery-proxy: http://proxy:3128
    discovery_fallback: exit
    proxy: off
",
        &[
            "ETCD_DISCOVERY=https://discovery.example.com/a%%20b",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.5:2380",
            "ETCD_STRICT_RECONFIG_CHECK=false",
            "ETCD_ENABLE_PPROF=true",
            "ETCD_SNAPSHOT_COUNT=5000",
            "ETCD_DISCOVERY_PROXY=http://proxy:3128",
            "ETCD_NAME=core-1",
            "ETCD_DISCOVERY_FALLBACK=exit",
        ],
        0,
    );
    check(
        "    name: a
    initial_cluster: a=http://10.0.0.5:2380,b=http://10.0.0.6:2380
    initial_cluster_state: existing
",
        &[
            "ETCD_NAME=a",
            "ETCD_INITIAL_CLUSTER=a=http://10.0.0.5:2380,b=http://10.0.0.6:2380",
            "ETCD_INITIAL_CLUSTER_STATE=existing",
        ],
        0,
    );
}

#[test]
fn what_the_user_sets_is_not_set_again() {
    let lines =
        environment("    auto_compaction_mode: revision\n    quota_backend_bytes: 4294967296\n").0;
    assert_eq!(
        lines,
        [
            "ETCD_AUTO_COMPACTION_MODE=revision",
            "ETCD_QUOTA_BACKEND_BYTES=4294967296",
            "ETCD_NAME=core-1",
            "ETCD_AUTO_COMPACTION_RETENTION=1000",
        ]
    );
}

#[test]
fn both_names_of_the_section_mean_the_same() {
    let of = |section: &str| {
        let text = format!("coreos: {{{section}: {{name: a, addr: '10.0.0.5:4001'}}}}");
        Document::parse(&text).decode(&Values::Unknown).0.services[0].environment.clone()
    };
    assert_eq!(of("etcd"), of("etcd2"));
}

#[test]
fn without_a_host_name_the_machine_id_is_the_members_name() {
    let text = "coreos: {etcd2: {initial_advertise_peer_urls: 'http://a:1, http://b:2'}}";
    let (config, findings) = Document::parse(text).decode(&Values::Unknown);
    assert_eq!(findings, []);
    let environment = &config.services[0].environment;
    let value = |name| &environment.iter().find(|(variable, _)| variable == name).unwrap().1;
    assert_eq!(value("ETCD_NAME"), "%m");
    assert_eq!(value("ETCD_INITIAL_CLUSTER"), "%m=http://a:1,%m=http://b:2");
}
