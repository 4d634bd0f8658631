//! Discs for many machines from one cloud-config: each with its own name and fixed address.
//!
//! nodes.toml + template → [`Nodes::parse`] → [`Rendered`] per node → [`config_iso::check`] → discs
//!
//! ```toml
//! template = "node.yaml"
//! gateway = "192.0.2.1"
//! dns = ["192.0.2.1"]
//!
//! [[node]]
//! hostname = "node1"
//! address = "192.0.2.11/24"
//! values = { role = "database" }
//! ```
//!
//! In the template `{{hostname}}`, `{{address}}` and the node's own values stand for what they are;
//! `$private_ipv4` is still put in by the machine, which knows the same address from its disc.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cloud_config::{Finding, Severity};
use serde::Deserialize;
use serde_json::json;

use crate::config_iso::{self, Label, Sources};

/// A file of nodes as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// The cloud-config, relative to this file.
    pub template: PathBuf,
    /// Layout of the discs: `config-2` or `cidata`.
    #[serde(default)]
    label: LabelName,
    /// For nodes that name none of their own.
    gateway: Option<IpAddr>,
    #[serde(default)]
    dns: Vec<IpAddr>,
    #[serde(default)]
    search: Vec<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(rename = "node")]
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum LabelName {
    #[default]
    #[serde(rename = "config-2")]
    Config2,
    #[serde(rename = "cidata")]
    Cidata,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    hostname: String,
    address: String,
    gateway: Option<IpAddr>,
    dns: Option<Vec<IpAddr>>,
    search: Option<Vec<String>>,
    /// Name of the network card, or a pattern.
    interface: Option<String>,
    /// Its hardware address, for a machine with more than one.
    mac: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
}

/// One machine's disc, before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its host name, which is also that of the disc.
    pub hostname: String,
    /// The cloud-config.
    pub user_data: String,
    /// The host name, as the platform would say it.
    pub meta_data: String,
    /// The fixed address, in netplan's language.
    pub network_config: String,
}

