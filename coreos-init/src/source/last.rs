//! The last configuration that worked, kept on the state.
//!
//! One file, so that user-data, meta-data and network configuration are always of the same boot.
//! It holds secrets as the configuration may: only root reads it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cloud_config::network::Format;
use host::error::chain;
use serde::{Deserialize, Serialize};

use super::{Found, Glance, MetaData, NetworkDescription, Places, SourceName, Survey};
use crate::stored::Bytes;

/// The directory, below the state.
const DIRECTORY: &str = "var/lib/coreos-init/last";
/// The file in it.
const FILE: &str = "configuration.json";
/// The version of the file's form.
const VERSION: u32 = 1;

/// The last configuration could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LastError {
    /// The file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what [`save_last`] writes.
    #[error("{path} is damaged", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// The directory cannot be made.
    #[error("cannot create {path}", path = path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] host::durable::WriteError),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    source: SourceName,
    place: String,
    name: String,
    user_data: Bytes,
    meta_data: MetaData,
    network_config: Option<Bytes>,
    /// The language of `network_config`; not there in what earlier versions wrote.
    #[serde(default)]
    network_format: Option<String>,
}

/// Keeps `found` as the configuration that this machine falls back to. One that is kept already
/// is not written again. `state` is the directory of [`Places::state`].
pub fn save_last(state: &Path, found: &Found) -> Result<(), LastError> {
    if found.source == SourceName::Last {
        return Ok(());
    }
    let directory = state.join(DIRECTORY);
    let path = directory.join(FILE);
    let text = encode(found).map_err(|source| LastError::Damaged { path: path.clone(), source })?;
    if fs::read(&path).is_ok_and(|kept| kept == text) {
        return Ok(());
    }
    let failed = |source| LastError::Create { path: directory.clone(), source };
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => fs::set_permissions(&directory, Permissions::from_mode(0o700)).map_err(failed)?,
    }
    Ok(host::durable::write(&path, &text, 0o600)?)
}

/// The configuration that is kept under `state`, if one is.
pub fn load_last(state: &Path) -> Result<Option<Found>, LastError> {
    let found = load(&state.join(DIRECTORY).join(FILE))?;
    Ok(found.map(|found| Found {
        source: SourceName::Last,
        place: format!("/{DIRECTORY} (once {})", found.place),
        ..found
    }))
}

/// Writes a configuration as it was found into a file of its own, for root alone.
pub fn store(path: &Path, found: &Found) -> Result<(), LastError> {
    let damaged = |source| LastError::Damaged { path: path.to_owned(), source };
    Ok(host::durable::write(path, &encode(found).map_err(damaged)?, 0o600)?)
}

/// Reads what [`store`] wrote; none where there is no such file.
pub fn load(path: &Path) -> Result<Option<Found>, LastError> {
    let path = path.to_owned();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LastError::Read { path, source }),
    };
    match decode(&text) {
        Ok(found) => Ok(Some(found)),
        Err(source) => Err(LastError::Damaged { path, source }),
    }
}

fn encode(found: &Found) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(&Stored {
        version: VERSION,
        source: found.source,
        place: found.place.clone(),
        name: found.name.clone(),
        user_data: Bytes::new(&found.user_data),
        meta_data: found.meta_data.clone(),
        network_config: found.network.as_ref().map(|network| Bytes::new(&network.text)),
        network_format: found.network.as_ref().map(|network| network.format.name().to_owned()),
    })?;
    text.push(b'\n');
    Ok(text)
}

fn decode(text: &[u8]) -> Result<Found, serde_json::Error> {
    let stored: Stored = serde_json::from_slice(text)?;
    if stored.version != VERSION {
        let message = format!("version {} is not known here", stored.version);
        return Err(serde::de::Error::custom(message));
    }
    let format = match &stored.network_format {
        None => Format::NetworkConfig,
        Some(name) => Format::from_name(name).ok_or_else(|| {
            let message = format!("network descriptions of {name} are not known here");
            <serde_json::Error as serde::de::Error>::custom(message)
        })?,
    };
    let network = stored.network_config.map(|bytes| bytes.to_vec());
    Ok(Found {
        source: stored.source,
        place: stored.place,
        name: stored.name,
        user_data: stored.user_data.to_vec(),
        meta_data: stored.meta_data,
        network: network.map(|text| NetworkDescription { format, text }),
        notes: Vec::new(),
    })
}

pub(super) fn look(places: &Places, survey: &mut Survey) {
    let start = Instant::now();
    let glance = match load_last(&places.state) {
        Ok(Some(found)) => Glance::Holds(Box::new(found)),
        Ok(None) => Glance::Absent,
        Err(error) => Glance::Failed(chain(&error)),
    };
    survey.note(SourceName::Last, format!("/{DIRECTORY}"), start, glance);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn found() -> Found {
        Found {
            source: SourceName::Disc,
            place: "/dev/sr0 (config-2): openstack/latest/user_data".to_owned(),
            name: "user-data".to_owned(),
            user_data: b"#cloud-config\nhostname: a\n".to_vec(),
            meta_data: MetaData {
                hostname: Some("b".to_owned()),
                public_keys: vec!["ssh-ed25519 AAAA".to_owned()],
                public_ipv4: Some([192, 0, 2, 1].into()),
                ..MetaData::default()
            },
            network: None,
            notes: vec!["not kept".to_owned()],
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_says_where_it_once_was() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(load_last(state.path()).unwrap(), None);
        let binary = vec![0x1f, 0x8b, 0xff, 0x00];
        for (user_data, network) in [
            (found().user_data, None),
            (binary.clone(), Some((Format::OpenStack, binary))),
            (Vec::new(), Some((Format::NetworkConfig, Vec::new()))),
        ] {
            let network = network.map(|(format, text)| NetworkDescription { format, text });
            let found = Found { user_data, network, ..found() };
            save_last(state.path(), &found).unwrap();
            let expected = Found {
                source: SourceName::Last,
                place: format!("/var/lib/coreos-init/last (once {})", found.place),
                notes: Vec::new(),
                ..found
            };
            assert_eq!(load_last(state.path()).unwrap(), Some(expected));
        }
    }

    #[test]
    fn only_root_can_read_it_and_nothing_is_written_twice() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join(DIRECTORY);
        save_last(state.path(), &found()).unwrap();
        let first = fs::metadata(directory.join(FILE)).unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);

        save_last(state.path(), &found()).unwrap();
        assert_eq!(fs::metadata(directory.join(FILE)).unwrap().ino(), first.ino());
        let last = load_last(state.path()).unwrap().unwrap();
        save_last(state.path(), &last).unwrap();
        assert_eq!(fs::metadata(directory.join(FILE)).unwrap().ino(), first.ino());
    }

    #[test]
    fn a_damaged_file_is_an_error_that_shows_none_of_it() {
        let state = tempfile::tempdir().unwrap();
        save_last(state.path(), &found()).unwrap();
        let path = state.path().join(DIRECTORY).join(FILE);
        let good = fs::read_to_string(&path).unwrap();
        let cases = [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("\"version\": 1", "\"version\": 2"),
            good.replace("\"text\"", "\"base64\""),
        ];
        for text in cases {
            fs::write(&path, &text).unwrap();
            let error = load_last(state.path()).unwrap_err();
            assert!(matches!(error, LastError::Damaged { .. }), "{text}");
            assert!(!chain(&error).contains("hostname: a"), "{error:?}");
        }
    }
}
