//! The keys of cloud-init and Ignition that have no effect here, each with what to use instead.
//! The diagnostics say it, and `docs/migrating.md` lists it: a test compares the two.

use crate::table::OtherKey;

const fn ci(name: &'static str, instead: &'static str) -> OtherKey {
    OtherKey { name, system: "cloud-init", instead }
}

const fn ignition(name: &'static str, instead: &'static str) -> OtherKey {
    OtherKey { name, system: "Ignition", instead }
}

const CONTAINER: &str = "the system is one image: run the program in a container";
const EXTENSION: &str = "the system is one image: run the program in a container, or make it one of `coreos.extensions`";
const SERVICE: &str = "write a service under `coreos.units`";
const NOTHING: &str = "leave it out: it has no meaning here";
const KEYS: &str = "nobody logs in with a password over the network: give keys";
const HOST_KEYS: &str = "host keys are made at the first boot: write others by `write_files`";
const MODULES: &str = "leave it out: there are no modules, the order is fixed";
const DISK: &str = "the disk is laid out by the image; for others write a service, or \
                    `x-systemd.makefs` in `mounts`";
const NETWORK: &str = "write `.network` units under `coreos.units`";

/// Every key that has no effect, in the order of the alphabet.
pub const PEERS: &[OtherKey] = &[
    ci("allow_public_ssh_keys", "leave it out: the platform's keys are always added"),
    ci("ansible", SERVICE),
    ci("apk_repos", CONTAINER),
    ci("apt", CONTAINER),
    ci("apt_pipelining", CONTAINER),
    ci("apt_reboot_if_required", "use `coreos.update`"),
    ci("apt_update", CONTAINER),
    ci("apt_upgrade", CONTAINER),
    ci("authkey_hash", NOTHING),
    ci("autoinstall", "write the image to the disk"),
    ci("bootcmd", "write a service with `DefaultDependencies=no` under `coreos.units`"),
    ci("byobu_by_default", NOTHING),
    ci("chef", CONTAINER),
    ci("cloud_config_modules", MODULES),
    ci("cloud_final_modules", MODULES),
    ci("cloud_init_modules", MODULES),
    ci("create_hostname_file", "leave it out: the name is kept"),
    ci("datasource", "leave it out: the sources and their order are fixed"),
    ci("datasource_list", "leave it out: the sources and their order are fixed"),
    ci("debug", "`coreos-init status` tells what happened"),
    ci("device_aliases", DISK),
    ci("disable_ec2_metadata", "write a firewall as a service under `coreos.units`"),
    ci("disable_root", "leave it out: root has no keys and no password"),
    ci("disable_root_opts", "leave it out: root has no keys and no password"),
    ci("disk_setup", DISK),
    ci("drivers", "list modules in /etc/modules-load.d by `write_files`"),
    ci("fan", SERVICE),
    ci("final_message", "`coreos-init status` tells what happened"),
    ci("fs_setup", DISK),
    ci("growpart", "leave it out: the state grows to the disk's end"),
    ci("grub_dpkg", "leave it out: there is no GRUB"),
    ignition("ignition", "write the same as a cloud-config"),
    ignition("kernel_arguments", "they are part of the image: build one"),
    ci("keyboard", "write /etc/vconsole.conf by `write_files`"),
    ci("landscape", CONTAINER),
    ci("launch_index", NOTHING),
    ci("locale", "write /etc/locale.conf by `write_files`"),
    ci("locale_configfile", "write /etc/locale.conf by `write_files`"),
    ci("lxd", CONTAINER),
    ci("manage_resolv_conf", NETWORK),
    ci("mcollective", CONTAINER),
    ci(
        "merge_how",
        "leave it out: lists of all parts are joined, of single values the last counts",
    ),
    ci(
        "merge_type",
        "leave it out: lists of all parts are joined, of single values the last counts",
    ),
    ci("migrate", NOTHING),
    ci("no_ssh_fingerprints", NOTHING),
    ci("output", "the journal has all output"),
    ci("package_reboot_if_required", "use `coreos.update`"),
    ci("package_update", CONTAINER),
    ci("package_upgrade", CONTAINER),
    ci("packages", EXTENSION),
    ignition("passwd", "list users under `users` and groups under `groups`"),
    ci("password", "give users a hash as `passwd`"),
    ci("phone_home", SERVICE),
    ci("power_state", "start `reboot.target` or `poweroff.target` from a service"),
    ci("preserve_hostname", "leave `hostname` out: the name stays"),
    ci("puppet", CONTAINER),
    ci("random_seed", "leave it out: the kernel and the firmware seed it"),
    ci("reporting", SERVICE),
    ci("resize_rootfs", "leave it out: the state grows to the disk's end"),
    ci("resolv_conf", NETWORK),
    ci("rh_subscription", CONTAINER),
    ci("rpi", NOTHING),
    ci("rsyslog", "write a service that forwards the journal"),
    ci("salt_minion", CONTAINER),
    ci("snap", CONTAINER),
    ci("spacewalk", CONTAINER),
    ci("ssh", "write /etc/ssh/sshd_config.d/*.conf by `write_files`"),
    ci("ssh_deletekeys", HOST_KEYS),
    ci("ssh_fp_console_blacklist", NOTHING),
    ci("ssh_genkeytypes", HOST_KEYS),
    ci("ssh_import_id", "give it to an entry of `users`"),
    ci("ssh_key_console_blacklist", NOTHING),
    ci("ssh_keys", HOST_KEYS),
    ci("ssh_publish_hostkeys", NOTHING),
    ci("ssh_pwauth", KEYS),
    ci("ssh_quiet_keygen", NOTHING),
    ignition("storage", "list files under `write_files` and file systems under `mounts`"),
    ci("system_info", NOTHING),
    ignition("systemd", "list units under `coreos.units`"),
    ci("ubuntu_advantage", CONTAINER),
    ci("ubuntu_pro", CONTAINER),
    ci("updates", NETWORK),
    ci("user", "list it under `users`"),
    ignition("variant", "this is a Butane configuration: write it as a cloud-config"),
    ci("vendor_data", "leave it out: there is one configuration"),
    ci("version", NOTHING),
    ci("wireguard", "write `.netdev` and `.network` units under `coreos.units`"),
    ci("yum_repo_dir", CONTAINER),
    ci("yum_repos", CONTAINER),
    ci("zypper", CONTAINER),
];

/// Forms of user-data that are refused, by their first line or their type, and what to do.
pub const OTHER_FORMATS: &[(&str, &str)] = &[
    ("`#cloud-boothook`, `text/cloud-boothook`", "a service with `DefaultDependencies=no`"),
    ("`#cloud-config-archive`", "a MIME message of the same parts"),
    ("`#part-handler`, `text/part-handler`", "nothing: a handler is a program of cloud-init"),
    ("`#upstart-job`", "a unit under `coreos.units`"),
    (
        "`## template: jinja`, `text/jinja2`",
        "the variables of this language: `$hostname` and so on",
    ),
    ("`text/cloud-config-jsonp`", "a second `text/cloud-config`: lists of all parts are joined"),
    ("JSON of Ignition", "a cloud-config"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched_by_eye() {
        for [first, second] in PEERS.windows(2).filter_map(|pair| <&[_; 2]>::try_from(pair).ok()) {
            assert!(first.name < second.name, "{} {}", first.name, second.name);
        }
    }
}