impl Nodes {
    /// Reads a file of nodes; a mistake is one line with its place. `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Nodes, String> {
        toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start.min(text.len()));
            let before = text.get(..offset).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
            let message = error.message().replace('\n', ", ");
            format!("{}:{line}:{column}: {message}", path.display())
        })
    }

    /// The layout of the discs.
    pub fn label(&self) -> Label {
        match self.label {
            LabelName::Config2 => Label::Config2,
            LabelName::Cidata => Label::Cidata,
        }
    }

    /// What each node's disc holds, or every mistake: in the nodes, in the template, and what a
    /// machine would refuse. Doubts come with the discs.
    pub fn render(&self, template: &str) -> Result<(Vec<Rendered>, Vec<String>), Vec<String>> {
        let mut mistakes = self.check();
        let mut doubts = Vec::new();
        let mut rendered = Vec::new();
        let name = self.template.display().to_string();
        for node in &self.nodes {
            let values = self.values_of(node);
            let user_data = match fill(template, &values) {
                Ok(text) => text,
                Err(found) => {
                    let told = found.iter().map(|mistake| format!("{name}:{mistake}"));
                    mistakes.extend(told.map(|line| format!("{}: {line}", node.hostname)));
                    continue;
                }
            };
            let one = Rendered {
                hostname: node.hostname.clone(),
                user_data,
                meta_data: self.meta_data(node),
                network_config: self.network_config(node),
            };
            for complaint in config_iso::check(self.label(), &one.sources()) {
                let part = match complaint.part {
                    config_iso::Part::UserData => name.as_str(),
                    config_iso::Part::MetaData => "meta-data",
                    config_iso::Part::NetworkConfig => "network-config",
                };
                let line = told(&node.hostname, &complaint.finding, part);
                match complaint.finding.severity {
                    Severity::Error => mistakes.push(line),
                    _ => doubts.push(line),
                }
            }
            rendered.push(one);
        }
        if mistakes.is_empty() { Ok((rendered, doubts)) } else { Err(mistakes) }
    }

    /// What is wrong with the nodes themselves.
    fn check(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        if self.nodes.is_empty() {
            mistakes.push("there is no [[node]]".to_owned());
        }
        for node in &self.nodes {
            let Node { hostname, address, .. } = node;
            let mut wrong = |what: String| mistakes.push(format!("{hostname}: {what}"));
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            if hostname.is_empty()
                || hostname.len() > 64
                || hostname.starts_with(['-', '.'])
                || !hostname.chars().all(plain)
            {
                wrong(format!("{hostname:?} is no host name"));
            }
            if !names.insert(hostname) {
                wrong("another node has this host name".to_owned());
            }
            let Some((own, prefix)) = split(address) else {
                wrong(format!("{address:?} is no address with a prefix, such as 192.0.2.11/24"));
                continue;
            };
            if !addresses.insert(own) {
                wrong(format!("another node has the address {own}"));
            }
            let gateway = node.gateway.or(self.gateway);
            if let Some(gateway) = gateway.filter(|gateway| !reaches(own, prefix, *gateway)) {
                wrong(format!("the gateway {gateway} is not in the network of {address}"));
            }
            if gateway == Some(own) {
                wrong("its address is the gateway's".to_owned());
            }
            if node.interface.is_some() && node.mac.is_some() {
                wrong("give interface or mac, not both".to_owned());
            }
        }
        mistakes
    }

    fn values_of(&self, node: &Node) -> BTreeMap<String, String> {
        let mut values = self.values.clone();
        values.extend(node.values.clone());
        values.insert("hostname".to_owned(), node.hostname.clone());
        let address = node.address.split('/').next().unwrap_or_default();
        values.insert("address".to_owned(), address.to_owned());
        values
    }

    /// JSON is YAML too, so one text serves both kinds of disc.
    fn meta_data(&self, node: &Node) -> String {
        let id = disk::guid::Guid::derive(node.address.as_bytes(), &node.hostname);
        let value = json!({
            "uuid": id.to_string(),
            "instance-id": id.to_string(),
            "hostname": node.hostname,
            "local-hostname": node.hostname,
        });
        format!("{value}\n")
    }

    fn network_config(&self, node: &Node) -> String {
        let mut card = match (&node.mac, &node.interface) {
            (Some(mac), _) => json!({ "match": { "macaddress": mac } }),
            (None, Some(name)) => json!({ "match": { "name": name } }),
            (None, None) => json!({ "match": { "name": "en*" } }),
        };
        card["addresses"] = json!([node.address]);
        if let Some(gateway) = node.gateway.or(self.gateway) {
            card["routes"] = json!([{ "to": "default", "via": gateway }]);
        }
        let servers = node.dns.as_ref().unwrap_or(&self.dns);
        let search = node.search.as_ref().unwrap_or(&self.search);
        if !servers.is_empty() || !search.is_empty() {
            card["nameservers"] = json!({ "addresses": servers, "search": search });
        }
        format!("{}\n", json!({ "version": 2, "ethernets": { "node": card } }))
    }
}

impl Rendered {
    /// The sources of its disc.
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            user_data: self.user_data.as_bytes(),
            meta_data: Some(self.meta_data.as_bytes()),
            network_config: Some(self.network_config.as_bytes()),
        }
    }
}

fn told(hostname: &str, finding: &Finding, part: &str) -> String {
    format!("{hostname}: {}", finding.line(part))
}

/// An address and the length of its network's prefix.
fn split(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (1..=longest).contains(&prefix).then_some((address, prefix))
}

/// Whether `other` is in the network of `own`.
fn reaches(own: IpAddr, prefix: u8, other: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let ((own, length), (other, other_length)) = (bits(own), bits(other));
    let shift = length - u32::from(prefix);
    length == other_length && own.checked_shr(shift) == other.checked_shr(shift)
}

