//! What the daemon keeps on the machine's disk: the agent's memory and the texts it needs.
//!
//! `STATE/memory.json`, `STATE/bodies/SHA256`, `STATE/lease` (the number of the machine's lease,
//! by which it knows its own registration again).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::agent::Memory;
use crate::model::digest;

/// The daemon's directory.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    directory: PathBuf,
}

impl Disk {
    pub(super) fn open(directory: &Path) -> io::Result<Disk> {
        fs::create_dir_all(directory.join("bodies"))?;
        Ok(Disk { directory: directory.to_path_buf() })
    }

    /// What is remembered; nothing if it cannot be read, which is said.
    pub(super) fn memory(&self) -> Memory {
        let path = self.directory.join("memory.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                log::warn!("{} is not readable, starting without memory: {error}", path.display());
                Memory::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            Err(error) => {
                log::warn!("{}: {error}", path.display());
                Memory::default()
            }
        }
    }

    /// Texts that are kept, whole and as their digest says.
    pub(super) fn bodies(&self) -> Vec<(String, String)> {
        let Ok(entries) = fs::read_dir(self.directory.join("bodies")) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let text = fs::read_to_string(entry.path()).ok()?;
                (digest(&text) == name).then_some((name, text))
            })
            .collect()
    }

    pub(super) fn store_body(&self, digest: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join("bodies").join(digest);
        host::durable::write(&path, text.as_bytes(), 0o600).map_err(io::Error::other)
    }

    /// Stores the memory, and removes texts that nobody needs any more.
    pub(super) fn remember(&self, memory: &Memory, needed: &BTreeSet<String>) -> io::Result<()> {
        let bytes = serde_json::to_vec(memory)?;
        let path = self.directory.join("memory.json");
        host::durable::write(&path, &bytes, 0o600).map_err(io::Error::other)?;
        for entry in fs::read_dir(self.directory.join("bodies"))?.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| !needed.contains(name) && !name.starts_with('.')) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// The lease of the last registration.
    pub(super) fn lease(&self) -> Option<i64> {
        fs::read_to_string(self.directory.join("lease")).ok()?.trim().parse().ok()
    }

    pub(super) fn store_lease(&self, lease: i64) {
        let path = self.directory.join("lease");
        if let Err(error) = host::durable::write(&path, lease.to_string().as_bytes(), 0o600) {
            log::warn!("{}", host::error::chain(&error));
        }
    }
}

/// Unit files of an earlier life of the daemon in this boot, with their texts.
pub(super) fn found(units: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(units) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            crate::unit::UnitName::parse(&name).ok()?;
            Some((name, fs::read_to_string(entry.path()).ok()?))
        })
        .collect()
}
