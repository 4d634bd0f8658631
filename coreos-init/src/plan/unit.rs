//! Units, their drop-ins, networkd files, and what is asked of the service manager.

use std::collections::BTreeSet;

use cloud_config::{Config, Span, Unit, UnitKind};

use super::install::{Install, template_of};
use super::{Draft, Effect, Origin, at, file_name, in_entry};
use crate::verbs::{UnitJob, Verb};

/// The drop-in that carries a service's settings; the name that people know from before.
const SETTINGS: &str = "20-cloudinit.conf";
/// The drop-in that carries the identity for leases.
const IDENTITY: &str = "10-identity.conf";
/// Where a masked unit points.
const NOWHERE: &str = "/dev/null";

impl Draft<'_> {
    /// What the platform's network description became.
    pub(super) fn network(&mut self, config: &Config) {
        let (files, origin) = match &config.network {
            Some(network) => (network.value.to_networkd(), at("network", network.span)),
            None => {
                let origin = Origin { section: "network-config", span: None, entry: None };
                (self.context.network.clone(), origin)
            }
        };
        for (name, content) in &files {
            if is_one_name(name) {
                self.put_file(
                    format!("/run/systemd/network/{name}"),
                    origin,
                    content.as_str(),
                    0o644,
                );
                self.identity(name, content, origin);
            }
        }
    }

    /// `coreos.etcd`, `coreos.fleet`, …: the environment of a service.
    pub(super) fn services(&mut self, config: &Config) {
        for service in &config.services {
            let mut text = String::from("[Service]\n");
            for (name, value) in &service.environment {
                text.push_str(&format!("Environment=\"{}={}\"\n", name, quoted(value)));
            }
            let path = format!("/run/systemd/system/{}.d/{SETTINGS}", service.unit);
            let mode = if service.secret { 0o600 } else { 0o644 };
            self.put_file(path, at(section_of(service.unit), service.span), text, mode);
        }
    }

    pub(super) fn units(&mut self, config: &Config) {
        let masked: BTreeSet<&str> = config
            .units
            .iter()
            .filter(|unit| unit.mask)
            .map(|unit| unit.name.value.as_str())
            .collect();
        for unit in &config.units {
            let (name, span) = (&unit.name.value, unit.name.span);
            if !is_one_name(name) {
                self.error(span, format!("`{name}` is no unit name"));
                continue;
            }
            self.unit_file(unit, masked.contains(name.as_str()));
            self.drop_ins(unit);
        }
        for unit in config.units.iter().filter(|unit| unit.kind == UnitKind::System) {
            let name = unit.name.value.as_str();
            if unit.enable && !masked.contains(name) {
                self.enable(config, unit);
            }
            self.command(config, unit, masked.contains(name));
        }
    }

    fn unit_file(&mut self, unit: &Unit, masked: bool) {
        let (name, span) = (&unit.name.value, unit.name.span);
        let path = format!("{}/{name}", directory(unit));
        let origin = in_entry("coreos.units", span, unit.span);
        let content = unit.content.as_deref().filter(|content| !content.is_empty());
        if content.is_some() && masked {
            self.warn(span, format!("`{name}` is masked: its `content` is left out"));
        }
        match content {
            _ if unit.mask => {
                self.put(path, origin, Effect::Link { target: NOWHERE.to_string() });
            }
            Some(content) if !masked => {
                self.put_file(path, origin, content, 0o644);
                self.identity(name, content, origin);
            }
            _ => {}
        }
    }

    /// Lets networkd ask for a lease under the identity that the initrd had, so that the address
    /// variables were replaced with is the address that the machine keeps.
    fn identity(&mut self, name: &str, content: &str, origin: Origin) {
        if name.ends_with(".network") && leases_by_default_identity(content) {
            let path = format!("/run/systemd/network/{name}.d/{IDENTITY}");
            self.put_file(path, origin, "[DHCPv4]\nClientIdentifier=mac\n", 0o644);
        }
    }

    fn drop_ins(&mut self, unit: &Unit) {
        for drop_in in &unit.drop_ins {
            let (name, span) = (&drop_in.name.value, drop_in.name.span);
            if !is_one_name(name) {
                self.error(span, format!("`{name}` is no file name"));
            } else if !drop_in.content.is_empty() {
                let path = format!("{}/{}.d/{name}", directory(unit), unit.name.value);
                let origin = in_entry("coreos.units", span, unit.span);
                self.put_file(path, origin, drop_in.content.as_str(), 0o644);
            }
        }
    }

    /// The links that `systemctl enable` would make.
    fn enable(&mut self, config: &Config, unit: &Unit) {
        let directory = directory(unit);
        let origin = in_entry("coreos.units", unit.name.span, unit.span);
        let mut waiting = vec![unit.name.value.clone()];
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some(file) = self.find_unit(config, &name) else {
                self.warn(
                    unit.name.span,
                    format!("`{name}` cannot be enabled: there is no such unit here"),
                );
                continue;
            };
            let install = Install::parse(file.texts.iter().map(String::as_str));
            if install.is_empty() {
                self.warn(
                    unit.name.span,
                    format!("`{name}` says nothing in [Install]: enabling it changes nothing"),
                );
            }
            let links = install.links(&file.name);
            for link in links.paths {
                let target = file.path.clone();
                self.put(format!("{directory}/{link}"), origin, Effect::Link { target });
            }
            for problem in links.problems {
                self.warn(unit.name.span, format!("`{name}` is not fully enabled: {problem}"));
            }
            // The service manager decides what to start before it can see this unit.
            let late = self.is_of_extension(&file) && unit.command.is_none();
            if late && !install.is_empty() {
                let line = line_of(unit.name.span);
                self.jobs.push(UnitJob { unit: file.name.clone(), verb: Verb::Start, line });
            }
            waiting.extend(install.also);
        }
    }

    fn is_of_extension(&self, file: &UnitFile) -> bool {
        let known = self.unit_of_extension(file_name(&file.path));
        known.is_some_and(|known| known.path == file.path)
    }

    /// What the service manager is asked for once it runs.
    fn command(&mut self, config: &Config, unit: &Unit, masked: bool) {
        let Some(command) = &unit.command else { return };
        let (name, verb) = (&unit.name.value, Verb::from(command.value));
        if masked {
            self.warn(command.span, format!("`{name}` is masked: `{verb}` is left out"));
        } else if self.find_unit(config, name).is_none() {
            self.warn(
                command.span,
                format!("there is no unit `{name}` on this machine: `{verb}` is left out"),
            );
        } else {
            let line = line_of(command.span);
            self.jobs.push(UnitJob { unit: name.clone(), verb, line });
        }
    }

    /// The file behind a unit's name: the configuration's own before the image's, the name
    /// itself before its template.
    fn find_unit(&self, config: &Config, name: &str) -> Option<UnitFile> {
        let template = template_of(name);
        for file in [Some(name), template.as_deref()].into_iter().flatten() {
            let found = self.configured(config, file).or_else(|| {
                let installed = self.context.facts.units.get(file);
                let installed = installed.or_else(|| self.unit_of_extension(file))?;
                let path = installed.path.clone();
                Some(UnitFile { name: String::new(), path, texts: vec![installed.text.clone()] })
            });
            let Some(mut found) = found else { continue };
            // Enabling by an alias enables the unit behind it.
            found.name = match file_name(&found.path) {
                real if real == file => name.to_string(),
                real => real.to_string(),
            };
            let drop_ins = config.units.iter().filter(|unit| unit.name.value == name);
            let drop_ins = drop_ins.flat_map(|unit| &unit.drop_ins);
            found.texts.extend(drop_ins.map(|drop_in| drop_in.content.clone()));
            return Some(found);
        }
        None
    }

    /// A unit file that the configuration writes, as a unit or by its path.
    fn configured(&self, config: &Config, name: &str) -> Option<UnitFile> {
        let units = config.units.iter().rev().filter(|unit| unit.name.value == name);
        let unit = units
            .filter_map(|unit| Some((unit, unit.content.as_ref()?)))
            .find(|(_, content)| !content.is_empty());
        if let Some((unit, content)) = unit {
            let path = format!("{}/{name}", directory(unit));
            return Some(UnitFile { name: String::new(), path, texts: vec![content.clone()] });
        }
        let places = ["/etc/systemd/system/", "/run/systemd/system/"];
        let file = config.write_files.iter().rev().find(|file| {
            let path = file.path.value.as_str();
            places.iter().any(|place| path.strip_prefix(place) == Some(name))
        })?;
        let text = String::from_utf8_lossy(&file.content).into_owned();
        Some(UnitFile { name: String::new(), path: file.path.value.clone(), texts: vec![text] })
    }
}

