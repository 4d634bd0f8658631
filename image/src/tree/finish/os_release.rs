//! Says which system and version this is.

use super::{FinishError, text};
use crate::manifest::{Manifest, Version};
use crate::tree::{Node, Tree};

const PATH: &str = "usr/lib/os-release";
const LINK: &str = "etc/os-release";

/// Writes os-release in place of Debian's, and the link to it.
pub(super) fn write(
    tree: &mut Tree,
    manifest: &Manifest,
    version: &Version,
) -> Result<(), FinishError> {
    tree.remove(LINK);
    text::write(tree, PATH, os_release(manifest, version))?;
    tree.insert(LINK, Node::symlink(text::relative(LINK, PATH)))?;
    Ok(())
}

/// The text of os-release(5).
fn os_release(manifest: &Manifest, version: &Version) -> String {
    let Manifest { id, name, channel, .. } = manifest;
    let pretty = format!("{name} {version} ({channel})");
    [
        ("NAME", name.as_str()),
        ("ID", id.as_str()),
        ("ID_LIKE", "debian"),
        ("PRETTY_NAME", &pretty),
        ("VERSION", version.as_str()),
        ("VERSION_ID", version.as_str()),
        ("IMAGE_ID", id.as_str()),
        ("IMAGE_VERSION", version.as_str()),
        ("CHANNEL", channel.as_str()),
        // What system extensions that are for every version are compared with.
        ("SYSEXT_LEVEL", "1"),
    ]
    .map(|(key, value)| format!("{key}={}\n", quote(value)))
    .concat()
}

/// A value as a shell reads it back.
fn quote(value: &str) -> String {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "._-~".contains(c)) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for letter in value.chars().filter(|letter| !letter.is_control()) {
        if "\"$`\\".contains(letter) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn it_replaces_debian_s() {
        let manifest = include_str!("../../../coreos.toml");
        let manifest = Manifest::parse(manifest, Path::new("coreos.toml")).unwrap();
        let mut tree = Tree::new();
        tree.insert("etc/os-release", Node::symlink("../usr/lib/os-release")).unwrap();
        tree.insert("usr/lib/os-release", Node::file(0o644, "ID=debian\n")).unwrap();
        write(&mut tree, &manifest, &"1.2.3".parse().unwrap()).unwrap();
        assert_eq!(
            text::read(&tree, "etc/os-release").unwrap(),
            "NAME=CoreOS-rs\nID=coreos-rs\nID_LIKE=debian\n\
             PRETTY_NAME=\"CoreOS-rs 1.2.3 (alpha)\"\nVERSION=1.2.3\nVERSION_ID=1.2.3\n\
             IMAGE_ID=coreos-rs\nIMAGE_VERSION=1.2.3\nCHANNEL=alpha\nSYSEXT_LEVEL=1\n"
        );
    }

    #[test]
    fn odd_names_are_quoted() {
        assert_eq!(quote("a\"b$c`d\\e\nf"), r#""a\"b\$c\`d\\ef""#);
    }
}
