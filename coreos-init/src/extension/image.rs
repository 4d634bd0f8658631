//! What an image of an extension says of itself.
//!
//! A disk image with a root partition and its verity tree, as `image sysext` and `mkosi` make
//! them, or a bare file system. Only EROFS is looked into; of others the file's hash and what
//! systemd finds when it merges them must do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use cloud_config::Extension;
use disk::erofs::{Found, Reader};
use disk::gpt::Table;
use disk::layout::{ROOT_TYPE, VERITY_TYPE};
use disk::verity::RootHash;
use disk::window::Window;

use crate::plan::InstalledUnit;

/// Where an extension says what it is for.
const RELEASES: &str = "usr/lib/extension-release.d";
/// How the name of that file begins.
const RELEASE: &str = "extension-release.";
/// Where its units are.
const UNITS: &str = "usr/lib/systemd/system";
/// The most that a text has.
const LIMIT: u64 = 1 << 20;
/// The most units of one extension.
const MOST_UNITS: usize = 1000;

/// An image that was looked into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The root hash that its partitions carry, if it has a verity tree.
    pub root_hash: Option<RootHash>,
    /// The extensions that it is, by name, each with the text that says what it is for; nothing
    /// if its file system cannot be read here.
    pub releases: Option<BTreeMap<String, String>>,
    /// Its units, by name.
    pub units: BTreeMap<String, InstalledUnit>,
}

/// The system that extensions must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// `ID` of its os-release; empty if it is not known.
    pub id: String,
}

impl System {
    /// That of a root.
    pub fn of(root: &Path) -> System {
        let text = fs::read_to_string(root.join("usr/lib/os-release")).unwrap_or_default();
        System { id: field(&text, "ID").unwrap_or_default().to_owned() }
    }
}

impl Image {
    /// Looks into an image. What cannot be read is not there.
    pub fn read(file: &File) -> Image {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let (root_hash, range) = match partitions(file) {
            Some((hash, range)) => (hash, range),
            None => (None, 0..size),
        };
        let mut image = Image { root_hash, ..Image::default() };
        // A file system that is damaged has no name at all, which is told.
        if let Ok(mut reader) = Reader::open(Window::new(file, range)) {
            image.releases = Some(texts(&mut reader, RELEASES, |name| {
                name.strip_prefix(RELEASE).map(str::to_owned)
            }));
            let units = texts(&mut reader, UNITS, |name| Some(name.to_owned()));
            let unit = |(name, text): (String, String)| {
                let path = format!("/{UNITS}/{name}");
                (name, InstalledUnit { path, text })
            };
            image.units = units.into_iter().map(unit).collect();
        }
        image
    }

    /// Whether it is what the configuration asks for, as far as it can be told before it is merged.
    pub fn check(&self, extension: &Extension, system: &System) -> Result<(), String> {
        match (&extension.root_hash, &self.root_hash) {
            (Some(want), Some(got)) if got.to_string() != want.value => {
                return Err(format!("its root hash is {got}, not `root_hash`"));
            }
            (Some(_), None) => {
                return Err("it has no verity tree that `root_hash` could be of".to_owned());
            }
            _ => {}
        }
        let Some(releases) = &self.releases else { return Ok(()) };
        let name = &extension.name.value;
        let Some(release) = releases.get(name) else {
            let names: Vec<String> = releases.keys().map(|name| format!("`{name}`")).collect();
            return Err(match names.as_slice() {
                [] => format!("it is no extension: there is no {RELEASES}/{RELEASE}{name} in it"),
                names => format!("its name is {}, not `{name}`", names.join(" or ")),
            });
        };
        let id = field(release, "ID").unwrap_or_default();
        if !system.id.is_empty() && id != "_any" && id != system.id {
            return Err(format!("it is for `{id}`, and this system is `{}`", system.id));
        }
        let own = architecture();
        match field(release, "ARCHITECTURE") {
            Some(other) if other != own && other != "_any" => {
                Err(format!("it is for {other} processors, and this one is {own}"))
            }
            _ => Ok(()),
        }
    }
}

/// systemd's name of the processor that this program was built for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Where the root partition is, and the hash that it and its verity partition carry.
fn partitions(mut file: &File) -> Option<(Option<RootHash>, std::ops::Range<u64>)> {
    let table = Table::read(&mut file).ok()?;
    let of = |type_guid| table.partitions().into_iter().find(|part| part.type_guid == type_guid);
    let root = of(ROOT_TYPE)?;
    let hash = of(VERITY_TYPE).map(|verity| RootHash::from_guids(root.guid, verity.guid));
    Some((hash, table.byte_range(&root)))
}

/// The texts right in a directory whose names are of interest, under the names given them.
fn texts(
    reader: &mut Reader<Window<&File>>,
    directory: &str,
    named: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let Some(directory) = find(reader, directory) else { return texts };
    for (name, number) in reader.entries(&directory).unwrap_or_default() {
        let Some(name) = named(&name).filter(|_| texts.len() < MOST_UNITS) else { continue };
        let Ok(node) = reader.node(number) else { continue };
        let bytes = if node.is_file() { reader.content(&node, LIMIT).ok() } else { None };
        if let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            texts.insert(name, text);
        }
    }
    texts
}

fn find(reader: &mut Reader<Window<&File>>, path: &str) -> Option<Found> {
    let mut at = reader.root().ok()?;
    for part in path.split('/') {
        let entries = reader.entries(&at).ok()?;
        let (_, number) = entries.into_iter().find(|(name, _)| name == part)?;
        at = reader.node(number).ok()?;
    }
    at.is_directory().then_some(at)
}

/// A field of os-release(5).
fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']))
}