/// A unit file and its drop-ins.
struct UnitFile {
    /// What is enabled: the unit behind the name asked for.
    name: String,
    path: String,
    texts: Vec<String>,
}

fn directory(unit: &Unit) -> &'static str {
    match (unit.runtime, unit.kind) {
        (false, UnitKind::System) => "/etc/systemd/system",
        (false, UnitKind::Network) => "/etc/systemd/network",
        (true, UnitKind::System) => "/run/systemd/system",
        (true, UnitKind::Network) => "/run/systemd/network",
    }
}

/// Whether a `.network` file asks for DHCPv4 and leaves it to networkd as whom.
fn leases_by_default_identity(content: &str) -> bool {
    let settings = content.lines().filter_map(|line| line.split_once('='));
    let mut settings = settings.map(|(key, value)| (key.trim(), value.trim().to_ascii_lowercase()));
    settings.clone().all(|(key, _)| key != "ClientIdentifier")
        && settings.any(|(key, value)| {
            let yes = ["yes", "true", "on", "y", "t", "1", "ipv4", "v4", "both"];
            key == "DHCP" && yes.contains(&value.as_str())
        })
}

/// The part of the configuration that a service's settings stand in.
fn section_of(unit: &str) -> &'static str {
    match unit {
        "etcd.service" => "coreos.etcd",
        "etcd2.service" => "coreos.etcd2",
        "fleet.service" => "coreos.fleet",
        "locksmithd.service" => "coreos.locksmith",
        _ => "coreos",
    }
}

