//! Discs that carry a machine's configuration, for platforms that have no
//! other way to hand it over.
//!
//! [`Sources`] → [`check`] (every mistake told) → [`files`] (the layout) →
//! [`image`] (ISO 9660 with Rock Ridge and Joliet names)
//!
//! Two layouts are known by their label: OpenStack's config drive and
//! cloud-init's NoCloud. The same sources give the same bytes.

use std::collections::BTreeMap;

use cloud_config::network::{self, Format};
use cloud_config::{Bundle, Finding, Severity, Values};
use disk::guid::Guid;
use hadris_fs::{Content, Node, PathError, Tree};
use hadris_iso::{IsoId, IsoOptions};
use hadris_storage::{BlockSize, MemDevice};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Bytes of a sector of the disc.
const SECTOR: u32 = 2048;

/// The layout of a disc, known by its volume label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Label {
    /// OpenStack's config drive.
    #[default]
    #[value(name = "config-2")]
    Config2,
    /// cloud-init's NoCloud.
    Cidata,
}

/// What goes on a disc, as it was given.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The cloud-config or script.
    pub user_data: &'a [u8],
    /// What the platform would say of the machine.
    pub meta_data: Option<&'a [u8]>,
    /// The network in netplan's language, version 2.
    pub network_config: Option<&'a [u8]>,
}

/// What is wrong, or doubtful, in one of the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The source.
    pub part: Part,
    /// What and where.
    pub finding: Finding,
    /// The text that the finding points into.
    pub text: String,
}

/// One of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// [`Sources::user_data`].
    UserData,
    /// [`Sources::meta_data`].
    MetaData,
    /// [`Sources::network_config`].
    NetworkConfig,
}

/// Why there is no disc.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system cannot be laid out or written.
    #[error("cannot write the file system of the disc")]
    Write(#[source] PathError),
}

/// Everything that a machine would complain about, in the order of the
/// sources; the disc is refused if one of them is an
/// error.
pub fn check(label: Label, sources: &Sources<'_>) -> Vec<Complaint> {
    let mut complaints = check_user_data(sources.user_data);
    if let (Label::Config2, Some(bytes)) = (label, sources.meta_data) {
        complaints.extend(check_json(bytes));
    }
    if let Some(bytes) = sources.network_config {
        complaints.extend(check_network(bytes));
    }
    complaints
}

impl Complaint {
    /// Whether it forbids the disc.
    pub fn is_error(&self) -> bool {
        self.finding.severity == Severity::Error
    }
}

fn check_user_data(bytes: &[u8]) -> Vec<Complaint> {
    let bundle = Bundle::local("user-data", bytes);
    let (_, mut findings) = bundle.decode(&Values::Unknown);
    if bundle.is_empty() {
        let message = "there is nothing in it: the machine will not be provisioned";
        findings.push(Finding::warning(Default::default(), message));
    }
    let complaint = |finding: Finding| {
        let text = bundle.text_of(&finding).to_owned();
        Complaint { part: Part::UserData, finding, text }
    };
    findings.into_iter().map(complaint).collect()
}

/// A config drive's meta data are JSON.
fn check_json(bytes: &[u8]) -> Option<Complaint> {
    let error = serde_json::from_slice::<serde_json::Value>(bytes).err()?;
    let mut span = cloud_config::Span::default();
    (span.start.line, span.start.column) = (error.line().max(1), error.column().max(1));
    span.end = span.start;
    let message = "a config drive's meta data must be JSON";
    let finding = Finding::error(span, message).with_hint(error.to_string());
    let text = String::from_utf8_lossy(bytes).into_owned();
    Some(Complaint { part: Part::MetaData, finding, text })
}

fn check_network(bytes: &[u8]) -> Vec<Complaint> {
    let complaint = |finding, text: &str| Complaint {
        part: Part::NetworkConfig,
        finding,
        text: text.to_owned(),
    };
    let Ok(text) = str::from_utf8(bytes) else {
        return vec![complaint(Finding::error(Default::default(), "it is not UTF-8"), "")];
    };
    let (_, findings) = network::parse(Format::NetworkConfig, text);
    findings.into_iter().map(|finding| complaint(finding, text)).collect()
}

/// The files of a disc by path.
pub fn files(label: Label, sources: &Sources<'_>) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut put = |path: &str, bytes: &[u8]| {
        files.insert(path.to_owned(), bytes.to_vec());
    };
    let id = instance(sources);
    match label {
        Label::Config2 => {
            put("openstack/latest/user_data", sources.user_data);
            let generated = format!("{}\n", json!({ "uuid": id.to_string() }));
            let meta_data = sources.meta_data.unwrap_or(generated.as_bytes());
            put("openstack/latest/meta_data.json", meta_data);
        }
        Label::Cidata => {
            put("user-data", sources.user_data);
            let generated = format!("instance-id: {id}\n");
            put("meta-data", sources.meta_data.unwrap_or(generated.as_bytes()));
        }
    }
    if let Some(bytes) = sources.network_config {
        put("network-config", bytes);
    }
    files
}

