//! What coreos-cloudinit writes for flannel, and the vendor's release file.

use cloud_config::Config;

use super::{Draft, at};

impl Draft<'_> {
    pub(super) fn old_services(&mut self, config: &Config) {
        if let Some(flannel) = &config.flannel {
            let lines = flannel.environment.iter().map(|(name, value)| format!("{name}={value}"));
            let text = lines.collect::<Vec<_>>().join("\n");
            let mode = if flannel.secret { 0o600 } else { 0o644 };
            let origin = at("coreos.flannel", flannel.span);
            self.put_file("/run/flannel/options.env".to_string(), origin, text, mode);
        }
        if let Some(oem) = &config.oem {
            let value = |key: &str| {
                let found = oem.environment.iter().find(|(name, _)| name == key);
                found.map_or("", |(_, value)| value.as_str())
            };
            let text = format!(
                "ID={}\nVERSION_ID={}\nNAME={:?}\nHOME_URL={:?}\nBUG_REPORT_URL={:?}\n",
                value("ID"),
                value("VERSION_ID"),
                value("NAME"),
                value("HOME_URL"),
                value("BUG_REPORT_URL"),
            );
            self.put_file("/etc/oem-release".to_string(), at("coreos.oem", oem.span), text, 0o644);
        }
    }
}
