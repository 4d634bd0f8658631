//! The machine's name, its addresses, and its update settings.

use std::collections::BTreeMap;

use cloud_config::{Config, Variable};

use super::{Draft, Origin, at, line};

/// The most that the kernel takes as a host name.
const HOST_NAME_MAX: usize = 64;

/// Environment variables, by what they name; `/etc/environment` has them in this order.
const ADDRESSES: [(&str, Variable); 8] = [
    ("COREOS_HOSTNAME", Variable::Hostname),
    ("COREOS_INSTANCE_ID", Variable::InstanceId),
    ("COREOS_PRIVATE_IPV4", Variable::PrivateIpv4),
    ("COREOS_PRIVATE_IPV6", Variable::PrivateIpv6),
    ("COREOS_PUBLIC_IPV4", Variable::PublicIpv4),
    ("COREOS_PUBLIC_IPV6", Variable::PublicIpv6),
    ("COREOS_REGION", Variable::Region),
    ("COREOS_ZONE", Variable::Zone),
];

const ENVIRONMENT: &str = "/etc/environment";
const UPDATE: &str = "/etc/coreos/update.conf";

impl Draft<'_> {
    pub(super) fn hostname(&mut self, config: &Config) {
        let (name, origin) = match (&config.hostname, &self.context.hostname) {
            (Some(name), _) => (name.value.clone(), at("hostname", name.span)),
            (None, Some(name)) => match platform_name(name) {
                Some(name) => (name, METADATA),
                None => {
                    let name: String = name.chars().take(HOST_NAME_MAX).collect();
                    self.notes.push(format!("the platform's name {name:?} is no host name"));
                    return;
                }
            },
            (None, None) => return,
        };
        self.put_file("/etc/hostname".into(), origin, format!("{name}\n"), 0o644);
        self.hostname = Some(name);
    }

    /// `127.0.0.1` is this machine's name first, as it always was with `localhost`; the lines
    /// for the name `localhost` itself keep the programs alive that ask for it.
    pub(super) fn hosts(&mut self, config: &Config) {
        let Some(span) = config.manage_etc_hosts else { return };
        let mut text = String::new();
        if let Some(name) = self.hostname.as_ref().or(self.context.facts.hostname.as_ref()) {
            text = match &config.fqdn {
                Some(fqdn) if fqdn.value != *name => format!("127.0.0.1 {} {name}\n", fqdn.value),
                _ => format!("127.0.0.1 {name}\n"),
            };
        }
        text.push_str("127.0.0.1 localhost\n::1 localhost\n");
        self.put_file("/etc/hosts".into(), at("manage_etc_hosts", span), text, 0o644);
    }

    /// The addresses, for units that say `EnvironmentFile=`.
    pub(super) fn environment(&mut self, config: &Config) {
        let values = &self.context.values;
        let known: Vec<(&str, &str)> = ADDRESSES
            .iter()
            .filter_map(|(key, variable)| Some((*key, values.get(variable)?.as_str())))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let origin = Origin { section: "addresses", span: None, entry: None };
        if !known.is_empty() {
            let text = line::merge("", &known, |_, _| false);
            self.put_file("/run/metadata/coreos".into(), origin, text, 0o644);
        }
        // The name is in a file of its own; there the file is as coreos-cloudinit writes it.
        let known: Vec<_> =
            known.into_iter().filter(|(key, _)| *key != "COREOS_HOSTNAME").collect();
        // Whoever writes the whole file has said what is to be in it.
        if !config.write_files.iter().any(|file| file.path.value == ENVIRONMENT) {
            let existing = self.context.facts.environment.as_ref();
            let text = existing.map_or("", |existing| &existing.text);
            self.merge_lines(ENVIRONMENT, origin, text, &known, None);
        }
    }

    pub(super) fn update(&mut self, config: &Config) {
        let mut set = Vec::new();
        if let Some(update) = &config.update {
            for (key, value) in [
                ("GROUP", &update.group),
                ("SERVER", &update.server),
                ("REBOOT_STRATEGY", &update.reboot_strategy),
            ] {
                set.extend(value.as_ref().map(|value| (key, value)));
            }
        }
        let span = set.first().map(|(_, value)| value.span);
        let locksmith = config.services.iter().find(|s| s.unit == "locksmithd.service");
        let span = span.or(locksmith.map(|locksmith| locksmith.span));
        let mut own: Vec<(&str, &str)> =
            set.iter().map(|(key, value)| (*key, value.value.as_str())).collect();
        // The agent that updates this system reads them where it reads the rest.
        let locks = locksmith.map_or(&[][..], |locksmith| &locksmith.environment);
        own.extend(locks.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let secret = locksmith.is_some_and(|locksmith| locksmith.secret);
        let origin = Origin { section: "coreos.update", span, entry: None };
        let facts = &self.context.facts;
        let defaults = facts.update_defaults.as_deref().unwrap_or("");
        let written = config.write_files.iter().rev().find(|file| file.path.value == UPDATE);
        let written = written.map(|file| String::from_utf8_lossy(&file.content));
        let base = match &written {
            Some(text) => text,
            None => facts.update.as_ref().map_or(defaults, |existing| existing.text.as_str()),
        };
        // What is no longer set falls back to the image's default.
        let fallen: Vec<(&str, &str)> = self
            .stale_lines(UPDATE, base)
            .filter(|key| own.iter().all(|(name, _)| name != key))
            .filter_map(|key| Some((key, line::value(defaults, key)?)))
            .collect();
        let text = line::merge(base, &fallen, |_, _| false);
        self.merge_lines(UPDATE, origin, &text, &own, secret.then_some(0o600));
    }

    /// Merges lines into a shared file, takes out what an earlier configuration set, and keeps
    /// record of what is set now.
    fn merge_lines(
        &mut self,
        path: &'static str,
        origin: Origin,
        base: &str,
        set: &[(&str, &str)],
        mode: Option<u32>,
    ) {
        let facts = &self.context.facts;
        let earlier = facts.ledger.lines.get(path);
        if set.is_empty() && earlier.is_none() {
            return;
        }
        let text = line::merge(base, set, |key, value| was_set(earlier, key, value));
        let existing = match path {
            ENVIRONMENT => facts.environment.as_ref(),
            _ => facts.update.as_ref(),
        };
        match (mode, existing) {
            (Some(mode), Some(there)) if there.mode != mode => {
                let there = super::Existing { mode, text: String::new(), ..there.clone() };
                self.put_edited(path, origin, Some(&there), text, mode);
            }
            _ => self.put_edited(path, origin, existing, text, mode.unwrap_or(0o644)),
        }
        if !set.is_empty() {
            let lines = set.iter().map(|(k, v)| ((*k).to_string(), vec![(*v).to_string()]));
            self.owned.lines.insert(path.to_string(), lines.collect());
        }
    }

    /// The keys of a file whose value is still what an earlier configuration set.
    fn stale_lines<'t>(&self, path: &str, text: &'t str) -> impl Iterator<Item = &'t str> {
        let earlier = self.context.facts.ledger.lines.get(path);
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let pairs = pairs.map(|(key, value)| (key.trim(), value.trim()));
        pairs.filter(move |(key, value)| was_set(earlier, key, value)).map(|(key, _)| key)
    }
}

