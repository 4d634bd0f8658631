//! `coreos.fleet`: settings of `fleet.service`.

use super::setting::{setting, variable, without_specifiers};
use crate::config::ServiceSettings;
use crate::decoder::Decoder;
use crate::finding::Severity;
use crate::outline::Shape;
use crate::syntax::check::Check;
use crate::table::{KnownKey, Table, key, nowhere};
use crate::tree::Entry;

const FLEET: Table<Check> = Table {
    place: "`coreos.fleet`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        option("agent_ttl", Check::Duration),
        option("authorized_keys_file", Check::Path),
        option("disable_engine", Check::Flag),
        option("engine_reconcile_interval", Check::Number),
        option("etcd_cafile", Check::Path),
        option("etcd_certfile", Check::Path),
        option("etcd_key_prefix", Check::Text),
        option("etcd_keyfile", Check::Path),
        option("etcd_password", Check::Secret),
        option("etcd_request_timeout", Check::Number),
        option("etcd_servers", Check::Urls),
        option("etcd_username", Check::Text),
        option("metadata", Check::Pairs),
        option("public_ip", Check::Ip),
        option("token_limit", Check::Whole(0)),
        option("verbosity", Check::Whole(0)),
        option("verify_units", Check::Flag),
    ],
};

pub(super) const SHAPE: Shape = Shape::Keys(|| FLEET.outline(&[]));

const fn option(name: &'static str, check: Check) -> KnownKey<Check> {
    key(name, check.shape(), "", check)
}

/// Reads the section.
pub(super) fn settings(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<ServiceSettings> {
    let errors = decoder.findings.errors();
    let mut environment = Vec::new();
    let mut secret = false;
    let whole = decoder.walk(&entry.value, &FLEET, |decoder, entry, check| {
        if let Some(text) = setting(decoder, entry, *check) {
            secret |= *check == Check::Secret;
            environment.push((variable("FLEET", &entry.key.name), without_specifiers(&text.value)));
        }
    });
    environment.sort();
    let sound = whole && decoder.findings.errors() == errors;
    (sound && !environment.is_empty()).then_some(ServiceSettings {
        unit: "fleet.service",
        secret,
        environment,
        span: entry.key.span,
    })
}
