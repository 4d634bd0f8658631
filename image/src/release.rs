//! What a release is made of, told to machines: the JSON manifest beside its
//! parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the manifest's own format.
pub const FORMAT: u32 = 1;

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// The system.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The channel it was built for.
    pub channel: String,
    /// The kernel's version.
    pub kernel: String,
    /// The kernel command line, root hash included.
    pub cmdline: String,
    /// The hash that every block of the root is checked against.
    pub root_hash: String,
    /// The files of the release.
    pub parts: Parts,
    /// Versions of the packages in the root, by name.
    pub packages: BTreeMap<String, String>,
}

/// The files of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// The root file system.
    pub root: Part,
    /// The verity tree over it.
    pub verity: Part,
    /// The unified kernel image.
    pub uki: Part,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name, beside the manifest.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256; none of the root, for which the root hash stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Release {
    /// The manifest as text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("maps with string keys");
        text.push('\n');
        text
    }
}

/// Names of the files that a build leaves, all in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The disk as a sparse file.
    pub raw: String,
    /// The disk for QEMU.
    pub qcow2: String,
    /// The root file system.
    pub root: String,
    /// The verity tree.
    pub verity: String,
    /// The unified kernel image.
    pub uki: String,
    /// The JSON manifest.
    pub manifest: String,
    /// The documents of [`crate::bill::Bill`].
    pub documents: [String; 4],
}

impl Names {
    /// The names of a version's files.
    pub fn new(version: &str) -> Names {
        let part = |kind: &str| format!("coreos_{version}.{kind}");
        Names {
            raw: "coreos.raw".to_owned(),
            qcow2: "coreos.qcow2".to_owned(),
            root: part("root"),
            verity: part("verity"),
            uki: part("efi"),
            manifest: part("manifest.json"),
            documents: ["packages.json", "spdx.json", "cdx.json", "licences.txt"].map(part),
        }
    }

    /// All of them, or all but the qcow2 image.
    pub fn all(&self, qcow2: bool) -> Vec<String> {
        let Names { raw, qcow2: qcow2_name, root, verity, uki, manifest, documents } = self.clone();
        let qcow2_name = qcow2.then_some(qcow2_name);
        let parts = [root, verity, uki, manifest].into_iter().chain(documents);
        [raw].into_iter().chain(qcow2_name).chain(parts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back() {
        let part =
            |file: &str| Part { file: file.to_owned(), size: 1, sha256: Some("ab".to_owned()) };
        let release = Release {
            format: FORMAT,
            id: "coreos".to_owned(),
            version: "1.2.3".to_owned(),
            channel: "alpha".to_owned(),
            kernel: "6.12.1".to_owned(),
            cmdline: "quiet roothash=ab".to_owned(),
            root_hash: "ab".to_owned(),
            parts: Parts { root: part("root"), verity: part("verity"), uki: part("uki") },
            packages: BTreeMap::from([("bash".to_owned(), "5.2".to_owned())]),
        };
        let text = release.to_json();
        assert_eq!(serde_json::from_str::<Release>(&text).expect("JSON"), release);
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn the_parts_of_a_version_carry_it_and_the_disks_do_not() {
        let names = Names::new("1.2.3");
        assert_eq!(
            names.all(true),
            [
                "coreos.raw",
                "coreos.qcow2",
                "coreos_1.2.3.root",
                "coreos_1.2.3.verity",
                "coreos_1.2.3.efi",
                "coreos_1.2.3.manifest.json",
                "coreos_1.2.3.packages.json",
                "coreos_1.2.3.spdx.json",
                "coreos_1.2.3.cdx.json",
                "coreos_1.2.3.licences.txt"
            ]
        );
        assert_eq!(names.all(false).len(), 9);
    }
}
