//! Sections of services.

use super::check;

#[test]
fn updates() {
    check(&[
        (
            "coreos:
  update:
    group: master
    reboot-strategy: off
    server: http://x
",
            &["3:12: warning: `master` is none of the channels `stable`, `beta` or `alpha`"],
        ),
        (
            "coreos:
  update:
    group: stabel
    reboot-strategy: fleet-lock
",
            &[
                "3:12: warning: `stabel` is none of the channels `stable`, `beta` or `alpha`; did you mean `stable`?",
            ],
        ),
        (
            "coreos:
  update:
    group: a b
    reboot_strategy: false
    server: x
",
            &[
                "3:12: error: `a b` cannot be the name of a channel; channels are `stable`, `beta` or `alpha`",
                "4:22: error: unknown reboot strategy `false`; did you mean `off`?",
                "5:13: error: `server` does not begin with `http://` or `https://`",
            ],
        ),
        (
            "coreos:
  update:
    reboot_strategy: sometimes
",
            &[
                "3:22: error: unknown reboot strategy `sometimes`; it can be `reboot`, `etcd-lock`, `fleet-lock` or `off`",
            ],
        ),
    ]);
}

#[test]
fn fleet() {
    check(&[(
        r#"coreos:
  fleet:
    public-ip: $public_ipv4x
    metadata: region=us-west,disk
    agent-ttl: 30
    etcd_servers: x
    verbosity: high
    engine_reconcile_interval: fast
    etcd_password: "geheim\nb"
    metdata: a=b
    etcd_cafile: ca.pem
    verify_units: perhaps
"#,
        &[
            "3:16: error: unknown variable `$public_ipv4x`; did you mean `${public_ipv4}x`?",
            "4:15: error: `metadata` must be `key=value,key=value`, found `region=us-west,disk`",
            "5:16: error: `agent-ttl` must be a duration such as `30s` or `1h30m`, found `30`",
            "6:19: error: `etcd_servers` has a URL that does not begin with `http://` or `https://`",
            "7:16: error: `verbosity` must be a whole number, found `high`",
            "8:32: error: `engine_reconcile_interval` must be a number, found `fast`",
            "9:20: error: `etcd_password` must be one line, without control characters",
            "10:5: warning: unknown key `metdata` in `coreos.fleet`; did you mean `metadata`?",
            "11:18: error: `etcd_cafile` is not an absolute path, found `ca.pem`",
            "12:19: error: `verify_units` must be true or false, found `perhaps`",
        ],
    )]);
}

#[test]
fn old_options_of_etcd_are_named_with_their_successors() {
    check(&[
        (
            "coreos:
  etcd:
    addr: 10.0.0.1:4001
    bind-addr: 10.0.0.1
    peer-addr: 10.0.0.1:7001
    peer-bind-addr: 0.0.0.0:7001
    peer-election-timeout: 3000
    peer-heartbeat-interval: 600
    ca-file: /etc/ca.pem
    peer-ca-file: /etc/peer-ca.pem
",
            &[
                "3:5: warning: `addr` is an old option: today it is `advertise_client_urls` and `listen_client_urls`; write `advertise_client_urls: http://10.0.0.1:4001`",
                "4:5: warning: `bind-addr` is an old option: today it is `listen_client_urls`; write `listen_client_urls: http://10.0.0.1:4001,http://127.0.0.1:2379`",
                "5:5: warning: `peer-addr` is an old option: today it is `initial_advertise_peer_urls` and `listen_peer_urls`; write `initial_advertise_peer_urls: http://10.0.0.1:7001`",
                "6:5: warning: `peer-bind-addr` is an old option: today it is `listen_peer_urls`; write `listen_peer_urls: http://0.0.0.0:7001`",
                "7:5: warning: `peer-election-timeout` is an old option: today it is `election_timeout`; write `election_timeout: 3000`",
                "8:5: warning: `peer-heartbeat-interval` is an old option: today it is `heartbeat_interval`; write `heartbeat_interval: 600`",
                "9:5: warning: `ca-file` is an old option: today it is `trusted_ca_file`; write `trusted_ca_file` and `client_cert_auth: true`",
                "10:5: warning: `peer-ca-file` is an old option: today it is `peer_trusted_ca_file`; write `peer_trusted_ca_file` and `peer_client_cert_auth: true`",
            ],
        ),
        (
            "coreos:
  etcd:
    peers: 10.0.0.1:7001,10.0.0.2:7001
    cluster_active_size: 3
    snapshot: true
    verbose: true
    debug: yes
    proxy: on
    proxy-read-timeout: 1
    discovery-fallback: proxy
    force-new-cluster: true
",
            &[
                "3:5: error: `peers` names no members; write `initial_cluster: NAME=http://HOST:PORT,...` with the name of each member",
                "4:5: warning: `cluster_active_size` has no effect in etcd 3.5; every member that is added stays active",
                "5:5: warning: `snapshot` has no effect in etcd 3.5; snapshots are always made",
                "6:5: warning: `verbose` has no effect in etcd 3.5; `log_level` says how much is logged",
                "7:5: warning: `debug` is an old option: today it is `log_level`; write `log_level: debug`",
                "8:5: warning: `proxy` has no effect in etcd 3.5; a proxy of etcd 2 cannot answer the clients of today",
                "9:5: warning: `proxy-read-timeout` has no effect in etcd 3.5; there is no proxy",
                "10:5: warning: `discovery-fallback` has no effect in etcd 3.5; a proxy of etcd 2 cannot answer the clients of today",
            ],
        ),
    ]);
}

