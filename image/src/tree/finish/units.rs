//! Enables units the way `systemctl enable` would, but below `/usr`.
//!
//! What a release enables is a part of the release: `/etc/systemd/system` stays the operator's,
//! and a unit enabled or dropped by a later release is so on every machine.

use super::{FinishError, text};
use crate::manifest::Units;
use crate::tree::{Kind, Node, Tree};
use std::collections::{BTreeMap, BTreeSet};

const VENDOR: &str = "usr/lib/systemd/system";
/// Where units are looked for, the first place wins.
const PLACES: [&str; 2] = ["etc/systemd/system", VENDOR];
/// Without it the first boot enables everything that can be, in `/etc`.
const PRESET: &str = "usr/lib/systemd/system-preset/00-coreos.preset";
const PRESET_TEXT: &str = "# What is enabled is wired up in /usr/lib/systemd/system.\ndisable *\n";

/// What the `[Install]` section of a unit asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    upheld_by: Vec<String>,
    aliases: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

/// Removes the links by which packages enabled units in `/etc`; returns them.
pub(super) fn drop_enablement(tree: &mut Tree) -> Vec<String> {
    let mut dropped = Vec::new();
    for place in ["etc/systemd/system", "etc/systemd/user"] {
        let links: BTreeMap<String, String> = tree
            .below(place)
            .filter_map(|(path, node)| match &node.kind {
                Kind::Symlink(target) => Some((path.to_owned(), target.clone())),
                _ => None,
            })
            .collect();
        tree.remove_where(|path, _| links.contains_key(path));
        let empty: Vec<String> = tree
            .children(place)
            .map(|(name, _)| format!("{place}/{name}"))
            .filter(|path| {
                tree.get(path).is_some_and(Node::is_directory) && tree.below(path).next().is_none()
            })
            .collect();
        empty.iter().for_each(|path| {
            tree.remove(path);
        });
        dropped.extend(links.into_iter().map(|(path, target)| format!("{path} -> {target}")));
    }
    dropped
}

/// Enables the units of the manifest and sets the default; returns the links made.
pub(super) fn enable(tree: &mut Tree, units: &Units) -> Result<Vec<String>, FinishError> {
    let mut links: BTreeMap<String, String> = BTreeMap::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut queue: Vec<(String, bool)> =
        units.enable.iter().rev().map(|unit| (unit.to_string(), true)).collect();
    while let Some((unit, asked)) = queue.pop() {
        if !seen.insert(unit.clone()) {
            continue;
        }
        match find(tree, &unit)? {
            Some((file, install)) if !install.is_empty() => {
                links.extend(install.links(&unit, &file)?);
                queue.extend(install.also.into_iter().map(|unit| (unit, false)));
            }
            // What another unit names along with itself may be absent or need no enabling.
            _ if !asked => {}
            Some(_) => {
                return Err(FinishError::Unit { unit, reason: "it has no [Install] section" });
            }
            None => return Err(FinishError::NoUnit { unit }),
        }
    }
    let default = units.default.to_string();
    if find(tree, &default)?.is_none() {
        return Err(FinishError::NoUnit { unit: default });
    }
    links.insert(format!("{VENDOR}/default.target"), default);
    for (path, target) in &links {
        if tree.get(path).is_some_and(|node| !matches!(node.kind, Kind::Symlink(_))) {
            let unit = path.rsplit('/').next().unwrap_or(path).to_owned();
            return Err(FinishError::Unit { unit, reason: "the name it would get is a file" });
        }
        tree.insert(path, Node::symlink(target))?;
    }
    text::write(tree, PRESET, PRESET_TEXT.to_owned())?;
    Ok(links.into_iter().map(|(path, target)| format!("{path} -> {target}")).collect())
}

