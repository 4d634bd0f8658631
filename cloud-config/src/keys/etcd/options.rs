//! Every option that a section may have: those of etcd 0.4, of etcd 2 and of etcd 3.5.

use crate::finding::Severity;
use crate::outline::Shape;
use crate::syntax::check::Check;
use crate::table::{KnownKey, Table, key, nowhere};

/// What etcd 3.5 has in place of an option.
#[derive(Debug, Clone, Copy)]
pub(super) enum Becomes {
    /// The same option.
    Same(Check),
    /// This option, with the same value.
    Renamed(&'static str, Check),
    /// The first option, and for it to have the same effect the second must be true.
    Authority(&'static str, &'static str),
    /// The address at which others find this member.
    Address(&'static Side),
    /// The address that this member listens on.
    Bind(&'static Side),
    /// Members without their names.
    Peers,
    /// What to do when there is no discovery; only one answer is left.
    Fallback,
    /// The proxy, which only spoke the protocol of etcd 2.
    Proxy,
    /// A log level, if true.
    Debug,
}

impl Becomes {
    /// What the value must be.
    pub(super) fn check(&self) -> Check {
        match self {
            Self::Same(check) | Self::Renamed(_, check) => *check,
            Self::Authority(..) => Check::Path,
            Self::Address(_) | Self::Bind(_) | Self::Peers => Check::Text,
            Self::Fallback => Check::OneOf(&["exit", "proxy"]),
            Self::Proxy => Check::OneOf(&["off", "on", "readonly"]),
            Self::Debug => Check::Flag,
        }
    }
}

/// One of the two sides on which a member talks: to clients, or to its peers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// The option with the address that others use.
    pub(super) advertise: &'static str,
    /// The option with the addresses that the member listens on.
    pub(super) listen: &'static str,
    /// The option whose presence means TLS.
    pub(super) certificate: &'static str,
    pub(super) port: u16,
    /// Whether programs of the same machine expect it on the loopback address.
    pub(super) local: bool,
}

pub(super) const CLIENTS: &Side = &Side {
    advertise: "advertise_client_urls",
    listen: "listen_client_urls",
    certificate: "cert_file",
    port: 2379,
    local: true,
};

pub(super) const PEERS: &Side = &Side {
    advertise: "initial_advertise_peer_urls",
    listen: "listen_peer_urls",
    certificate: "peer_cert_file",
    port: 2380,
    local: false,
};

pub(super) static OPTIONS: Table<Becomes> = Table {
    place: "the etcd section",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        // The member.
        same("name", Check::Member),
        same("data_dir", Check::Path),
        same("wal_dir", Check::Path),
        same("snapshot_count", Check::Whole(1)),
        same("heartbeat_interval", Check::Whole(1)),
        same("election_timeout", Check::Whole(1)),
        same("initial_election_tick_advance", Check::Flag),
        same("listen_client_urls", Check::ListenUrls),
        same("listen_peer_urls", Check::ListenUrls),
        same("max_snapshots", Check::Whole(0)),
        same("max_wals", Check::Whole(0)),
        same("quota_backend_bytes", Check::Whole(0)),
        same("backend_batch_interval", Check::Duration),
        same("backend_batch_limit", Check::Whole(0)),
        same("max_txn_ops", Check::Whole(1)),
        same("max_request_bytes", Check::Whole(1)),
        same("max_concurrent_streams", Check::Whole(1)),
        same("grpc_keepalive_min_time", Check::Duration),
        same("grpc_keepalive_interval", Check::Duration),
        same("grpc_keepalive_timeout", Check::Duration),
        // The cluster.
        same("advertise_client_urls", Check::Urls),
        same("initial_advertise_peer_urls", Check::Urls),
        same("initial_cluster", Check::Members),
        same("initial_cluster_state", Check::OneOf(&["new", "existing"])),
        same("initial_cluster_token", Check::Text),
        same("discovery", Check::Url),
        old("discovery_fallback", Becomes::Fallback),
        same("discovery_proxy", Check::Url),
        same("discovery_srv", Check::Domain),
        same("discovery_srv_name", Check::Text),
        same("strict_reconfig_check", Check::Flag),
        same("pre_vote", Check::Flag),
        same("auto_compaction_mode", Check::OneOf(&["periodic", "revision"])),
        same("auto_compaction_retention", Check::Span),
        same("enable_v2", Check::Flag),
        same("force_new_cluster", Check::Flag),
        // TLS and access.
        same("cert_file", Check::Path),
        same("key_file", Check::Path),
        same("client_cert_auth", Check::Flag),
        same("client_crl_file", Check::Path),
        same("client_cert_allowed_hostname", Check::Text),
        same("trusted_ca_file", Check::Path),
        same("auto_tls", Check::Flag),
        same("peer_cert_file", Check::Path),
        same("peer_key_file", Check::Path),
        same("peer_client_cert_auth", Check::Flag),
        same("peer_trusted_ca_file", Check::Path),
        same("peer_cert_allowed_cn", Check::Text),
        same("peer_cert_allowed_hostname", Check::Text),
        same("peer_auto_tls", Check::Flag),
        same("peer_crl_file", Check::Path),
        same("cipher_suites", Check::Text),
        same("cors", Check::Text),
        same("host_whitelist", Check::Text),
        same("auth_token", Check::Text),
        same("auth_token_ttl", Check::Whole(1)),
        same("bcrypt_cost", Check::Whole(4)),
        // Watching it.
        same("enable_pprof", Check::Flag),
        same("metrics", Check::OneOf(&["basic", "extensive"])),
        same("listen_metrics_urls", Check::ListenUrls),
        same("logger", Check::OneOf(&["zap"])),
        same("log_outputs", Check::Text),
        same("log_level", Check::OneOf(&["debug", "info", "warn", "error", "panic", "fatal"])),
        // etcd 0.4.
        old("addr", Becomes::Address(CLIENTS)),
        old("bind_addr", Becomes::Bind(CLIENTS)),
        old("peer_addr", Becomes::Address(PEERS)),
        old("peer_bind_addr", Becomes::Bind(PEERS)),
        old("peers", Becomes::Peers),
        old("peers_file", Becomes::Peers),
        renamed("peer_election_timeout", "election_timeout", Check::Whole(1)),
        renamed("peer_heartbeat_interval", "heartbeat_interval", Check::Whole(1)),
        old("ca_file", Becomes::Authority("trusted_ca_file", "client_cert_auth")),
        old("peer_ca_file", Becomes::Authority("peer_trusted_ca_file", "peer_client_cert_auth")),
        without("cluster_active_size", "every member that is added stays active"),
        without("cluster_remove_delay", "members are removed by a command only"),
        without("cluster_sync_interval", "there are no standbys to keep in step"),
        without("graphite_host", "it is measured at its `/metrics`"),
        without("http_read_timeout", "there is no such limit"),
        without("http_write_timeout", "there is no such limit"),
        without("max_result_buffer", "history is kept by compaction"),
        without("max_retry_attempts", "joining is tried until it works"),
        without("retry_interval", "joining is tried until it works"),
        without("snapshot", "snapshots are always made"),
        without("trace", "it is measured at its `/metrics`"),
        without("verbose", "`log_level` says how much is logged"),
        without("very_verbose", "`log_level` says how much is logged"),
        without("very_very_verbose", "`log_level` says how much is logged"),
        // etcd 2.
        old("debug", Becomes::Debug),
        without("log_package_levels", "`log_level` says how much is logged"),
        old("proxy", Becomes::Proxy),
        without("proxy_dial_timeout", "there is no proxy"),
        without("proxy_failure_wait", "there is no proxy"),
        without("proxy_read_timeout", "there is no proxy"),
        without("proxy_refresh_interval", "there is no proxy"),
        without("proxy_write_timeout", "there is no proxy"),
    ],
};

const fn same(name: &'static str, check: Check) -> KnownKey<Becomes> {
    key(name, check.shape(), "", Becomes::Same(check))
}

const fn renamed(name: &'static str, today: &'static str, check: Check) -> KnownKey<Becomes> {
    key(name, check.shape(), "", Becomes::Renamed(today, check))
}

const fn old(name: &'static str, becomes: Becomes) -> KnownKey<Becomes> {
    key(name, Shape::Text, "Translated to what etcd 3.5 has.", becomes)
}

const fn without(name: &'static str, why: &'static str) -> KnownKey<Becomes> {
    crate::table::without(name, "has no effect in etcd 3.5", Some(why))
}
