//! The certificate authorities that the system trusts, as update-ca-certificates(8) sets them up:
//! a link for each, the links that OpenSSL looks them up by, and all of them in one file.

use super::x509::subject_hash;
use super::{ConfigureError, put, text};
use crate::tree::{Kind, Node, Tree};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

const AUTHORITIES: &str = "usr/share/ca-certificates";
const DIRECTORY: &str = "etc/ssl/certs";
const LIST: &str = "etc/ca-certificates.conf";
const HEAD: &str = "# The certificate authorities that are trusted: files below /usr/share/ca-certificates.\n\
                    # A line that begins with ! names one that is not.\n";

/// Trusts every authority of the packages.
pub(super) fn write(tree: &mut Tree) -> Result<(), ConfigureError> {
    let prefix = format!("{AUTHORITIES}/");
    let names: Vec<String> = tree
        .below(AUTHORITIES)
        .filter(|(path, node)| path.ends_with(".crt") && matches!(node.kind, Kind::File(_)))
        .map(|(path, _)| path[prefix.len()..].to_owned())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut bundle = String::new();
    let mut by_hash: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for name in &names {
        let path = format!("{AUTHORITIES}/{name}");
        let certificate = text(tree, &path)?;
        bundle += certificate.trim_end_matches('\n');
        bundle.push('\n');
        let link = link_name(name);
        let hash = decode(&certificate).and_then(|der| subject_hash(&der));
        let hash = hash.ok_or_else(|| ConfigureError::Malformed {
            path: path.clone(),
            reason: "it is no certificate".to_owned(),
        })?;
        by_hash.entry(hash).or_default().push(link.clone());
        tree.insert(&format!("{DIRECTORY}/{link}"), Node::symlink(format!("/{path}")))?;
    }
    for (hash, links) in &by_hash {
        for (number, link) in links.iter().enumerate() {
            tree.insert(&format!("{DIRECTORY}/{hash:08x}.{number}"), Node::symlink(link))?;
        }
    }
    put(tree, &format!("{DIRECTORY}/ca-certificates.crt"), bundle)?;
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    put(tree, LIST, format!("{HEAD}{list}"))
}

/// The name that a certificate's link has.
fn link_name(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".crt");
    let letter = |letter| match letter {
        ' ' | ',' => '_',
        '(' | ')' => '=',
        letter => letter,
    };
    format!("{}.pem", file.chars().map(letter).collect::<String>())
}

/// The DER in a PEM text.
fn decode(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (base64, _) = rest.split_once("-----END CERTIFICATE-----")?;
    STANDARD.decode(base64.split_whitespace().collect::<String>()).ok()
}
