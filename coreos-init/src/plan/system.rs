//! The clock, the time zone, and whom TLS trusts.

use cloud_config::Config;

use super::{Content, Draft, Effect, Owner, at, block};

/// Where programs find all certificates that TLS trusts.
pub const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The bundle of an image that has no copy of it elsewhere, while its certificates are not trusted.
pub const CA_DEFAULTS: &str = "/etc/ssl/certs/ca-certificates.crt.image";

impl Draft<'_> {
    /// `ntp` and `timezone`.
    pub(super) fn clock(&mut self, config: &Config) {
        if let Some(ntp) = &config.ntp {
            let origin = at("ntp", ntp.span);
            if !ntp.enabled {
                let path = "/etc/systemd/system/systemd-timesyncd.service".to_string();
                self.put(path, origin, Effect::Link { target: "/dev/null".to_string() });
            } else if !ntp.servers.is_empty() {
                let path = "/etc/systemd/timesyncd.conf.d/20-cloudinit.conf".to_string();
                let text = format!("[Time]\nNTP={}\n", ntp.servers.join(" "));
                self.put_file(path, origin, text, 0o644);
            }
        }
        if let Some(zone) = &config.timezone {
            let name = &zone.value;
            if !self.context.facts.has_timezone {
                self.error(zone.span, format!("there is no time zone `{name}` on this machine"));
                return;
            }
            let origin = at("timezone", zone.span);
            let target = format!("../usr/share/zoneinfo/{name}");
            self.put("/etc/localtime".to_string(), origin, Effect::Link { target });
            self.put_file("/etc/timezone".to_string(), origin, format!("{name}\n"), 0o644);
        }
    }

    /// `ca_certs`: the image's certificates, or not, and then the configuration's.
    pub(super) fn trust(&mut self, config: &Config) {
        let facts = &self.context.facts;
        let current = facts.ca_bundle.as_ref().map_or("", |bundle| bundle.text.as_str());
        let plain = block::without(current);
        let removed = facts.ca_defaults.is_some() && plain.is_empty();
        let changed = plain.len() != current.len() || removed;
        if config.ca_certs.is_none() && !changed {
            return;
        }
        let defaults = facts.ca_defaults.as_deref().unwrap_or(&plain);
        let (text, origin, removed) = match &config.ca_certs {
            None => {
                let origin =
                    super::Origin { section: "no longer configured", span: None, entry: None };
                (defaults.to_string(), origin, false)
            }
            Some(certs) => {
                let ours: String = certs.trusted.iter().map(|cert| cert.value.as_str()).collect();
                let base = if certs.remove_defaults { "" } else { defaults };
                (block::with(base, &ours), at("ca_certs", certs.span), certs.remove_defaults)
            }
        };
        if removed {
            let defaults = defaults.to_string();
            self.put_file(CA_DEFAULTS.to_string(), origin, defaults, 0o644);
        }
        if text != current {
            let (mode, owner) =
                facts.ca_bundle.as_ref().map_or((0o644, Owner::ROOT), |b| (b.mode, b.owner));
            let content = Content(text.into_bytes());
            let effect = Effect::File { content, mode, owner, owned: false };
            self.put(CA_BUNDLE.to_string(), origin, effect);
        }
    }
}
