//! Discs that carry a config into a machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::child;
use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// Writing a disc is a matter of milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// What kind of disc the machine finds, told by its volume label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Label {
    /// An OpenStack config drive.
    ConfigDrive,
    /// A NoCloud disc.
    NoCloud,
}

impl Label {
    /// The volume label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigDrive => "config-2",
            Self::NoCloud => "cidata",
        }
    }
}

/// What the platform says of a machine beside its config.
#[derive(Clone, Debug, Default)]
pub struct MetaData {
    /// The host name of a machine whose config has none.
    pub hostname: Option<String>,
    /// A key that may log in beside those of the config.
    pub public_key: Option<String>,
}

impl MetaData {
    /// As a file that both kinds of disc take: JSON is YAML too, and both
    /// spellings of each name are given.
    fn to_json(&self, instance: &str) -> String {
        let keys = self.public_key.iter().map(|key| ("machine".to_owned(), json!(key)));
        let keys: serde_json::Map<_, _> = keys.collect();
        let mut data = json!({ "uuid": instance, "instance-id": instance });
        if let Some(hostname) = &self.hostname {
            data["hostname"] = json!(hostname);
            data["local-hostname"] = json!(hostname);
        }
        if !keys.is_empty() {
            data["public_keys"] = json!(keys);
            data["public-keys"] = json!(keys);
        }
        data.to_string()
    }
}

/// Writes the disc `config.iso` into a machine's `folder` with the project's
/// own program, which refuses a config that a machine would refuse.
pub fn write(
    workspace: &Workspace,
    folder: &Path,
    user_data: &Path,
    meta_data: &MetaData,
    label: Label,
) -> Result<PathBuf> {
    if let Err(source) = fs::File::open(user_data) {
        return Err(Error::Config { path: user_data.to_owned(), source });
    }
    let program = workspace.program("image")?;
    let (disc, meta) = (folder.join("config.iso"), folder.join("meta-data.json"));
    let instance = folder.file_name().unwrap_or_default().to_string_lossy();
    fs::write(&meta, meta_data.to_json(&instance)).map_err(Error::file("write", &meta))?;
    let mut command = Command::new(program);
    command.arg("config-iso").arg("--user-data").arg(user_data).arg("--meta-data").arg(&meta);
    command.args(["--label", label.as_str(), "--output"]).arg(&disc);
    match child::output(command, LIMIT)? {
        output if output.status.success() => Ok(disc),
        output => Err(Error::Refused {
            path: user_data.to_owned(),
            message: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_data_names_only_what_is_known() {
        let bare = MetaData::default().to_json("node");
        assert_eq!(bare, r#"{"instance-id":"node","uuid":"node"}"#);
        let full = MetaData {
            hostname: Some("node1".into()),
            public_key: Some("ssh-ed25519 AAAA node".into()),
        };
        let full: serde_json::Value = serde_json::from_str(&full.to_json("node")).unwrap();
        assert_eq!(full["hostname"], full["local-hostname"]);
        assert_eq!(full["public_keys"]["machine"], "ssh-ed25519 AAAA node");
        assert_eq!(full["public_keys"], full["public-keys"]);
    }

    #[test]
    fn a_missing_config_or_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path(), None);
        let user_data = folder.path().join("user-data");
        let write = || {
            let meta_data = MetaData::default();
            write(&workspace, folder.path(), &user_data, &meta_data, Label::NoCloud).unwrap_err()
        };
        let error = write();
        assert!(error.is_usage() && error.to_string().contains("the config"), "{error}");
        fs::write(&user_data, "#cloud-config\n").unwrap();
        let error = write();
        assert!(error.is_usage() && error.to_string().contains("make image"), "{error}");
    }
}