/// What comes from the platform.
pub(super) const METADATA: Origin = Origin { section: "metadata", span: None, entry: None };

fn was_set(earlier: Option<&BTreeMap<String, Vec<String>>>, key: &str, value: &str) -> bool {
    earlier.and_then(|lines| lines.get(key)).is_some_and(|values| values.iter().any(|v| v == value))
}

/// A platform's host name, cut to its first label where the whole is too long for the kernel.
fn platform_name(name: &str) -> Option<String> {
    let name = name.trim().trim_end_matches('.');
    let name = match name.split_once('.') {
        Some((label, _)) if name.len() > HOST_NAME_MAX => label,
        _ => name,
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let plausible = !name.is_empty()
        && name.len() <= HOST_NAME_MAX
        && name.chars().all(fits)
        && !name.starts_with(['-', '.'])
        && !name.contains("..");
    plausible.then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_name_is_made_to_fit_or_refused() {
        let long = "x".repeat(65);
        let domain = format!("node.{long}");
        for (given, taken) in [
            ("node1", Some("node1")),
            (" node1.example.com.\n", Some("node1.example.com")),
            (&domain, Some("node")),
            (&long, None),
            ("", None),
            ("a b", None),
            ("a..b", None),
            ("-a", None),
            ("a\nb", None),
        ] {
            assert_eq!(platform_name(given).as_deref(), taken, "{given:?}");
        }
    }
}
