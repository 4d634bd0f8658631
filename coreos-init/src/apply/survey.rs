//! What a plan must know of the root it is for.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;

use cloud_config::{Config, UnitKind};
use nix::sys::stat::SFlag;

use super::Error;
use super::view::{State, View};
use crate::ledger::{Ledger, Place};
use crate::plan::{
    CA_BUNDLE, CA_DEFAULTS, Content, Existing, ExistingBytes, Facts, InstalledUnit, Original,
    Owner, Skeleton, also, file_name, parent, template_of,
};

/// The most that a file is read of which a plan needs all.
const LIMIT: u64 = 16 << 20;
/// The most that a file of a new home has.
const SKELETON_LIMIT: u64 = 1 << 20;
/// How deep new homes are.
const DEPTH: usize = 4;
/// How many links a unit may have to its file.
const LINKS: usize = 8;

/// Where units are, the first winning.
const UNIT_DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Reads what a plan must know. `image` is the root as the image has it, where the root itself
/// is overlaid: what an earlier configuration put over a file of the image can then be undone.
/// The notes say what was not as it should be.
///
/// # Errors
/// [`Error::Read`] and [`Error::NotText`].
pub fn survey<V: View>(
    root: &V,
    image: Option<&V>,
    config: &Config,
) -> Result<(Facts, Vec<String>), Error> {
    let mut notes = Vec::new();
    let ledger = noted_ledger(root, &mut notes)?;
    let mut facts = Facts {
        passwd: existing(root, "/etc/passwd")?,
        group: existing(root, "/etc/group")?,
        shadow: existing(root, "/etc/shadow")?,
        gshadow: existing(root, "/etc/gshadow")?,
        environment: existing(root, "/etc/environment")?,
        update: existing(root, "/etc/coreos/update.conf")?,
        update_defaults: existing(root, "/usr/share/coreos/update.conf")?.map(|file| file.text),
        hostname: existing(root, "/etc/hostname")?
            .map(|file| file.text.trim().to_string())
            .filter(|name| !name.is_empty() && !name.contains(char::is_whitespace)),
        ..Facts::default()
    };
    facts.fstab = existing(root, "/etc/fstab")?;
    trust(root, image, &mut facts)?;
    if let Some(zone) = &config.timezone {
        let path = format!("/usr/share/zoneinfo/{}", zone.value);
        // Some are larger than others; none is large.
        facts.has_timezone = read(root, &path)?.is_some();
    }
    let added = config.write_files.iter().filter(|file| file.append).map(|file| &file.path.value);
    for path in added.chain(ledger.appended.keys()).collect::<BTreeSet<_>>() {
        if let Some((bytes, state)) = read(root, path)? {
            let owner = Owner { uid: state.uid, gid: state.gid };
            let (content, mode) = (Content(bytes), state.permissions());
            facts.appended.insert(path.clone(), ExistingBytes { content, mode, owner });
        }
    }
    skeleton(root, "", DEPTH, &mut facts.skeleton)?;
    units(root, config, &ledger, &mut facts)?;
    if let Some(image) = image {
        for path in ledger.files.keys().filter(|path| path.starts_with("/etc/")) {
            if let Some(original) = original(image, path)? {
                facts.originals.insert(path.clone(), original);
            }
        }
    }
    facts.ledger = ledger;
    Ok((facts, notes))
}

/// What the last configuration owned.
///
/// # Errors
/// [`Error::Read`]; a damaged ledger is an empty one.
pub fn ledger(root: &impl View) -> Result<Ledger, Error> {
    noted_ledger(root, &mut Vec::new())
}

fn noted_ledger(root: &impl View, notes: &mut Vec<String>) -> Result<Ledger, Error> {
    let Some((bytes, _)) = read(root, Ledger::PATH)? else { return Ok(Ledger::default()) };
    let parsed = std::str::from_utf8(&bytes).ok().and_then(|text| Ledger::parse(text).ok());
    Ok(parsed.unwrap_or_else(|| {
        notes.push(format!("{} is damaged: what earlier configurations left stays", Ledger::PATH));
        Ledger::default()
    }))
}

/// Reads whom TLS trusts here, and whom the image trusts.
fn trust<V: View>(root: &V, image: Option<&V>, facts: &mut Facts) -> Result<(), Error> {
    facts.ca_bundle = existing(root, CA_BUNDLE)?;
    facts.ca_defaults = match image {
        Some(image) => existing(image, CA_BUNDLE)?.map(|bundle| bundle.text),
        None => existing(root, CA_DEFAULTS)?.map(|bundle| bundle.text),
    };
    Ok(())
}

fn existing(root: &impl View, path: &str) -> Result<Option<Existing>, Error> {
    let Some((bytes, state)) = read(root, path)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| Error::NotText { path: path.to_string() })?;
    let owner = Owner { uid: state.uid, gid: state.gid };
    Ok(Some(Existing { text, mode: state.permissions(), owner }))
}

