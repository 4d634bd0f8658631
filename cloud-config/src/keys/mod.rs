//! The keys of a cloud-config: a table for each mapping, and for each key how its value is
//! read into a [`Config`].

mod clock; // ntp, timezone
mod etcd;
mod extension;
mod file;
mod fleet;
mod group;
mod key_source; // ssh_import_id and the like
mod old_service; // coreos.flannel, coreos.locksmith, coreos.oem
mod password;
mod peers; // keys of cloud-init and Ignition, with what to use instead
mod remote; // what is fetched
mod setting;
mod shell; // runcmd
mod storage; // swap, mounts
mod trust; // ca_certs
mod unit;
mod unit_text; // what stands in a unit
mod update;
mod user;

use crate::config::{Config, Spanned};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Findings, Severity, Span, quoted};
use crate::network;
use crate::outline::{Outline, Shape};
use crate::source::Source;
use crate::syntax::name;
use crate::table::{KnownKey, Rule, Table, key};
use crate::tree::{Data, Entry, Node};
use crate::variable::Values;

pub use peers::{OTHER_FORMATS, PEERS};

/// A configuration of which not everything is read yet.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    config: Config,
    etcd: Option<etcd::Section>,
    /// Bytes that files may still have.
    files: file::Budget,
    /// `prefer_fqdn_over_hostname`.
    prefer_fqdn: bool,
    /// `manage_etc_hosts: false`.
    leave_hosts: bool,
    mount_defaults: Option<[String; 6]>,
}

const KEYS_OF_SSH: Shape = Shape::List(&Shape::Text);

const TOP: Table<Read<Draft>> = Table {
    place: "",
    unknown: Severity::Warning,
    elsewhere: |name| COREOS.find(name).map(|_| "under `coreos`"),
    keys: &[
        key("hostname", Shape::Text, "The machine's name, at most 64 characters.", hostname),
        key("fqdn", Shape::Text, "The machine's name with its domain.", fqdn),
        key(
            "prefer_fqdn_over_hostname",
            Shape::Flag,
            "Whether the name with its domain is the machine's name.",
            |decoder, entry, draft| draft.prefer_fqdn = decoder.flag(entry).unwrap_or_default(),
        ),
        key(
            "ssh_authorized_keys",
            KEYS_OF_SSH,
            "Public keys of the user `core`.",
            |decoder, entry, draft| {
                draft.config.ssh_authorized_keys.extend(user::ssh_keys(decoder, entry));
            },
        ),
        key("users", user::SHAPE, "Accounts.", |decoder, entry, draft| {
            user::users(decoder, entry, &mut draft.config);
        }),
        key("groups", group::SHAPE, "Groups, and who is in them.", |decoder, entry, draft| {
            draft.config.groups.extend(group::groups(decoder, entry));
        }),
        key("chpasswd", password::SHAPE, "Passwords.", |decoder, entry, draft| {
            draft.config.passwords.extend(password::chpasswd(decoder, entry));
        }),
        key("write_files", file::SHAPE, "Files.", |decoder, entry, draft| {
            let files = file::files(decoder, entry, &mut draft.files);
            draft.config.write_files.extend(files);
        }),
        key(
            "manage_etc_hosts",
            Shape::Words(&["localhost", "true", "false"]),
            "Whether /etc/hosts names this machine.",
            manage_etc_hosts,
        ),
        key(
            "coreos",
            Shape::Keys(|| COREOS.outline(&[])),
            "Units and services.",
            |d, entry, draft| {
                d.read(&entry.value, &COREOS, draft);
            },
        ),
        KnownKey { name: "units", rule: Rule::Tolerated(misplaced_units) },
        key("runcmd", shell::SHAPE, "Commands that are run once.", |decoder, entry, draft| {
            draft.config.runcmd.extend(shell::commands(decoder, entry));
        }),
        key(
            "network",
            network::SHAPE,
            "The network, as network-config has it: version 1 or 2.",
            |decoder, entry, draft| {
                let value = network::of_node(decoder, &entry.value);
                let network = Some(Spanned { value, span: entry.key.span });
                set(decoder, entry, &mut draft.config.network, network, |network| network.span);
            },
        ),
        key("ntp", clock::NTP_SHAPE, "Servers to set the clock by.", |decoder, entry, draft| {
            let ntp = clock::ntp(decoder, entry);
            let span = |ntp: &crate::config::Ntp| ntp.span;
            set(decoder, entry, &mut draft.config.ntp, ntp, span);
        }),
        key("timezone", Shape::Text, "Such as `Europe/Berlin`.", |decoder, entry, draft| {
            let zone = clock::timezone(decoder, entry);
            set(decoder, entry, &mut draft.config.timezone, zone, |zone| zone.span);
        }),
        key("ca_certs", trust::SHAPE, "Whom TLS trusts.", |decoder, entry, draft| {
            let certs = trust::ca_certs(decoder, entry);
            set(decoder, entry, &mut draft.config.ca_certs, certs, |certs| certs.span);
        }),
        key("swap", storage::SWAP_SHAPE, "A file to swap to.", |decoder, entry, draft| {
            let swap = storage::swap(decoder, entry);
            set(decoder, entry, &mut draft.config.swap, swap, |swap| swap.path.span);
        }),
        key("mounts", storage::MOUNTS_SHAPE, "Lines of fstab.", |decoder, entry, draft| {
            let mounts = storage::mounts(decoder, entry, draft.mount_defaults.as_ref());
            draft.config.mounts.extend(mounts);
        }),
        key(
            "mount_default_fields",
            Shape::List(&Shape::Text),
            "What an entry of `mounts` has that does not say itself.",
            |decoder, entry, draft| {
                draft.mount_defaults = storage::default_fields(decoder, entry);
            },
        ),
    ],
};