/// The file name of a unit, aliases followed and instances led to their template, and its
/// `[Install]` section.
fn find(tree: &Tree, unit: &str) -> Result<Option<(String, Install)>, FinishError> {
    let template = split_instance(unit).map(|(prefix, _, kind)| format!("{prefix}@.{kind}"));
    for name in std::iter::once(unit).chain(template.as_deref()) {
        for place in PLACES {
            let path = format!("{place}/{name}");
            let Some(node) = tree.get(&path) else { continue };
            let masked = matches!(&node.kind, Kind::Symlink(target) if target == "/dev/null");
            let Some(resolved) = tree.resolve(&path).filter(|_| !masked) else {
                return Err(FinishError::Unit {
                    unit: unit.to_owned(),
                    reason: "it is masked or a dangling link",
                });
            };
            let install = parse(&text::read(tree, &resolved)?);
            let file = resolved.rsplit('/').next().unwrap_or(&resolved).to_owned();
            return Ok(Some((file, install)));
        }
    }
    Ok(None)
}

/// `getty`, `tty1` and `service` of `getty@tty1.service`.
fn split_instance(unit: &str) -> Option<(&str, &str, &str)> {
    let (name, kind) = unit.rsplit_once('.')?;
    let (prefix, instance) = name.split_once('@')?;
    Some((prefix, instance, kind))
}

impl Install {
    fn is_empty(&self) -> bool {
        *self == Install::default()
    }

    /// The links that enable the unit, relative to where they are.
    fn links(&self, unit: &str, file: &str) -> Result<Vec<(String, String)>, FinishError> {
        let (name, instance) = match split_instance(unit) {
            Some((prefix, "", kind)) => match &self.default_instance {
                Some(instance) => (format!("{prefix}@{instance}.{kind}"), instance.as_str()),
                None if self.has_parents() => {
                    let reason = "it is a template; name an instance";
                    return Err(FinishError::Unit { unit: unit.to_owned(), reason });
                }
                None => (unit.to_owned(), ""),
            },
            Some((_, instance, _)) => (unit.to_owned(), instance),
            None => (file.to_owned(), ""),
        };
        let kinds = [
            (&self.wanted_by, "wants"),
            (&self.required_by, "requires"),
            (&self.upheld_by, "upholds"),
        ];
        let parents = kinds.into_iter().flat_map(|(parents, directory)| {
            let name = &name;
            parents.iter().map(move |parent| {
                let parent = parent.replace("%i", instance);
                (format!("{VENDOR}/{parent}.{directory}/{name}"), format!("../{file}"))
            })
        });
        let aliases = self
            .aliases
            .iter()
            .filter(|alias| *alias != file)
            .map(|alias| (format!("{VENDOR}/{alias}"), file.to_owned()));
        Ok(parents.chain(aliases).collect())
    }

    fn has_parents(&self) -> bool {
        !(self.wanted_by.is_empty() && self.required_by.is_empty() && self.upheld_by.is_empty())
    }
}

