//! The index of kernel modules, as depmod(8) makes it.

use super::elf::{self, Module};
use super::trie::Index;
use super::{ConfigureError, bytes, put, text};
use crate::tree::{Kind, Tree};
use std::collections::BTreeMap;
use std::fmt::Write;

const DIRECTORY: &str = "usr/lib/modules";

/// A module and where it is, relative to the directory of its kernel.
struct Found {
    path: String,
    name: String,
    module: Module,
    /// Places of the modules whose symbols it wants, each once.
    needs: Vec<usize>,
}

/// Indexes the modules of every kernel.
pub fn index(tree: &mut Tree) -> Result<(), ConfigureError> {
    let kernels: Vec<String> =
        tree.children(DIRECTORY).map(|(name, _)| format!("{DIRECTORY}/{name}")).collect();
    kernels.iter().try_for_each(|kernel| index_kernel(tree, kernel))
}

fn index_kernel(tree: &mut Tree, kernel: &str) -> Result<(), ConfigureError> {
    let mut found = find(tree, kernel)?;
    if found.is_empty() {
        return Ok(());
    }
    connect(&mut found);
    let (dep, dep_index) = dependencies(&found);
    let (alias, alias_index) = aliases(&found);
    let (symbols, symbols_index) = symbols(&found);
    let (softdep, weakdep, devname) =
        (lines(&found, "softdep"), lines(&found, "weakdep"), devices(&found));
    for (name, text) in [
        ("modules.dep", dep),
        ("modules.alias", alias),
        ("modules.symbols", symbols),
        (
            "modules.softdep",
            format!("# Soft dependencies extracted from modules themselves.\n{softdep}"),
        ),
        (
            "modules.weakdep",
            format!("# Weak dependencies extracted from modules themselves.\n{weakdep}"),
        ),
        ("modules.devname", devname),
    ] {
        put(tree, &format!("{kernel}/{name}"), text)?;
    }
    let (builtin, builtin_alias) = builtin(tree, kernel)?;
    for (name, index) in [
        ("modules.dep.bin", dep_index),
        ("modules.alias.bin", alias_index),
        ("modules.symbols.bin", symbols_index),
        ("modules.builtin.bin", builtin),
        ("modules.builtin.alias.bin", builtin_alias),
    ] {
        put(tree, &format!("{kernel}/{name}"), index.to_bytes())?;
    }
    Ok(())
}

/// All modules, in the order that the kernel's build has for them; others come last.
fn find(tree: &Tree, kernel: &str) -> Result<Vec<Found>, ConfigureError> {
    let order = format!("{kernel}/modules.order");
    let order = if tree.contains(&order) { text(tree, &order)? } else { String::new() };
    let places: BTreeMap<&str, usize> = order
        .lines()
        .enumerate()
        .map(|(place, line)| (line.trim_end_matches(".xz"), place))
        .collect();
    let mut found = Vec::new();
    for (path, node) in tree.below(kernel) {
        let Kind::File(content) = &node.kind else { continue };
        if !path.ends_with(".ko") {
            continue;
        }
        let file = content
            .to_vec()
            .map_err(|source| ConfigureError::Read { path: path.to_owned(), source })?;
        let module = elf::module(&file).ok_or_else(|| ConfigureError::Malformed {
            path: path.to_owned(),
            reason: "it is no kernel module".to_owned(),
        })?;
        let path = path[kernel.len() + 1..].to_owned();
        let name = module_name(&path);
        found.push(Found { path, name, module, needs: Vec::new() });
    }
    found.sort_by_key(|found| {
        (places.get(found.path.as_str()).copied().unwrap_or(usize::MAX), found.path.clone())
    });
    Ok(found)
}

/// The name of a module by its file: dashes are underscores.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// Finds out which modules have the symbols that a module wants.
fn connect(found: &mut [Found]) {
    let owners: BTreeMap<String, usize> = found
        .iter()
        .enumerate()
        .flat_map(|(place, found)| {
            found.module.exports.iter().map(move |symbol| (symbol.clone(), place))
        })
        .collect();
    for (place, found) in found.iter_mut().enumerate() {
        for symbol in &found.module.wants {
            if let Some(owner) = owners.get(symbol).filter(|owner| **owner != place)
                && !found.needs.contains(owner)
            {
                found.needs.push(*owner);
            }
        }
    }
}

/// Everything that each module needs, what needs others before what they need.
fn dependencies(found: &[Found]) -> (String, Index) {
    let rank = ranks(found);
    let (mut text, mut index) = (String::new(), Index::default());
    for (place, module) in found.iter().enumerate() {
        let mut all: Vec<usize> = Vec::new();
        let mut open = module.needs.clone();
        while let Some(next) = open.pop() {
            if next != place && !all.contains(&next) {
                all.push(next);
                open.extend(&found[next].needs);
            }
        }
        all.sort_by_key(|place| rank[*place]);
        let needs: String = all.iter().map(|place| format!(" {}", found[*place].path)).collect();
        let line = format!("{}:{needs}", module.path);
        index.add(&module.name, &line, place as u32);
        let _ = writeln!(text, "{line}");
    }
    (text, index)
}