const COREOS: Table<Read<Draft>> = Table {
    place: "`coreos`",
    unknown: Severity::Warning,
    elsewhere: |name| TOP.find(name).map(|_| "at the top level, not under `coreos`"),
    keys: &[
        key("units", unit::SHAPE, "Units of systemd.", units),
        key("etcd", etcd::SHAPE, "Settings of etcd.", etcd::section),
        key("etcd2", etcd::SHAPE, "Settings of etcd.", etcd::section),
        key("extensions", extension::SHAPE, "Images laid over /usr.", |decoder, entry, draft| {
            draft.config.extensions.extend(extension::extensions(decoder, entry));
        }),
        key("fleet", fleet::SHAPE, "Settings of fleet.", |decoder, entry, draft| {
            draft.config.services.extend(fleet::settings(decoder, entry));
        }),
        key(
            "locksmith",
            old_service::LOCKSMITH_SHAPE,
            "How reboots are agreed upon.",
            |decoder, entry, draft| {
                draft.config.services.extend(old_service::locksmith(decoder, entry));
            },
        ),
        key(
            "flannel",
            old_service::FLANNEL_SHAPE,
            "Settings of flannel.",
            |decoder, entry, draft| {
                let flannel = old_service::flannel(decoder, entry);
                set(decoder, entry, &mut draft.config.flannel, flannel, |flannel| flannel.span);
            },
        ),
        key("oem", old_service::OEM_SHAPE, "Whose image it is.", |decoder, entry, draft| {
            let oem = old_service::oem(decoder, entry);
            set(decoder, entry, &mut draft.config.oem, oem, |oem| oem.span);
        }),
        key("update", update::SHAPE, "Updates and reboots.", |decoder, entry, draft| {
            if let Some(update) = update::update(decoder, entry) {
                let earlier = draft.config.update.take().unwrap_or_default();
                draft.config.update = Some(update.or(earlier));
            }
        }),
    ],
};

/// The keys of a whole configuration.
pub(crate) fn outline() -> Outline {
    TOP.outline(&[])
}

/// Reads one document into what others said already.
pub(crate) fn read(decoder: &mut Decoder<'_>, root: &Node, draft: &mut Draft) {
    decoder.read(root, &TOP, draft);
}

impl Draft {
    /// The whole configuration, and what is wrong with it as a whole.
    pub(crate) fn finish(self) -> (Config, Findings) {
        let nowhere = Source::new("", 0);
        let mut decoder = Decoder::new(&nowhere, Values::Unknown);
        let Draft { mut config, etcd, prefer_fqdn, leave_hosts, .. } = self;
        name_machine(&mut decoder, &mut config, prefer_fqdn, leave_hosts);
        if let Some(section) = etcd {
            let hostname = config.hostname.as_ref().map(|hostname| hostname.value.as_str());
            let etcd = section.translate(&mut decoder, hostname);
            config.services.splice(0..0, etcd);
        }
        repeated(&mut decoder, "the user", config.users.iter().map(|user| &user.name));
        repeated(&mut decoder, "the group", config.groups.iter().map(|group| &group.name));
        let whole = config.write_files.iter().filter(|file| !file.append);
        repeated(&mut decoder, "the file", whole.map(|file| &file.path));
        let extensions = config.extensions.iter().map(|extension| &extension.name);
        repeated(&mut decoder, "the extension", extensions);
        let written = config.units.iter().filter(|unit| unit.content.is_some());
        repeated(&mut decoder, "the unit", written.map(|unit| &unit.name));
        (config, decoder.into_findings(Findings::default()))
    }
}