/// A value for between double quotes in a unit file. A `%` is left as it is: the configuration
/// has doubled it where it is meant as itself.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => {}
            c => out.push(c),
        }
    }
    out
}

/// Whether a name stays in its directory.
fn is_one_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn line_of(span: Span) -> Option<usize> {
    Some(span.start.line).filter(|line| *line > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_asked_for_under_the_identity_of_the_initrd_unless_the_file_says_whose() {
        for (content, expected) in [
            ("[Match]\nName=en*\n[Network]\nDHCP=yes\n", true),
            ("[Network]\n DHCP = ipv4 \n", true),
            ("[Network]\nDHCP=ipv6\n", false),
            ("[Network]\n#DHCP=yes\nAddress=10.0.0.2/24\n", false),
            ("[Network]\nDHCP=yes\n[DHCPv4]\nClientIdentifier=duid\n", false),
        ] {
            assert_eq!(leases_by_default_identity(content), expected, "{content}");
        }
    }

    #[test]
    fn values_are_escaped_for_double_quotes() {
        for (value, expected) in [
            ("http://10.0.0.1:2379", "http://10.0.0.1:2379"),
            (r#"a "b" \c"#, r#"a \"b\" \\c"#),
            ("100%%", "100%%"),
            ("a\nExecStart=/bin/sh", "a\\nExecStart=/bin/sh"),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
