//! `coreos.flannel`, `coreos.locksmith` and `coreos.oem`: settings that coreos-cloudinit writes
//! for programs, as variables in a file or a drop-in.

use super::setting::{setting, variable, without_specifiers};
use crate::config::ServiceSettings;
use crate::decoder::Decoder;
use crate::finding::Severity;
use crate::outline::Shape;
use crate::syntax::check::Check;
use crate::table::{KnownKey, Table, key, nowhere};
use crate::tree::Entry;

/// What a setting is called in the environment, and what it takes.
type Setting = (&'static str, Check);

const fn option(
    name: &'static str,
    variable: &'static str,
    check: Check,
    about: &'static str,
) -> KnownKey<Setting> {
    key(name, check.shape(), about, (variable, check))
}

const FLANNEL: Table<Setting> = Table {
    place: "`coreos.flannel`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        option("etcd_endpoints", "ETCD_ENDPOINTS", Check::Urls, "Members of etcd."),
        option("etcd_cafile", "ETCD_CAFILE", Check::Path, "Whom etcd is to be signed by."),
        option("etcd_certfile", "ETCD_CERTFILE", Check::Path, "The certificate for etcd."),
        option("etcd_keyfile", "ETCD_KEYFILE", Check::Path, "Its key."),
        option("etcd_prefix", "ETCD_PREFIX", Check::Text, "Where in etcd its keys are."),
        option("etcd_username", "ETCD_USERNAME", Check::Text, "The user of etcd."),
        option("etcd_password", "ETCD_PASSWORD", Check::Secret, "The user's password."),
        option("ip_masq", "IP_MASQ", Check::Text, "Whether traffic that leaves is masked."),
        option("subnet_file", "SUBNET_FILE", Check::Path, "The file it writes."),
        option("interface", "IFACE", Check::Text, "The interface between machines."),
        option("public_ip", "PUBLIC_IP", Check::Ip, "The address that others reach."),
    ],
};

const LOCKSMITH: Table<Setting> = Table {
    place: "`coreos.locksmith`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        option("endpoint", "ENDPOINT", Check::Urls, "Members of etcd."),
        option("etcd_cafile", "ETCD_CAFILE", Check::Path, "Whom etcd is to be signed by."),
        option("etcd_certfile", "ETCD_CERTFILE", Check::Path, "The certificate for etcd."),
        option("etcd_keyfile", "ETCD_KEYFILE", Check::Path, "Its key."),
        option("etcd_username", "ETCD_USERNAME", Check::Text, "The user of etcd."),
        option("etcd_password", "ETCD_PASSWORD", Check::Secret, "The user's password."),
        option("group", "GROUP", Check::Text, "Machines of one group reboot in turn."),
        option(
            "window_start",
            "REBOOT_WINDOW_START",
            Check::WindowStart,
            "When reboots may begin.",
        ),
        option("window_length", "REBOOT_WINDOW_LENGTH", Check::Duration, "For how long."),
    ],
};

const OEM: Table<Setting> = Table {
    place: "`coreos.oem`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        option("id", "ID", Check::Text, "Who made the image."),
        option("version_id", "VERSION_ID", Check::Text, "Its version."),
        option("name", "NAME", Check::Text, "Its name."),
        option("home_url", "HOME_URL", Check::Text, "About it."),
        option("bug_report_url", "BUG_REPORT_URL", Check::Text, "Where to complain."),
    ],
};

pub(super) const FLANNEL_SHAPE: Shape = Shape::Keys(|| FLANNEL.outline(&[]));
pub(super) const LOCKSMITH_SHAPE: Shape = Shape::Keys(|| LOCKSMITH.outline(&[]));
pub(super) const OEM_SHAPE: Shape = Shape::Keys(|| OEM.outline(&["id"]));

/// Reads the settings of flannel.
pub(super) fn flannel(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<ServiceSettings> {
    read(
        decoder,
        entry,
        &FLANNEL,
        Form { unit: "flanneld.service", prefix: "FLANNELD", unit_file: false },
    )
}

/// Reads how reboots are agreed upon.
pub(super) fn locksmith(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<ServiceSettings> {
    read(
        decoder,
        entry,
        &LOCKSMITH,
        Form { unit: "locksmithd.service", prefix: "LOCKSMITHD", unit_file: true },
    )
}

/// Reads whose image it is; without an `id` it is nobody's.
pub(super) fn oem(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<ServiceSettings> {
    let oem = read(decoder, entry, &OEM, Form { unit: "", prefix: "", unit_file: false })?;
    if !oem.environment.iter().any(|(name, _)| name == "ID") {
        decoder.warn(entry.key.span, "`coreos.oem` without an `id` has no effect");
        return None;
    }
    Some(oem)
}

/// How settings are written.
#[derive(Debug, Clone, Copy)]
struct Form {
    unit: &'static str,
    prefix: &'static str,
    /// It is a unit's file, where systemd would expand a percent sign.
    unit_file: bool,
}

fn read(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    table: &'static Table<Setting>,
    form: Form,
) -> Option<ServiceSettings> {
    let errors = decoder.findings.errors();
    let mut environment = Vec::new();
    let mut secret = false;
    let whole = decoder.walk(&entry.value, table, |decoder, entry, (name, check)| {
        let Some(text) = setting(decoder, entry, *check) else { return };
        // What is empty was always as good as not given.
        if text.value.is_empty() {
            return;
        }
        secret |= *check == Check::Secret;
        let value = match form.unit_file {
            true => without_specifiers(&text.value),
            false => text.value,
        };
        let order = table.keys.iter().position(|key| key.name == &*entry.key.name);
        let name = match form.prefix {
            "" => (*name).to_owned(),
            prefix => variable(prefix, name),
        };
        environment.push((order, name, value));
    });
    // In the order of the table, whatever that of the configuration.
    environment.sort();
    let environment: Vec<_> =
        environment.into_iter().map(|(_, name, value)| (name, value)).collect();
    let sound = whole && decoder.findings.errors() == errors;
    let Form { unit, .. } = form;
    let span = entry.key.span;
    (sound && !environment.is_empty()).then_some(ServiceSettings {
        unit,
        secret,
        environment,
        span,
    })
}