/// The place of every module in an order in which users come before what they use.
fn ranks(found: &[Found]) -> Vec<usize> {
    let mut users = vec![0_usize; found.len()];
    found.iter().flat_map(|found| &found.needs).for_each(|place| users[*place] += 1);
    let mut open: Vec<usize> = (0..found.len()).filter(|place| users[*place] == 0).collect();
    let (mut rank, mut next) = (vec![usize::MAX; found.len()], 0);
    while let Some(place) = open.pop() {
        rank[place] = next;
        next += 1;
        for need in &found[place].needs {
            users[*need] -= 1;
            if users[*need] == 0 {
                open.push(*need);
            }
        }
    }
    rank
}

fn aliases(found: &[Found]) -> (String, Index) {
    let mut text = "# Aliases extracted from modules themselves.\n".to_owned();
    let mut index = Index::default();
    for (place, found) in found.iter().enumerate() {
        for (key, value) in &found.module.info {
            if key == "alias" {
                let _ = writeln!(text, "alias {value} {}", found.name);
                index.add(&normal(value), &found.name, place as u32);
            }
        }
    }
    (text, index)
}

fn symbols(found: &[Found]) -> (String, Index) {
    let mut text = "# Aliases for symbols, used by symbol_request().\n".to_owned();
    let mut index = Index::default();
    for (place, found) in found.iter().enumerate() {
        for symbol in &found.module.exports {
            let _ = writeln!(text, "alias symbol:{symbol} {}", found.name);
            index.add(&format!("symbol:{symbol}"), &found.name, place as u32);
        }
    }
    (text, index)
}

/// Lines such as `softdep NAME pre: other`.
fn lines(found: &[Found], kind: &str) -> String {
    let of = |found: &Found| {
        let values = found.module.info.iter().filter(|(key, _)| key == kind);
        values.map(|(_, value)| format!("{kind} {} {value}\n", found.name)).collect::<String>()
    };
    found.iter().map(of).collect()
}

/// The device nodes that load a module when they are opened.
fn devices(found: &[Found]) -> String {
    let mut text = String::new();
    for found in found {
        let aliases = found.module.info.iter().filter(|(key, _)| key == "alias");
        let (mut node, mut number) = (None, None);
        for (_, alias) in aliases {
            if let Some(name) = alias.strip_prefix("devname:") {
                node = Some(name);
            }
            for (begin, kind) in [("char-major-", 'c'), ("block-major-", 'b')] {
                let pair = alias.strip_prefix(begin).and_then(|rest| rest.split_once('-'));
                if let Some((Ok(major), Ok(minor))) =
                    pair.map(|(major, minor)| (major.parse::<u32>(), minor.parse::<u32>()))
                {
                    number = Some((kind, major, minor));
                }
            }
        }
        if let (Some(node), Some((kind, major, minor))) = (node, number) {
            let _ = writeln!(text, "{} {node} {kind}{major}:{minor}", found.name);
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("# Device nodes to trigger on-demand module loading.\n{text}"),
    }
}

/// The indexes of what is built into the kernel.
fn builtin(tree: &Tree, kernel: &str) -> Result<(Index, Index), ConfigureError> {
    let (mut names, mut aliases) = (Index::default(), Index::default());
    let list = format!("{kernel}/modules.builtin");
    if tree.contains(&list) {
        for line in text(tree, &list)?.lines() {
            names.add(&module_name(line), "", 0);
        }
    }
    let info = format!("{kernel}/modules.builtin.modinfo");
    if tree.contains(&info) {
        for line in bytes(tree, &info)?.split(|byte| *byte == 0) {
            let line = String::from_utf8_lossy(line);
            let alias = line
                .split_once('.')
                .and_then(|(name, rest)| Some((name, rest.strip_prefix("alias=")?)));
            if let Some((name, alias)) = alias {
                aliases.add(&normal(alias), name, 0);
            }
        }
    }
    Ok((names, aliases))
}

/// An alias as it is looked up: dashes are underscores, but for those between brackets.
fn normal(alias: &str) -> String {
    let mut inside = false;
    let letter = |letter| {
        match letter {
            '[' => inside = true,
            ']' => inside = false,
            '-' if !inside => return '_',
            _ => {}
        }
        letter
    };
    alias.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_before_what_they_use() {
        let module = |name: &str, needs: &[usize]| Found {
            path: format!("kernel/{name}.ko"),
            name: name.to_owned(),
            module: Module::default(),
            needs: needs.to_vec(),
        };
        let found =
            [module("base", &[]), module("middle", &[0]), module("top", &[0, 1]), module("x", &[])];
        let (text, _) = dependencies(&found);
        assert_eq!(
            text,
            "kernel/base.ko:\nkernel/middle.ko: kernel/base.ko\n\
             kernel/top.ko: kernel/middle.ko kernel/base.ko\nkernel/x.ko:\n"
        );
    }

    #[test]
    fn names_and_aliases_are_normal() {
        assert_eq!(module_name("kernel/a/snd-pcm.ko"), "snd_pcm");
        assert_eq!(normal("fs-ext4-[a-z]-x"), "fs_ext4_[a-z]_x");
    }
}
