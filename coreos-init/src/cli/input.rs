//! Where a command takes its configuration from, and what it makes of it on this side.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cloud_config::MAX_USER_DATA;

use crate::fetched::{self, Files, Wanted};
use crate::net::{Lease, facts};
use crate::reading::{Machine, Outside, Reading};
use crate::source::{self, FileError, Found, MetaData, SourceName, from_file};

use super::Streams;
use super::here::Here;

/// How the standard input is named, in arguments and in findings.
pub(super) const STANDARD_INPUT: (&str, &str) = ("-", "standard input");

/// Where a configuration is.
#[derive(Debug, Clone)]
pub enum Input {
    /// In a file; `-` is the standard input.
    File(PathBuf),
    /// On a config disc, by its image.
    Disc(PathBuf),
    /// At an address.
    Url(String),
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot read the standard input")]
    StandardInput(#[source] std::io::Error),
    #[error(
        "the standard input is larger than {MAX_USER_DATA} bytes and cannot be a configuration"
    )]
    TooLarge,
    #[error("{0}")]
    Other(String),
}

/// Gets a configuration.
pub(super) fn find(input: &Input, stdin: &mut dyn Read) -> Result<Found, InputError> {
    match input {
        Input::File(path) if path == Path::new(STANDARD_INPUT.0) => {
            let mut bytes = Vec::new();
            // One byte more than is allowed is enough to tell that it is too much.
            let most = MAX_USER_DATA as u64 + 1;
            stdin.take(most).read_to_end(&mut bytes).map_err(InputError::StandardInput)?;
            if bytes.len() > MAX_USER_DATA {
                return Err(InputError::TooLarge);
            }
            Ok(found(STANDARD_INPUT.1, STANDARD_INPUT.1, bytes))
        }
        Input::File(path) => Ok(from_file(path)?),
        Input::Disc(path) => source::from_disc(path).map_err(InputError::Other),
        Input::Url(url) => {
            let wanted = Wanted { url: url.clone(), sha256: None, headers: Vec::new(), path: None };
            let roots = Path::new(host::http::SYSTEM_ROOTS);
            let bytes = fetched::over_http(&wanted, roots).map_err(InputError::Other)?;
            Ok(found("user-data", &host::http::redacted(url), bytes))
        }
    }
}

fn found(name: &str, place: &str, user_data: Vec<u8>) -> Found {
    Found {
        source: SourceName::File,
        place: place.to_string(),
        name: name.to_string(),
        user_data,
        meta_data: MetaData::default(),
        network: None,
        notes: Vec::new(),
    }
}

/// A workstation: it has no lease to offer, and fetches as any program does.
struct Workstation;

impl Outside for Workstation {
    fn lease(&mut self, _needed: bool, _ipv6: bool) -> Result<Option<Lease>, String> {
        Ok(None)
    }

    fn get(&mut self, wanted: &Wanted) -> Result<Vec<u8>, String> {
        fetched::over_http(wanted, Path::new(host::http::SYSTEM_ROOTS))
    }

    fn download(&mut self, wanted: &Wanted, file: &File) -> Result<(), String> {
        fetched::download(wanted, Path::new(host::http::SYSTEM_ROOTS), file)
    }
}

/// What of the things that are fetched is put into the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// None: only a plan is made.
    Nothing,
    /// Images of extensions, which would not fit the memory.
    Images,
    /// All, in place of what was kept for another configuration.
    All,
}

/// Understands a configuration for a root, and shows what is wrong with it. The machine itself
/// knows its addresses and what its platform says; any other root is understood as far as a
/// workstation can.
pub(super) fn read(
    found: &Found,
    root: &Path,
    keep: Keep,
    overrides: &BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Reading {
    let keep = (keep, root);
    if root == Path::new("/")
        && let Ok(mut here) = Here::look()
    {
        let found = here.with(found.clone());
        return read_with(&found, &root, keep, overrides, &mut here, streams);
    }
    read_with(found, &root, keep, overrides, &mut Workstation, streams)
}

/// The same for a root of which only the files are known, and as far as a workstation can.
pub(super) fn read_for(
    found: &Found,
    files: &dyn Files,
    overrides: &BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Reading {
    let keep = (Keep::Nothing, Path::new(""));
    read_with(found, files, keep, overrides, &mut Workstation, streams)
}

fn read_with(
    found: &Found,
    files: &dyn Files,
    (keep, root): (Keep, &Path),
    overrides: &BTreeMap<String, String>,
    outside: &mut dyn Outside,
    streams: &mut Streams<'_>,
) -> Reading {
    // A root that has not booted yet has none.
    let machine_id = files.file("/etc/machine-id").unwrap_or_default();
    let machine_id = String::from_utf8_lossy(&machine_id);
    let machine_id = machine_id.trim();
    let (keep, images) =
        ((keep == Keep::All).then_some(root), (keep != Keep::Nothing).then_some(root));
    let machine = Machine { files, keep, images, overrides, fixed: &[], machine_id };
    let reading = Reading::new(found, &machine, outside);
    for finding in &reading.findings {
        streams.warn(reading.bundle.render(finding));
    }
    for variable in reading.unknown() {
        let name = facts::override_name(variable);
        streams.warn(format_args!("note: {name}=VALUE in the environment stands for {variable}"));
    }
    for line in found.notes.iter().chain(&reading.notes) {
        streams.warn(format_args!("note: {line}"));
    }
    for line in &reading.failures {
        streams.warn(format_args!("error: {line}"));
    }
    reading
}