/// Names the machine that the sources make: other sources, another name.
fn instance(sources: &Sources<'_>) -> Guid {
    let mut hasher = Sha256::new();
    for part in [Some(sources.user_data), sources.network_config].into_iter().flatten() {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Guid::derive(&hasher.finalize(), "instance")
}

/// Writes the disc.
pub fn image(label: Label, sources: &Sources<'_>) -> Result<Vec<u8>, Error> {
    let mut tree = Tree::new();
    for (path, bytes) in files(label, sources) {
        tree.insert(path, Node::file(Content::bytes(bytes))).map_err(Error::Write)?;
    }
    let volume = match label {
        Label::Config2 => "config-2",
        Label::Cidata => "cidata",
    };
    let options = IsoOptions::new()
        .with_id(IsoId::Volume, volume)
        .with_id(IsoId::Application, "")
        .with_joliet()
        .with_rock_ridge();
    let size = hadris_iso::plan(&tree, &options).map_err(Error::Write)?.size();
    let sector = BlockSize::new(SECTOR).expect("not zero");
    let mut disc = MemDevice::new(vec![0_u8; size as usize], sector);
    hadris_iso::sync::write(&mut disc, &tree, &options).map_err(Error::Write)?;
    Ok(disc.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::disc;
    use std::io::Cursor;
    use std::process::Command;

    const GOOD: Sources<'_> = Sources {
        user_data: b"#cloud-config\nhostname: one\n",
        meta_data: None,
        network_config: Some(b"version: 2\nethernets:\n  eth0:\n    dhcp4: true\n"),
    };

    fn messages(label: Label, sources: &Sources<'_>) -> Vec<String> {
        check(label, sources).iter().map(|complaint| complaint.finding.line("source")).collect()
    }

    fn refused(label: Label, sources: &Sources<'_>) -> bool {
        check(label, sources).iter().any(Complaint::is_error)
    }

    #[test]
    fn what_a_machine_would_refuse_is_refused() {
        let user_data = |user_data| Sources { user_data, ..GOOD };
        let meta_data = |meta_data| Sources { meta_data: Some(meta_data), ..GOOD };
        for (sources, label, refuse) in [
            (GOOD, Label::Config2, false),
            (user_data(b"#!/bin/sh\ntrue\n"), Label::Config2, false),
            (user_data(b"#cloud-config\nhostname: [\n"), Label::Config2, true),
            (user_data(b"\x7fELF\x02\x01\x01\0\0\xff\xfe"), Label::Config2, true),
            (user_data(&vec![b'#'; 10 << 20]), Label::Config2, true),
            (meta_data(b"{\"uuid\": 1}"), Label::Config2, false),
            (meta_data(b"uuid: 1"), Label::Config2, true),
            (meta_data(b"instance-id: 1"), Label::Cidata, false),
            (Sources { network_config: Some(b"\xff"), ..GOOD }, Label::Cidata, true),
        ] {
            let found = messages(label, &sources);
            assert_eq!(refused(label, &sources), refuse, "{found:?}");
        }
    }

    #[test]
    fn nothing_at_all_is_doubtful_but_passes() {
        let sources = Sources { user_data: b"", ..GOOD };
        assert!(!refused(Label::Config2, &sources));
        assert_eq!(messages(Label::Config2, &sources).len(), 1);
    }

    #[test]
    fn each_label_has_its_own_layout() {
        let names = |label| files(label, &GOOD).into_keys().collect::<Vec<_>>();
        assert_eq!(
            names(Label::Config2),
            ["network-config", "openstack/latest/meta_data.json", "openstack/latest/user_data"]
        );
        assert_eq!(names(Label::Cidata), ["meta-data", "network-config", "user-data"]);
    }

    #[test]
    fn generated_meta_data_name_the_machine_by_its_sources() {
        let meta = |sources: &Sources<'_>| files(Label::Cidata, sources)["meta-data"].clone();
        let other = Sources { user_data: b"#cloud-config\nhostname: two\n", ..GOOD };
        assert_eq!(meta(&GOOD), meta(&GOOD));
        assert_ne!(meta(&GOOD), meta(&other));
        let drive = &files(Label::Config2, &GOOD)["openstack/latest/meta_data.json"];
        let value: serde_json::Value = serde_json::from_slice(drive).expect("JSON");
        assert_eq!(value["uuid"].as_str().map(str::len), Some(36));
    }

    #[test]
    fn the_disc_reads_back_and_twice_is_the_same() {
        for (label, volume) in [(Label::Config2, "config-2"), (Label::Cidata, "cidata")] {
            let bytes = image(label, &GOOD).expect("written");
            assert_eq!(bytes, image(label, &GOOD).expect("written"));
            let mut disc = disc::open(Cursor::new(bytes)).expect("a disc");
            assert_eq!(disc.label(), volume);
            for (path, content) in files(label, &GOOD) {
                let read = disc.read(&path, 1 << 20).expect("readable");
                assert_eq!(read.as_ref(), Some(&content), "{path}");
            }
        }
    }

    #[test]
    fn xorriso_reads_the_long_names_of_both_kinds() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let iso = directory.path().join("disc.iso");
        std::fs::write(&iso, image(Label::Config2, &GOOD).expect("written")).expect("written");
        for kind in ["norock", "any"] {
            let out = directory.path().join(kind);
            let mut command = Command::new("xorriso");
            command.args(["-read_fs", kind, "-osirrox", "on", "-indev"]).arg(&iso);
            let output = command.args(["-extract", "/"]).arg(&out).output().expect("xorriso");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{kind}: {error}");
            for (path, content) in files(Label::Config2, &GOOD) {
                assert_eq!(std::fs::read(out.join(&path)).expect(&path), content, "{kind} {path}");
            }
        }
    }
}
