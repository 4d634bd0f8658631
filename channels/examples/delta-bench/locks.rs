//! Lock files of older releases: the newest one's, with chosen packages in the versions before.
//!
//! Debian's archives keep more than the newest version of what had a security update: the point
//! release has the one before, or the security archive does. So real older releases can be built
//! today, and tomorrow as well with whatever was updated then.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::measure::AnyError;

/// A package as an archive has it.
#[derive(Debug, Clone)]
struct Candidate {
    archive: usize,
    fields: BTreeMap<String, String>,
}

/// Writes `small.lock`, `security.lock` and `kernel.lock` into a directory.
pub(crate) fn write(lock: &Path, directory: &Path) -> Result<(), AnyError> {
    let text = fs::read_to_string(lock)?;
    let stanzas: Vec<&str> = text.split("\n\n").collect();
    let mut found: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    let archives = stanzas.iter().filter(|stanza| stanza.trim_start().starts_with("[[archive]]"));
    for (archive, stanza) in archives.enumerate() {
        let value = |key| value(stanza, key).ok_or("an archive without address or suite");
        for fields in packages(value("url")?, value("suite")?)? {
            let name = fields.get("Package").cloned().unwrap_or_default();
            found.entry(name).or_default().push(Candidate { archive, fields });
        }
    }
    let mut older: Vec<(usize, String, u64)> = Vec::new();
    let mut kernel = None;
    for (index, stanza) in stanzas.iter().enumerate() {
        let (Some(name), Some(version)) = (value(stanza, "name"), value(stanza, "version")) else {
            continue;
        };
        let kernel_flavour = flavour(name);
        let same_kind = |other: &str| match kernel_flavour {
            Some(_) => flavour(other) == kernel_flavour,
            None => other == name,
        };
        let others = found.iter().filter(|(other, _)| same_kind(other)).flat_map(|(_, all)| all);
        let mut best: Option<&Candidate> = None;
        for candidate in others {
            let at = |candidate: &Candidate| candidate.fields.get("Version").cloned();
            let before = at(candidate).unwrap_or_default();
            let newest = match best.and_then(at) {
                Some(best) => is_older(&best, &before)?,
                None => true,
            };
            if newest && is_older(&before, version)? {
                best = Some(candidate);
            }
        }
        let Some(best) = best else { continue };
        let new = replace(stanza, best);
        let bytes = best.fields.get("Size").and_then(|size| size.parse().ok()).unwrap_or(0);
        match kernel_flavour {
            Some(_) => kernel = Some((index, new)),
            // This one only depends on the newest kernel.
            None if name.starts_with("linux-image-") => {}
            None => older.push((index, new, bytes)),
        }
    }
    fs::create_dir_all(directory)?;
    let write = |name: &str, changes: &[(usize, &str)]| -> Result<(), AnyError> {
        let mut stanzas: Vec<&str> = stanzas.clone();
        let mut names = Vec::new();
        for (index, new) in changes {
            stanzas[*index] = new;
            names.push(format!(
                "{} {}",
                value(new, "name").unwrap_or_default(),
                value(new, "version").unwrap_or_default()
            ));
        }
        fs::write(directory.join(format!("{name}.lock")), stanzas.join("\n\n"))?;
        println!("{name}: {}", names.join(", "));
        Ok(())
    };
    older.sort_by_key(|(_, _, bytes)| *bytes);
    let small = older.first().ok_or("no package has an older version in the archives")?;
    write("small", &[(small.0, &small.1)])?;
    let all: Vec<_> = older.iter().map(|(index, new, _)| (*index, new.as_str())).collect();
    write("security", &all)?;
    let (index, new) = kernel.ok_or("no older kernel in the archives")?;
    write("kernel", &[(index, &new)])
}

/// What is left of a kernel's name without its version, such as `cloud-amd64`; `None` for other
/// packages.
fn flavour(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("linux-image-")?;
    if !rest.starts_with(|char: char| char.is_ascii_digit()) {
        return None;
    }
    rest.split_once('-').map(|(_, flavour)| flavour)
}

/// A value of a stanza of the lock file.
fn value<'a>(stanza: &'a str, key: &str) -> Option<&'a str> {
    let line = stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
    Some(line.trim_matches('"'))
}

/// The stanza with another version of the package.
fn replace(stanza: &str, candidate: &Candidate) -> String {
    let field = |name: &str| candidate.fields.get(name).cloned().unwrap_or_default();
    let lines = stanza.lines().map(|line| {
        let (key, _) = line.split_once(" = ").unwrap_or((line, ""));
        match key {
            "name" => format!("name = \"{}\"", field("Package")),
            "version" => format!("version = \"{}\"", field("Version")),
            "archive" => format!("archive = {}", candidate.archive),
            "path" => format!("path = \"{}\"", field("Filename")),
            "size" => format!("size = {}", field("Size")),
            "sha256" => format!("sha256 = \"{}\"", field("SHA256")),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_older(one: &str, other: &str) -> Result<bool, AnyError> {
    let status = Command::new("dpkg").args(["--compare-versions", one, "lt", other]).status()?;
    Ok(status.success())
}

/// All packages of an archive's suite.
fn packages(url: &str, suite: &str) -> Result<Vec<BTreeMap<String, String>>, AnyError> {
    let url = format!("{url}/dists/{suite}/main/binary-amd64/Packages.xz");
    let how = host::http::Fetch {
        limit: 64 << 20,
        deadline: std::time::Duration::from_secs(300),
        ..host::http::Fetch::default()
    };
    let packed = host::http::fetch(&url, &how)?;
    let mut child =
        Command::new("xz").args(["-dc"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("no pipe to xz")?;
    let writer = std::thread::spawn(move || input.write_all(&packed));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| "the writer died")??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stanza = |stanza: &str| {
        let fields = stanza.lines().filter_map(|line| line.split_once(": "));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    Ok(text.split("\n\n").map(stanza).collect())
}
