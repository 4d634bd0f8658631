//! The configurations of tutorials, as they stand.

use cloud_config::{Bundle, Command, Document, Values, has_errors};

use crate::support::{KEY, addresses, fixture, lines};

/// The article's configuration with what a reader puts in: a key and a URL.
fn article() -> String {
    fixture("article.yaml")
        .replace("ssh-rsa VOTRE_CLE_PUBLIQUE core@coreos", KEY)
        .replace("VOTRE_URL", "https://discovery.etcd.io/3135e6ea19cf3135e6ea19cf")
}

#[test]
fn the_article_provisions_a_node() {
    let text = article();
    let bundle = Bundle::local("user-data", text.as_bytes());
    let (config, findings) = bundle.decode(&Values::Known(&addresses()));
    assert!(!has_errors(&findings), "{findings:#?}");

    assert_eq!(config.ssh_authorized_keys[0].value, KEY);
    let units: Vec<_> = config
        .units
        .iter()
        .map(|unit| (unit.name.value.as_str(), unit.command.as_ref().map(|c| c.value)))
        .collect();
    let start = Some(Command::Start);
    assert_eq!(units, [("etcd.service", start), ("fleet.service", start)]);
    let [etcd] = &config.services[..] else { panic!("{:?}", config.services) };
    assert_eq!(etcd.unit, "etcd.service");
    let environment: Vec<_> =
        etcd.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        environment,
        [
            "ETCD_DISCOVERY=https://discovery.etcd.io/3135e6ea19cf3135e6ea19cf",
            "ETCD_ELECTION_TIMEOUT=3000",
            "ETCD_HEARTBEAT_INTERVAL=600",
            "ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.5:4001",
            "ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:4001,http://127.0.0.1:2379",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.5:7001",
            "ETCD_LISTEN_PEER_URLS=http://0.0.0.0:7001",
            "ETCD_NAME=%m",
            "ETCD_DISCOVERY_FALLBACK=exit",
            "ETCD_AUTO_COMPACTION_MODE=periodic",
            "ETCD_AUTO_COMPACTION_RETENTION=1h",
            "ETCD_QUOTA_BACKEND_BYTES=2147483648",
        ]
    );
}

#[test]
fn the_article_is_told_what_is_out_of_date() {
    let (_, findings) = Document::parse(&article()).decode(&Values::Unknown);
    assert_eq!(
        lines(&findings),
        [
            "7:13: warning: `addr` is an old option: today it is `advertise_client_urls` and \
             `listen_client_urls`; write `advertise_client_urls: http://$private_ip:4001`",
            "8:13: warning: `peer-addr` is an old option: today it is \
             `initial_advertise_peer_urls` and `listen_peer_urls`; write \
             `initial_advertise_peer_urls: http://$private_ip:7001`",
            "9:13: warning: `peer-election-timeout` is an old option: today it is \
             `election_timeout`; write `election_timeout: 3000`",
            "10:13: warning: `peer-heartbeat-interval` is an old option: today it is \
             `heartbeat_interval`; write `heartbeat_interval: 600`",
            "11:5: warning: `units` belongs under `coreos`; it is applied all the same; move it \
             to `coreos`, indented like its other keys",
            "13:13: warning: `command` is indented further than `name` above it; it is read as a \
             key beside it; begin both in column 11",
            "15:13: warning: `command` is indented further than `name` above it; it is read as a \
             key beside it; begin both in column 11",
        ]
    );
}

#[test]
fn the_articles_placeholders_are_errors() {
    let (config, findings) = Document::parse(&fixture("article.yaml")).decode(&Values::Unknown);
    let errors: Vec<_> =
        lines(&findings).into_iter().filter(|line| line.contains(": error:")).collect();
    assert_eq!(
        errors,
        [
            "3:11: error: not a public key: what follows `ssh-rsa` is not base64; put the line \
             of a `.pub` file here, such as `ssh-ed25519 AAAA... name`",
            "6:24: error: `discovery` does not begin with `http://` or `https://`",
        ]
    );
    assert_eq!(config.services, [], "a member without its cluster would found one of its own");
    assert_eq!(config.units.len(), 2);
}

#[test]
fn the_variables_of_the_article_are_where_it_uses_them() {
    let uses = Document::parse(&article()).variables();
    let places: Vec<_> = uses
        .iter()
        .map(|used| (used.variable.name(), used.span.start.line, used.span.start.column))
        .collect();
    assert_eq!(places, [("private_ipv4", 7, 19), ("private_ipv4", 8, 24)]);
}

/// Written as the documentation of CoreOS writes: hyphens, quotes, everything at once.
#[test]
fn hyphens_are_underscores_everywhere() {
    let hyphens = fixture("hyphens.yaml").replace("PUBLIC_KEY", KEY);
    let keys = [
        "ssh-authorized-keys",
        "reboot-strategy",
        "drop-ins",
        "advertise-client-urls",
        "initial-advertise-peer-urls",
        "listen-client-urls",
        "listen-peer-urls",
        "public-ip",
        "no-create-home",
        "primary-group",
        "manage-etc-hosts",
        "write-files",
    ];
    let underscores = keys.iter().fold(hyphens.clone(), |text, key| {
        assert!(text.contains(&format!("{key}:")), "{key} is not in the fixture");
        text.replace(&format!("{key}:"), &format!("{}:", key.replace('-', "_")))
    });
    let decode = |text: &str| Document::parse(text).decode(&Values::Known(&addresses()));
    let (config, findings) = decode(&hyphens);
    assert_eq!(findings, []);
    assert_eq!(decode(&underscores), (config.clone(), Vec::new()));

    assert_eq!(config.hostname.unwrap().value, "core-01");
    assert!(config.manage_etc_hosts.is_some());
    assert_eq!(config.users.len(), 1);
    assert_eq!(config.users[0].ssh_authorized_keys[0].value, KEY);
    assert!(config.users[0].no_create_home);
    assert_eq!(config.users[0].primary_group.as_deref(), Some("docker"));
    assert_eq!(config.write_files.len(), 4);
    for file in &config.write_files[1..] {
        assert_eq!(file.content, b"Hello, World!\n", "{}", file.path.value);
    }
    assert_eq!(config.units.len(), 4);
    assert_eq!(config.units[1].drop_ins[0].name.value, "50-insecure-registry.conf");
    assert_eq!(config.update.unwrap().reboot_strategy.unwrap().value, "off");
    let services: Vec<_> = config.services.iter().map(|service| service.unit).collect();
    assert_eq!(services, ["etcd.service", "fleet.service"]);
    let fleet = &config.services[1].environment;
    assert_eq!(fleet[0].0, "FLEET_METADATA");
    assert_eq!(fleet[1], ("FLEET_PUBLIC_IP".to_owned(), "203.0.113.5".to_owned()));
}
