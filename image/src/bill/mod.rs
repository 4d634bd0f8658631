//! The bill of materials: which packages are in the image, under which licences, with which known
//! faults mended.
//!
//! ```text
//! package tree (records, copyright files, changelogs) → Bill ─┬─ packages.json   all of it
//!                                                             ├─ spdx.json       SPDX 2.3
//!                                                             ├─ cdx.json        CycloneDX 1.5
//!                                                             └─ licences.txt    for people
//! ```
//!
//! Read before the documentation is taken out of the tree. No scanner guesses: names and versions
//! are the package manager's own, licences are what the packages' copyright files say.

mod changelog;
mod cyclonedx;
mod licence;
mod spdx;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::configure::review::Scripts;
use crate::tree::Tree;

/// Where packages keep their documents.
const DOCUMENTS: &str = "usr/share/doc";
/// Where dpkg keeps its records.
const STATUS: &str = "var/lib/dpkg/status";
/// Version of the format of `packages.json`.
pub const FORMAT: u32 = 1;

/// What an image is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// The packages by name.
    pub packages: BTreeMap<String, Item>,
}

/// One package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The source package that it was built from.
    pub source: String,
    /// The version of that.
    pub source_version: String,
    /// Who looks after it.
    pub maintainer: String,
    /// Where it comes from, if it says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// What it is, in a line.
    pub description: String,
    /// What it takes when installed, in KiB; its own estimate.
    pub installed_size: u64,
    /// The licences that its copyright file names: SPDX's names, or `LicenseRef-` and Debian's.
    /// None if it names them in prose only.
    pub licences: BTreeSet<String>,
    /// The copyright file of another package that stands for its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_of: Option<String>,
    /// Whether its scripts have run: what they wrote is in no package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<Scripts>,
    /// Faults that a version mended, newest version first.
    pub fixes: Vec<Fixes>,
}

/// What a version mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixes {
    /// The version.
    pub version: String,
    /// Identifiers of the faults, `CVE-2026-1234`.
    pub cves: BTreeSet<String>,
}

/// What every document says of the image itself.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The system's identifier.
    pub id: &'a str,
    /// Its name for people.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The distribution's suite.
    pub suite: &'a str,
    /// The hash over its root, which tells this image from every other.
    pub root_hash: &'a str,
    /// The time of its newest file, in seconds since 1970: documents want a time, and the same
    /// image must have the same documents.
    pub epoch: u64,
}

impl Bill {
    /// Reads what a tree of installed packages says of them, before anything of it is removed.
    pub fn of_tree(tree: &Tree) -> std::io::Result<Bill> {
        let status = tree.read_file(STATUS)?.unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let mut bill = Bill { format: FORMAT, packages: BTreeMap::new() };
        for (name, mut item) in status.split("\n\n").filter_map(paragraph) {
            let directory = format!("{DOCUMENTS}/{name}");
            let real = tree.resolve(&directory).unwrap_or_else(|| directory.clone());
            item.documents_of = real
                .strip_prefix(&format!("{DOCUMENTS}/"))
                .filter(|other| *other != name)
                .map(str::to_owned);
            let read = |file: &str| tree.read_file(&format!("{real}/{file}"));
            if let Some(text) = read("copyright")? {
                item.licences = licence::named(&String::from_utf8_lossy(&text));
            }
            for file in ["changelog.Debian.gz", "changelog.gz"] {
                if let Some(bytes) = read(file)? {
                    item.fixes = changelog::fixes(&bytes);
                    break;
                }
            }
            bill.packages.insert(name, item);
        }
        Ok(bill)
    }

    /// Leaves only the packages of these names.
    #[must_use]
    pub fn only<'a>(mut self, names: impl Iterator<Item = &'a str>) -> Bill {
        let names: BTreeSet<&str> = names.collect();
        self.packages.retain(|name, _| names.contains(name.as_str()));
        self
    }

    /// All of it, as JSON.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("maps with string keys");
        text.push('\n');
        text
    }

    /// The documents by the end of their file names.
    pub fn documents(&self, subject: &Subject<'_>) -> Vec<(&'static str, String)> {
        vec![
            ("packages.json", self.to_json()),
            ("spdx.json", spdx::document(self, subject)),
            ("cdx.json", cyclonedx::document(self, subject)),
            ("licences.txt", self.licence_list(subject)),
        ]
    }

    /// The licences for people: each with the packages under it.
    fn licence_list(&self, subject: &Subject<'_>) -> String {
        let mut by_licence: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, item) in &self.packages {
            if item.licences.is_empty() {
                by_licence.entry("not named in a form that programs read").or_default().push(name);
            }
            for licence in &item.licences {
                by_licence.entry(licence).or_default().push(name);
            }
        }
        let Subject { name, version, suite, .. } = subject;
        let mut text = format!(
            "Licences of the packages in {name} {version}\n\n\
             The packages are Debian's, of the suite {suite}; a package stands under every licence\n\
             that its copyright file names. Texts that many share are in /usr/share/common-licenses\n\
             of the image; every package's own is at\n\
             https://metadata.ftp-master.debian.org/changelogs/.\n"
        );
        for (licence, packages) in by_licence {
            text.push_str(&format!("\n{licence}\n"));
            for line in wrapped(&packages) {
                text.push_str(&format!("    {line}\n"));
            }
        }
        text
    }
}

