//! What stands in the table in place of a script: users, files, links, modes, alternatives.

use super::ConfigureError;
use crate::tree::{Kind, Node, Tree};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::review::Reviewed;

/// A user that a script would make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Its name, and that of its group.
    pub name: String,
    /// Its home directory.
    pub home: String,
    /// What it is for.
    #[serde(default)]
    pub gecos: String,
}

/// A group that a script would make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
}

/// A directory that a script would make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where.
    pub path: String,
    /// Its permissions; 0755 if nothing is said.
    pub mode: Option<u32>,
    /// Its owner; root if nothing is said.
    pub user: Option<String>,
    /// Its group; root if nothing is said.
    pub group: Option<String>,
}

/// A file that a script would write.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where.
    pub path: String,
    /// Its permissions; 0644 if nothing is said.
    pub mode: Option<u32>,
    /// What is in it.
    pub text: String,
}

/// A file that a script would copy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// From where.
    pub from: String,
    /// To where, if nothing is there.
    pub to: String,
    /// Replaced in the text, each where it is the beginning of a line, with the whole line.
    #[serde(default)]
    pub lines: BTreeMap<String, String>,
}

/// A symbolic link that a script would make, in place of what is there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where.
    pub path: String,
    /// To where.
    pub to: String,
}

/// Permissions and an owner that a script would give.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// To what.
    pub path: String,
    /// The permissions.
    pub mode: u32,
    /// The group, if it is not root.
    pub group: Option<String>,
}

/// A name that several packages want: the one with the highest priority gets it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// The name, in `/usr/bin` or `/usr/sbin`.
    pub link: String,
    /// What it stands for.
    pub to: String,
    /// How much it is wanted.
    pub priority: i32,
    /// Further names that go with it.
    #[serde(default)]
    pub slaves: BTreeMap<String, String>,
}

/// A file of any other package that stands elsewhere, as with dpkg-divert(1).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diversion {
    /// Where the other packages have it.
    pub path: String,
    /// Where it stands.
    pub to: String,
}

/// Numbers of users and groups by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    /// Users.
    pub users: BTreeMap<String, u32>,
    /// Groups.
    pub groups: BTreeMap<String, u32>,
}

/// Does what the table says of one package.
pub(super) fn apply(
    tree: &mut Tree,
    known: &Reviewed,
    numbers: &Numbers,
) -> Result<(), ConfigureError> {
    let number = |table: &BTreeMap<String, u32>, name: &Option<String>| match name {
        None => Ok(0),
        Some(name) => table.get(name).copied().ok_or_else(|| ConfigureError::UnknownAccount {
            package: known.package.clone(),
            name: name.clone(),
        }),
    };
    for Directory { path, mode, user, group } in &known.directories {
        if tree.lookup(path).is_some_and(Node::is_directory) {
            continue;
        }
        let owner = (number(&numbers.users, user)?, number(&numbers.groups, group)?);
        tree.insert(path, Node::directory(mode.unwrap_or(0o755)).owned_by(owner.0, owner.1))?;
    }
    for File { path, mode, text } in &known.files {
        if !tree.contains(path) {
            tree.insert(path, Node::file(mode.unwrap_or(0o644), text.as_str()))?;
        }
    }
    for copy in &known.copies {
        if !tree.contains(&copy.to) {
            place_copy(tree, known, copy)?;
        }
    }
    for Link { path, to } in &known.links {
        // A directory that a package has where a link should be.
        if tree.get(path).is_some_and(Node::is_directory) {
            tree.remove(path);
        }
        tree.insert(path, Node::symlink(to))?;
    }
    for Mode { path, mode, group } in &known.modes {
        let gid = number(&numbers.groups, group)?;
        let node = tree.get_mut(path).ok_or_else(|| missing(known, path))?;
        (node.mode, node.gid) = (*mode, gid);
    }
    Ok(())
}

fn place_copy(tree: &mut Tree, known: &Reviewed, copy: &Copy) -> Result<(), ConfigureError> {
    let mut node = tree.lookup(&copy.from).ok_or_else(|| missing(known, &copy.from))?.clone();
    if !copy.lines.is_empty() {
        let text = super::text(tree, &copy.from)?;
        let line = |line: &str| {
            let found = copy.lines.iter().find(|(begin, _)| line.starts_with(begin.as_str()));
            format!("{}\n", found.map_or(line, |(_, whole)| whole))
        };
        node.kind = Kind::File(text.lines().map(line).collect::<String>().into());
    }
    tree.insert(&copy.to, node)?;
    Ok(())
}

fn missing(known: &Reviewed, path: &str) -> ConfigureError {
    ConfigureError::NoFile { package: known.package.clone(), path: path.to_owned() }
}

/// Gives every name to the package that wants it most.
pub(super) fn alternatives<'a>(
    tree: &mut Tree,
    all: impl Iterator<Item = &'a Alternative>,
) -> Result<(), ConfigureError> {
    let mut best: BTreeMap<&str, &Alternative> = BTreeMap::new();
    for alternative in all {
        let known = best.entry(alternative.link.as_str()).or_insert(alternative);
        if alternative.priority > known.priority {
            *known = alternative;
        }
    }
    for alternative in best.values() {
        let slaves = alternative.slaves.iter().map(|(link, to)| (link.as_str(), to.as_str()));
        for (link, to) in slaves.chain([(alternative.link.as_str(), alternative.to.as_str())]) {
            let name = link.rsplit('/').next().unwrap_or(link);
            let selected = format!("etc/alternatives/{name}");
            tree.insert(link, Node::symlink(format!("/{selected}")))?;
            tree.insert(&selected, Node::symlink(to))?;
        }
    }
    Ok(())
}
