//! A configuration that was found → what is planned from.
//!
//! ```text
//! bytes → Bundle (includes fetched) → addresses → Config + Context (contents and keys fetched)
//! ```
//!
//! The same at boot, in `apply`, `plan` and `try`: only what lies outside differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use cloud_config::{
    Address, Bundle, Config, Finding, Values, Variable, VariableUse, config_static_addresses,
    has_errors, network,
};

use crate::extension;
use crate::fetched::{Fetcher, Files, Wanted};
use crate::net::{Lease, facts};
use crate::plan::Context;
use crate::source::Found;

/// What lies outside of this program: the network.
pub trait Outside {
    /// A lease, if it is needed and the network has one, or if there is one already; with
    /// addresses of IPv6 if those are.
    fn lease(&mut self, needed: bool, ipv6: bool) -> Result<Option<Lease>, String>;

    /// Takes note of what is said of the network, before anything is asked of it.
    fn know(&mut self, _: &network::Network) {}

    /// The bytes at an address.
    fn get(&mut self, wanted: &Wanted) -> Result<Vec<u8>, String>;

    /// The same, written to a file as they come.
    fn download(&mut self, wanted: &Wanted, file: &File) -> Result<(), String>;
}

/// What is known of the machine besides.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// What its root has, for what was fetched before.
    pub files: &'a dyn Files,
    /// The root below which is kept what is fetched, if it is.
    pub keep: Option<&'a Path>,
    /// The root that images of extensions are fetched into, if they are to be there.
    pub images: Option<&'a Path>,
    /// Variables of the environment that say what `$private_ipv4` and the like are.
    pub overrides: &'a BTreeMap<String, String>,
    /// Addresses that it has whatever the configuration says.
    pub fixed: &'a [Address],
    /// Its id.
    pub machine_id: &'a str,
}

/// User-data, understood as far as this machine can.
#[derive(Debug)]
pub struct Reading {
    /// As it was found.
    pub bundle: Bundle,
    /// What it says.
    pub config: Config,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// What a plan depends on besides, without what the root has.
    pub context: Context,
    /// What the variables stand for.
    pub values: facts::Values,
    /// Where they are used.
    pub uses: Vec<VariableUse>,
    /// What kept something from being understood, one line each.
    pub failures: Vec<String>,
    /// What the operator should know, one line each.
    pub notes: Vec<String>,
}

impl Reading {
    /// Understands what was found.
    pub fn new(found: &Found, machine: &Machine<'_>, outside: &mut dyn Outside) -> Reading {
        let (mut failures, mut notes) = (Vec::new(), Vec::new());
        let network = network(found, &mut failures, &mut notes);
        outside.know(&network);
        // What the rest of a configuration is fetched over may be said in what is there.
        let there = Bundle::local(&found.name, &found.user_data);
        if !there.unfetched().is_empty() {
            know_draft(&there.decode(&Values::Unknown).0, outside);
        }

        let (bundle, asked) = {
            let mut get = |wanted: &Wanted| outside.get(wanted);
            let mut fetcher = Fetcher::new(machine.files, machine.keep, &mut get);
            let bundle = Bundle::read(&found.name, &found.user_data, &mut |include| {
                fetcher.fetch(&Wanted::from(include)).map(Some)
            });
            (bundle, fetcher.into_used())
        };
        let uses = bundle.variables();
        let (draft, _) = bundle.decode(&Values::Unknown);
        know_draft(&draft, outside);
        let mut fixed = network.static_addresses();
        fixed.extend(config_static_addresses(&draft));
        fixed.extend(machine.fixed);
        let values_with = |lease: Option<&Lease>| {
            facts::values(machine.overrides, &found.meta_data, &fixed, lease)
        };
        let mut values = values_with(None);
        let used: Vec<Variable> =
            uses.iter().filter(|used| !used.optional).map(|used| used.variable).collect();
        let needed = facts::needs_network(false, &used, &values);
        match outside.lease(needed, facts::needs_ipv6(&used, &values)) {
            Ok(Some(lease)) => values = values_with(Some(&lease)),
            Ok(None) => {}
            Err(why) => failures.push(why),
        }
        name(&draft, machine, &mut values);

        let (config, findings) = bundle.decode(&Values::Known(&values.map));
        let mut get = |wanted: &Wanted| outside.get(wanted);
        let mut fetcher = Fetcher::new(machine.files, machine.keep, &mut get).after(asked);
        // What is refused is not worth waiting for.
        let fetched = match has_errors(&findings) {
            true => BTreeMap::new(),
            false => {
                let answers = fetcher.fetch_all(&config);
                fetcher.forget_others();
                answers
            }
        };
        let extensions = match machine.images.filter(|_| !has_errors(&findings)) {
            Some(root) => {
                let mut get = |wanted: &Wanted, file: &File| outside.download(wanted, file);
                extension::prepare(&config, root, &mut get)
            }
            None => BTreeMap::new(),
        };
        let context = Context {
            values: values.map.clone(),
            hostname: found.meta_data.hostname.clone(),
            keys: found.meta_data.public_keys.clone(),
            fetched,
            extensions,
            machine_id: machine.machine_id.to_string(),
            network: network.to_networkd(),
            ..Context::default()
        };
        Reading { bundle, config, findings, context, values, uses, failures, notes }
    }

