//! What a machine is in its cluster, as joining leaves it for the other programs of the machine.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::settings::{Identity, Settings, Tls};

/// Where [`MachineCluster::read`] looks on a machine.
pub const RUN: &str = "/run/coreos";
/// The file that it is told with, below [`RUN`].
pub const RECORD: &str = "cluster.json";

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

    /// As it is stored, in [`RECORD`].
    pub fn to_json(&self) -> Vec<u8> {
        let tls = self.tls.clone().unwrap_or_default();
        let identity = tls.identity;
        let record = Record {
            role: self.role,
            endpoints: self.endpoints.clone(),
            cafile: tls.authority,
            certfile: identity.as_ref().map(|identity| identity.certificate.clone()),
            keyfile: identity.map(|identity| identity.key),
        };
        serde_json::to_vec_pretty(&record).unwrap_or_default()
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
