//! Looks for what was removed although something needs it.
//!
//! Three kinds of need are visible in the files themselves: the interpreter of a script, the
//! libraries and the loader of a program, the target of a symbolic link.

use super::FinishError;
use super::elf;
use crate::tree::{Content, Kind, Tree};
use std::collections::BTreeSet;
use std::io;

/// Longest first line of a script that the kernel reads.
const SCRIPT_LINE: usize = 256;
/// Filled by the running system: what a link into them leads to is not known here.
const OF_THE_RUNNING_SYSTEM: [&str; 8] =
    ["dev", "home", "proc", "root", "run", "sys", "tmp", "var"];

/// Something that a file needs and the tree does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The file that needs it.
    pub path: String,
    /// What it needs.
    pub needs: Need,
}

/// A need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// To be interpreted or loaded by this program.
    Interpreter(String),
    /// A library of this name.
    Library(String),
    /// To lead to this path.
    Target(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (need, name) = match &self.needs {
            Need::Interpreter(name) => ("needs the interpreter", name),
            Need::Library(name) => ("needs the library", name),
            Need::Target(name) => ("is a link to", name),
        };
        write!(formatter, "{} {need} {name}, which is not there", self.path)
    }
}

/// Everything that files of the tree need in vain, by file.
pub fn missing(tree: &Tree) -> Result<Vec<Missing>, FinishError> {
    let names: BTreeSet<&str> =
        tree.iter().filter_map(|(path, _)| path.rsplit('/').next()).collect();
    let mut missing = Vec::new();
    for (path, node) in tree.iter() {
        let unreadable = |source| FinishError::Read { path: path.to_owned(), source };
        let needs = match &node.kind {
            Kind::File(content) => {
                file_needs(content, node.mode & 0o111 != 0).map_err(unreadable)?
            }
            Kind::Symlink(target) => vec![Need::Target(absolute(path, target))],
            _ => Vec::new(),
        };
        let in_vain = needs.into_iter().filter(|need| match need {
            Need::Interpreter(name) if name.contains('/') => tree.resolve(name).is_none(),
            Need::Interpreter(name) => !["usr/bin", "usr/sbin"]
                .iter()
                .any(|place| tree.contains(&format!("{place}/{name}"))),
            Need::Library(name) => !names.contains(name.as_str()),
            Need::Target(target) => {
                let top = target.split('/').next().unwrap_or_default();
                !OF_THE_RUNNING_SYSTEM.contains(&top) && leads_nowhere(tree, path)
            }
        });
        missing.extend(in_vain.map(|needs| Missing { path: path.to_owned(), needs }));
    }
    Ok(missing)
}

/// What a regular file needs.
fn file_needs(content: &Content, executable: bool) -> io::Result<Vec<Need>> {
    let mut start = [0; SCRIPT_LINE];
    let length = content.read_at(&mut start, 0)?;
    let start = &start[..length];
    if start.starts_with(elf::MAGIC) {
        let needs = elf::needs(content)?;
        let loader = needs.interpreter.map(Need::Interpreter);
        let libraries = needs.libraries.into_iter().map(Need::Library);
        return Ok(loader.into_iter().chain(libraries).collect());
    }
    Ok(if executable { interpreter(start).into_iter().collect() } else { Vec::new() })
}

/// The interpreter that a script's first line names; that of `env` is looked up by name.
fn interpreter(start: &[u8]) -> Option<Need> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let program = words.next()?;
    let by_name =
        if program.ends_with("/env") { words.find(|word| !word.starts_with('-')) } else { None };
    Some(Need::Interpreter(by_name.unwrap_or(program).to_owned()))
}

/// Whether a link ends at nothing, not even in a place of the running system.
fn leads_nowhere(tree: &Tree, link: &str) -> bool {
    let mut at = link.to_owned();
    for _ in 0..40 {
        let Ok(real) = tree.real_parents(&at) else { return true };
        let top = real.split('/').next().unwrap_or_default();
        match tree.get(&real).map(|node| &node.kind) {
            _ if OF_THE_RUNNING_SYSTEM.contains(&top) => return false,
            Some(Kind::Symlink(target)) => at = absolute(&real, target),
            Some(_) => return false,
            None => return true,
        }
        if at.is_empty() {
            return false;
        }
    }
    true
}

/// The path in the tree that a link's target names, `..` taken literally.
fn absolute(link: &str, target: &str) -> String {
    let mut path: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => link.split('/').collect(),
    };
    path.pop();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            _ => path.push(name),
        }
    }
    path.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    #[test]
    fn scripts_and_links_without_their_ends_are_found() {
        let mut tree = Tree::new();
        for (path, text) in [
            ("usr/bin/sh", "\x7fELF is not all of an ELF header"),
            ("usr/bin/good", "#!/bin/sh -e\n"),
            ("usr/bin/bad", "#! /usr/bin/perl -w\n"),
            ("usr/bin/by-name", "#!/usr/bin/env -S python3 -u\n"),
            ("usr/bin/env", ""),
        ] {
            tree.insert(path, Node::file(0o755, text)).unwrap();
        }
        tree.insert("usr/share/example", Node::file(0o644, "#!/usr/bin/perl\n")).unwrap();
        for (path, target) in [
            ("bin", "usr/bin"),
            ("usr/bin/link", "good"),
            ("usr/bin/climbing", "../../../bin/sh"),
            ("etc/broken", "/usr/share/gone"),
            ("etc/chain", "broken"),
            ("etc/mtab", "../proc/self/mounts"),
            ("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
        ] {
            tree.insert(path, Node::symlink(target)).unwrap();
        }
        let found: Vec<String> = missing(&tree).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "etc/broken is a link to usr/share/gone, which is not there",
                "etc/chain is a link to etc/broken, which is not there",
                "usr/bin/bad needs the interpreter /usr/bin/perl, which is not there",
                "usr/bin/by-name needs the interpreter python3, which is not there",
            ]
        );
    }

    #[test]
    fn programs_without_their_libraries_are_found() {
        let program = std::fs::read("/bin/sh").unwrap();
        let mut tree = Tree::new();
        tree.insert("usr/bin/sh", Node::file(0o755, program)).unwrap();
        let names = |tree: &Tree| -> Vec<String> {
            let found = missing(tree).unwrap();
            found
                .into_iter()
                .map(|missing| match missing.needs {
                    Need::Interpreter(name) | Need::Library(name) | Need::Target(name) => name,
                })
                .collect()
        };
        let needed = names(&tree);
        assert!(needed.iter().any(|name| name == "libc.so.6"), "{needed:?}");
        let loader = needed.iter().find(|name| name.contains("/ld-")).unwrap();
        tree.insert(loader.trim_start_matches('/'), Node::file(0o755, "")).unwrap();
        for library in needed.iter().filter(|name| !name.contains('/')) {
            tree.insert(&format!("usr/lib/{library}"), Node::file(0o644, "")).unwrap();
        }
        assert_eq!(names(&tree), [""; 0]);
    }
}