#[test]
fn what_etcd_would_refuse_is_refused() {
    check(&[
        (
            "coreos:
  etcd:
    discovery: VOTRE_URL
",
            &["3:16: error: `discovery` does not begin with `http://` or `https://`"],
        ),
        (
            "coreos:
  etcd:
    discovery: https://discovery.etcd.io/<token>
",
            &["3:16: error: `discovery` has characters that no URL has"],
        ),
        (
            "coreos:
  etcd:
    discovery: https://discovery.etcd.io/new?size=3
    addr: 10.0.0.1
    peer-addr: http://10.0.0.1:7001
",
            &[
                "3:16: error: `discovery` names no cluster; make one with `curl URL/new?size=3` and put the URL that it answers here",
                "4:11: error: `addr` has no port; an address is written `HOST:PORT`, IPv6 as `[HOST]:PORT`",
                "5:16: error: `peer-addr` is written without `http://`; an address is written `HOST:PORT`, IPv6 as `[HOST]:PORT`",
            ],
        ),
        (
            r#"coreos:
  etcd:
    addr: 2001:db8::1:4001
    peer-addr: "[$private_ipv6]:7001"
    nmae: x
"#,
            &[
                "3:11: error: `addr` has an IPv6 address without brackets around it; an address is written `HOST:PORT`, IPv6 as `[HOST]:PORT`",
                "4:5: warning: `peer-addr` is an old option: today it is `initial_advertise_peer_urls` and `listen_peer_urls`; write `initial_advertise_peer_urls: http://[$private_ipv6]:7001`",
                "5:5: warning: unknown key `nmae` in the etcd section; did you mean `name`?",
            ],
        ),
        (
            "coreos:
  etcd:
    name: a
  etcd2:
    name: b
",
            &[
                "4:3: error: `etcd2` is given besides another section; both are for the one etcd of this system: merge it with the section on line 2",
            ],
        ),
        (
            "coreos:
  etcd2:
    peers: 10.0.0.1:7001
    discovery: https://d/x
    initial_cluster: a=http://10.0.0.1:2380
",
            &[
                "3:5: warning: `peers` names no members: it is not used; `discovery` says who the members are",
                "4:5: warning: `discovery` tells the others no address of this member; give `initial_advertise_peer_urls`",
                "5:5: error: etcd finds its members by `discovery` or by `initial_cluster`, not by both",
            ],
        ),
        (
            "coreos:
  etcd2:
    listen_client_urls: http://0.0.0.0:2379
    listen_peer_urls: http://0.0.0.0:2380
    heartbeat_interval: 600
",
            &[
                "3:5: warning: others are not told of `listen_client_urls`; etcd does not start without `advertise_client_urls`",
                "4:5: warning: others are not told of `listen_peer_urls`; give `initial_advertise_peer_urls` too",
                "5:5: error: the election timeout, 1000 ms, is less than five heartbeats of 600 ms; etcd does not start with such a value",
            ],
        ),
        (
            "coreos:
  etcd2:
    listen_client_urls: http://$private_ipv4
    listen_peer_urls: http://host:2380
    election_timeout: 60000
    heartbeat-interval: 6OO
    initial_cluster_state: old
    data_dir: var/lib
    max_wals: -1
    name: a,b
",
            &[
                "3:25: error: `listen_client_urls` has a URL without a port",
                "4:23: error: `listen_peer_urls` must name an address to listen on, not a host",
                "6:25: error: `heartbeat-interval` must be a whole number, found `6OO`",
                "7:28: error: `initial_cluster_state` must be `new` or `existing`, found `old`",
                "8:15: error: `data_dir` is not an absolute path, found `var/lib`",
                "9:15: error: `max_wals` must be a whole number, found `-1`",
                "10:11: error: `name` must be a name without `=`, `,` and spaces, found `a,b`",
            ],
        ),
        (
            "coreos:
  etcd2:
    election_timeout: 60000
",
            &[
                "3:5: error: the election timeout is more than 50000 ms; etcd does not start with such a value",
            ],
        ),
        (
            "coreos:
  etcd:
    addr: 10.0.0.1:4001
    advertise_client_urls: http://10.0.0.1:4001
    bind-addr: 0.0.0.0
    listen_client_urls: http://0.0.0.0:4001
",
            &[
                "3:5: warning: `addr` is an old option: today it is `advertise_client_urls` and `listen_client_urls`; write `advertise_client_urls: http://10.0.0.1:4001`",
                "3:5: error: `advertise_client_urls` and `addr` say the same thing; give `advertise_client_urls` only",
                "5:5: warning: `bind-addr` is an old option: today it is `listen_client_urls`; write `listen_client_urls: http://0.0.0.0:4001,http://127.0.0.1:2379`",
                "5:5: error: `listen_client_urls` and `bind-addr` say the same thing; give `listen_client_urls` only",
            ],
        ),
        (
            "coreos:
  etcd:
    bind-addr: 0.0.0.0:4001
",
            &[
                "3:5: warning: `bind-addr` is an old option: today it is `listen_client_urls`; write `listen_client_urls: http://0.0.0.0:4001,http://127.0.0.1:2379`",
                "3:5: warning: others are not told of `bind-addr`; etcd does not start without `advertise_client_urls`",
            ],
        ),
        (
            "coreos:
  etcd:
    peer-bind-addr: myhost
",
            &[
                "3:21: error: `peer-bind-addr` must be an address to listen on, not a host's name; an address is written `HOST:PORT`, IPv6 as `[HOST]:PORT`",
            ],
        ),
        (
            "coreos:
  etcd2:
    discovery: https://discovery.example.com/abc
",
            &[
                "3:5: warning: `discovery` tells the others no address of this member; give `initial_advertise_peer_urls`",
            ],
        ),
    ]);
}