fn original(image: &impl View, path: &str) -> Result<Option<Original>, Error> {
    // Only a file of the image itself: one that a link leads to has another path.
    let place = Place { path: parent(path).to_string(), home: None };
    let found = image.directory(&place).and_then(|directory| match directory {
        Some(directory) => image.look(&directory, file_name(path)),
        None => Ok(None),
    });
    let found = found.map_err(|source| Error::Read { path: path.to_string(), source })?;
    if !found.is_some_and(|state| state.is(SFlag::S_IFREG)) {
        return Ok(None);
    }
    Ok(read(image, path)?.map(|(bytes, state)| Original {
        content: Content(bytes),
        mode: state.permissions(),
        owner: Owner { uid: state.uid, gid: state.gid },
    }))
}

fn read(root: &impl View, path: &str) -> Result<Option<(Vec<u8>, State)>, Error> {
    root.read(path, LIMIT).map_err(|source| Error::Read { path: path.to_string(), source })
}

/// Reads what new homes start with: files and directories, no links.
fn skeleton(
    root: &impl View,
    below: &str,
    depth: usize,
    entries: &mut Vec<Skeleton>,
) -> Result<(), Error> {
    let path = format!("/etc/skel{below}");
    let failed = |source: io::Error| Error::Read { path: path.clone(), source };
    for name in root.list(&path).map_err(failed)? {
        let Some(name) = name.to_str() else { continue };
        let place = Place { path: path.clone(), home: None };
        let Some(directory) = root.directory(&place).map_err(failed)? else { continue };
        let Some(state) = root.look(&directory, name).map_err(failed)? else { continue };
        let relative = format!("{below}/{name}");
        let mut entry = Skeleton {
            path: relative.trim_start_matches('/').to_string(),
            mode: state.permissions(),
            content: None,
        };
        if state.is(SFlag::S_IFREG) {
            let content = root.content(&directory, name, SKELETON_LIMIT).map_err(failed)?;
            entry.content = content.map(Content);
            if entry.content.is_some() {
                entries.push(entry);
            }
        } else if state.is(SFlag::S_IFDIR) && depth > 0 {
            entries.push(entry);
            skeleton(root, &relative, depth - 1, entries)?;
        }
    }
    Ok(())
}

/// Reads the units that the configuration enables or commands.
fn units(
    root: &impl View,
    config: &Config,
    ledger: &Ledger,
    facts: &mut Facts,
) -> Result<(), Error> {
    let named = config.units.iter().filter(|unit| unit.kind == UnitKind::System);
    let named = named.filter(|unit| unit.enable || unit.command.is_some());
    let mut waiting: Vec<String> = named.map(|unit| unit.name.value.clone()).collect();
    for unit in &config.units {
        waiting.extend(unit.content.iter().flat_map(|content| also(content)));
    }
    for file in config.write_files.iter().filter(|file| file.path.value.contains("/systemd/")) {
        waiting.extend(also(&String::from_utf8_lossy(&file.content)));
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if name.contains('/') || !seen.insert(name.clone()) {
            continue;
        }
        waiting.extend(template_of(&name));
        if let Some(unit) = unit(root, ledger, &name)? {
            waiting.extend(also(&unit.text));
            facts.units.insert(name, unit);
        }
    }
    Ok(())
}

/// Finds a unit's file. One that an earlier configuration put there does not count: either
/// this one puts it there again, or it goes.
fn unit(root: &impl View, ledger: &Ledger, name: &str) -> Result<Option<InstalledUnit>, Error> {
    for directory in UNIT_DIRECTORIES {
        let mut path = format!("{directory}/{name}");
        if ledger.files.contains_key(&path) {
            continue;
        }
        for _ in 0..LINKS {
            let failed = |source: io::Error| Error::Read { path: path.clone(), source };
            let place = Place { path: parent(&path).to_string(), home: None };
            let Some(above) = root.directory(&place).map_err(failed)? else { break };
            let Some(state) = root.look(&above, file_name(&path)).map_err(failed)? else { break };
            if !state.is(SFlag::S_IFLNK) {
                let text = if state.is(SFlag::S_IFREG) {
                    let bytes = read(root, &path)?.map(|(bytes, _)| bytes).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).into_owned()
                } else {
                    String::new() // masked
                };
                return Ok(Some(InstalledUnit { path, text }));
            }
            let target = root.target(&above, file_name(&path)).map_err(failed)?;
            let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
            if target == "/dev/null" {
                return Ok(Some(InstalledUnit { path, text: String::new() }));
            }
            path = match target.starts_with('/') {
                true => target,
                false => format!("{}/{target}", place.path),
            };
        }
    }
    Ok(None)
}
