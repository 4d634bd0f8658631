//! What the tests say again and again.

use std::collections::BTreeMap;

use cloud_config::{Config, Document, Finding, Values, Variable};

/// A public key that sshd takes.
pub(crate) const KEY: &str = "ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIEGFdxloldP/ZFimlxshES32W3YKPkXg/voI6YeRXE31 core@example";

pub(crate) fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Decodes where no addresses are known.
pub(crate) fn decode(text: &str) -> (Config, Vec<Finding>) {
    Document::parse(text).decode(&Values::Unknown)
}

/// What a text says, if nothing is wrong with it.
#[track_caller]
pub(crate) fn config(text: &str) -> Config {
    let (config, findings) = decode(text);
    assert_eq!(findings, [], "{text}");
    config
}

/// Every finding in a line of its own, without the name of the source.
pub(crate) fn findings(text: &str) -> Vec<String> {
    lines(&decode(text).1)
}

pub(crate) fn lines(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| finding.line("").trim_start_matches(':').to_owned();
    findings.iter().map(line).collect()
}

/// The addresses of a machine.
pub(crate) fn addresses() -> BTreeMap<Variable, String> {
    BTreeMap::from([
        (Variable::PrivateIpv4, "10.0.0.5".to_owned()),
        (Variable::PublicIpv4, "203.0.113.5".to_owned()),
        (Variable::PrivateIpv6, "fd00::5".to_owned()),
        (Variable::PublicIpv6, "2001:db8::5".to_owned()),
    ])
}
