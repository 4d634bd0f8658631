//! What is left below `/run/coreos` for others to read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::JoinError;
use crate::settings::{Identity, Settings, Tls};

/// The file with which [`MachineCluster`] is told, below the folder for such.
pub const RECORD: &str = "cluster.json";
/// The decision of joining, until etcd is started with it.
const OVERRIDES: &str = "etcd-join.json";

/// What a machine is in its cluster, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCluster {
    /// What it is.
    pub role: Role,
    /// URLs of the members' client side.
    pub endpoints: Vec<String>,
    /// Certificates for it.
    pub tls: Option<Tls>,
}

/// What a machine is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It has an etcd.
    Member,
    /// It has none.
    Client,
}

/// As it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    role: Role,
    endpoints: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cafile: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certfile: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyfile: Option<PathBuf>,
}

impl MachineCluster {
    /// Reads it from below `run`, which is `/run/coreos`; none if this machine has not joined.
    pub fn read(run: &Path) -> Option<Self> {
        let json = fs::read(run.join(RECORD)).ok()?;
        let Record { role, endpoints, cafile, certfile, keyfile } =
            serde_json::from_slice(&json).ok()?;
        let identity = match (certfile, keyfile) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            _ => None,
        };
        let tls =
            (cafile.is_some() || identity.is_some()).then_some(Tls { authority: cafile, identity });
        Some(Self { role, endpoints, tls })
    }

    pub(super) fn write(&self, run: &Path) -> Result<(), JoinError> {
        let tls = self.tls.clone().unwrap_or_default();
        let identity = tls.identity;
        let record = Record {
            role: self.role,
            endpoints: self.endpoints.clone(),
            cafile: tls.authority,
            certfile: identity.as_ref().map(|identity| identity.certificate.clone()),
            keyfile: identity.map(|identity| identity.key),
        };
        write(run, RECORD, &serde_json::to_vec_pretty(&record).unwrap_or_default())
    }

    /// Settings of a client on this machine.
    pub fn settings(&self) -> Settings {
        let settings = Settings::new(self.endpoints.iter().cloned());
        match &self.tls {
            Some(tls) => settings.with_tls(tls.clone()),
            None => settings,
        }
    }
}

pub(super) fn write_overrides(
    run: &Path,
    overrides: &BTreeMap<&'static str, String>,
) -> Result<(), JoinError> {
    write(run, OVERRIDES, &serde_json::to_vec_pretty(overrides).unwrap_or_default())
}

pub(super) fn read_overrides(run: &Path) -> Result<BTreeMap<String, String>, JoinError> {
    let path = run.join(OVERRIDES);
    let read = fs::read(&path).and_then(|json| Ok(serde_json::from_slice(&json)?));
    read.map_err(|source| JoinError::File { action: "read", path, source })
}

fn write(run: &Path, name: &str, bytes: &[u8]) -> Result<(), JoinError> {
    fs::create_dir_all(run).map_err(|source| JoinError::File {
        action: "create",
        path: run.to_owned(),
        source,
    })?;
    host::durable::write(&run.join(name), bytes, 0o644).map_err(|error| JoinError::File {
        action: "write",
        path: error.path,
        source: error.source,
    })
}