    /// The variables that are used without a value, where that is an error.
    pub fn unknown(&self) -> BTreeSet<Variable> {
        let needed = self.uses.iter().filter(|used| !used.optional).map(|used| used.variable);
        needed.filter(|variable| !self.values.map.contains_key(variable)).collect()
    }
}

/// Tells what a configuration says of the network, if it does.
fn know_draft(draft: &Config, outside: &mut dyn Outside) {
    if let Some(described) = &draft.network {
        outside.know(&described.value);
    }
}

/// The configuration's own name for the machine comes before the platform's.
fn name(draft: &Config, machine: &Machine<'_>, values: &mut facts::Values) {
    let overridden = facts::override_name(Variable::Hostname);
    if machine.overrides.get(overridden).is_some_and(|name| !name.trim().is_empty()) {
        return;
    }
    if let Some(name) = draft.hostname.as_ref().filter(|name| !name.value.contains('$')) {
        values.set(Variable::Hostname, name.value.clone(), "hostname in the configuration");
    }
    if values.map.contains_key(&Variable::Hostname) {
        return;
    }
    let kept = machine.files.file("/etc/hostname").unwrap_or_default();
    let kept = String::from_utf8_lossy(&kept);
    let kept = kept.trim();
    if Variable::Hostname.accepts(kept) {
        values.set(Variable::Hostname, kept.to_string(), "/etc/hostname");
    }
}

/// The network description beside the user-data.
fn network(found: &Found, failures: &mut Vec<String>, notes: &mut Vec<String>) -> network::Network {
    let Some(described) = &found.network else { return network::Network::default() };
    let name = described.format.name();
    let Ok(text) = std::str::from_utf8(&described.text) else {
        failures.push(format!("{name}: not UTF-8 text"));
        return network::Network::default();
    };
    let (network, findings) = network::parse(described.format, text);
    for finding in &findings {
        let line = finding.line(name);
        match has_errors(std::slice::from_ref(finding)) {
            true => failures.push(line),
            false => notes.push(line),
        }
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{MetaData, SourceName};

    /// A network that writes down what is said of it and asked for.
    #[derive(Default)]
    struct Written(Vec<String>);

    impl Outside for Written {
        fn lease(&mut self, _: bool, _: bool) -> Result<Option<Lease>, String> {
            Ok(None)
        }

        fn know(&mut self, network: &network::Network) {
            let addresses = network.static_addresses();
            self.0.extend(addresses.iter().map(|address| format!("know {}", address.ip)));
        }

        fn get(&mut self, wanted: &Wanted) -> Result<Vec<u8>, String> {
            self.0.push(format!("get {}", wanted.url));
            Ok(b"#cloud-config\nhostname: fetched\n".to_vec())
        }

        fn download(&mut self, wanted: &Wanted, _: &File) -> Result<(), String> {
            self.get(wanted).map(drop)
        }
    }

    #[test]
    fn the_network_that_a_part_describes_is_known_before_another_is_fetched() {
        let message = b"Content-Type: multipart/mixed; boundary=b
MIME-Version: 1.0

--b
Content-Type: text/x-include-url

https://10.9.0.1/more

--b
Content-Type: text/cloud-config

#cloud-config
network: {version: 2, ethernets: {eth0: {addresses: [10.9.0.5/24]}}}

--b--
";
        let user_data = message.to_vec();
        let found = Found {
            source: SourceName::File,
            place: "test".to_string(),
            name: "test".to_string(),
            user_data,
            meta_data: MetaData::default(),
            network: None,
            notes: Vec::new(),
        };
        let root = tempfile::tempdir().unwrap();
        let machine = Machine {
            files: &root.path(),
            keep: None,
            images: None,
            overrides: &BTreeMap::new(),
            fixed: &[],
            machine_id: "0123456789abcdef0123456789abcdef",
        };
        let mut outside = Written::default();
        let reading = Reading::new(&found, &machine, &mut outside);
        assert_eq!(reading.failures, <[String; 0]>::default());
        let begin = outside.0.get(..2).unwrap_or(&outside.0);
        assert_eq!(begin, ["know 10.9.0.5", "get https://10.9.0.1/more"]);
        assert_eq!(reading.config.hostname.unwrap().value, "fetched");
    }
}