/// Takes a value that there can be one of. Another part of the user-data may have given one.
fn set<T>(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    slot: &mut Option<T>,
    value: Option<T>,
    span: fn(&T) -> Span,
) {
    let Some(value) = value else { return };
    if let Some(earlier) = slot.replace(value) {
        let (key, line) = (quoted(&entry.key.written), span(&earlier).start.line);
        let message = format!("{key} is given again: the first is on line {line}, this one counts");
        decoder.warn(entry.key.span, message);
    }
}

fn hostname(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let name = host_name(decoder, entry);
    set(decoder, entry, &mut draft.config.hostname, name, |name| name.span);
}

fn fqdn(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let name = host_name(decoder, entry);
    set(decoder, entry, &mut draft.config.fqdn, name, |name| name.span);
}

fn host_name(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    match name::hostname(text.probe()) {
        Ok(()) => Some(text.spanned()),
        Err(mistake) => {
            decoder.report(mistake.error(text.span));
            None
        }
    }
}

/// Brings `hostname` and `fqdn` together, as cloud-init does.
fn name_machine(
    decoder: &mut Decoder<'_>,
    config: &mut Config,
    prefer_fqdn: bool,
    leave_hosts: bool,
) {
    let Some(fqdn) = &config.fqdn else { return };
    let label = fqdn.value.split('.').next().unwrap_or(&fqdn.value).to_owned();
    if label.len() == fqdn.value.len() {
        let message = format!("{} has no domain: it is the host name alone", quoted(&fqdn.value));
        decoder.warn(fqdn.span, message);
    }
    let (span, whole) = (fqdn.span, fqdn.value.clone());
    if prefer_fqdn {
        config.hostname = Some(Spanned { value: whole, span });
    } else {
        config.hostname.get_or_insert(Spanned { value: label, span });
    }
    // The domain is known to nobody who cannot look it up.
    if !leave_hosts {
        config.manage_etc_hosts.get_or_insert(span);
    }
}

fn manage_etc_hosts(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let Some(text) = decoder.entry_line(entry) else { return };
    match text.value.as_str() {
        "localhost" | "true" => draft.config.manage_etc_hosts = Some(text.span),
        "false" => draft.leave_hosts = true,
        other => {
            let found = quoted(other);
            decoder.report(
                Finding::error(text.span, format!("`manage_etc_hosts` cannot be {found}"))
                    .with_hint("`localhost` and `true` name this machine, `false` does not"),
            );
        }
    }
}

fn units(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    draft.config.units.extend(unit::units(decoder, entry));
}

fn misplaced_units(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    decoder.report(
        Finding::warning(
            entry.key.span,
            "`units` belongs under `coreos`; it is applied all the same",
        )
        .with_hint("move it to `coreos`, indented like its other keys"),
    );
    units(decoder, entry, draft);
}

/// Warns of every name that was given before.
fn repeated<'n>(
    decoder: &mut Decoder<'_>,
    what: &str,
    names: impl Iterator<Item = &'n Spanned<String>>,
) {
    let mut seen = std::collections::HashMap::new();
    for name in names {
        if let Some(first) = seen.insert(name.value.as_str(), name.span.start.line) {
            let message = format!(
                "{what} {} is given again: the first is on line {first}, the last one counts",
                quoted(&name.value)
            );
            decoder.warn(name.span, message);
        }
    }
}

/// Reports a key that an entry of a list cannot do without. Whether it is there.
fn required(decoder: &mut Decoder<'_>, node: &Node, place: &str, name: &str) -> bool {
    let Data::Mapping(entries) = &node.data else { return false };
    let found = entries.iter().any(|entry| &*entry.key.name == name && !entry.value.is_null());
    if !found && !node.partial {
        decoder.error(node.span, format!("this entry of {place} has no `{name}`"));
    }
    found
}
