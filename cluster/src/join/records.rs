//! What is left below `/run/coreos` for others to read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::JoinError;
use crate::machine::{MachineCluster, RECORD};

/// The decision of joining, until etcd is started with it.
const OVERRIDES: &str = "etcd-join.json";

pub(super) fn write_cluster(run: &Path, cluster: &MachineCluster) -> Result<(), JoinError> {
    write(run, RECORD, &cluster.to_json())
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
