//! The keys of a cloud-config: a table for each mapping, and for each key how its value is
//! read into a [`Config`].

mod etcd;
mod file;
mod fleet;
mod setting;
mod unit;
mod update;
mod user;

use crate::config::{Config, Spanned};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::syntax::name;
use crate::table::{KnownKey, Rule, Table, applied, ignored, ignored_for};
use crate::tree::{Data, Entry, Node};

/// A configuration of which not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    config: Config,
    etcd: Option<etcd::Section>,
    /// Bytes that files may still have.
    files: file::Budget,
}

const TOP: Table<Read<Draft>> = Table {
    place: "",
    unknown: Severity::Warning,
    elsewhere: |name| COREOS.find(name).map(|_| "under `coreos`"),
    keys: &[
        applied("hostname", hostname),
        applied("ssh_authorized_keys", |decoder, entry, draft| {
            draft.config.ssh_authorized_keys = user::ssh_keys(decoder, entry);
        }),
        applied("users", |decoder, entry, draft| draft.config.users = user::users(decoder, entry)),
        applied("write_files", |decoder, entry, draft| {
            draft.config.write_files = file::files(decoder, entry, &mut draft.files);
        }),
        applied("manage_etc_hosts", manage_etc_hosts),
        applied("coreos", |decoder, entry, draft| {
            decoder.read(&entry.value, &COREOS, draft);
        }),
        KnownKey { name: "units", rule: Rule::Tolerated(misplaced_units) },
        // What cloud-init knows besides.
        ignored("allow_public_ssh_keys"),
        ignored("ansible"),
        ignored("apk_repos"),
        ignored("apt"),
        ignored("apt_pipelining"),
        ignored("apt_reboot_if_required"),
        ignored("apt_update"),
        ignored("apt_upgrade"),
        ignored("authkey_hash"),
        ignored("autoinstall"),
        ignored_for("bootcmd", RUN),
        ignored("byobu_by_default"),
        ignored("ca_certs"),
        ignored("chef"),
        ignored_for("chpasswd", "give users a hash as `passwd`"),
        ignored("cloud_config_modules"),
        ignored("cloud_final_modules"),
        ignored("cloud_init_modules"),
        ignored("create_hostname_file"),
        ignored("device_aliases"),
        ignored("disable_ec2_metadata"),
        ignored("disable_root"),
        ignored("disable_root_opts"),
        ignored("disk_setup"),
        ignored("drivers"),
        ignored("fan"),
        ignored("final_message"),
        ignored_for("fqdn", "write it as `hostname`"),
        ignored("fs_setup"),
        ignored("groups"),
        ignored("growpart"),
        ignored("grub_dpkg"),
        ignored("keyboard"),
        ignored("landscape"),
        ignored("launch_index"),
        ignored("locale"),
        ignored("locale_configfile"),
        ignored("lxd"),
        ignored("manage_resolv_conf"),
        ignored("mcollective"),
        ignored("merge_how"),
        ignored("merge_type"),
        ignored("migrate"),
        ignored("mount_default_fields"),
        ignored_for("mounts", "write `.mount` units under `coreos.units`"),
        ignored_for("network", "write `.network` units under `coreos.units`"),
        ignored("no_ssh_fingerprints"),
        ignored("ntp"),
        ignored("output"),
        ignored("package_reboot_if_required"),
        ignored("package_update"),
        ignored("package_upgrade"),
        ignored_for("packages", "the system is one image: run the program in a container"),
        ignored_for("password", "give users a hash as `passwd`"),
        ignored("phone_home"),
        ignored("power_state"),
        ignored("prefer_fqdn_over_hostname"),
        ignored("preserve_hostname"),
        ignored("puppet"),
        ignored("random_seed"),
        ignored("reporting"),
        ignored("resize_rootfs"),
        ignored("resolv_conf"),
        ignored("rh_subscription"),
        ignored("rpi"),
        ignored("rsyslog"),
        ignored_for("runcmd", RUN),
        ignored("salt_minion"),
        ignored("snap"),
        ignored("spacewalk"),
        ignored("ssh"),
        ignored("ssh_deletekeys"),
        ignored("ssh_fp_console_blacklist"),
        ignored("ssh_genkeytypes"),
        ignored_for("ssh_import_id", "list the keys as `ssh_authorized_keys`"),
        ignored("ssh_key_console_blacklist"),
        ignored("ssh_keys"),
        ignored("ssh_publish_hostkeys"),
        ignored("ssh_pwauth"),
        ignored("ssh_quiet_keygen"),
        ignored("swap"),
        ignored("system_info"),
        ignored("timezone"),
        ignored("ubuntu_advantage"),
        ignored("ubuntu_pro"),
        ignored("updates"),
        ignored_for("user", "list it under `users`"),
        ignored("vendor_data"),
        ignored("version"),
        ignored("wireguard"),
        ignored("yum_repo_dir"),
        ignored("yum_repos"),
        ignored("zypper"),
    ],
};

const RUN: &str = "write a service under `coreos.units`";

const COREOS: Table<Read<Draft>> = Table {
    place: "`coreos`",
    unknown: Severity::Warning,
    elsewhere: |name| TOP.find(name).map(|_| "at the top level, not under `coreos`"),
    keys: &[
        applied("units", units),
        applied("etcd", etcd::section),
        applied("etcd2", etcd::section),
        applied("fleet", |decoder, entry, draft| {
            draft.config.services.extend(fleet::settings(decoder, entry));
        }),
        applied("update", |decoder, entry, draft| {
            draft.config.update = update::update(decoder, entry);
        }),
        ignored("flannel"),
        ignored_for("locksmith", "how a machine reboots is said by `coreos.update`"),
        ignored("oem"),
    ],
};

/// Reads a whole configuration.
pub(crate) fn decode(decoder: &mut Decoder<'_>, root: &Node) -> Config {
    let mut draft = Draft::default();
    decoder.read(root, &TOP, &mut draft);
    let Draft { mut config, etcd, .. } = draft;
    if let Some(section) = etcd {
        let hostname = config.hostname.as_ref().map(|hostname| hostname.value.as_str());
        let etcd = section.translate(decoder, hostname);
        config.services.splice(0..0, etcd);
    }
    repeated(decoder, "the user", config.users.iter().map(|user| &user.name));
    repeated(decoder, "the file", config.write_files.iter().map(|file| &file.path));
    let written = config.units.iter().filter(|unit| unit.content.is_some());
    repeated(decoder, "the unit", written.map(|unit| &unit.name));
    config
}

fn hostname(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let Some(text) = decoder.entry_line(entry) else { return };
    match name::hostname(text.probe()) {
        Ok(()) => draft.config.hostname = Some(text.spanned()),
        Err(mistake) => decoder.report(mistake.error(text.span)),
    }
}

fn manage_etc_hosts(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let Some(text) = decoder.entry_line(entry) else { return };
    match text.value.as_str() {
        "localhost" => draft.config.manage_etc_hosts = Some(text.span),
        "false" => {}
        other => {
            let found = quoted(other);
            decoder.report(
                Finding::error(text.span, format!("`manage_etc_hosts` cannot be {found}"))
                    .with_hint("`localhost` is the one value that has an effect"),
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