/// Reads the `[Install]` section of a unit file.
fn parse(unit: &str) -> Install {
    let mut install = Install::default();
    let mut inside = false;
    let joined = unit.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
        let list = match key.trim_end() {
            "WantedBy" => &mut install.wanted_by,
            "RequiredBy" => &mut install.required_by,
            "UpheldBy" => &mut install.upheld_by,
            "Alias" => &mut install.aliases,
            "Also" => &mut install.also,
            "DefaultInstance" => {
                install.default_instance = Some(value.trim().to_owned());
                continue;
            }
            _ => continue,
        };
        // An empty value takes back what came before.
        if value.trim().is_empty() {
            list.clear();
        }
        list.extend(value.split_whitespace().map(str::to_owned));
    }
    install
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(units: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (name, text) in units.iter().chain(&[("multi-user.target", "[Unit]\n")]) {
            tree.insert(&format!("{VENDOR}/{name}"), Node::file(0o644, *text)).unwrap();
        }
        tree
    }

    fn units(enable: &[&str]) -> Units {
        let enable = enable.iter().map(|unit| unit.parse().unwrap()).collect();
        Units { enable, default: "multi-user.target".parse().unwrap() }
    }

    fn links(tree: &mut Tree, enable_units: &[&str]) -> Vec<String> {
        let links = enable(tree, &units(enable_units)).unwrap();
        let short = links.iter().map(|link| link.replace(&format!("{VENDOR}/"), ""));
        short.filter(|link| !link.starts_with("default.target")).collect()
    }

    #[test]
    fn install_sections_are_applied_with_what_they_name() {
        let mut tree = tree(&[
            (
                "a.service",
                "[Service]\nWantedBy=no.target\n[Install]\nWantedBy=x.target \\\n y.target\n\
                 RequiredBy=z.target\nAlias=b.service a.service\nAlso=c.socket absent.service\n",
            ),
            ("c.socket", "[Install]\nWantedBy=sockets.target\nWantedBy=\nUpheldBy=u.target\n"),
            ("getty@.service", "[Install]\nDefaultInstance=tty1\nWantedBy=getty.target\n"),
            ("on@.service", "[Install]\nWantedBy=of-%i.target\n"),
        ]);
        assert_eq!(
            links(&mut tree, &["a.service", "getty@.service", "on@disk.service"]),
            [
                "b.service -> a.service",
                "getty.target.wants/getty@tty1.service -> ../getty@.service",
                "of-disk.target.wants/on@disk.service -> ../on@.service",
                "u.target.upholds/c.socket -> ../c.socket",
                "x.target.wants/a.service -> ../a.service",
                "y.target.wants/a.service -> ../a.service",
                "z.target.requires/a.service -> ../a.service",
            ]
        );
        for path in
            ["x.target.wants/a.service", "b.service", "getty.target.wants/getty@tty1.service"]
        {
            assert!(tree.resolve(&format!("{VENDOR}/{path}")).is_some(), "{path}");
        }
        assert!(tree.contains(PRESET));
    }

    #[test]
    fn the_default_target_is_replaced() {
        let mut tree = tree(&[]);
        let path = format!("{VENDOR}/default.target");
        tree.insert(&path, Node::symlink("graphical.target")).unwrap();
        enable(&mut tree, &units(&[])).unwrap();
        assert_eq!(tree.resolve(&path).unwrap(), format!("{VENDOR}/multi-user.target"));
    }

    #[test]
    fn units_that_cannot_be_enabled_are_named() {
        let mut tree = tree(&[
            ("static.service", "[Service]\n"),
            ("template@.service", "[Install]\nWantedBy=x.target\n"),
            ("taken.service", "[Install]\nAlias=static.service\n"),
        ]);
        tree.insert(&format!("{VENDOR}/masked.service"), Node::symlink("/dev/null")).unwrap();
        for unit in [
            "absent.service",
            "static.service",
            "template@.service",
            "masked.service",
            "taken.service",
        ] {
            let message = enable(&mut tree, &units(&[unit])).unwrap_err().to_string();
            assert!(message.starts_with("the unit "), "{message}");
        }
    }

    #[test]
    fn links_of_packages_in_etc_are_dropped_and_files_stay() {
        let mut tree = tree(&[]);
        for (path, target) in [
            ("etc/systemd/system/x.target.wants/a.service", "/usr/lib/systemd/system/a.service"),
            ("etc/systemd/user/sockets.target.wants/b.socket", "/usr/lib/systemd/user/b.socket"),
        ] {
            tree.insert(path, Node::symlink(target)).unwrap();
        }
        let kept = "etc/systemd/system/own.service.d/more.conf";
        tree.insert(kept, Node::file(0o644, "")).unwrap();
        let dropped = drop_enablement(&mut tree);
        assert_eq!(dropped.len(), 2);
        assert!(dropped[0].ends_with("a.service -> /usr/lib/systemd/system/a.service"));
        let left: Vec<&str> = tree.children("etc/systemd/system").map(|(name, _)| name).collect();
        assert_eq!(left, ["own.service.d"]);
        assert!(tree.contains(kept));
        assert_eq!(tree.below("etc/systemd/user").count(), 0);
    }
}