/// Puts values in place of `{{name}}`; every unknown one is told with line and column.
fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String, Vec<String>> {
    let mut out = String::with_capacity(template.len());
    let mut mistakes = Vec::new();
    for (number, line) in template.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some(start) = rest.find("{{") {
            let column = line.len() - rest.len() + start;
            let column = line[..column].chars().count() + 1;
            let Some(length) = rest[start..].find("}}") else {
                mistakes.push(format!("{}:{column}: `{{{{` without `}}}}`", number + 1));
                break;
            };
            let name = rest[start + 2..start + length].trim();
            out.push_str(&rest[..start]);
            match values.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    let known: Vec<&str> = values.keys().map(String::as_str).collect();
                    let known = known.join(", ");
                    mistakes.push(format!(
                        "{}:{column}: no value for `{name}`, there are {known}",
                        number + 1
                    ));
                }
            }
            rest = &rest[start + length + 2..];
        }
        out.push_str(rest);
    }
    if mistakes.is_empty() { Ok(out) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "template = \"node.yaml\"\ngateway = \"192.0.2.1\"\ndns = [\"192.0.2.1\"]\n\
        values = { role = \"worker\" }\n\n\
        [[node]]\nhostname = \"node1\"\naddress = \"192.0.2.11/24\"\n\n\
        [[node]]\nhostname = \"node2\"\naddress = \"192.0.2.12/24\"\nmac = \"52:54:00:00:00:02\"\n\
        values = { role = \"database\" }\n";
    const TEMPLATE: &str = "#cloud-config\nhostname: {{hostname}}\ncoreos:\n  fleet:\n    metadata: \
        role={{ role }}\n    public-ip: $private_ipv4\n";

    fn render(nodes: &str, template: &str) -> Result<(Vec<Rendered>, Vec<String>), Vec<String>> {
        Nodes::parse(nodes, Path::new("nodes.toml")).map_err(|line| vec![line])?.render(template)
    }

    #[test]
    fn each_node_has_its_own_name_address_and_values() {
        let (nodes, doubts) = render(NODES, TEMPLATE).expect("good");
        assert_eq!(doubts, Vec::<String>::new());
        assert_eq!(nodes.len(), 2);
        assert!(nodes[0].user_data.contains("hostname: node1\n"));
        assert!(nodes[0].user_data.contains("role=worker\n"), "{}", nodes[0].user_data);
        assert!(nodes[1].user_data.contains("role=database\n"));
        assert!(nodes[1].user_data.contains("$private_ipv4"), "the machine puts it in");
        let network = &nodes[1].network_config;
        for part in ["192.0.2.12/24", "52:54:00:00:00:02", "\"via\":\"192.0.2.1\"", "addresses"] {
            assert!(network.contains(part), "{part} in {network}");
        }
        assert!(nodes[0].network_config.contains("\"name\":\"en*\""));
        assert!(nodes[0].meta_data.contains("\"hostname\":\"node1\""));
        assert_ne!(nodes[0].meta_data, nodes[1].meta_data);
    }

    #[test]
    fn every_mistake_is_told_with_the_node_it_is_of() {
        for (from, to, complaint) in [
            ("node2", "node1", "node1: another node has this host name"),
            ("192.0.2.12/24", "192.0.2.11/24", "node2: another node has the address 192.0.2.11"),
            ("192.0.2.12/24", "192.0.2.12", "node2: \"192.0.2.12\" is no address with a prefix"),
            (
                "192.0.2.12/24",
                "192.0.9.12/24",
                "node2: the gateway 192.0.2.1 is not in the network",
            ),
            ("192.0.2.12/24", "192.0.2.1/24", "node2: its address is the gateway's"),
            ("\"node2\"", "\"node 2\"", "node 2: \"node 2\" is no host name"),
            ("gateway =", "gatway =", "nodes.toml:2:1: unknown field `gatway`"),
            ("mac = ", "interface = \"eth0\"\nmac = ", "node2: give interface or mac"),
            ("52:54:00:00:00:02", "52:54", "node2: network-config:"),
        ] {
            assert!(NODES.contains(from), "{from}");
            let mistakes = render(&NODES.replacen(from, to, 1), TEMPLATE).expect_err(to);
            assert!(mistakes.iter().any(|line| line.starts_with(complaint)), "{to}: {mistakes:?}");
        }
        let mistakes =
            render(NODES, "#cloud-config\nhostname: {{host}}\nx: {{ y\n").expect_err("two");
        assert!(
            mistakes[0].starts_with("node1: node.yaml:2:11: no value for `host`"),
            "{mistakes:?}"
        );
        assert!(mistakes[1].starts_with("node1: node.yaml:3:4: `{{` without"), "{mistakes:?}");
        let mistakes = render(NODES, "#cloud-config\nhostname: [\n").expect_err("refused");
        assert!(mistakes[0].starts_with("node1: node.yaml:"), "{mistakes:?}");
    }
}
