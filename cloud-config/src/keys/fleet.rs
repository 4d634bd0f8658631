//! `coreos.fleet`: settings of `fleet.service`.

use super::setting::{setting, variable, without_specifiers};
use crate::config::ServiceSettings;
use crate::decoder::Decoder;
use crate::finding::Severity;
use crate::syntax::check::Check;
use crate::table::{Table, applied, nowhere};
use crate::tree::Entry;

const FLEET: Table<Check> = Table {
    place: "`coreos.fleet`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        applied("agent_ttl", Check::Duration),
        applied("authorized_keys_file", Check::Path),
        applied("disable_engine", Check::Flag),
        applied("engine_reconcile_interval", Check::Number),
        applied("etcd_cafile", Check::Path),
        applied("etcd_certfile", Check::Path),
        applied("etcd_key_prefix", Check::Text),
        applied("etcd_keyfile", Check::Path),
        applied("etcd_password", Check::Secret),
        applied("etcd_request_timeout", Check::Number),
        applied("etcd_servers", Check::Urls),
        applied("etcd_username", Check::Text),
        applied("metadata", Check::Pairs),
        applied("public_ip", Check::Ip),
        applied("token_limit", Check::Whole(0)),
        applied("verbosity", Check::Whole(0)),
        applied("verify_units", Check::Flag),
    ],
};

/// Reads the section.
pub(super) fn settings(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<ServiceSettings> {
    let errors = decoder.findings.errors();
    let mut environment = Vec::new();
    let whole = decoder.walk(&entry.value, &FLEET, |decoder, entry, check| {
        if let Some(text) = setting(decoder, entry, *check) {
            environment.push((variable("FLEET", &entry.key.name), without_specifiers(&text.value)));
        }
    });
    let sound = whole && decoder.findings.errors() == errors;
    (sound && !environment.is_empty()).then_some(ServiceSettings {
        unit: "fleet.service",
        environment,
        span: entry.key.span,
    })
}