/// Names in lines of at most 90 characters.
fn wrapped(names: &[&str]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for name in names {
        let last = lines.last_mut().expect("one at least");
        if !last.is_empty() && last.len() + name.len() > 88 {
            lines.push((*name).to_owned());
        } else {
            let between = if last.is_empty() { "" } else { ", " };
            last.push_str(&format!("{between}{name}"));
        }
    }
    lines
}

/// A package of the status file; none if it is not installed.
fn paragraph(text: &str) -> Option<(String, Item)> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    if !field("Status")?.ends_with(" installed") {
        return None;
    }
    let (name, version) = (field("Package")?.to_owned(), field("Version")?.to_owned());
    let own = |name: &str| field(name).unwrap_or_default().to_owned();
    // `Source: name (version)`, if either differs.
    let source = field("Source").unwrap_or(&name);
    let (source, source_version) = match source.split_once(" (") {
        Some((source, version)) => (source, version.trim_end_matches(')')),
        None => (source, version.as_str()),
    };
    let item = Item {
        architecture: own("Architecture"),
        source: source.to_owned(),
        source_version: source_version.to_owned(),
        maintainer: own("Maintainer"),
        homepage: own("Homepage"),
        description: own("Description"),
        installed_size: field("Installed-Size").and_then(|size| size.parse().ok()).unwrap_or(0),
        version,
        ..Item::default()
    };
    Some((name, item))
}

/// The package's address, as SPDX and CycloneDX know it.
fn purl(name: &str, item: &Item, suite: &str) -> String {
    // The specification escapes what a version may have and an address may not.
    let escape = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect::<String>()
    };
    let (version, architecture) = (escape(&item.version), &item.architecture);
    format!("pkg:deb/debian/{}@{version}?arch={architecture}&distro={suite}", escape(name))
}

/// A time as ISO 8601 writes it.
fn time(since_1970: u64) -> String {
    let time = der::DateTime::from_unix_duration(std::time::Duration::from_secs(since_1970));
    time.map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    /// A tree of two packages, one with its documents in the other's.
    pub(super) fn bill() -> Bill {
        let mut tree = Tree::new();
        let status = "Package: tool\nStatus: install ok installed\nVersion: 1:2.0+b1-3\n\
                      Source: tools (1:2.0-3)\nArchitecture: amd64\nMaintainer: A <a@b.org>\n\
                      Homepage: https://tool.org\nInstalled-Size: 77\nDescription: does & \"is\"\n\
                      \u{20}more\n\n\
                      Package: libtool1\nStatus: install ok installed\nVersion: 2.0-3\n\
                      Architecture: amd64\nMaintainer: A <a@b.org>\nDescription: library\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n";
        let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
                         \nFiles: *\nLicense: GPL-2+\n\nFiles: x\nLicense: Odd-Thing\n text\n";
        let changelog = "tool (2) stable; urgency=high\n\n  * Fix CVE-2026-1 and CVE-2026-22.\n\n \
                         -- A <a@b.org>  Thu, 26 Nov 2026 10:00:00 +0000\n";
        for (path, content) in [
            ("var/lib/dpkg/status", status),
            ("usr/share/doc/libtool1/copyright", copyright),
            ("usr/share/doc/libtool1/changelog.gz", changelog),
        ] {
            tree.insert(path, Node::file(0o644, content)).expect("a good path");
        }
        tree.insert("usr/share/doc/tool", Node::symlink("libtool1")).expect("a good path");
        Bill::of_tree(&tree).expect("readable")
    }

    pub(super) const SUBJECT: Subject<'_> = Subject {
        id: "coreos-rs",
        name: "CoreOS-rs",
        version: "1.2.3",
        suite: "trixie",
        root_hash: "abcd",
        epoch: 1_764_153_599,
    };

    #[test]
    fn a_package_is_what_its_records_say() {
        let bill = bill();
        assert_eq!(bill.packages.keys().collect::<Vec<_>>(), ["libtool1", "tool"]);
        let tool = &bill.packages["tool"];
        assert_eq!((tool.source.as_str(), tool.source_version.as_str()), ("tools", "1:2.0-3"));
        assert_eq!(bill.packages["libtool1"].source, "libtool1");
        assert_eq!(tool.documents_of.as_deref(), Some("libtool1"));
        let licences: Vec<&str> = tool.licences.iter().map(String::as_str).collect();
        assert_eq!(licences, ["GPL-2.0-or-later", "LicenseRef-Odd-Thing"]);
        assert_eq!(tool.fixes[0].cves.len(), 2);
        assert_eq!(
            purl("tool", tool, "trixie"),
            "pkg:deb/debian/tool@1%3A2.0%2Bb1-3?arch=amd64&distro=trixie"
        );
        let read: Bill = serde_json::from_str(&bill.to_json()).expect("JSON");
        assert_eq!(read, bill);
        assert_eq!(bill.only(["tool"].into_iter()).packages.len(), 1);
    }

    #[test]
    fn the_list_of_licences_names_every_package() {
        let documents = bill().documents(&SUBJECT);
        let (_, text) = documents.iter().find(|(name, _)| *name == "licences.txt").expect("there");
        assert!(text.contains("\nGPL-2.0-or-later\n    libtool1, tool\n"), "{text}");
        assert!(text.lines().all(|line| line.len() < 100), "{text}");
    }
}
